# cmake/testing.cmake — helpers the folders under tests/ use to declare tests.
include(GoogleTest)

# What the names of this build's tests begin with, and their labels end with, so that one run can hold
# the tests of several builds.
set(mirrord_test_prefix "")
set(mirrord_label_suffix "")
if(CMAKE_CROSSCOMPILING)
  set(mirrord_test_prefix ${CMAKE_SYSTEM_PROCESSOR}.)
  set(mirrord_label_suffix -${CMAKE_SYSTEM_PROCESSOR})  # -L unit and -L aarch64 both find it
elseif(MIRRORD_SANITIZE MATCHES "thread")
  set(mirrord_test_prefix tsan.)
  set(mirrord_label_suffix -tsan)
elseif(MIRRORD_SANITIZE AND NOT MIRRORD_FUZZ)
  set(mirrord_test_prefix asan.)
  set(mirrord_label_suffix -asan)
endif()

# mirrord_unit_test(NAME SOURCES file... LIBRARIES target... [LABEL label]) — one GoogleTest binary,
# each of its cases a test of its own under ctest. Without sources it declares nothing. Links against
# the shared libc: only what is shipped has to be static.
function(mirrord_unit_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL" "SOURCES;LIBRARIES")
  if(NOT arg_SOURCES OR NOT MIRRORD_UNIT_TESTS)
    return()
  endif()
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE mirrord_options ${arg_LIBRARIES} deps::gtest)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_PREFIX ${mirrord_test_prefix}${name}.
                       PROPERTIES LABELS "${arg_LABEL}${mirrord_label_suffix}" TIMEOUT 120)
endfunction()

# mirrord_test(NAME LABEL label COMMAND words... [TIMEOUT seconds] [SERIAL]) — a program or script as a
# test. It finds the executable in $MIRRORD; exit status 77 after printing "SKIP: reason" skips it.
function(mirrord_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "SERIAL" "LABEL;TIMEOUT" "COMMAND")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  set(name ${mirrord_test_prefix}${name})
  add_test(NAME ${name} COMMAND ${arg_COMMAND})
  set_tests_properties(${name} PROPERTIES LABELS ${arg_LABEL}${mirrord_label_suffix} TIMEOUT ${arg_TIMEOUT}
    SKIP_RETURN_CODE 77 RUN_SERIAL "${arg_SERIAL}")
  if(CMAKE_CROSSCOMPILING)
    list(JOIN CMAKE_CROSSCOMPILING_EMULATOR " " emulator)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "MIRRORD_EMULATOR=${emulator}")
  elseif(MIRRORD_HOOK)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT
      "MIRRORD=$<TARGET_FILE:mirrord>;MIRRORD_SOURCE_DIR=${PROJECT_SOURCE_DIR};MIRRORD_SANITIZE=${MIRRORD_SANITIZE}")
  endif()
endfunction()

# mirrord_python_tests(LABEL TIMEOUT seconds FILES test_x... [LISTED test_x...]) — the test files of this
# folder, every method of them a test of its own. None is forgotten: a file that neither list has stops the
# configuration.
function(mirrord_python_tests label)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "FILES;LISTED")
  set(here ${CMAKE_CURRENT_SOURCE_DIR})
  file(GLOB present CONFIGURE_DEPENDS RELATIVE ${here} ${here}/test_*.py)
  list(TRANSFORM present REPLACE "\\.py$" "")
  list(REMOVE_ITEM present ${arg_FILES} ${arg_LISTED})
  if(present)
    message(FATAL_ERROR "${here}/CMakeLists.txt does not list these files: ${present}")
  endif()
  file(GLOB watched CONFIGURE_DEPENDS ${here}/*.py)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${watched})
  find_program(python3_program python3 REQUIRED)
  set(run ${python3_program} -B ${PROJECT_SOURCE_DIR}/tests/support/run.py ${here})
  execute_process(COMMAND ${run} --list ${arg_FILES}
                  OUTPUT_VARIABLE tests OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" tests "${tests}")
  foreach(test ${tests})
    string(REPLACE "test_" "" name ${label}.${test})
    mirrord_test(${name} LABEL ${label} TIMEOUT ${arg_TIMEOUT} COMMAND ${run} ${test})
  endforeach()
endfunction()

# mirrord_fuzz_target(NAME SOURCES file... LIBRARIES target...) — a libFuzzer program that runs for
# MIRRORD_FUZZ_SECONDS under ctest, starting from tests/fuzz/corpus/NAME.
set(MIRRORD_FUZZ_SECONDS 10 CACHE STRING "How long ctest runs each fuzz target")
function(mirrord_fuzz_target name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE mirrord_options ${arg_LIBRARIES})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set(found ${CMAKE_CURRENT_BINARY_DIR}/found/${name})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  file(MAKE_DIRECTORY ${found})
  if(NOT EXISTS ${corpus})
    set(corpus)
  endif()
  math(EXPR timeout "${MIRRORD_FUZZ_SECONDS} + 60")
  mirrord_test(${name} LABEL fuzz TIMEOUT ${timeout}
    COMMAND ${name} -max_total_time=${MIRRORD_FUZZ_SECONDS} -timeout=10 -rss_limit_mb=2048
            -print_final_stats=1 -artifact_prefix=${found}/crash- ${found} ${corpus})
endfunction()
