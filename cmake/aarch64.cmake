# Toolchain file: builds for aarch64 with Debian's cross compiler (g++-aarch64-linux-gnu); what it builds runs under
# qemu-aarch64 (qemu-user). cmake -S . -B build/aarch64 --toolchain cmake/aarch64.cmake -DLUTMAC_BUILD_TESTS=ON
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# Static: the programs need nothing of the target's file system.
set(CMAKE_EXE_LINKER_FLAGS_INIT -static)
