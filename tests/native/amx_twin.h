// The kernels of amx over simd/scalar.h and plain tiles, which every processor runs.
#pragma once

#include "runtime/targets.h"

// Generated rows by the twin of avx512vbmi, of 1 to 7 bits and ternary codes only.
extern const lutmac::TargetEntry kAmxTwin;
