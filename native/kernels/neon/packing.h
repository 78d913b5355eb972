// The packing of the neon kernels.
//
// A tile is 16 rows, a block 32 k of it: 8 LUT groups, the low nibbles of its bytes groups 0-3, the high nibbles 4-7. For a
// row the indices of 4 groups of b planes are a string of 4 b bytes, group by group: byte p holds plane p % b of groups
// p / b and p / b + 4. The string is cut into dwords (1 bit: into words), and a block holds the first dword of all 16 rows,
// then the second: [dword][row][4 bytes], a cache line each. A dword touches at most two groups, so that their two tables
// are one lookup of 32 entries.
//
// 8 bits: [tile][4 k][16 rows][4 bytes], signed (code - 128).
#pragma once

#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

struct NibbleStrings {
  static constexpr int kTileRows = 16, kIntegerInterleave = 4, kIntegerXor = 0x80;
  using Trits = BytewiseTrits<kTileRows>;

  // Where byte p of a row's string lies in its block.
  template <int bits>
  static constexpr int string_place(int row, int p) {
    constexpr int kWidth = bits == 1 ? 2 : 4;
    return (p / kWidth * kTileRows + row) * kWidth + p % kWidth;
  }
  // A nibble of LUT group g lies in word g / 2, this many bits up; that of group g + 4 as far up in word g / 2 + 2.
  static constexpr int nibble_shift(int group, int plane) { return plane * 8 + group % 2 * 4; }

  template <int bits>
  static void put_planes(int row, const PlaneWords& planes, uint8_t* block) {
    for (int p = 0; p < 4 * bits; ++p) {
      const int group = p / bits, shift = nibble_shift(group, p % bits);
      const uint64_t low = planes.words[group / 2] >> shift & 15, high = planes.words[group / 2 + 2] >> shift & 15;
      block[string_place<bits>(row, p)] = static_cast<uint8_t>(low | high << 4);
    }
  }

  template <int bits>
  static PlaneWords get_planes(int row, const uint8_t* block) {
    PlaneWords planes = {};
    for (int p = 0; p < 4 * bits; ++p) {
      const uint64_t byte = block[string_place<bits>(row, p)];
      const int group = p / bits, shift = nibble_shift(group, p % bits);
      planes.words[group / 2] |= (byte & 15) << shift;
      planes.words[group / 2 + 2] |= (byte >> 4) << shift;
    }
    return planes;
  }
};

using Codes = PackedCodes<NibbleStrings>;

}  // namespace lutmac::LUTMAC_TARGET
