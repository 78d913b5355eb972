// Five trits in a byte.
//
// The trits are codes 0, 1, 2 of a LUT group (see TernaryForm): 128 k are 26 bytes, the last of which has 3 trits. The first
// three of a byte make 9 q2 + 3 q1 + q0, of 27 values (the triple), the other two 3 q4 + q3, of 9 (the pair). Codes that a byte
// has beyond its LUT group's are 1, which stands for zero.
//
// Packings have one of two orders, each with a way to say the two in a byte that its kernels take apart at the least cost.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/lut.h"
#include "target.h"

namespace lutmac::LUTMAC_TARGET {

inline constexpr int kTritsPerByte = 5;

// The triple, 0 to 26, and the pair, 0 to 8.
struct TritByte {
  int triple, pair;
};

// Five codes in the lowest bytes of a word, to the number 81 q4 + 27 q3 + 9 q2 + 3 q1 + q0: byte 4 of a product, into which nothing is
// carried. A code of 3, which stands for nothing, is taken as 2.
inline int join_trits(uint64_t codes) {
  codes &= 0x0303030303ull;
  codes ^= codes & codes >> 1 & 0x0101010101ull;
  return static_cast<int>(codes * 0x103091b51ull >> 32 & 0xff);
}

// For each such number its byte in a packing's order.
template <typename Trits>
struct TritBytes {
  uint8_t bytes[243];
  constexpr TritBytes() : bytes() {
    for (int code = 0; code < 243; ++code) bytes[code] = Trits::encode({code % 27, code / 27});
  }
};

// The code of place i, 0 to 4.
inline uint8_t trit_at(TritByte byte, int i) {
  constexpr int kPower[] = {1, 3, 9, 1, 3};
  return static_cast<uint8_t>((i < 3 ? byte.triple : byte.pair) / kPower[i] % 3);
}

// Bytes lie as [LUT group][tile row], where row j L + e of a tile of 4 L rows stands at 4 e + j: byte j of a 32-bit lane e.
// A byte is first(pair) + triple, first(c) = ceil(256 c / 9). So the pair is byte * 9 / 256, rounded down: one multiplication and
// no remainder where a kernel wants the two as indices.
template <int kTileRows>
struct BytewiseTrits {
  static constexpr uint8_t kFirst[16] = {0, 29, 57, 86, 114, 143, 171, 200, 228};
  // The byte of each pair whose three trits are zero.
  alignas(16) static constexpr uint8_t kMiddle[16] = {13, 42, 70, 99, 127, 156, 184, 213, 241};

  static int64_t tile_bytes(int64_t columns) { return TernaryForm::lut_groups(columns) * kTileRows; }
  static int64_t place(int64_t lut_group, int row) {
    return lut_group * kTileRows + row % (kTileRows / 4) * 4 + row / (kTileRows / 4);
  }
  static constexpr uint8_t encode(TritByte trits) { return static_cast<uint8_t>(kFirst[trits.pair] + trits.triple); }
  static TritByte decode(uint8_t byte) {
    const int pair = byte * 9 >> 8;
    return {byte - kFirst[pair], pair};
  }
};

// Bytes lie as [4 LUT groups][tile row][4 bytes]. With the triple less 13 and the pair less 4, either of which may be
// negative: a byte's bit 7 says to change the sign of both, after which the triple is not negative; the other bits are
// 9 * triple + pair + 4.
template <int kTileRows>
struct DwordTrits {
  static int64_t tile_bytes(int64_t columns) { return (TernaryForm::lut_groups(columns) + 3) / 4 * 4 * kTileRows; }
  static int64_t place(int64_t lut_group, int row) {
    return lut_group / 4 * 4 * kTileRows + row * 4 + lut_group % 4;
  }
  static constexpr uint8_t encode(TritByte trits) {
    const int triple = trits.triple - 13, pair = trits.pair - 4;
    return static_cast<uint8_t>(triple < 0 ? 0x80 | (4 - 9 * triple - pair) : 9 * triple + pair + 4);
  }
  static TritByte decode(uint8_t byte) {
    const int triple = (byte & 127) / 9, pair = (byte & 127) % 9 - 4;
    return byte & 128 ? TritByte{13 - triple, 4 - pair} : TritByte{13 + triple, 4 + pair};
  }
};

// The LUT groups of one row's block: count codes, at most TernaryForm::kBlock. place(i): where byte i goes.
template <typename Trits, typename Place>
inline void pack_trits(const uint8_t* codes, int count, Place place) {
  static constexpr TritBytes<Trits> kBytes;
  constexpr uint64_t kZeros = 0x0101010101ull;  // five codes that stand for zero
  int i = 0;
  for (; (i + 1) * kTritsPerByte + 3 <= count; ++i) {  // 8 bytes can be read
    uint64_t word;
    std::memcpy(&word, codes + i * kTritsPerByte, 8);
    *place(i) = kBytes.bytes[join_trits(word)];
  }
  for (; i * kTritsPerByte < count; ++i) {
    const int left = count - i * kTritsPerByte;
    uint64_t word = kZeros;
    std::memcpy(&word, codes + i * kTritsPerByte, static_cast<size_t>(left < kTritsPerByte ? left : kTritsPerByte));
    *place(i) = kBytes.bytes[join_trits(word)];
  }
}

template <typename Trits>
void pack_ternary(int tile_rows, int64_t columns, const uint8_t* codes, uint8_t* out) {
  // Rows are read along, a stretch of them, while what is written stays in the L1 cache.
  constexpr int64_t kStretch = 2 * TernaryForm::kBlock;
  for (int64_t begin = 0; begin < columns; begin += kStretch) {
    const int64_t end = begin + kStretch < columns ? begin + kStretch : columns;
    for (int r = 0; r < tile_rows; ++r) {
      for (int64_t block = begin; block < end; block += TernaryForm::kBlock) {
        const int count = static_cast<int>(end - block < TernaryForm::kBlock ? end - block : TernaryForm::kBlock);
        const int64_t group = block / TernaryForm::kBlock * TernaryForm::kBlockLutGroups;
        pack_trits<Trits>(codes + r * columns + block, count, [&](int i) { return out + Trits::place(group + i, r); });
      }
    }
  }
  // What fills the last bytes up.
  for (int64_t group = TernaryForm::lut_groups(columns); group * tile_rows < Trits::tile_bytes(columns); ++group) {
    for (int r = 0; r < tile_rows; ++r) out[Trits::place(group, r)] = Trits::encode({13, 4});
  }
}

// codes[i] = the code at column k + i of one row; tile: its tile's bytes.
template <typename Trits>
void unpack_ternary(const uint8_t* tile, int row, int64_t k, int count, uint8_t* codes) {
  for (int i = 0; i < count; ++i) {
    const int64_t block = (k + i) / TernaryForm::kBlock, within = (k + i) % TernaryForm::kBlock;
    const int64_t group = block * TernaryForm::kBlockLutGroups + within / kTritsPerByte;
    codes[i] = trit_at(Trits::decode(tile[Trits::place(group, row)]), static_cast<int>(within % kTritsPerByte));
  }
}

}  // namespace lutmac::LUTMAC_TARGET
