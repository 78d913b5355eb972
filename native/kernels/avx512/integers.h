// 8-bit codes and codebooks by vpdpbusd: unsigned weights around 128, times the high and the low halves of the integers.
#pragma once

#include "kernels/fetch.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

struct IntegerSum {
  using Weight = Bytes;  // 16 rows x 4 k
  static constexpr int kColumns = 4;
  Ints high, low;

  template <typename Reader>
  static constexpr int together(int tokens) {
    return tokens == 1 ? 4 : tokens == 8 ? 1 : 2;
  }

  // What the 128 in the weights adds is taken off at the start.
  void start(int32_t activations) {
    high = Ints{};
    low = broadcast(-128 * activations);
  }
  Ints total() const { return (high << 8) + low; }

  // 4 high and 4 low halves, in registers for several vectors of weights.
  struct Halves {
    Bytes high, low;
  };
  struct InMemory {
    const uint8_t* at;
  };
  template <int kTogether>
  static auto load(const uint8_t* at) {
    if constexpr (kTogether == 1) {
      return InMemory{at};
    } else {
      return Halves{(Bytes)broadcast_dword(at), (Bytes)broadcast_dword(at + 4)};
    }
  }
  void add(Bytes weights, const Halves& integers) {
    add_dot_bytes(high, weights, integers.high);
    add_dot_bytes(low, weights, integers.low);
  }
  void add(Bytes weights, const InMemory& integers) {
    add_dot_bytes(high, weights, integers.at);
    add_dot_bytes(low, weights, integers.at + 4);
  }
};

struct ByteReader {
  static constexpr int kUnits = 1, kVectorBytes = 64, kPieceBytes = 256;
  static constexpr Fetch kFetch = Fetch::quarter;
  void load(const uint8_t* codes, Bytes* weights) const { weights[0] = LUTMAC_TARGET::load(codes); }
};

// By lookup of a codebook's values; the first 4 codes are the low nibbles.
struct CodebookReader {
  static constexpr int kUnits = 2, kVectorBytes = 64, kPieceBytes = 256;
  static constexpr Fetch kFetch = Fetch::near_and_quarter;
  Bytes values;
  explicit CodebookReader(const int8_t* book) : values(load_table(book) ^ 128) {}
  void load(const uint8_t* at, Bytes* weights) const {
    const Bytes codes = LUTMAC_TARGET::load(at);
    weights[0] = look_up(values, low_nibbles(codes));
    weights[1] = look_up(values, high_nibbles(codes));
  }
};

}  // namespace lutmac::LUTMAC_TARGET
