# Adds LibTorch's CUDA part, and the headers of CUDA and NCCL that its own include, to `libtorch_wheel`. The wheels of
# CUDA's libraries lie beside that of LibTorch, where its libraries look for them: nvidia/*/{include,lib}.
foreach(library torch_cuda c10_cuda)
  if(NOT EXISTS "${SPATIALMAMBA_LIBTORCH}/lib/lib${library}.so")
    message(FATAL_ERROR "lib${library}.so not found in '${SPATIALMAMBA_LIBTORCH}/lib'. Run ./setup --cuda; "
      "a build folder that was for CPUs alone forgets its LibTorch with -USPATIALMAMBA_LIBTORCH.")
  endif()
endforeach()
file(GLOB cuda_includes LIST_DIRECTORIES true "${SPATIALMAMBA_LIBTORCH}/../nvidia/*/include")
file(GLOB cuda_folders LIST_DIRECTORIES true "${SPATIALMAMBA_LIBTORCH}/../nvidia/*/lib")
target_include_directories(libtorch_wheel SYSTEM INTERFACE ${cuda_includes})
# Its operators register themselves too.
target_link_libraries(libtorch_wheel INTERFACE
  -Wl,--no-as-needed "${SPATIALMAMBA_LIBTORCH}/lib/libtorch_cuda.so" -Wl,--as-needed
  "${SPATIALMAMBA_LIBTORCH}/lib/libc10_cuda.so")
list(TRANSFORM cuda_folders PREPEND "-Wl,-rpath-link,")
target_link_options(libtorch_wheel INTERFACE ${cuda_folders})
