// Activations to the tables of ternary products; see TernaryForm.
#pragma once

#include <cmath>

#include "kernels/arithmetic.h"
#include "kernels/lut.h"
#include "kernels/ternary_code.h"

namespace lutmac::LUTMAC_TARGET {

// The largest sum of magnitudes of a run among those that share a step: the bound of an entry of both tables together.
inline float largest_run(const float* x, int64_t k, int64_t step) {
  float largest = 0.0f;
  for (int64_t run = step * TernaryForm::kRunsPerStep; run < (step + 1) * TernaryForm::kRunsPerStep; ++run) {
    float sum = 0.0f;
    for (int64_t i = run * kRun; i < (run + 1) * kRun && i < k; ++i) sum += std::fabs(x[i]);
    largest = sum > largest ? sum : largest;
  }
  return largest;
}

// x: 5 activations in units of the step, their magnitudes at most 126 together.
inline void store_run(const float* x, uint8_t* out) {
  for (int a = 0; a < 14; ++a) {
    const float sum = static_cast<float>(a / 9 - 1) * x[2] + static_cast<float>(a / 3 % 3 - 1) * x[1] +
                      static_cast<float>(a % 3 - 1) * x[0];
    out[a] = static_cast<uint8_t>(static_cast<int32_t>(sum + 128.5f) - 128);  // shifted to positive: rounds to nearest
  }
  out[14] = out[15] = 0;
  for (int c = 0; c < 16; ++c) {
    const float sum = static_cast<float>(c / 3 - 1) * x[4] + static_cast<float>(c % 3 - 1) * x[3];
    out[16 + c] = c < 9 ? static_cast<uint8_t>(static_cast<int32_t>(sum + 128.5f)) : 128;
  }
}

inline void prepare_ternary(const float* x, int64_t k, uint8_t* out) {
  const int64_t runs = TernaryForm::runs(k), steps = TernaryForm::steps(k);
  int32_t* multiples = reinterpret_cast<int32_t*>(out + TernaryForm::multiple_offset(k));
  float top = 0.0f;
  for (int64_t step = 0; step < steps; ++step) {
    const float largest = largest_run(x, k, step);
    top = largest > top ? largest : top;
  }
  // What one unit of the multiple covers, so that entries of that multiple are at most 126 steps: the roundings of the
  // two tables, half a step each, then still fit a byte.
  const float cover = top / static_cast<float>(TernaryForm::kMaxMultiple);
  int32_t bias = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const float largest = largest_run(x, k, step);
    int multiple = cover > 0.0f ? static_cast<int>(largest / cover) : 0;
    multiple += static_cast<float>(multiple) * cover < largest;  // rounds up
    multiple = multiple < 1 ? 1 : multiple > TernaryForm::kMaxMultiple ? TernaryForm::kMaxMultiple : multiple;
    multiples[step] = multiple;
    const float inverse = cover > 0.0f ? 126.0f / (cover * static_cast<float>(multiple)) : 0.0f;
    for (int64_t run = step * TernaryForm::kRunsPerStep; run < (step + 1) * TernaryForm::kRunsPerStep && run < runs; ++run) {
      float scaled[kRun];
      for (int i = 0; i < kRun; ++i) scaled[i] = run * kRun + i < k ? x[run * kRun + i] * inverse : 0.0f;
      store_run(scaled, out + run * 32);
      bias += multiple * 128;
    }
  }
  *reinterpret_cast<float*>(out + TernaryForm::unit_offset(k)) = cover * (1.0f / 126.0f);
  *reinterpret_cast<int32_t*>(out + TernaryForm::bias_offset(k)) = bias;
}

}  // namespace lutmac::LUTMAC_TARGET
