# cmake/testing.cmake — helpers the folders under tests/ use to declare tests.
include(GoogleTest)

# mirrord_unit_test(NAME SOURCES file... LIBRARIES target... [LABEL label]) — one GoogleTest binary,
# each of its cases a test of its own under ctest. Without sources it declares nothing.
function(mirrord_unit_test name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL" "SOURCES;LIBRARIES")
  if(NOT arg_SOURCES)
    return()
  endif()
  if(NOT arg_LABEL)
    set(arg_LABEL unit)
  endif()
  if(CMAKE_CROSSCOMPILING)
    list(APPEND arg_LABEL ${CMAKE_SYSTEM_PROCESSOR})
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE mirrord_options ${arg_LIBRARIES} deps::gtest)
  if(MIRRORD_STATIC)
    target_link_options(${name} PRIVATE -static)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX "${name}."
                       PROPERTIES LABELS "${arg_LABEL}" TIMEOUT 120)
endfunction()
