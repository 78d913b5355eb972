# Toolchain file: compiles with zig's clang for manylinux_2_28, on whatever this machine runs. LUTMAC_WHEEL_ARCH: x86_64 or
# aarch64. LUTMAC_ZIG: the folder of the scripts c++, ar and ranlib, which packaging/zig.py writes.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LUTMAC_WHEEL_ARCH LUTMAC_ZIG)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${LUTMAC_WHEEL_ARCH})
set(CMAKE_CXX_COMPILER ${LUTMAC_ZIG}/c++)
set(CMAKE_AR ${LUTMAC_ZIG}/ar)
set(CMAKE_RANLIB ${LUTMAC_ZIG}/ranlib)
# clang's own ar and ranlib are asked for where code is optimised as a whole.
set(CMAKE_CXX_COMPILER_AR ${LUTMAC_ZIG}/ar)
set(CMAKE_CXX_COMPILER_RANLIB ${LUTMAC_ZIG}/ranlib)
set(CMAKE_MODULE_LINKER_FLAGS_INIT -s)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
