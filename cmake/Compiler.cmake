# Language level, warnings, sanitizers and ccache: what holds for every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache refuses everything that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
endif()

add_library(spatialmamba_options INTERFACE)
target_compile_options(spatialmamba_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual
  $<$<BOOL:${SPATIALMAMBA_WERROR}>:-Werror>
  # GCC needs this to let ccache see through a precompiled header.
  $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  # Highway's functions for NEON are compiled so: others could not inline them. Nothing here uses these instructions.
  target_compile_options(spatialmamba_options INTERFACE -march=armv8-a+crypto)
endif()
if(SPATIALMAMBA_SANITIZE)
  # What sanitizers add makes GCC's warnings of uninitialised values false, as its manual says.
  target_compile_options(spatialmamba_options INTERFACE
    -fsanitize=${SPATIALMAMBA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(spatialmamba_options INTERFACE -fsanitize=${SPATIALMAMBA_SANITIZE})
endif()
