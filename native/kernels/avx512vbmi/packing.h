// The packing of avx512vbmi.
//
// A tile is 64 rows, a block 32 k of it: [plane][row][4 bytes]. Byte j of a row's 4 holds two indices into tables: its low
// nibble that of LUT group j, its high nibble that of LUT group 4 + j. So either half of the nibbles is 16 consecutive k.
// Trits lie as DwordTrits has them, all else as avx512 has it, whose kernels read it.
#pragma once

#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

struct RowDwords {
  static constexpr int kTileRows = 64, kIntegerInterleave = 4, kIntegerXor = 0;
  using Trits = DwordTrits<kTileRows>;
  static constexpr int kPlaneBytes = kTileRows * 4;

  template <int bits>
  [[gnu::always_inline]] static void put_planes(int row, const PlaneWords& planes, uint8_t* block) {
    // Byte 4 p + j of the result: plane p of LUT groups j and 4 + j. Groups 2 w and 2 w + 1 are the nibbles of word w.
    Bytes bytes;
    std::memcpy(&bytes, planes.words, 32);
    const Bytes low = __builtin_shufflevector(bytes, bytes, 0, 0, 8, 8, 1, 1, 9, 9, 2, 2, 10, 10, 3, 3, 11, 11,
                                              4, 4, 12, 12, 5, 5, 13, 13, 6, 6, 14, 14, 7, 7, 15, 15);
    const Bytes high = __builtin_shufflevector(bytes, bytes, 16, 16, 24, 24, 17, 17, 25, 25, 18, 18, 26, 26, 19, 19, 27, 27,
                                               20, 20, 28, 28, 21, 21, 29, 29, 22, 22, 30, 30, 23, 23, 31, 31);
    const Words even = ((Words)low & 0x0f0f) | ((Words)high << 4 & 0xf0f0);
    const Words odd = ((Words)low >> 4 & 0x0f0f) | ((Words)high & 0xf0f0);
    bytes = (Bytes)((even & 0x00ff) | (odd & 0xff00));
    uint8_t dwords[32];
    std::memcpy(dwords, &bytes, 32);
    for (int p = 0; p < bits; ++p) std::memcpy(block + p * kPlaneBytes + row * 4, dwords + 4 * p, 4);
  }

  template <int bits>
  static PlaneWords get_planes(int row, const uint8_t* block) {
    uint64_t columns[4] = {};
    for (int p = 0; p < bits; ++p) {
      for (int j = 0; j < 4; ++j) columns[j] |= uint64_t{block[p * kPlaneBytes + row * 4 + j]} << (8 * p);
    }
    PlaneWords planes;
    for (int word = 0; word < 2; ++word) {
      const uint64_t even = columns[2 * word], odd = columns[2 * word + 1];
      planes.words[word] = (even & kLowNibbles) | (odd & kLowNibbles) << 4;
      planes.words[word + 2] = (even >> 4 & kLowNibbles) | (odd & ~kLowNibbles);
    }
    return planes;
  }

 private:
  using Bytes = uint8_t __attribute__((vector_size(32)));
  using Words = uint16_t __attribute__((vector_size(32)));
  static constexpr uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0full;
};

using Codes = PackedCodes<RowDwords>;

}  // namespace lutmac::LUTMAC_TARGET
