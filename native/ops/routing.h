// The choice of experts for one token; see ops.h.
#pragma once

#include <cstdint>

#include "target.h"

namespace lutmac::LUTMAC_TARGET {

void choose_experts(const float* logits, int num_experts, int count, bool normalize, int32_t* experts, float* weights);

}  // namespace lutmac::LUTMAC_TARGET
