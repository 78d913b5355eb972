// The packing of portable: tiles of 16 rows. Codes of 1 to 7 bits: [tile][32 k][row][plane][4 bytes], the bytes a string of
// 32 bits, bit i for activation i; so a nibble is the index of one LUT group. 8 bits: [tile][32 k][row][32 bytes].
#pragma once

#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

struct PlaneStrings : WholeBytes<PlaneStrings> {
  static constexpr int kTileRows = 16, kIntegerInterleave = 32, kIntegerXor = 0;
  using Trits = BytewiseTrits<kTileRows>;

  template <int bits, typename Move>
  static void each_part(int row, Move move) {
    for (int plane = 0; plane < bits; ++plane) {
      for (int word = 0; word < 4; ++word) move(PlaneCount<1>(), (row * bits + plane) * 4 + word, word, plane);
    }
  }
};

using Codes = PackedCodes<PlaneStrings>;

}  // namespace lutmac::LUTMAC_TARGET
