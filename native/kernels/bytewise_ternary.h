// Ternary products for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512).
//
// Bytes are rows: a vector is one LUT group of 5 k of a tile. Its bytes come apart into the indices of two tables, whose
// entries add up in u8; the sums are widened as in a plane on its own (see bytewise_lookup.h), multiplied by their scale's
// multiple into 32 bits after 8 or 9 LUT groups, and turned into floats once for each block of 128 k.
//
// Instructions for a vector, one token: 8 for the indices, 4 to look up, 3 to widen, and 6 (avx2: 10) for each 9 vectors:
// 16 for 320 weights on avx512. For many tokens the indices are computed once and each token costs 8.
#pragma once

#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/prepare_ternary.h"
#include "kernels/ternary_code.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Simd>
struct BytewiseTernary {
  using Int = typename Simd::Int;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kTileRows = 4 * kLanes;
  static constexpr int kLutGroups = TernaryForm::kLutGroupsPerScale;
  using Trits = BytewiseTrits<kTileRows>;
  static constexpr int64_t kPrefetch = 4096;

  // The tables of one LUT group; see PlainTernaryTables. Ties go to even.
  static void store_tables(const float* x, float inverse, uint8_t* a) {
    using Float = typename Simd::Float;
    const Float factor = Simd::set_float(inverse);
    Float triples[16 / kLanes], pairs[16 / kLanes];
    for (int v = 0; v < 16 / kLanes; ++v) {
      Float sum = Simd::multiply_float(Simd::broadcast(x), Simd::load_float(kTriples[0] + v * kLanes));
      sum = Simd::multiply_add(Simd::broadcast(x + 1), Simd::load_float(kTriples[1] + v * kLanes), sum);
      sum = Simd::multiply_add(Simd::broadcast(x + 2), Simd::load_float(kTriples[2] + v * kLanes), sum);
      triples[v] = Simd::multiply_float(sum, factor);
      sum = Simd::multiply_float(Simd::broadcast(x + 3), Simd::load_float(kPairs[0] + v * kLanes));
      sum = Simd::multiply_add(Simd::broadcast(x + 4), Simd::load_float(kPairs[1] + v * kLanes), sum);
      pairs[v] = Simd::multiply_float(sum, factor);
    }
    Simd::store_signed(triples, 0, a);
    Simd::store_signed(pairs, 0x80, a + 64);
  }

  // 32-bit sums of one tile: component j, lane e is row j L + e. They start at minus what the tables' bias adds.
  template <int kTokens>
  struct Sums {
    Int rows[kTokens][4];
  };

  // The LUT groups that share a scale, from `first` on: kCount, or at the end of a row `count`.
  template <int kTokens, int kCount>
  [[gnu::always_inline]] static inline void add_groups(const uint8_t* codes, const uint8_t* x, int64_t stride, int64_t first,
                                                     int count, const int32_t* multiple, Sums<kTokens>& sums) {
    Int all[kTokens], odd[kTokens];
    codes += first * kTileRows;
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Simd::zero();
#pragma GCC unroll 9
    for (int g = 0; g < (kCount ? kCount : count); ++g) {
      const auto trits = Simd::trits(Simd::load(codes + g * kTileRows));
      Simd::prefetch(codes + g * kTileRows + kPrefetch);
      const uint8_t* tables = x + TernaryForm::table_offset(first + g);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int looked = Simd::look_up_trits(tables + n * stride, trits);
        all[n] = Simd::add16(all[n], looked);
        odd[n] = Simd::add16(odd[n], Simd::upper_bytes(looked));
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Int even = Simd::subtract16(all[n], Simd::to_upper_bytes(odd[n]));
      const int times = *reinterpret_cast<const int32_t*>(reinterpret_cast<const uint8_t*>(multiple) + n * stride);
      Int* rows = sums.rows[n];
      rows[0] = Simd::add_even_words(rows[0], even, times);
      rows[1] = Simd::add_even_words(rows[1], odd[n], times);
      rows[2] = Simd::add_odd_words(rows[2], even, times);
      rows[3] = Simd::add_odd_words(rows[3], odd[n], times);
    }
  }

  // A block's integers times its tables' unit, times the rows' scales, added to the totals [token][tile row].
  template <int kTokens>
  [[gnu::always_inline]] static inline void add_block(const LowBit& w, const uint8_t* codes, const uint8_t* x, int64_t stride,
                                                    int64_t block, const float* scale, float* totals) {
    const int64_t first = block * TernaryForm::kBlockLutGroups;
    const uint8_t* multiples = x + TernaryForm::multiple_offset(w.columns) + block * TernaryForm::kBlockScales * 4;
    const uint8_t* bias = x + TernaryForm::bias_offset(w.columns) + block * 4;
    const uint8_t* unit = x + TernaryForm::unit_offset(w.columns) + block * 4;
    const auto at = [&](int s) { return reinterpret_cast<const int32_t*>(multiples) + s; };
    Sums<kTokens> sums;
    for (int n = 0; n < kTokens; ++n) {
      const int32_t start = -*reinterpret_cast<const int32_t*>(bias + n * stride);
      for (int j = 0; j < 4; ++j) sums.rows[n][j] = Simd::set32(start);
    }
    const int groups = TernaryForm::block_lut_groups(w.columns, block);
    if (groups == TernaryForm::kBlockLutGroups) {
      add_groups<kTokens, kLutGroups>(codes, x, stride, first, 0, at(0), sums);
      add_groups<kTokens, kLutGroups>(codes, x, stride, first + kLutGroups, 0, at(1), sums);
      add_groups<kTokens, TernaryForm::kBlockLutGroups - 2 * kLutGroups>(codes, x, stride, first + 2 * kLutGroups, 0, at(2), sums);
    } else {
      for (int s = 0, left = groups; left > 0; ++s, left -= kLutGroups) {
        add_groups<kTokens, 0>(codes, x, stride, first + s * kLutGroups, left < kLutGroups ? left : kLutGroups, at(s), sums);
      }
    }
    for (int n = 0; n < kTokens; ++n) {
      const auto factor = Simd::broadcast(reinterpret_cast<const float*>(unit + n * stride));
      for (int j = 0; j < 4; ++j, totals += kLanes) {
        const auto value = Simd::multiply_float(Simd::to_float(sums.rows[n][j]), factor);
        Simd::store_float(totals, Simd::multiply_add(value, Simd::load_float(scale + j * kLanes), Simd::load_float(totals)));
      }
    }
  }

  template <int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    const uint8_t* codes = w.codes + tile * Trits::tile_bytes(w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    alignas(64) float totals[kTokens * kTileRows], scale[kTileRows];
    for (float& total : totals) total = 0.0f;
    for (int64_t block = 0; block < TernaryForm::blocks(w.columns); ++block) {
      const int64_t k = block * TernaryForm::kBlock;
      if (k % w.group_size == 0) load_scale(w, kTileRows, tile, k / w.group_size, scale);
      add_block<kTokens>(w, codes, x, args.x_stride, block, scale, totals);
    }
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < kTokens; ++n) store_rows(args, token + n, tile * kTileRows, valid, totals + n * kTileRows);
  }

  static void matmul(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                     int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      int64_t token = token_begin;
      if constexpr (Simd::kSubTiles == 2) {
        for (; token + 8 <= token_end; token += 8) product<8>(w, args, tile, token);
      }
      for (; token + 4 <= token_end; token += 4) product<4>(w, args, tile, token);
      for (; token + 2 <= token_end; token += 2) product<2>(w, args, tile, token);
      for (; token < token_end; ++token) product<1>(w, args, tile, token);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
