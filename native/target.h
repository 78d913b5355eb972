// The ISA targets and how code that is compiled once per target names itself.
//
// Files under kernels/<target>/ (of avxvnni: kernels/avx2/) and ops/ are compiled with the target's flags and with
// LUTMAC_TARGET set to its name;
// everything in them lives in namespace lutmac::LUTMAC_TARGET, and only their function tables are seen outside. They
// instantiate no templates of the standard library: the linker would keep one copy for all targets, maybe the one that
// this CPU cannot run.
#pragma once

namespace lutmac {

enum class Target { portable, avx2, avxvnni, avx512, neon };

}  // namespace lutmac
