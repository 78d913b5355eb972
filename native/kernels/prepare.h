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

// The arithmetic of one block, in vectors. Sums are in one order for every number of lanes: lane l with lane l ^ 8, then 4, 2, 1.
struct VectorTables {
  static constexpr int kVectors = 16 / kLanes;

  static float sum16(const float* x) {
    Floats parts[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) parts[v] = load(x + v * kLanes);
#pragma GCC unroll 2
    for (int left = kVectors / 2; left > 0; left /= 2) {
#pragma GCC unroll 2
      for (int v = 0; v < left; ++v) parts[v] += parts[v + left];
    }
    return reduce_add(parts[0]);
  }

  // The largest entry of any of the 8 LUT groups: an entry's bound is the sum of magnitudes.
  static float largest_entry(const float* x) {
    Floats largest{};
#pragma GCC unroll 8
    for (int i = 0; i < 32; i += kLanes) {
      const Floats pairs = magnitude(load(x + i)), twos = pairs + Lanes::swap<1>(pairs);
      largest = maximum(twos + Lanes::swap<2>(twos), largest);
    }
    return reduce_max(largest);
  }

  static void store_table(const float* x, float inverse, uint8_t* table) {
    Floats entries[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      Floats sum = add_signed<0>(broadcast(128.0f), x[0] * inverse, v * kLanes);
      sum = add_signed<1>(sum, x[1] * inverse, v * kLanes);
      sum = add_signed<2>(sum, x[2] * inverse, v * kLanes);
      entries[v] = add_signed<3>(sum, x[3] * inverse, v * kLanes);
    }
    store_rounded(table, entries, 0);
  }

 private:
  // Activation i to the entries from `first` on: all of a vector have one sign where bit i is above its lanes' numbers.
  template <int i>
  [[gnu::always_inline]] static inline Floats add_signed(Floats sum, float x, int first) {
    if constexpr ((1 << i) < kLanes) return multiply_add(broadcast(x), load(kSigns[i]), sum);
    return first >> i & 1 ? sum + broadcast(x) : sum - broadcast(x);
  }
};

// Tables of nothing but zeros, whose scale is 0, or NaN where that is what the product has to be.
inline void flat_unit(int64_t k, int64_t unit, int count, float scale, uint8_t* out) {
  const int64_t begin = unit * (kTableUnit / kTableGroup);
  std::memset(out + begin * kTableGroup * 4, 128, static_cast<size_t>(count) * kTableGroup * 4);
  reinterpret_cast<float*>(out + TableForm::unit_offset(k))[unit] = scale;
  for (int64_t block = begin; block < begin + count; ++block) {
    reinterpret_cast<float*>(out + TableForm::scale_offset(k))[block] = scale;
    reinterpret_cast<int32_t*>(out + TableForm::multiple_offset(k))[block] = 1;
  }
}

// The tables of the table groups of one unit; `out` is the whole form.
template <typename Arithmetic>
void prepare_unit(const float* x, int64_t k, int64_t unit, uint8_t* out) {
  float* half_scale = reinterpret_cast<float*>(out + TableForm::scale_offset(k));
  float* sum32 = reinterpret_cast<float*>(out + TableForm::sum32_offset(k));
  float* sum16 = reinterpret_cast<float*>(out + TableForm::sum16_offset(k));
  int32_t* multiples = reinterpret_cast<int32_t*>(out + TableForm::multiple_offset(k));
  const int64_t begin = unit * (kTableUnit / kTableGroup);
  const int count = static_cast<int>(k / kTableGroup - begin < 4 ? k / kTableGroup - begin : 4);
  float largest[4], top = 0.0f, nothing = 0.0f;
  for (int b = 0; b < count; ++b) {
    const int64_t block = begin + b;
    const float* at = x + block * kTableGroup;
    largest[b] = Arithmetic::largest_entry(at);
    top = largest[b] > top ? largest[b] : top;
    sum16[2 * block] = Arithmetic::sum16(at);
    sum16[2 * block + 1] = Arithmetic::sum16(at + 16);
    sum32[block] = sum16[2 * block] + sum16[2 * block + 1];
    nothing += sum32[block] - sum32[block];  // NaN where a sum is not finite
  }
  const bool finite = nothing == 0.0f && top <= kLargestFloat;
  if (!finite || top < kQuietest) return flat_unit(k, unit, count, finite ? 0.0f : __builtin_nanf(""), out);
  constexpr float kMax = static_cast<float>(TableForm::kMaxMultiple);
  // What one unit of the multiple covers, so that entries of that multiple are at most 127 after rounding.
  const float cover = top / kMax, per_cover = kMax / top;
  const float unit_scale = cover * (0.5f / 127.0f);
  reinterpret_cast<float*>(out + TableForm::unit_offset(k))[unit] = unit_scale;
  for (int b = 0; b < count; ++b) {
    const int64_t block = begin + b;
    int multiple = static_cast<int>(largest[b] * per_cover);
    multiple += static_cast<float>(multiple) * cover < largest[b];  // rounds up
    multiple = multiple < 1 ? 1 : multiple > TableForm::kMaxMultiple ? TableForm::kMaxMultiple : multiple;
    multiples[block] = multiple;
    half_scale[block] = unit_scale * static_cast<float>(multiple);
    const float inverse = 127.0f / (cover * static_cast<float>(multiple));
    for (int64_t g = block * 8; g < block * 8 + 8; ++g) Arithmetic::store_table(x + g * 4, inverse, out + g * 16);
  }
}

template <typename Arithmetic>
void prepare_tables(const float* x, int64_t k, uint8_t* out) {
  for (int64_t unit = 0; unit < TableForm::units(k); ++unit) prepare_unit<Arithmetic>(x, k, unit, out);
}

// The largest integer is 127 * 256: both halves of 256 * high + low then fit s8.
inline constexpr float kLargestInteger = 127.0f * 256.0f;

// Rounds one block of 32 activations to integers; returns the scale.
inline float round_block(const float* x, int32_t* out) {
  float largest = 0.0f;
  int finite = 1;
  for (int i = 0; i < 32; ++i) {
    largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
    finite &= std::fabs(x[i]) <= kLargestFloat;
  }
  if (!finite || largest < kQuietest) {
    for (int i = 0; i < 32; ++i) out[i] = 0;
    return finite ? 0.0f : __builtin_nanf("");
  }
  const float inverse = kLargestInteger / largest;
  for (int i = 0; i < 32; ++i) {
    // Shifted to positive before truncation: rounds to nearest.
    out[i] = static_cast<int32_t>(x[i] * inverse + (kLargestInteger + 0.5f)) - static_cast<int32_t>(kLargestInteger);
  }
  return largest / kLargestInteger;
}

// 4 integers in the order of the target's dot products: as s16.
inline void lay_as_words(int64_t k, const int32_t* values, uint8_t* out) {
  for (int i = 0; i < 4; ++i) reinterpret_cast<int16_t*>(out)[k + i] = static_cast<int16_t>(values[i]);
}

// Or as 4 high s8, then 4 low s8.
inline void lay_as_halves(int64_t k, const int32_t* values, uint8_t* out) {
  for (int i = 0; i < 4; ++i) {
    const int low = static_cast<int8_t>(values[i] & 255);
    out[k * 2 + i] = static_cast<uint8_t>((values[i] - low) >> 8);
    out[k * 2 + 4 + i] = static_cast<uint8_t>(low);
  }
}

// store: lay_as_words or lay_as_halves.
template <typename Store>
void prepare_integers(const float* x, int64_t k, uint8_t* out, Store store) {
  float* scale = reinterpret_cast<float*>(out + IntegerForm::scale_offset(k));
  int32_t* sum16 = reinterpret_cast<int32_t*>(out + IntegerForm::sum_offset(k));
  for (int64_t block = 0; block < k / 32; ++block) {
    int32_t rounded[32];
    scale[block] = round_block(x + block * 32, rounded);
    for (int half = 0; half < 2; ++half) {
      int32_t sum = 0;
      for (int i = 0; i < 16; ++i) sum += rounded[half * 16 + i];
      sum16[block * 2 + half] = sum;
    }
    for (int i = 0; i < 32; i += 4) store(block * 32 + i, rounded + i, out);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
