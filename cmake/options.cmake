# cmake/options.cmake — compiler options of our own code (never of the hook or of dependencies).
add_library(mirrord_options INTERFACE)
target_include_directories(mirrord_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(mirrord_options INTERFACE _GNU_SOURCE)
# A designated initialiser names what differs from the defaults; the rest need not be repeated.
set(mirrord_warnings -Wall -Wextra -Wno-missing-field-initializers -Wshadow -Wundef $<$<COMPILE_LANGUAGE:CXX>:-Wold-style-cast> -Wconversion)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT MIRRORD_SANITIZE)
  # Sanitizer instrumentation makes this one report impossible paths.
  list(APPEND mirrord_warnings -Wnull-dereference)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlapping copies in "text" + std::string (its bug 105651).
  list(APPEND mirrord_warnings -Wno-restrict)
endif()
if(MIRRORD_WERROR)
  list(APPEND mirrord_warnings -Werror)
endif()
target_compile_options(mirrord_options INTERFACE ${mirrord_warnings}
                                                 -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=
                                                 -ffunction-sections -fdata-sections)
target_link_options(mirrord_options INTERFACE -Wl,--gc-sections)

if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # clang 16 defines __cpp_concepts too low for libstdc++ 12 to offer std::expected.
  target_compile_options(mirrord_options INTERFACE -Wno-builtin-macro-redefined -Wno-macro-redefined
    $<$<COMPILE_LANGUAGE:CXX>:-D__cpp_concepts=202002L>)
endif()

if(MIRRORD_SANITIZE)
  target_compile_options(mirrord_options INTERFACE -fsanitize=${MIRRORD_SANITIZE}
                                                   -fno-omit-frame-pointer)
  target_link_options(mirrord_options INTERFACE -fsanitize=${MIRRORD_SANITIZE})
  set(MIRRORD_STATIC OFF)
endif()

if(MIRRORD_LTO)
  target_compile_options(mirrord_options INTERFACE -flto=2)
  target_link_options(mirrord_options INTERFACE -flto=2)
endif()

# For what runs once per command: its size matters, its speed does not.
function(mirrord_prefer_size)
  foreach(target IN LISTS ARGN)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-Os>)
  endforeach()
endfunction()
