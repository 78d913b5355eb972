// Activations to the tables of ternary products; see TernaryForm.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/arithmetic.h"
#include "kernels/lut.h"
#include "kernels/ternary_code.h"

namespace lutmac::LUTMAC_TARGET {

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
  // x: 5 activations, the sum of their magnitudes at most 126 scales. a: where A goes; C lies 64 bytes behind it. Rounds to
  // nearest, ties away from zero: an entry of the opposite sum is the opposite entry.
  static void store_tables(const float* x, float inverse, uint8_t* a) {
    for (int i = 0; i < 16; ++i) {
      a[i] = nearest((kTriples[0][i] * x[0] + kTriples[1][i] * x[1] + kTriples[2][i] * x[2]) * inverse);
      a[64 + i] = nearest((kPairs[0][i] * x[3] + kPairs[1][i] * x[4]) * inverse) ^ 0x80;
    }
  }

 private:
  static uint8_t nearest(float value) { return static_cast<uint8_t>(static_cast<int32_t>(value + (value < 0.0f ? -0.5f : 0.5f))); }
};

// What a block's tables are made of.
struct TernaryBlock {
  const float* x;  // its first activation
  int count;       // of activations
  int lut_groups;
  int64_t first_group;

  // The largest sum of magnitudes of a LUT group among those that share scale s: the bound of an entry of both tables together.
  // Adds NaN to `nothing` where an activation is not finite.
  float largest_lut_group(int s, float& nothing) const {
    float largest = 0.0f;
    for (int g = first(s); g < end(s); ++g) {
      float sum = 0.0f;
      for (int i = g * kTritsPerByte; i < (g + 1) * kTritsPerByte && i < count; ++i) sum += std::fabs(x[i]);
      largest = sum > largest ? sum : largest;
      nothing += sum - sum;
    }
    return largest;
  }
  static int first(int s) { return s * TernaryForm::kLutGroupsPerScale; }
  int end(int s) const {
    const int end = first(s + 1);
    return end < lut_groups ? end : lut_groups;
  }
};

// What a form says of a block beside its tables.
struct TernaryScales {
  int32_t multiples[TernaryForm::kBlockScales] = {1, 1, 1};
  float unit = 0.0f;

  void store(const TernaryBlock& block, int64_t index, int64_t k, uint8_t* out) const {
    uint8_t* weights = out + TernaryForm::byte_multiple_offset(k) + index * TernaryForm::kBlockMultiples;
    std::memset(weights, 0, TernaryForm::kBlockMultiples);
    int32_t bias = 0;
    for (int s = 0; s < TernaryForm::kBlockScales; ++s) {
      for (int g = block.first(s); g < block.end(s); ++g, bias += multiples[s] * 128) {
        weights[index % 2 * 2 + g] = static_cast<uint8_t>(multiples[s]);
      }
    }
    std::memcpy(out + TernaryForm::multiple_offset(k) + index * sizeof(multiples), multiples, sizeof(multiples));
    std::memcpy(out + TernaryForm::unit_offset(k) + index * 4, &unit, 4);
    std::memcpy(out + TernaryForm::bias_offset(k) + index * 4, &bias, 4);
  }
};

inline void flat_tables(uint8_t* a) {
  std::memset(a, 0, 16);
  std::memset(a + 64, 128, 16);
}

template <typename Tables>
TernaryScales prepare_ternary_block(const TernaryBlock& block, uint8_t* out) {
  TernaryScales scales;
  float largest[TernaryForm::kBlockScales], top = 0.0f, nothing = 0.0f;
  for (int s = 0; s < TernaryForm::kBlockScales; ++s) {
    largest[s] = block.largest_lut_group(s, nothing);
    top = largest[s] > top ? largest[s] : top;
  }
  const bool finite = nothing == 0.0f && top <= kLargestFloat;
  if (!finite || top < kQuietest) {  // nothing but zeros, or NaN where that is what the product has to be
    for (int g = 0; g < block.lut_groups; ++g) flat_tables(out + TernaryForm::table_offset(block.first_group + g));
    scales.unit = finite ? 0.0f : __builtin_nanf("");
    return scales;
  }
  // What one unit of the multiple covers, so that entries of that multiple are at most 126: the roundings of the two
  // tables, half each, then still fit a byte.
  const float cover = top / static_cast<float>(TernaryForm::kMaxMultiple);
  const float per_cover = static_cast<float>(TernaryForm::kMaxMultiple) / top;
  scales.unit = cover * (1.0f / 126.0f);
  for (int s = 0; s < TernaryForm::kBlockScales; ++s) {
    int multiple = static_cast<int>(largest[s] * per_cover);
    multiple += static_cast<float>(multiple) * cover < largest[s];  // rounds up
    multiple = multiple < 1 ? 1 : multiple > TernaryForm::kMaxMultiple ? TernaryForm::kMaxMultiple : multiple;
    scales.multiples[s] = multiple;
    const float inverse = 126.0f / (cover * static_cast<float>(multiple));
    for (int g = block.first(s); g < block.end(s); ++g) {
      const float* x = block.x + g * kTritsPerByte;
      float last[kTritsPerByte] = {};
      if ((g + 1) * kTritsPerByte > block.count) {
        for (int i = g * kTritsPerByte; i < block.count; ++i) last[i - g * kTritsPerByte] = block.x[i];
        x = last;
      }
      Tables::store_tables(x, inverse, out + TernaryForm::table_offset(block.first_group + g));
    }
  }
  return scales;
}

template <typename Tables>
void prepare_ternary(const float* x, int64_t k, uint8_t* out) {
  for (int64_t index = 0; index < TernaryForm::blocks(k); ++index) {
    const int64_t left = k - index * TernaryForm::kBlock;
    const int count = static_cast<int>(left < TernaryForm::kBlock ? left : TernaryForm::kBlock);
    const TernaryBlock block = {x + index * TernaryForm::kBlock, count, TernaryForm::block_lut_groups(k, index),
                                index * TernaryForm::kBlockLutGroups};
    prepare_ternary_block<Tables>(block, out).store(block, index, k, out);
  }
  const int64_t groups = TernaryForm::lut_groups(k);
  for (int64_t g = groups; g < (groups + 3) / 4 * 4; ++g) flat_tables(out + TernaryForm::table_offset(g));
}

}  // namespace lutmac::LUTMAC_TARGET
