// Activations to forms.
#pragma once

#include <cmath>

#include "kernels/arithmetic.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// Bit i of an entry's index says whether activation i of the LUT group counts as +x or as -x.
alignas(64) inline constexpr float kSigns[4][16] = {
    {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1},
    {-1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1},
    {-1, -1, -1, -1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1},
    {-1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1, 1, 1, 1, 1},
};

// The arithmetic of one block in plain C++; a target may bring its own (the same but for the order of the sums).
struct PlainTables {
  static float sum16(const float* x) {
    float sum = 0.0f;
    for (int i = 0; i < 16; ++i) sum += x[i];
    return sum;
  }

  // The largest entry of any of the 8 LUT groups: an entry's bound is the sum of magnitudes.
  static float largest_entry(const float* x) {
    float largest = 0.0f;
    for (int g = 0; g < 32; g += 4) {
      const float sum = (std::fabs(x[g]) + std::fabs(x[g + 1])) + (std::fabs(x[g + 2]) + std::fabs(x[g + 3]));
      largest = sum > largest ? sum : largest;
    }
    return largest;
  }

  static void store_table(const float* x, float inverse, uint8_t* table) {
    const float x0 = x[0] * inverse, x1 = x[1] * inverse, x2 = x[2] * inverse, x3 = x[3] * inverse;
    for (int e = 0; e < 16; ++e) {
      const float sum = (kSigns[0][e] * x0 + kSigns[1][e] * x1) + (kSigns[2][e] * x2 + kSigns[3][e] * x3);
      // Entries lie in 1 .. 255, so that truncation of the shifted value rounds to nearest.
      table[e] = static_cast<uint8_t>(static_cast<int32_t>(sum + 128.5f));
    }
  }
};

template <typename Arithmetic>
void prepare_tables(const float* x, int64_t k, uint8_t* out) {
  float* half_step = reinterpret_cast<float*>(out + TableForm::scale_offset(k));
  float* sum32 = reinterpret_cast<float*>(out + TableForm::sum32_offset(k));
  float* sum16 = reinterpret_cast<float*>(out + TableForm::sum16_offset(k));
  for (int64_t block = 0; block < k / kTableGroup; ++block, x += kTableGroup) {
    const float largest = Arithmetic::largest_entry(x);
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    half_step[block] = largest * (0.5f / 127.0f);
    sum16[2 * block] = Arithmetic::sum16(x);
    sum16[2 * block + 1] = Arithmetic::sum16(x + 16);
    sum32[block] = sum16[2 * block] + sum16[2 * block + 1];
    for (int g = 0; g < 8; ++g) Arithmetic::store_table(x + g * 4, inverse, out + (block * 8 + g) * 16);
  }
}

// The largest integer is 127 * 256: both halves of 256 * high + low then fit s8.
inline constexpr float kLargestInteger = 127.0f * 256.0f;

// Rounds one block of 32 activations to integers; returns the step.
inline float round_block(const float* x, int32_t* out) {
  float largest = 0.0f;
  for (int i = 0; i < 32; ++i) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  const float inverse = largest > 0.0f ? kLargestInteger / largest : 0.0f;
  for (int i = 0; i < 32; ++i) {
    // Shifted to positive before truncation: rounds to nearest.
    out[i] = static_cast<int32_t>(x[i] * inverse + (kLargestInteger + 0.5f)) - static_cast<int32_t>(kLargestInteger);
  }
  return largest / kLargestInteger;
}

// store(k, values, out) lays 4 integers down in the target's order.
template <typename Store>
void prepare_integers(const float* x, int64_t k, uint8_t* out, Store store) {
  float* step = reinterpret_cast<float*>(out + IntegerForm::step_offset(k));
  int32_t* sum16 = reinterpret_cast<int32_t*>(out + IntegerForm::sum_offset(k));
  for (int64_t block = 0; block < k / 32; ++block) {
    int32_t rounded[32];
    step[block] = round_block(x + block * 32, rounded);
    for (int half = 0; half < 2; ++half) {
      int32_t sum = 0;
      for (int i = 0; i < 16; ++i) sum += rounded[half * 16 + i];
      sum16[block * 2 + half] = sum;
    }
    for (int i = 0; i < 32; i += 4) store(block * 32 + i, rounded + i, out);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
