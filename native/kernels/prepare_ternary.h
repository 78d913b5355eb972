// Activations to the tables of ternary products; see TernaryForm.
#pragma once

#include <cmath>
#include <cstring>

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

// What the activations of a run count as in the entries of tables A and C.
alignas(64) inline constexpr float kTriples[3][16] = {
    {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1},
    {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1},
    {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1},
};
alignas(64) inline constexpr float kPairs[2][16] = {
    {-1, 0, 1, -1, 0, 1, -1, 0, 1},
    {-1, -1, -1, 0, 0, 0, 1, 1, 1},
};

// x: 5 activations in units of the step, their magnitudes at most 126 together. Sums are shifted to positive, so that
// truncation rounds to nearest.
inline void store_run(const float* x, uint8_t* out) {
  for (int i = 0; i < 16; ++i) {
    const float sum = kTriples[0][i] * x[0] + kTriples[1][i] * x[1] + (kTriples[2][i] * x[2] + 128.5f);
    out[i] = static_cast<uint8_t>(static_cast<int32_t>(sum) - 128);
  }
  for (int i = 0; i < 16; ++i) {
    out[16 + i] = static_cast<uint8_t>(static_cast<int32_t>(kPairs[0][i] * x[3] + (kPairs[1][i] * x[4] + 128.5f)));
  }
}

// Tables of nothing but zeros, whose unit is 0, or NaN where that is what the product has to be.
inline void flat_ternary(int64_t k, float unit, uint8_t* out) {
  for (int64_t run = 0; run < TernaryForm::runs(k); ++run) {
    std::memset(out + run * 32, 0, 16);
    std::memset(out + run * 32 + 16, 128, 16);
  }
  int32_t* multiples = reinterpret_cast<int32_t*>(out + TernaryForm::multiple_offset(k));
  for (int64_t step = 0; step < TernaryForm::steps(k); ++step) multiples[step] = 1;
  *reinterpret_cast<float*>(out + TernaryForm::unit_offset(k)) = unit;
  *reinterpret_cast<int32_t*>(out + TernaryForm::bias_offset(k)) = static_cast<int32_t>(TernaryForm::runs(k)) * 128;
}

inline void prepare_ternary(const float* x, int64_t k, uint8_t* out) {
  const int64_t runs = TernaryForm::runs(k), steps = TernaryForm::steps(k);
  int32_t* multiples = reinterpret_cast<int32_t*>(out + TernaryForm::multiple_offset(k));
  float top = 0.0f, nothing = 0.0f;
  for (int64_t step = 0; step < steps; ++step) {
    const float largest = largest_run(x, k, step);
    top = largest > top ? largest : top;
  }
  for (int64_t i = 0; i < k; ++i) nothing += x[i] - x[i];  // NaN where one is not finite
  const bool finite = nothing == 0.0f && top <= kLargestFloat;
  if (!finite || top < kQuietest) return flat_ternary(k, finite ? 0.0f : __builtin_nanf(""), out);
  // What one unit of the multiple covers, so that entries of that multiple are at most 126 steps: the roundings of the
  // two tables, half a step each, then still fit a byte.
  const float cover = top / static_cast<float>(TernaryForm::kMaxMultiple);
  int32_t bias = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const float largest = largest_run(x, k, step);
    int multiple = static_cast<int>(largest / cover);
    multiple += static_cast<float>(multiple) * cover < largest;  // rounds up
    multiple = multiple < 1 ? 1 : multiple > TernaryForm::kMaxMultiple ? TernaryForm::kMaxMultiple : multiple;
    multiples[step] = multiple;
    const float inverse = 126.0f / (cover * static_cast<float>(multiple));
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
