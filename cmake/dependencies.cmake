# cmake/dependencies.cmake — imported targets of the third-party libraries (deps::NAME).
# scripts/dependencies fetches and builds what is missing, once per toolchain, outside the tree.
set(MIRRORD_DEPENDENCY_DIR "" CACHE PATH "Directory of tarballs to take dependencies from")

set(mirrord_dependencies uv cares cjson pcre2 mbedtls nghttp2 zlib curl yaml)
if(MIRRORD_TESTS AND MIRRORD_UNIT_TESTS)
  list(APPEND mirrord_dependencies gtest)
endif()
if(MIRRORD_BENCH)
  list(APPEND mirrord_dependencies benchmark)
endif()

if(CMAKE_CROSSCOMPILING)
  set(mirrord_toolchain ${CMAKE_SYSTEM_PROCESSOR})
else()
  set(mirrord_toolchain native)
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/cmake/dependencies.txt ${PROJECT_SOURCE_DIR}/scripts/dependencies)
set(dependency_environment)
if(MIRRORD_DEPENDENCY_DIR)
  set(dependency_environment MIRRORD_DEPENDENCY_DIR=${MIRRORD_DEPENDENCY_DIR})
endif()
execute_process(
  COMMAND ${CMAKE_COMMAND} -E env ${dependency_environment}
          ${PROJECT_SOURCE_DIR}/scripts/dependencies ${mirrord_toolchain} ${mirrord_dependencies}
  OUTPUT_VARIABLE dependency_prefixes
  RESULT_VARIABLE dependency_result)
if(NOT dependency_result EQUAL 0)
  message(FATAL_ERROR "The dependencies are not complete; see the message above.")
endif()

# mirrord_import(NAME LIBRARIES archive... [DEFINITIONS ...] [NEEDS ...])
function(mirrord_import name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBRARIES;DEFINITIONS;NEEDS")
  string(REGEX MATCH "(^|\n)${name} ([^\n]+)" match "${dependency_prefixes}")
  set(prefix ${CMAKE_MATCH_2})
  add_library(deps::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(deps::${name} SYSTEM INTERFACE ${prefix}/include)
  target_compile_definitions(deps::${name} INTERFACE ${arg_DEFINITIONS})
  # Each archive is a target that needs the ones behind it, so that the linker sees them in order.
  set(behind ${arg_NEEDS})
  list(REVERSE arg_LIBRARIES)
  foreach(library IN LISTS arg_LIBRARIES)
    add_library(deps::archive_${library} STATIC IMPORTED GLOBAL)
    set_target_properties(deps::archive_${library} PROPERTIES
      IMPORTED_LOCATION ${prefix}/lib/lib${library}.a)
    target_link_libraries(deps::archive_${library} INTERFACE ${behind})
    set(behind deps::archive_${library})
  endforeach()
  target_link_libraries(deps::${name} INTERFACE ${behind})
endfunction()

find_package(Threads REQUIRED)
mirrord_import(uv LIBRARIES uv NEEDS Threads::Threads)
mirrord_import(cares LIBRARIES cares DEFINITIONS CARES_STATICLIB NEEDS Threads::Threads)
mirrord_import(cjson LIBRARIES cjson)
mirrord_import(pcre2 LIBRARIES pcre2-8 DEFINITIONS PCRE2_STATIC PCRE2_CODE_UNIT_WIDTH=8)
mirrord_import(mbedtls LIBRARIES mbedtls mbedx509 mbedcrypto NEEDS Threads::Threads)
mirrord_import(nghttp2 LIBRARIES nghttp2 DEFINITIONS NGHTTP2_STATICLIB)
mirrord_import(zlib LIBRARIES z)
mirrord_import(curl LIBRARIES curl DEFINITIONS CURL_STATICLIB
  NEEDS deps::cares deps::mbedtls deps::nghttp2 deps::zlib)
mirrord_import(yaml LIBRARIES yaml DEFINITIONS YAML_DECLARE_STATIC)
if(MIRRORD_TESTS AND MIRRORD_UNIT_TESTS)
  mirrord_import(gtest LIBRARIES gtest_main gmock gtest NEEDS Threads::Threads)
endif()
if(MIRRORD_BENCH)
  mirrord_import(benchmark LIBRARIES benchmark NEEDS Threads::Threads)
endif()
