// activation(gate) * up of one row; see ops.h.
#pragma once

#include "ops/ops.h"

namespace lutmac::LUTMAC_TARGET {

void gated_activation(Activation kind, const float* gate, const float* up, int width, float* out);

}  // namespace lutmac::LUTMAC_TARGET
