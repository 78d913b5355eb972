// Activations to the tables of ternary products; see TernaryForm.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/arithmetic.h"
#include "kernels/lut.h"
#include "kernels/ternary_code.h"

namespace lutmac::LUTMAC_TARGET {

// The largest sum of magnitudes of a LUT group among those that share a scale: the bound of an entry of both tables together.
// Adds NaN to `nothing` where an activation is not finite.
inline float largest_lut_group(const float* x, int64_t k, int64_t s, float& nothing) {
  float largest = 0.0f;
  for (int64_t g = s * TernaryForm::kLutGroupsPerScale; g < (s + 1) * TernaryForm::kLutGroupsPerScale; ++g) {
    float sum = 0.0f;
    for (int64_t i = g * kTritsPerByte; i < (g + 1) * kTritsPerByte && i < k; ++i) sum += std::fabs(x[i]);
    largest = sum > largest ? sum : largest;
    nothing += sum - sum;
  }
  return largest;
}

// What the activations of a LUT group count as in the entries of tables A and C.
alignas(64) inline constexpr float kTriples[3][16] = {
    {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1},
    {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1},
    {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1},
};
alignas(64) inline constexpr float kPairs[2][16] = {
    {-1, 0, 1, -1, 0, 1, -1, 0, 1},
    {-1, -1, -1, 0, 0, 0, 1, 1, 1},
};

// The tables of one LUT group in plain C++; a target may bring its own (the same but for the order of the sums).
struct PlainTernaryTables {
  // x: 5 activations, the sum of their magnitudes at most 126 scales. Sums are shifted to positive, so that truncation rounds to
  // nearest.
  static void store_tables(const float* x, float inverse, uint8_t* out) {
    for (int i = 0; i < 16; ++i) {
      const float sum = kTriples[0][i] * x[0] + kTriples[1][i] * x[1] + kTriples[2][i] * x[2];
      out[i] = static_cast<uint8_t>(static_cast<int32_t>(sum * inverse + 128.5f) - 128);
    }
    for (int i = 0; i < 16; ++i) {
      const float sum = kPairs[0][i] * x[3] + kPairs[1][i] * x[4];
      out[16 + i] = static_cast<uint8_t>(static_cast<int32_t>(sum * inverse + 128.5f));
    }
  }
};

// Tables of nothing but zeros, whose unit is 0, or NaN where that is what the product has to be.
inline void flat_ternary(int64_t k, float unit, uint8_t* out) {
  for (int64_t g = 0; g < TernaryForm::lut_groups(k); ++g) {
    std::memset(out + g * 32, 0, 16);
    std::memset(out + g * 32 + 16, 128, 16);
  }
  int32_t* multiples = reinterpret_cast<int32_t*>(out + TernaryForm::multiple_offset(k));
  for (int64_t s = 0; s < TernaryForm::scales(k); ++s) multiples[s] = 1;
  *reinterpret_cast<float*>(out + TernaryForm::unit_offset(k)) = unit;
  *reinterpret_cast<int32_t*>(out + TernaryForm::bias_offset(k)) = static_cast<int32_t>(TernaryForm::lut_groups(k)) * 128;
}

template <typename Tables>
void prepare_ternary(const float* x, int64_t k, uint8_t* out) {
  const int64_t groups = TernaryForm::lut_groups(k), scales = TernaryForm::scales(k);
  int32_t* multiples = reinterpret_cast<int32_t*>(out + TernaryForm::multiple_offset(k));
  float* largest = reinterpret_cast<float*>(multiples);  // of each scale, where its multiple will stand
  float top = 0.0f, nothing = 0.0f;
  for (int64_t s = 0; s < scales; ++s) {
    largest[s] = largest_lut_group(x, k, s, nothing);
    top = largest[s] > top ? largest[s] : top;
  }
  const bool finite = nothing == 0.0f && top <= kLargestFloat;
  if (!finite || top < kQuietest) return flat_ternary(k, finite ? 0.0f : __builtin_nanf(""), out);
  // What one unit of the multiple covers, so that entries of that multiple are at most 126: the roundings of the two
  // tables, half each, then still fit a byte.
  const float cover = top / static_cast<float>(TernaryForm::kMaxMultiple);
  const float per_cover = static_cast<float>(TernaryForm::kMaxMultiple) / top;
  int32_t bias = 0;
  for (int64_t s = 0; s < scales; ++s) {
    int multiple = static_cast<int>(largest[s] * per_cover);
    multiple += static_cast<float>(multiple) * cover < largest[s];  // rounds up
    multiple = multiple < 1 ? 1 : multiple > TernaryForm::kMaxMultiple ? TernaryForm::kMaxMultiple : multiple;
    std::memcpy(multiples + s, &multiple, 4);
    const float inverse = 126.0f / (cover * static_cast<float>(multiple));
    const int64_t begin = s * TernaryForm::kLutGroupsPerScale;
    const int64_t end = begin + TernaryForm::kLutGroupsPerScale < groups ? begin + TernaryForm::kLutGroupsPerScale : groups;
    for (int64_t g = begin; g < end; ++g) {
      if ((g + 1) * kTritsPerByte <= k) {
        Tables::store_tables(x + g * kTritsPerByte, inverse, out + g * 32);
      } else {
        float last[kTritsPerByte] = {};
        for (int64_t i = g * kTritsPerByte; i < k; ++i) last[i - g * kTritsPerByte] = x[i];
        Tables::store_tables(last, inverse, out + g * 32);
      }
    }
    bias += multiple * 128 * static_cast<int32_t>(end - begin);
  }
  *reinterpret_cast<float*>(out + TernaryForm::unit_offset(k)) = cover * (1.0f / 126.0f);
  *reinterpret_cast<int32_t*>(out + TernaryForm::bias_offset(k)) = bias;
}

}  // namespace lutmac::LUTMAC_TARGET
