# SPATIALMAMBA_STATIC: everything but the C library becomes part of the program, which then runs wherever that is new
# enough. Debian has no archives of fmt, spdlog and Highway: the first two are used as headers alone, and of the third
# we need one question answered, see src/highway_static.
if(SPATIALMAMBA_STATIC)
  if(SPATIALMAMBA_TRAINING)
    message(FATAL_ERROR "SPATIALMAMBA_STATIC: LibTorch is shared; add -DSPATIALMAMBA_TRAINING=OFF")
  endif()
  add_link_options(-static-libstdc++ -static-libgcc -Wl,--as-needed)
  # GCC 12 warns falsely of strings that overlap where it sees all of fmt (GCC's bug 105651).
  add_compile_options(-Wno-restrict)
  list(PREPEND CMAKE_FIND_LIBRARY_SUFFIXES .a)
endif()

# Called when the libraries have been found.
function(spatialmamba_use_archives)
  # Nothing is then asked of the shared libraries, and the linker leaves them out.
  set_property(TARGET fmt::fmt PROPERTY INTERFACE_COMPILE_DEFINITIONS FMT_HEADER_ONLY=1)
  set_property(TARGET spdlog::spdlog PROPERTY INTERFACE_COMPILE_DEFINITIONS SPDLOG_FMT_EXTERNAL)
  add_library(highway_static STATIC "${PROJECT_SOURCE_DIR}/src/highway_static/targets.cc")
  set_property(TARGET highway_static PROPERTY POSITION_INDEPENDENT_CODE ON)
  target_include_directories(highway_static SYSTEM PRIVATE ${HWY_INCLUDE_DIRS})
  set_property(TARGET PkgConfig::HWY PROPERTY INTERFACE_LINK_LIBRARIES highway_static)
endfunction()
