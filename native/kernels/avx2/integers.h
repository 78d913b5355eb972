// 8-bit codes and codebooks by vpmaddwd: weights widened to words, times integers of 16 bits.
#pragma once

#include "kernels/fetch.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

struct IntegerSum {
  using Weight = Words;  // 8 rows x 2 k
  static constexpr int kColumns = 2;
  Ints sum;

  template <typename Reader>
  static constexpr int together(int tokens) {
    if (tokens == 1) return Reader::kUnits == 1 ? 4 : 2;
    return tokens == 8 || Reader::kUnits > 1 ? 1 : 2;
  }

  void start(int32_t) { sum = Ints{}; }
  Ints total() const { return sum; }

  template <int kTogether>
  static Words load(const uint8_t* at) {
    return (Words)broadcast_dword(at);
  }
  void add(Words weights, Words integers) { sum = dot_pairs(weights, integers, sum); }
};

struct ByteReader {
  static constexpr int kUnits = 1, kVectorBytes = 16, kPieceBytes = 64;
  static constexpr Fetch kFetch = Fetch::near;
  void load(const uint8_t* codes, Words* weights) const { weights[0] = load_widened(reinterpret_cast<const int8_t*>(codes)); }
};

// By lookup of a codebook's values. Of 4 codes even bytes are the first two, odd bytes the last two.
struct CodebookReader {
  static constexpr int kUnits = 4, kVectorBytes = 32, kPieceBytes = 128;
  static constexpr Fetch kFetch = Fetch::near;
  Bytes values;
  explicit CodebookReader(const int8_t* book) : values(load_table(book)) {}
  void load(const uint8_t* at, Words* weights) const {
    const Bytes codes = LUTMAC_TARGET::load(at);
    widen((Words)look_up(values, low_nibbles(codes)), weights);
    widen((Words)look_up(values, high_nibbles(codes)), weights + 2);
  }

 private:
  static void widen(Words bytes, Words* words) {
    words[0] = (bytes << 8) >> 8;
    words[1] = bytes >> 8;
  }
};

}  // namespace lutmac::LUTMAC_TARGET
