# Toolchain of the preset `aarch64`: cross-compiles for 64-bit Arm, and CTest runs the result under QEMU. Debian and
# Ubuntu need:
#   dpkg --add-architecture arm64 && apt-get update
#   apt-get install g++-aarch64-linux-gnu qemu-user libhwy-dev:arm64 libjpeg-dev:arm64 libpng-dev:arm64 \
#     zlib1g-dev:arm64 libfmt-dev:arm64 libspdlog-dev:arm64 libgtest-dev:arm64 libgmock-dev:arm64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)
