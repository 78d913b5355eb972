// RMSNorm of one row; see ops.h.
#pragma once

#include "target.h"

namespace lutmac::LUTMAC_TARGET {

void rms_norm(const float* x, const float* weight, float weight_bias, float eps, int width, float* out);

}  // namespace lutmac::LUTMAC_TARGET
