// How code that is compiled once per ISA target names itself. native/targets.def is the table of targets.
//
// Files under kernels/<folder>/ and ops/ are compiled with the target's flags and with LUTMAC_TARGET set to its name;
// everything in them lives in namespace lutmac::LUTMAC_TARGET, and only their function tables are seen outside. They
// instantiate no templates of the standard library: the linker would keep one copy for all targets, maybe the one that
// this CPU cannot run.
#pragma once

// LUTMAC_BUILT_<architecture>(x) is x where this build has targets of that architecture, else nothing.
#define LUTMAC_BUILT_any(...) __VA_ARGS__
#if defined(__x86_64__)
#define LUTMAC_BUILT_x86_64(...) __VA_ARGS__
#else
#define LUTMAC_BUILT_x86_64(...)
#endif
#if defined(__aarch64__)
#define LUTMAC_BUILT_aarch64(...) __VA_ARGS__
#else
#define LUTMAC_BUILT_aarch64(...)
#endif
