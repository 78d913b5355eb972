// Codes of every kind to a packing's order and back: both directions of a layout stand side by side.
//
// Planes is the layout of 1 to 7 bits, which is what packings differ in (see WholeBytes). The others are, in every packing:
//   8 bits    [kIntegerInterleave k][tile row][kIntegerInterleave bytes], each byte xor-ed with kIntegerXor
//   float8    [k][tile row]
//   codebook  [8 k][tile row][4 bytes]: a byte's low nibble is one of the first 4 codes, its high nibble one of the other 4.
//             Where kIntegerInterleave is 2, bytes 1 and 2 change places, so that even and odd bytes are neighbours among the codes
//   ternary   see ternary_code.h; Planes::Trits is one of the orders there
#pragma once

#include <cstring>

#include "kernels/bits.h"
#include "kernels/lut.h"
#include "kernels/ternary_code.h"

namespace lutmac::LUTMAC_TARGET {

// The planes of 32 codes: byte p of word i holds plane p of codes 8 i to 8 i + 7.
struct PlaneWords {
  uint64_t words[4];
};

inline PlaneWords planes_of(const uint8_t* codes) {
  using Vector = uint64_t __attribute__((vector_size(32)));
  Vector vector;
  std::memcpy(&vector, codes, 32);
  vector = transpose_bits(vector);
  PlaneWords planes;
  std::memcpy(&planes, &vector, 32);
  return planes;
}

inline void codes_of(PlaneWords planes, uint8_t* codes) {
  for (uint64_t& word : planes.words) word = transpose_bits(word);
  std::memcpy(codes, &planes, 32);
}

template <int kCount>
struct PlaneCount {
  static constexpr int value = kCount;
};

// Layouts that keep whole bytes of planes. Layout::each_part<bits>(row, move) calls move(count, place, word, plane): the
// `count` bytes at `place` of a block are planes plane, plane + 1 and so on of that word.
template <typename Layout>
struct WholeBytes {
  template <int bits>
  [[gnu::always_inline]] static void put_planes(int row, const PlaneWords& planes, uint8_t* block) {
    Layout::template each_part<bits>(row, [&](auto count, int place, int word, int plane) {
      std::memcpy(block + place, reinterpret_cast<const uint8_t*>(&planes.words[word]) + plane, decltype(count)::value);
    });
  }

  template <int bits>
  static PlaneWords get_planes(int row, const uint8_t* block) {
    PlaneWords planes = {};
    Layout::template each_part<bits>(row, [&](auto count, int place, int word, int plane) {
      std::memcpy(reinterpret_cast<uint8_t*>(&planes.words[word]) + plane, block + place, decltype(count)::value);
    });
    return planes;
  }
};

template <typename Planes>
struct PackedCodes : Planes {
  using Planes::kIntegerInterleave;
  using Planes::kIntegerXor;
  using Planes::kTileRows;
  using Trits = typename Planes::Trits;

  // 32 k of a tile.
  static constexpr int64_t block_bytes(int bits) { return int64_t{kTileRows} * 4 * bits; }

  static int64_t packed_tile_bytes(CodeKind kind, int bits, int64_t columns) {
    if (kind == CodeKind::ternary) return Trits::tile_bytes(columns);
    return columns / 32 * block_bytes(bits);  // of a codebook and of float8, too: 4 and 8 bits
  }

  static void pack_tile(CodeKind kind, int bits, int64_t columns, const uint8_t* codes, uint8_t* out) {
    if (kind == CodeKind::ternary) return pack_ternary<Trits>(kTileRows, columns, codes, out);
    if (kind == CodeKind::codebook) return pack_nibbles(columns, codes, out);
    if (kind == CodeKind::float8) return pack_bytes<1, 0>(columns, codes, out);
    switch (bits) {
      case 1: return pack_planes<1>(columns, codes, out);
      case 2: return pack_planes<2>(columns, codes, out);
      case 3: return pack_planes<3>(columns, codes, out);
      case 4: return pack_planes<4>(columns, codes, out);
      case 5: return pack_planes<5>(columns, codes, out);
      case 6: return pack_planes<6>(columns, codes, out);
      case 7: return pack_planes<7>(columns, codes, out);
      default: return pack_bytes<kIntegerInterleave, kIntegerXor>(columns, codes, out);
    }
  }

  static void unpack_row_block(CodeKind kind, int bits, const uint8_t* tile, int64_t block, int row, uint8_t* codes) {
    if (kind == CodeKind::ternary) return unpack_ternary<Trits>(tile, row, block * 32, 32, codes);
    const uint8_t* in = tile + block * block_bytes(bits);
    if (kind == CodeKind::codebook) return unpack_nibbles(in, row, codes);
    if (kind == CodeKind::float8) return unpack_bytes<1, 0>(in, row, codes);
    switch (bits) {
      case 1: return codes_of(Planes::template get_planes<1>(row, in), codes);
      case 2: return codes_of(Planes::template get_planes<2>(row, in), codes);
      case 3: return codes_of(Planes::template get_planes<3>(row, in), codes);
      case 4: return codes_of(Planes::template get_planes<4>(row, in), codes);
      case 5: return codes_of(Planes::template get_planes<5>(row, in), codes);
      case 6: return codes_of(Planes::template get_planes<6>(row, in), codes);
      case 7: return codes_of(Planes::template get_planes<7>(row, in), codes);
      default: return unpack_bytes<kIntegerInterleave, kIntegerXor>(in, row, codes);
    }
  }

  static constexpr lutmac::Packing table() { return {kTileRows, packed_tile_bytes, pack_tile, unpack_row_block}; }

 private:
  template <int bits>
  static void pack_planes(int64_t columns, const uint8_t* codes, uint8_t* out) {
    for (int64_t k = 0; k < columns; k += 32, out += block_bytes(bits)) {
      for (int row = 0; row < kTileRows; ++row) {
        Planes::template put_planes<bits>(row, planes_of(codes + row * columns + k), out);
      }
    }
  }

  template <int kInterleave, int kXor>
  static void pack_bytes(int64_t columns, const uint8_t* codes, uint8_t* out) {
    for (int64_t k = 0; k < columns; k += kInterleave) {
      for (int row = 0; row < kTileRows; ++row, out += kInterleave) {
        for (int i = 0; i < kInterleave; ++i) out[i] = static_cast<uint8_t>(codes[row * columns + k + i] ^ kXor);
      }
    }
  }
  template <int kInterleave, int kXor>
  static void unpack_bytes(const uint8_t* in, int row, uint8_t* codes) {
    for (int k = 0; k < 32; ++k) {
      codes[k] = static_cast<uint8_t>(in[(k / kInterleave * kTileRows + row) * kInterleave + k % kInterleave] ^ kXor);
    }
  }

  // Which of 4 codes byte i of a dword holds.
  static constexpr int code_at(int i) { return kIntegerInterleave == 2 && (i == 1 || i == 2) ? 3 - i : i; }

  static void pack_nibbles(int64_t columns, const uint8_t* codes, uint8_t* out) {
    for (int64_t k = 0; k < columns; k += 8) {
      for (int row = 0; row < kTileRows; ++row) {
        const uint8_t* q = codes + row * columns + k;
        for (int i = 0; i < 4; ++i) *out++ = static_cast<uint8_t>(q[code_at(i)] | q[code_at(i) + 4] << 4);
      }
    }
  }
  static void unpack_nibbles(const uint8_t* in, int row, uint8_t* codes) {
    in += row * 4;
    for (int k = 0; k < 32; k += 8, in += kTileRows * 4) {
      for (int i = 0; i < 4; ++i) {
        codes[k + code_at(i)] = in[i] & 15;
        codes[k + code_at(i) + 4] = in[i] >> 4;
      }
    }
  }
};

// All rows of a block: codes[kTileRows][32].
template <typename Codes>
void unpack_block(const LowBit& w, int64_t tile, int64_t block, uint8_t* codes) {
  const uint8_t* in = w.codes + tile * Codes::packed_tile_bytes(w.kind, w.bits, w.columns);
  for (int row = 0; row < Codes::kTileRows; ++row) {
    Codes::unpack_row_block(w.kind, w.bits, in, block, row, codes + row * 32);
  }
}

}  // namespace lutmac::LUTMAC_TARGET
