// Ternary products for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512, neon).
//
// Bytes are rows: a vector is one LUT group of 5 k of a tile. Its bytes come apart into the indices of two tables, whose
// entries add up in u8; the sums are widened as in a plane on its own (see bytewise_lookup.h), multiplied by their scale's
// multiple into 32 bits after 8 or 9 LUT groups, and turned into floats once for each block of 128 k.
//
// Instructions for a vector, one token: 8 for the indices, 4 to look up, 3 to widen, and 6 (avx2: 10) for each 9 vectors:
// 16 for 320 weights on avx512. For many tokens the indices are computed once and each token costs 8.
#pragma once

#include "kernels/chunks.h"
#include "kernels/float_product.h"
#include "kernels/fetch.h"
#include "kernels/lut.h"
#include "kernels/prepare_ternary.h"
#include "kernels/ternary_code.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

struct BytewiseTernary {
  static constexpr int kTileRows = 4 * kLanes;
  static constexpr int kLutGroups = TernaryForm::kLutGroupsPerScale;
  using Trits = BytewiseTrits<kTileRows>;

  // The tables of one LUT group; see PlainTernaryTables. Ties go to even.
  static void store_tables(const float* x, float inverse, uint8_t* a) {
    Floats triples[16 / kLanes], pairs[16 / kLanes];
    for (int v = 0; v < 16 / kLanes; ++v) {
      Floats sum = x[0] * load(kTriples[0] + v * kLanes);
      sum = multiply_add(broadcast(x[1]), load(kTriples[1] + v * kLanes), sum);
      sum = multiply_add(broadcast(x[2]), load(kTriples[2] + v * kLanes), sum);
      triples[v] = sum * inverse;
      sum = x[3] * load(kPairs[0] + v * kLanes);
      sum = multiply_add(broadcast(x[4]), load(kPairs[1] + v * kLanes), sum);
      pairs[v] = sum * inverse;
    }
    store_rounded_signed(a, triples, 0);
    store_rounded_signed(a + 64, pairs, 0x80);
  }

  // 32-bit sums of one tile: component j, lane e is row j L + e. They start at minus what the tables' bias adds.
  template <int kTokens>
  struct Sums {
    Ints rows[kTokens][4];
  };

  // The three trits of every byte as a number from -13 to 13, in magnitude and sign, and the index of the other two.
  struct Indices {
    Bytes triple, pair;
    Signs signs;
  };

  static Indices indices(Bytes bytes) {
    const Words even = dot_byte_pairs(bytes, (Bytes)(Words{} + 9));  // 9 * byte: its upper byte is the pair
    const Words odd = dot_byte_pairs(bytes, (Bytes)(Words{} + (9 << 8)));
    const Bytes pair = masked_or((Bytes)odd, (Bytes)(Words{} - 256), (Bytes)upper_bytes(even));
    const Bytes triple = bytes - look_up(load_table(Trits::kMiddle), pair);
    return {magnitude(triple), pair, signs_of(triple)};
  }

  // sign * A[triple] + C[pair], u8.
  static Bytes look_up_both(const uint8_t* tables, const Indices& index) {
    const Bytes triples = look_up(load_table(tables), index.triple), pairs = look_up(load_table(tables + 64), index.pair);
    return add_signed(pairs, triples, index.signs);
  }

  // The LUT groups that share a scale, from `first` on: kCount, or at the end of a row `count`.
  template <int kTokens, int kCount>
  [[gnu::always_inline]] static inline void add_groups(const uint8_t* codes, const uint8_t* x, int64_t stride, int64_t first,
                                                     int count, const int32_t* multiple, Sums<kTokens>& sums) {
    Words all[kTokens], odd[kTokens];
    codes += first * kTileRows;
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Words{};
#pragma GCC unroll 9
    for (int g = 0; g < (kCount ? kCount : count); ++g) {
      const Indices index = indices(load(codes + g * kTileRows));
      // There is much to do between two loads: the second cache is near enough.
      if constexpr (kTokens == 1) prefetch_far(codes + g * kTileRows + kFarPrefetch);
      if constexpr (kTokens > 1) fetch<kTokens>(codes + g * kTileRows);
      const uint8_t* tables = x + TernaryForm::table_offset(first + g);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Words looked = (Words)look_up_both(tables + n * stride, index);
        all[n] = add_words(all[n], looked);
        odd[n] = add_words(odd[n], upper_bytes(looked));
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Words even = subtract_words(all[n], to_upper_bytes(odd[n]));
      const int times = *reinterpret_cast<const int32_t*>(reinterpret_cast<const uint8_t*>(multiple) + n * stride);
      // Of two words of a lane one is multiplied by the multiple, the other by 0.
      const Words lower = (Words)broadcast(times), upper = (Words)broadcast(times << 16);
      Ints* rows = sums.rows[n];
      rows[0] = dot_pairs(even, lower, rows[0]);
      rows[1] = dot_pairs(odd[n], lower, rows[1]);
      rows[2] = dot_pairs(even, upper, rows[2]);
      rows[3] = dot_pairs(odd[n], upper, rows[3]);
    }
  }

  // A block's integers.
  template <int kTokens>
  [[gnu::always_inline]] static inline Sums<kTokens> sum_block(const LowBit& w, const uint8_t* codes, const uint8_t* x,
                                                               int64_t stride, int64_t block) {
    const int64_t first = block * TernaryForm::kBlockLutGroups;
    const uint8_t* multiples = x + TernaryForm::multiple_offset(w.columns) + block * TernaryForm::kBlockScales * 4;
    const uint8_t* bias = x + TernaryForm::bias_offset(w.columns) + block * 4;
    const auto at = [&](int s) { return reinterpret_cast<const int32_t*>(multiples) + s; };
    Sums<kTokens> sums;
    for (int n = 0; n < kTokens; ++n) {
      const int32_t start = -*reinterpret_cast<const int32_t*>(bias + n * stride);
      for (int j = 0; j < 4; ++j) sums.rows[n][j] = broadcast(start);
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
    return sums;
  }

  // Those integers times their tables' unit, times the rows' scales, added to the totals of [token][4 vectors of rows].
  template <int kTokens, typename Totals>
  [[gnu::always_inline]] static inline void add_block(const LowBit& w, const uint8_t* codes, const uint8_t* x, int64_t stride,
                                                      int64_t block, const float* scale, Totals totals) {
    const Sums<kTokens> sums = sum_block<kTokens>(w, codes, x, stride, block);
    const uint8_t* unit = x + TernaryForm::unit_offset(w.columns) + block * 4;
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Floats factor = broadcast(*reinterpret_cast<const float*>(unit + n * stride));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        totals(n, j, [&](Floats total) __attribute__((always_inline)) {
          return multiply_add(to_floats(sums.rows[n][j]) * factor, load(scale + j * kLanes), total);
        });
      }
    }
  }

  template <int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    const uint8_t* codes = w.codes + tile * Trits::tile_bytes(w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    alignas(64) float totals[kTokens * kTileRows], scale[kTileRows];
    for (float& total : totals) total = 0.0f;
    Floats alone[4] = {};  // of one token, in registers
    const auto add = [&](int n, int j, auto sum) __attribute__((always_inline)) {
      float* at = totals + n * kTileRows + j * kLanes;
      if constexpr (kTokens == 1) alone[j] = sum(alone[j]);
      if constexpr (kTokens > 1) store(at, sum(load(at)));
    };
    int64_t group = 0, next = 0;  // the group that begins next, and its first column
    for (int64_t block = 0; block < TernaryForm::blocks(w.columns); ++block) {
      const int64_t k = block * TernaryForm::kBlock;
      if (k == next) {
        load_param<kTileRows>(w, w.scale, w.packed_scale, tile, group++, scale);
        next += w.group_size;
      }
      add_block<kTokens>(w, codes, x, args.x_stride, block, scale, add);
    }
    for (int j = 0; j < 4 && kTokens == 1; ++j) store(totals + j * kLanes, alone[j]);
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < kTokens; ++n) store_rows(args, token + n, tile * kTileRows, valid, totals + n * kTileRows);
  }

  static void matmul(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                     int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      int64_t token = token_begin;
      if constexpr (kRegisters == 32) {
        for (; token + 8 <= token_end; token += 8) product<8>(w, args, tile, token);
      }
      for (; token + 4 <= token_end; token += 4) product<4>(w, args, tile, token);
      for (; token + 2 <= token_end; token += 2) product<2>(w, args, tile, token);
      for (; token < token_end; ++token) product<1>(w, args, tile, token);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
