// The kernels of avx512vbmi over simd/scalar.h, plain C++ that every processor runs.
#pragma once

#include "runtime/targets.h"

// Multiplies 1 to 7 bits and ternary codes only.
extern const lutmac::TargetEntry kVbmiTwin;
