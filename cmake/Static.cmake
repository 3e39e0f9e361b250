# SPATIALMAMBA_STATIC: a program that asks for nothing but the C library. libstdc++, libgcc, libjpeg, libpng and
# zlib come from their archives, fmt and spdlog from their headers. Debian ships Highway as a shared library
# alone: where there is no libhwy.a the program still asks for libhwy.so, and the configuration says so.
set(SPATIALMAMBA_SPDLOG spdlog::spdlog)
if(SPATIALMAMBA_STATIC)
  if(SPATIALMAMBA_TRAINING)
    message(FATAL_ERROR "SPATIALMAMBA_STATIC: LibTorch is shared; add -DSPATIALMAMBA_TRAINING=OFF")
  endif()
  set(SPATIALMAMBA_SPDLOG spdlog::spdlog_header_only)
  add_compile_definitions(FMT_HEADER_ONLY)
  add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed)
  list(PREPEND CMAKE_FIND_LIBRARY_SUFFIXES .a)
  find_library(SPATIALMAMBA_HWY_ARCHIVE libhwy.a)
  if(NOT SPATIALMAMBA_HWY_ARCHIVE)
    message(STATUS "SPATIALMAMBA_STATIC: no libhwy.a, Highway stays shared (libhwy.so.1)")
  endif()
endif()
