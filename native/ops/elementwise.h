// Sums, products and rounding of one row; see ops.h.
#pragma once

#include "target.h"

namespace lutmac::LUTMAC_TARGET {

void add_scaled(const float* a, const float* b, float scale, int width, float* out);
void multiply(const float* a, const float* b, int width, float* out);
void round_to_int8(const float* x, int width, float* out);

}  // namespace lutmac::LUTMAC_TARGET
