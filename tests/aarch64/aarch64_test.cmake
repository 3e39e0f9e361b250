# Run by CTest with -D source, work and generator: cross-compiles the kernels and what reads pictures, and runs the engine's
# kernels and the latter under QEMU.
cmake_minimum_required(VERSION 3.25)

find_program(compiler aarch64-linux-gnu-g++)
find_program(emulator qemu-aarch64)
find_library(highway hwy PATHS /usr/lib/aarch64-linux-gnu NO_DEFAULT_PATH)
foreach(needed IN ITEMS compiler emulator highway)
  if(NOT ${needed})
    message("skipped: no ${needed} for 64-bit Arm; cmake/aarch64.cmake says what to install")
    return()
  endif()
endforeach()

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

run("${CMAKE_COMMAND}" -S "${source}" -B "${work}" -G "${generator}" --toolchain "${source}/cmake/aarch64.cmake"
    -D CMAKE_BUILD_TYPE=Release -D SPATIALMAMBA_TRAINING=OFF -D SPATIALMAMBA_BENCH=OFF --log-level=WARNING)
run("${CMAKE_COMMAND}" --build "${work}" --target test_kernels test_image)
run("${emulator}" -L /usr/aarch64-linux-gnu "${work}/tests/image/test_image")
# The engine's kernels. Not those whose tests share work among threads: each hand-over takes QEMU milliseconds.
run("${emulator}" -L /usr/aarch64-linux-gnu "${work}/tests/kernels/test_kernels"
    "--gtest_filter=DepthwisePixels.*:FastMath.*:NormaliseRows.*:PackedLinear.*")
