// Products of ternary codes.
//
// A dword is a row, its bytes 4 LUT groups of 5 k. One vpermi2b over the 7 bits of a byte gives its two indices, whose entries
// vpermb finds in four tables at once; their sum takes the byte's sign, and vpdpbusd adds the four of a dword, each times the
// multiple of its tables' scale. 128 k are six and a half dwords: the middle one of two blocks is read for either of them, and
// the form's weights are zero for what belongs to the other.
//
// Instructions for 64 bytes of weights, 320 of them: load, vpmovb2m, vpermi2b, vpternlogd, vpsrld, vpternlogd, and for each token
// 2 vpermb, vpaddb, vpsubb under the signs and vpdpbusd. Integers are exact in any order, and their way to floats is that of avx512:
// so are the results, to the bit.
#pragma once

#include "kernels/avx512vbmi/indices.h"
#include "kernels/avx512vbmi/packing.h"
#include "kernels/chunks.h"
#include "kernels/fetch.h"

namespace lutmac::LUTMAC_TARGET {

// For each 7 bits of a byte the index of its triple in the low nibble, that of its pair in the high one; see DwordTrits.
struct TritIndices {
  alignas(64) uint8_t bytes[128];
  constexpr TritIndices() : bytes() {
    for (int code = 0; code < 128; ++code) bytes[code] = static_cast<uint8_t>(code / 9 | code % 9 << 4);
  }
};
inline constexpr TritIndices kTritIndices;

class TernaryProduct {
 public:
  // Tokens that read a block of weights while the L1 cache has it.
  static constexpr int kTokens = 16;

  // count: at most kTokens.
  TernaryProduct(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token, int count)
      : w_(w), x_(args.x + token * args.x_stride), stride_(args.x_stride), tile_(tile), count_(count) {
    for (int i = 0; i < count * kTileRows; i += kLanes) store(totals_ + i, Floats{});
  }

  void run() {
    const uint8_t* codes = w_.codes + tile_ * Codes::Trits::tile_bytes(w_.columns);
    if (count_ == 1) return run_alone(codes);
    for (int64_t block = 0; block < TernaryForm::blocks(w_.columns); ++block) {
      const int64_t k = block * TernaryForm::kBlock;
      if (k % w_.group_size == 0) load_param<kTileRows>(w_, w_.scale, w_.packed_scale, tile_, k / w_.group_size, scale_);
      const int skipped = static_cast<int>(block % 2) * 2;  // LUT groups of the block before in the first dword
      const int dwords = (skipped + TernaryForm::block_lut_groups(w_.columns, block) + 3) / 4;
      add_tokens(codes, block, block / 2 * 13 + block % 2 * 6, dwords);
    }
  }

  // Of a token, for the rows of the tile.
  const float* totals(int n) const { return totals_ + n * kTileRows; }

 private:
  static constexpr int kTileRows = Codes::kTileRows, kVectors = kTileRows / kLanes;

  // first: the block's first dword of a row; dwords: how many it has.
  void add_tokens(const uint8_t* codes, int64_t block, int64_t first, int dwords) {
    int n = 0;
    for (; n + 4 <= count_; n += 4) add<4>(codes, block, first, dwords, n);
    if (n + 3 == count_) return add<3>(codes, block, first, dwords, n);
    if (n + 2 == count_) return add<2>(codes, block, first, dwords, n);
    if (n + 1 == count_) return add<1>(codes, block, first, dwords, n);
  }

  // kNumber tokens from `token` on: integers, and those to floats.
  template <int kNumber>
  [[gnu::noinline]] void add(const uint8_t* codes, int64_t block, int64_t first, int dwords, int token) {
    const uint8_t* x = x_ + token * stride_;
    const uint8_t* weights = x + TernaryForm::byte_multiple_offset(w_.columns) + block * TernaryForm::kBlockMultiples;
    const uint8_t* tables = x + first * 128;
    const Bytes low = load_once(kTritIndices.bytes), high = load_once(kTritIndices.bytes + 64);
    Ints sums[kNumber][kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n) {
      for (Ints& sum : sums[n]) sum = Ints{};
    }
    codes += first * kTileRows * 4;
    for (int dword = 0; dword < dwords; ++dword, codes += kTileRows * 4, tables += 128, weights += 4) {
      Bytes triples[kVectors], pairs[kVectors];
      Signs signs[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Bytes bytes = load_once(codes + v * 64);
        if (token == 0) fetch_far(codes + v * 64);
        signs[v] = signs_of(bytes);
        const Bytes both = look_up_eight(low, high, bytes);
        triples[v] = low_indices(both);
        pairs[v] = high_indices(both);
      }
#pragma GCC unroll 4
      for (int n = 0; n < kNumber; ++n) {
        const Bytes multiples = (Bytes)broadcast_dword(weights + n * stride_);
        const Bytes of_triples = load_once(tables + n * stride_), of_pairs = load_once(tables + n * stride_ + 64) ^ 0x80;
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const Bytes sum = look_up_four(of_triples, triples[v]) + look_up_four(of_pairs, pairs[v]);
          add_dot_bytes(sums[n][v], multiples, with_signs(sum, signs[v]));
        }
      }
    }
    flush<kNumber>(sums, block, token);
  }

  [[gnu::always_inline]] void flush_alone(int64_t block, const Ints (&sums)[kVectors], Floats (&totals)[kVectors]) {
    const int64_t k = block * TernaryForm::kBlock;
    if (k % w_.group_size == 0) load_param<kTileRows>(w_, w_.scale, w_.packed_scale, tile_, k / w_.group_size, scale_);
    float unit;
    std::memcpy(&unit, x_ + TernaryForm::unit_offset(w_.columns) + block * 4, 4);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      totals[v] = multiply_add(to_floats(sums[v]) * broadcast(unit), load(scale_ + v * kLanes), totals[v]);
    }
  }

  // The signed entries of one dword of every row.
  [[gnu::always_inline]] static void look_up_dword(const uint8_t* codes, const uint8_t* tables, Bytes (&entries)[kVectors]) {
    const Bytes low = load_once(kTritIndices.bytes), high = load_once(kTritIndices.bytes + 64);
    const Bytes of_triples = load_once(tables), of_pairs = load_once(tables + 64) ^ 0x80;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Bytes bytes = load_once(codes + v * 64);
      fetch_far(codes + v * 64);
      const Bytes both = look_up_eight(low, high, bytes);
      const Bytes sum = look_up_four(of_triples, low_indices(both)) + look_up_four(of_pairs, high_indices(both));
      entries[v] = with_signs(sum, signs_of(bytes));
    }
  }
  [[gnu::always_inline]] static void add_dword(const uint8_t* from, const Bytes (&entries)[kVectors], Ints (&sums)[kVectors]) {
    const Bytes multiples = (Bytes)broadcast_dword(from);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) add_dot_bytes(sums[v], multiples, entries[v]);
  }

  // One token: its totals stay in registers, and the dword that two blocks share is looked up once.
  [[gnu::noinline]] void run_alone(const uint8_t* codes) {
    constexpr int kDwordBytes = kTileRows * 4, kWhole = TernaryForm::kBlockLutGroups / 4;
    const int64_t blocks = TernaryForm::blocks(w_.columns);
    const uint8_t* tables = x_;
    const uint8_t* multiples = x_ + TernaryForm::byte_multiple_offset(w_.columns);
    Floats totals[kVectors] = {};
    Ints sums[kVectors];
    Bytes entries[kVectors];
    // Dwords first to last - 1 of two blocks, by the multiples of one of them.
    const auto add_dwords = [&](int first, int last, const uint8_t* of_block) {
      for (int dword = first; dword < last; ++dword, codes += kDwordBytes, tables += 128) {
        look_up_dword(codes, tables, entries);
        add_dword(of_block + dword * 4, entries, sums);
      }
    };
    for (int64_t block = 0; block < blocks; block += 2, multiples += 2 * TernaryForm::kBlockMultiples) {
      const int first = TernaryForm::block_lut_groups(w_.columns, block);
      const int second = block + 1 < blocks ? TernaryForm::block_lut_groups(w_.columns, block + 1) : 0;
      for (Ints& sum : sums) sum = Ints{};
      add_dwords(0, (first + 3) / 4, multiples);  // the last of them in both blocks, if the first is whole
      flush_alone(block, sums, totals);
      if (second == 0) continue;
      const uint8_t* of_second = multiples + TernaryForm::kBlockMultiples - kWhole * 4;
      for (Ints& sum : sums) sum = Ints{};
      add_dword(of_second + kWhole * 4, entries, sums);
      add_dwords(kWhole + 1, (first + second + 3) / 4, of_second);
      flush_alone(block + 1, sums, totals);
    }
    for (int v = 0; v < kVectors; ++v) store(totals_ + v * kLanes, totals[v]);
  }

  template <int kNumber>
  [[gnu::always_inline]] void flush(const Ints (&sums)[kNumber][kVectors], int64_t block, int token) {
    const uint8_t* unit = x_ + token * stride_ + TernaryForm::unit_offset(w_.columns) + block * 4;
    float* totals = totals_ + token * kTileRows;
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n, totals += kTileRows) {
      float number;
      std::memcpy(&number, unit + n * stride_, 4);
      const Floats factor = broadcast(number);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        float* at = totals + v * kLanes;
        store(at, multiply_add(to_floats(sums[n][v]) * factor, load(scale_ + v * kLanes), load(at)));
      }
    }
  }

  const LowBit& w_;
  const uint8_t* x_;
  const int64_t stride_, tile_;
  const int count_;
  alignas(64) float scale_[kTileRows];
  alignas(64) float totals_[kTokens * kTileRows];
};

}  // namespace lutmac::LUTMAC_TARGET
