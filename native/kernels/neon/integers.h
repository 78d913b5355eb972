// 8-bit codes and codebooks by sdot: signed weights, times the high and the low halves of the integers.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

struct IntegerSum {
  struct Weight {  // 4 rows x 8 k
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

  // 8 k: 4 high halves, 4 low ones, and again. sdot takes four of them to all rows.
  template <int kTogether>
  static Bytes load(const uint8_t* at) {
    return LUTMAC_TARGET::load(at);
  }
  void add(const Weight& weights, Bytes integers) {
    high = dot_signed_at<0>(weights.first, integers, high);
    low = dot_signed_at<1>(weights.first, integers, low);
    high = dot_signed_at<2>(weights.second, integers, high);
    low = dot_signed_at<3>(weights.second, integers, low);
  }
};

struct ByteReader {
  static constexpr int kUnits = 1, kVectorBytes = 16, kPieceBytes = 128;
  void load(const uint8_t* codes, IntegerSum::Weight* weights) const {
    weights[0] = {LUTMAC_TARGET::load(codes), LUTMAC_TARGET::load(codes + 64)};
  }
};

// By lookup of a codebook's values; the first 4 codes are the low nibbles.
struct CodebookReader {
  static constexpr int kUnits = 1, kVectorBytes = 16, kPieceBytes = 64;
  Bytes values;
  explicit CodebookReader(const int8_t* book) : values(load_table(book)) {}
  void load(const uint8_t* at, IntegerSum::Weight* weights) const {
    const Bytes codes = LUTMAC_TARGET::load(at);
    weights[0] = {look_up(values, low_nibbles(codes)), look_up(values, high_nibbles(codes))};
  }
};

}  // namespace lutmac::LUTMAC_TARGET
