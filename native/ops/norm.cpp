// RMSNorm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467).
#include "ops/norm.h"

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

namespace {

// Four sums hide the latency of an addition (4 cycles); their order depends on the width alone.
float sum_of_squares(const float* x, int width) {
  Floats sum[4] = {};
  int i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes)
    for (int s = 0; s < 4; ++s) {
      const Floats v = load(x + i + s * kLanes);
      sum[s] = multiply_add(v, v, sum[s]);
    }
  for (; i < width; i += kLanes) {
    const Floats v = width - i < kLanes ? load_first(x + i, width - i) : load(x + i);
    sum[0] = multiply_add(v, v, sum[0]);
  }
  return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

}  // namespace

void rms_norm(const float* x, const float* weight, float weight_bias, float eps, int width, float* out) {
  const float mean = sum_of_squares(x, width) / static_cast<float>(width);
  const float inverse = 1.0f / __builtin_sqrtf(mean + eps);
  int i = 0;
  for (; i + kLanes <= width; i += kLanes) store(out + i, load(x + i) * inverse * (load(weight + i) + weight_bias));
  if (i < width) {
    const int rest = width - i;
    store_first(out + i, rest, load_first(x + i, rest) * inverse * (load_first(weight + i, rest) + weight_bias));
  }
}

}  // namespace lutmac::LUTMAC_TARGET
