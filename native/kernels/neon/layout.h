// The packing of the neon kernels.
//
// A tile is 16 rows, a block 32 k of it: 8 LUT groups, the low nibbles of its bytes groups 0-3, the high nibbles 4-7. For a
// row the indices of 4 groups of b planes are a string of 4 b bytes, group by group: byte p holds plane p % b of groups
// p / b and p / b + 4. The string is cut into dwords (1 bit: into words), and a block holds the first dword of all 16 rows,
// then the second: [dword][row][4 bytes], a cache line each. A dword touches at most two groups, so that their two tables
// are one lookup of 32 entries.
//
// 8 bits: [tile][4 k][16 rows][4 bytes], signed (code - 128). Codebooks: [tile][8 k][16 rows][4 bytes], the first 4 codes in
// the low nibbles. Ternary codes: as ternary_code.h says.
#pragma once

#include "kernels/bits.h"
#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/plain_codes.h"

namespace lutmac::neon {

inline constexpr int kTileRows = 16;

inline int64_t block_bytes(int bits) { return int64_t{kTileRows} * 4 * bits; }
using Codes = PlainCodes<kTileRows>;

inline int64_t packed_tile_bytes(CodeKind kind, int bits, int64_t columns) {
  return kind == CodeKind::affine ? columns / 32 * block_bytes(bits) : Codes::packed_tile_bytes(kind, columns);
}

// Where byte p of a row's string lies in its block.
inline int string_place(int bits, int row, int p) {
  const int width = bits == 1 ? 2 : 4;
  return (p / width * kTileRows + row) * width + p % width;
}

// The planes of 8 codes, a byte each, hold the nibbles of two LUT groups: planes[g / 2].
inline void pack_row(int bits, int row, const uint8_t* codes, uint8_t* block) {
  uint64_t planes[4];
  std::memcpy(planes, codes, 32);
  for (uint64_t& bytes : planes) bytes = transpose_bits(bytes);
  const auto nibble = [&](int group, int plane) { return planes[group / 2] >> (plane * 8 + group % 2 * 4) & 15; };
  for (int p = 0; p < 4 * bits; ++p) {
    block[string_place(bits, row, p)] =
        static_cast<uint8_t>(nibble(p / bits, p % bits) | nibble(p / bits + 4, p % bits) << 4);
  }
}

inline void pack_tile(CodeKind kind, int bits, int64_t columns, const uint8_t* codes, uint8_t* out) {
  if (kind != CodeKind::affine) return Codes::pack_tile(kind, columns, codes, out);
  for (int64_t k = 0; k < columns; k += 32, out += block_bytes(bits)) {
    for (int row = 0; row < kTileRows; ++row) {
      const uint8_t* from = codes + row * columns + k;
      if (bits != 8) {
        pack_row(bits, row, from, out);
        continue;
      }
      for (int i = 0; i < 32; ++i) out[(i / 4 * kTileRows + row) * 4 + i % 4] = static_cast<uint8_t>(from[i] ^ 0x80);
    }
  }
}

inline void unpack_row_block(const LowBit& w, int64_t tile, int64_t block, int row, uint8_t* codes) {
  if (w.kind != CodeKind::affine) return Codes::unpack_row_block(w, tile, block, row, codes);
  const uint8_t* in = w.codes + tile * packed_tile_bytes(w.kind, w.bits, w.columns) + block * block_bytes(w.bits);
  if (w.bits == 8) {
    for (int i = 0; i < 32; ++i) codes[i] = static_cast<uint8_t>(in[(i / 4 * kTileRows + row) * 4 + i % 4] ^ 0x80);
    return;
  }
  uint64_t planes[4] = {};
  for (int p = 0; p < 4 * w.bits; ++p) {
    const uint64_t byte = in[string_place(w.bits, row, p)];
    const int group = p / w.bits, shift = p % w.bits * 8 + group % 2 * 4;
    planes[group / 2] |= (byte & 15) << shift;
    planes[group / 2 + 2] |= (byte >> 4) << shift;
  }
  for (uint64_t& bytes : planes) bytes = transpose_bits(bytes);
  std::memcpy(codes, planes, 32);
}

inline void unpack_block(const LowBit& w, int64_t tile, int64_t block, uint8_t* codes) {
  for (int row = 0; row < kTileRows; ++row) unpack_row_block(w, tile, block, row, codes + row * 32);
}

inline void unpack_row(const LowBit& w, int64_t row, float* out) { lowbit_row<kTileRows>(w, row, out, unpack_row_block); }

}  // namespace lutmac::neon
