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

#include "kernels/avx512vbmi/packing.h"
#include "kernels/avx512vbmi/wide.h"
#include "kernels/float_product.h"
#include "kernels/params.h"

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
    for (int i = 0; i < count * kTileRows; i += kLanes) Wide::store_float(totals_ + i, Wide::set_float(0.0f));
  }

  void run() {
    const uint8_t* codes = w_.codes + tile_ * Codes::Trits::tile_bytes(w_.columns);
    for (int64_t block = 0; block < TernaryForm::blocks(w_.columns); ++block) {
      const int64_t k = block * TernaryForm::kBlock;
      if (k % w_.group_size == 0) load_scale(k / w_.group_size);
      const int skipped = static_cast<int>(block % 2) * 2;  // LUT groups of the block before in the first dword
      const int dwords = (skipped + TernaryForm::block_lut_groups(w_.columns, block) + 3) / 4;
      add_tokens(codes, block, block / 2 * 13 + block % 2 * 6, dwords);
    }
  }

  void store(const MatmulArgs& args, int64_t token) const {
    const int64_t left = w_.rows - tile_ * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < count_; ++n) store_rows(args, token + n, tile_ * kTileRows, valid, totals_ + n * kTileRows);
  }

 private:
  using Int = Wide::Int;
  using Float = Wide::Float;
  static constexpr int kTileRows = Codes::kTileRows, kLanes = 16, kVectors = kTileRows / kLanes;
  // How far ahead of the loads weights are fetched: a page, so that the prefetch crosses into the next one in time.
  static constexpr int kPrefetch = 4096;
  static constexpr int kScalePrefetch = 1024;

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
    const uint8_t* weights = x + TernaryForm::weight_offset(w_.columns) + block * TernaryForm::kBlockWeights;
    const uint8_t* tables = x + first * 128;
    const int64_t ahead = token == 0 ? kPrefetch : 0;
    const Int low = Wide::load(kTritIndices.bytes), high = Wide::load(kTritIndices.bytes + 64);
    Int sums[kNumber][kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n) {
      for (Int& sum : sums[n]) sum = Wide::set32(0);
    }
    codes += first * kTileRows * 4;
    for (int dword = 0; dword < dwords; ++dword, codes += kTileRows * 4, tables += 128, weights += 4) {
      Int triples[kVectors], pairs[kVectors];
      Wide::Signs signs[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Int bytes = Wide::load(codes + v * 64);
        Wide::prefetch(codes + v * 64 + ahead);
        signs[v] = Wide::signs(bytes);
        const Int both = Wide::look_up_128(low, high, bytes);
        triples[v] = Wide::low_indices(both);
        pairs[v] = Wide::high_indices(both);
      }
#pragma GCC unroll 4
      for (int n = 0; n < kNumber; ++n) {
        int32_t weight;
        std::memcpy(&weight, weights + n * stride_, 4);
        const Int multiples = Wide::set32(weight);
        const Int of_triples = Wide::load(tables + n * stride_);
        const Int of_pairs = Wide::xor_bytes(Wide::load(tables + n * stride_ + 64), 0x80);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          const Int entries = Wide::signed_sum(Wide::look_up(of_triples, triples[v]), Wide::look_up(of_pairs, pairs[v]), signs[v]);
          Wide::add_weighted(sums[n][v], multiples, entries);
        }
      }
    }
    flush<kNumber>(sums, block, token);
  }

  template <int kNumber>
  [[gnu::always_inline]] void flush(const Int (&sums)[kNumber][kVectors], int64_t block, int token) {
    const uint8_t* unit = x_ + token * stride_ + TernaryForm::unit_offset(w_.columns) + block * 4;
    float* totals = totals_ + token * kTileRows;
#pragma GCC unroll 4
    for (int n = 0; n < kNumber; ++n, totals += kTileRows) {
      float number;
      std::memcpy(&number, unit + n * stride_, 4);
      const Float factor = Wide::set_float(number);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        float* at = totals + v * kLanes;
        const Float value = Wide::multiply(Wide::to_float(sums[n][v]), factor);
        Wide::store_float(at, Wide::multiply_add(value, Wide::load_float(scale_ + v * kLanes), Wide::load_float(at)));
      }
    }
  }

  // The common kind in registers.
  void load_scale(int64_t group) {
    if (w_.scale.kind != ParamKind::f16) return lutmac::LUTMAC_TARGET::load_scale(w_, kTileRows, tile_, group, scale_);
    const uint8_t* halves = w_.packed_scale.values + (tile_ * w_.groups + group) * kTileRows * 2;
    const Float factor = Wide::set_float(w_.factor);
    for (int i = 0; i < kTileRows * 2; i += 64) Wide::prefetch(halves + kScalePrefetch + i);
    for (int i = 0; i < kTileRows; i += kLanes) {
      Wide::store_float(scale_ + i, Wide::multiply(Wide::load_halves(halves + i * 2), factor));
    }
  }

  const LowBit& w_;
  const uint8_t* x_;
  const int64_t stride_, tile_;
  const int count_;
  alignas(64) float scale_[kTileRows];
  alignas(64) float totals_[kTokens * kTileRows];
};

inline void ternary_products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                             int64_t token_begin, int64_t token_end) {
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    for (int64_t token = token_begin; token < token_end; token += TernaryProduct::kTokens) {
      const int64_t left = token_end - token;
      const int count = static_cast<int>(left < TernaryProduct::kTokens ? left : TernaryProduct::kTokens);
      TernaryProduct product(w, args, tile, token, count);
      product.run();
      product.store(args, token);
    }
  }
}

}  // namespace lutmac::LUTMAC_TARGET
