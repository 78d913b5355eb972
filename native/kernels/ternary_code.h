// Five trits in a byte.
//
// The trits are codes 0, 1, 2. The first three make 9 q2 + 3 q1 + q0, of 27 values, the other two c = 3 q4 + q3, of 9: the
// byte is first(c) + the former, first(c) = ceil(256 c / 9). So c is byte * 9 / 256, rounded down: one multiplication and
// no remainder where a kernel wants the two as indices. Bytes lie as [tile][5 k][tile row], where row j L + e of a
// tile of 4 L rows stands at 4 e + j: byte j of a 32-bit lane e. Codes past the last column are 1, which stands for zero.
#pragma once

#include <cstdint>

#include "target.h"

namespace lutmac::LUTMAC_TARGET {

inline constexpr int kTritsPerByte = 5;
inline constexpr uint8_t kFirstOfPair[16] = {0, 29, 57, 86, 114, 143, 171, 200, 228};

// The byte of each pair whose three trits are zero.
alignas(16) inline constexpr uint8_t kMiddleOfPair[16] = {13, 42, 70, 99, 127, 156, 184, 213, 241};

inline int64_t ternary_bytes(int64_t columns) { return (columns + kTritsPerByte - 1) / kTritsPerByte; }

// A code of 3, which stands for nothing, is taken as 2.
inline uint8_t encode_trits(const uint8_t* codes, int count) {
  uint8_t q[kTritsPerByte];
  for (int i = 0; i < kTritsPerByte; ++i) q[i] = i >= count ? 1 : codes[i] > 2 ? 2 : codes[i];
  return static_cast<uint8_t>(kFirstOfPair[3 * q[4] + q[3]] + 9 * q[2] + 3 * q[1] + q[0]);
}

inline int pair_of(uint8_t byte) { return byte * 9 >> 8; }
inline int triple_of(uint8_t byte) { return byte - kFirstOfPair[pair_of(byte)]; }

inline int row_place(int tile_rows, int row) { return row % (tile_rows / 4) * 4 + row / (tile_rows / 4); }

// The code of place i, 0 to 4.
inline uint8_t trit_of(uint8_t byte, int i) {
  constexpr int kPower[] = {1, 3, 9, 1, 3};
  return static_cast<uint8_t>((i < 3 ? triple_of(byte) : pair_of(byte)) / kPower[i] % 3);
}

inline void pack_ternary(int tile_rows, int64_t columns, const uint8_t* codes, uint8_t* out) {
  constexpr int64_t kPiece = 64 * kTritsPerByte;  // columns: what is written for them stays in the L1 cache
  for (int64_t begin = 0; begin < columns; begin += kPiece, out += kPiece / kTritsPerByte * tile_rows) {
    const int64_t end = begin + kPiece < columns ? begin + kPiece : columns;
    for (int r = 0; r < tile_rows; ++r) {
      const uint8_t* row = codes + r * columns;
      uint8_t* to = out + row_place(tile_rows, r);
      int64_t k = begin;
      for (; k + kTritsPerByte <= end; k += kTritsPerByte, to += tile_rows) *to = encode_trits(row + k, kTritsPerByte);
      if (k < end) *to = encode_trits(row + k, static_cast<int>(end - k));
    }
  }
}

// codes[i] = the code at column k + i of one row; tile: its tile's bytes.
inline void unpack_ternary(const uint8_t* tile, int tile_rows, int row, int64_t k, int count, uint8_t* codes) {
  for (int i = 0; i < count; ++i) {
    const int64_t byte = (k + i) / kTritsPerByte;
    codes[i] = trit_of(tile[byte * tile_rows + row_place(tile_rows, row)], static_cast<int>((k + i) % kTritsPerByte));
  }
}

}  // namespace lutmac::LUTMAC_TARGET
