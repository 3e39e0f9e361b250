# Defines the target `spatialmamba_torch`: LibTorch, with a precompiled header of <torch/torch.h>.
#
# A LibTorch on CMAKE_PREFIX_PATH (TorchConfig.cmake) comes first. Otherwise what ./setup unpacked of the `torch`
# wheel is linked directly, its CPU part or with SPATIALMAMBA_CUDA all of it: its own CMake package insists on a CUDA
# toolkit.
find_package(Torch QUIET)
if(NOT Torch_FOUND)
  if(NOT SPATIALMAMBA_LIBTORCH)
    set(which "")
    if(SPATIALMAMBA_CUDA)
      set(which --cuda)
    endif()
    execute_process(COMMAND "${PROJECT_SOURCE_DIR}/setup" --print-torch ${which}
                    OUTPUT_VARIABLE libtorch OUTPUT_STRIP_TRAILING_WHITESPACE)
    set(SPATIALMAMBA_LIBTORCH "${libtorch}" CACHE PATH "Folder of the unpacked LibTorch")
  endif()
  if(NOT EXISTS "${SPATIALMAMBA_LIBTORCH}/lib/libtorch_cpu.so")
    message(FATAL_ERROR "LibTorch not found in '${SPATIALMAMBA_LIBTORCH}'.\n"
      "Run ./setup ${which}, or give your own with -DCMAKE_PREFIX_PATH=/path/to/libtorch, "
      "or build without training: cmake --preset inference.")
  endif()
  add_library(libtorch_wheel INTERFACE)
  target_include_directories(libtorch_wheel SYSTEM INTERFACE
    "${SPATIALMAMBA_LIBTORCH}/include" "${SPATIALMAMBA_LIBTORCH}/include/torch/csrc/api/include")
  # --no-as-needed: the operators register themselves when libtorch_cpu is loaded. libgomp is the wheel's own,
  # so that the process holds one OpenMP runtime.
  target_link_libraries(libtorch_wheel INTERFACE
    -Wl,--no-as-needed "${SPATIALMAMBA_LIBTORCH}/lib/libtorch_cpu.so" -Wl,--as-needed
    "${SPATIALMAMBA_LIBTORCH}/lib/libc10.so" "${SPATIALMAMBA_LIBTORCH}/lib/libgomp.so.1")
  target_link_options(libtorch_wheel INTERFACE
    "-Wl,-rpath-link,${SPATIALMAMBA_LIBTORCH}/lib" -Wl,--allow-shlib-undefined)
  if(SPATIALMAMBA_CUDA)
    include(LibTorchCuda)
  endif()
  set(torch_libraries libtorch_wheel)
else()
  if(SPATIALMAMBA_CUDA AND NOT TARGET torch_cuda)
    message(FATAL_ERROR "SPATIALMAMBA_CUDA is on, but the LibTorch of '${TORCH_INSTALL_PREFIX}' is for CPUs alone.")
  endif()
  set(torch_libraries ${TORCH_LIBRARIES})
endif()

# LibTorch contains Gloo, and its header of the Gloo process group includes Gloo's, which the wheel leaves out.
find_path(GLOO_INCLUDE gloo/transport/device.h HINTS "${SPATIALMAMBA_LIBTORCH}/include" REQUIRED)

file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/torch_pch_anchor.cc"
     CONTENT "// Owns the precompiled header of LibTorch.\n")
add_library(spatialmamba_torch STATIC "${PROJECT_BINARY_DIR}/torch_pch_anchor.cc")
target_link_libraries(spatialmamba_torch PUBLIC ${torch_libraries} PRIVATE spatialmamba_options)
target_precompile_headers(spatialmamba_torch PRIVATE <torch/torch.h>)

# LibTorch brings the headers of a newer fmt than the one that we and spdlog are linked with: ours come first.
get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/fmt_first")
file(CREATE_LINK "${fmt_include}/fmt" "${PROJECT_BINARY_DIR}/fmt_first/fmt" SYMBOLIC)
target_include_directories(spatialmamba_torch SYSTEM BEFORE PUBLIC "${PROJECT_BINARY_DIR}/fmt_first")
