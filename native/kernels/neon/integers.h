// 8-bit codes and codebooks: signed weights, times the high and the low halves of the integers.
//
// Vector instructions for 4 rows x 8 k of a token, after the loads and the lookups of a codebook:
//
//   neon        4 sdot: each multiplies 4 rows x 4 k with one of the halves
//   neon_i8mm   2 smmla, and for all tokens together 2 zips: each multiplies 2 rows x 8 k with both halves, as a matrix of 2
//               columns. 1 token 4 instructions, 4 tokens 2.5 each
//
// Lookups of 1 to 7 bits have no use for smmla: udot sums 16 entries in an instruction, and so does ummla. Its second column
// would have to weight the same entries by other plane weights, and there are none.
#pragma once

#include "kernels/fetch.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

#if defined(__ARM_FEATURE_MATMUL_INT8)
struct IntegerSum {
  struct Weight {  // 4 rows x 8 k, in rows 0 and 1, 2 and 3
    Bytes upper, lower;
    Weight() = default;
    // Of 4 rows x 4 k each.
    Weight(Bytes first, Bytes second) : upper(low_dwords(first, second)), lower(high_dwords(first, second)) {}
  };
  static constexpr int kColumns = 8;
  Ints upper, lower;  // of two rows each: high, low, high, low

  template <typename Reader>
  static constexpr int together(int tokens) {
    return tokens == 1 ? 4 : 2;
  }

  void start(int32_t) { upper = lower = Ints{}; }
  Ints total() const { return (even_lanes(upper, lower) << 8) + odd_lanes(upper, lower); }

  // 8 k: 8 high halves, 8 low ones.
  template <int kTogether>
  static Bytes load(const uint8_t* at) {
    return LUTMAC_TARGET::load(at);
  }
  void add(const Weight& weights, Bytes integers) {
    upper = multiply_pairs_of_rows(weights.upper, integers, upper);
    lower = multiply_pairs_of_rows(weights.lower, integers, lower);
  }
};
#else
struct IntegerSum {
  struct Weight {  // 4 rows x 4 k, twice
    Bytes first, second;
  };
  static constexpr int kColumns = 8;
  Ints high, low;

  template <typename Reader>
  static constexpr int together(int tokens) {
    return tokens == 1 ? 4 : 2;
  }

  void start(int32_t) { high = low = Ints{}; }
  Ints total() const { return (high << 8) + low; }

  // 8 k: 8 high halves, 8 low ones. sdot takes four of them to all rows.
  template <int kTogether>
  static Bytes load(const uint8_t* at) {
    return LUTMAC_TARGET::load(at);
  }
  void add(const Weight& weights, Bytes integers) {
    high = dot_signed_at<0>(weights.first, integers, high);
    low = dot_signed_at<2>(weights.first, integers, low);
    high = dot_signed_at<1>(weights.second, integers, high);
    low = dot_signed_at<3>(weights.second, integers, low);
  }
};
#endif

struct ByteReader {
  static constexpr int kUnits = 1, kVectorBytes = 16, kPieceBytes = 128;
  static constexpr Fetch kFetch = Fetch::near;
  void load(const uint8_t* codes, IntegerSum::Weight* weights) const {
    weights[0] = {LUTMAC_TARGET::load(codes), LUTMAC_TARGET::load(codes + 64)};
  }
};

// By lookup of a codebook's values; the first 4 codes are the low nibbles.
struct CodebookReader {
  static constexpr int kUnits = 1, kVectorBytes = 16, kPieceBytes = 64;
  static constexpr Fetch kFetch = Fetch::near;
  Bytes values;
  explicit CodebookReader(const int8_t* book) : values(load_table(book)) {}
  void load(const uint8_t* at, IntegerSum::Weight* weights) const {
    const Bytes codes = LUTMAC_TARGET::load(at);
    weights[0] = {look_up(values, low_nibbles(codes)), look_up(values, high_nibbles(codes))};
  }
};

// 8 integers as 8 high s8, then 8 low s8; called for 4 of them.
inline void lay_as_long_halves(int64_t k, const int32_t* values, uint8_t* out) {
  uint8_t* high = out + k / 8 * 16 + k % 8;
  for (int i = 0; i < 4; ++i) {
    const int low = static_cast<int8_t>(values[i] & 255);
    high[i] = static_cast<uint8_t>((values[i] - low) >> 8);
    high[8 + i] = static_cast<uint8_t>(low);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
