# SPATIALMAMBA_STATIC: libstdc++, libgcc, libjpeg, libpng and zlib become part of the program, which then runs
# wherever the C library is new enough. Debian has no archives of fmt, spdlog and Highway: these stay shared, and
# the program asks for libfmt.so, libspdlog.so and libhwy.so beside the C library.
if(SPATIALMAMBA_STATIC)
  if(SPATIALMAMBA_TRAINING)
    message(FATAL_ERROR "SPATIALMAMBA_STATIC: LibTorch is shared; add -DSPATIALMAMBA_TRAINING=OFF")
  endif()
  add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed)
  list(PREPEND CMAKE_FIND_LIBRARY_SUFFIXES .a)
  message(STATUS "SPATIALMAMBA_STATIC: fmt, spdlog and Highway stay shared, Debian has no archives of them")
endif()
