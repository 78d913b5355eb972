// The packing of avx512vbmi.
//
// A tile is 64 rows, a block 32 k of it: [plane][row][4 bytes]. Byte j of a row's 4 holds two indices into tables: its low
// nibble that of LUT group j, its high nibble that of LUT group 4 + j. So either half of the nibbles is 16 consecutive k.
// All else lies as avx512 has it, whose kernels read it.
#pragma once

#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

struct RowDwords {
  static constexpr int kTileRows = 64, kIntegerStep = 4, kIntegerXor = 0;
  static constexpr int kPlaneBytes = kTileRows * 4;

  template <int bits>
  [[gnu::always_inline]] static void put_planes(int row, const PlaneWords& planes, uint8_t* block) {
    // Byte p of column j is byte j of plane p.
    uint64_t columns[4];
    for (int word = 0; word < 2; ++word) {
      const uint64_t low = planes.words[word], high = planes.words[word + 2];
      columns[2 * word] = (low & kLowNibbles) | (high & kLowNibbles) << 4;
      columns[2 * word + 1] = (low >> 4 & kLowNibbles) | (high & ~kLowNibbles);
    }
    Bytes bytes;
    std::memcpy(&bytes, columns, 32);
    bytes = __builtin_shufflevector(bytes, bytes, 0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27,
                                    4, 12, 20, 28, 5, 13, 21, 29, 6, 14, 22, 30, 7, 15, 23, 31);
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
  static constexpr uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0full;
};

using Codes = PackedCodes<RowDwords>;

}  // namespace lutmac::LUTMAC_TARGET
