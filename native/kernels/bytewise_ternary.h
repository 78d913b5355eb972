// Ternary products for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512).
//
// Bytes are rows: a vector is one LUT group of 5 k of a tile. Its bytes come apart into the indices of two tables, whose
// entries add up in u8; the sums are widened as in a plane on its own (see bytewise_lookup.h), multiplied by their scale's
// multiple into 32 bits after 8 LUT groups, and turned into floats once, at the end of the row.
//
// Instructions for a vector, one token: 8 for the indices, 4 to look up, 3 to widen, and 6 (avx2: 10) for each 8 vectors:
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
  static constexpr int64_t kPrefetch = 4096;

  // The tables of one LUT group; see prepare_ternary.h.
  static void store_tables(const float* x, float inverse, uint8_t* out) {
    using Float = typename Simd::Float;
    const Float factor = Simd::set_float(inverse), middle = Simd::set_float(128.0f);
    Float triples[16 / kLanes], pairs[16 / kLanes];
    for (int v = 0; v < 16 / kLanes; ++v) {
      Float sum = Simd::multiply_float(Simd::broadcast(x), Simd::load_float(kTriples[0] + v * kLanes));
      sum = Simd::multiply_add(Simd::broadcast(x + 1), Simd::load_float(kTriples[1] + v * kLanes), sum);
      sum = Simd::multiply_add(Simd::broadcast(x + 2), Simd::load_float(kTriples[2] + v * kLanes), sum);
      triples[v] = Simd::multiply_add(sum, factor, middle);
      sum = Simd::multiply_float(Simd::broadcast(x + 3), Simd::load_float(kPairs[0] + v * kLanes));
      sum = Simd::multiply_add(Simd::broadcast(x + 4), Simd::load_float(kPairs[1] + v * kLanes), sum);
      pairs[v] = Simd::multiply_add(sum, factor, middle);
    }
    Simd::store_bytes(triples, 0x80, out);
    Simd::store_bytes(pairs, 0, out + 16);
  }

  // 32-bit sums of one tile: component j, lane e is row j L + e. They start at minus what the tables' bias adds.
  template <int kTokens>
  struct Sums {
    Int rows[kTokens][4];
  };

  // The LUT groups that share a scale: kLutGroups, or at the end of a row fewer.
  template <int kTokens, bool kWhole>
  [[gnu::always_inline]] static inline void add_groups(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                     int groups, const int32_t* multiple, Sums<kTokens>& sums) {
    Int all[kTokens], odd[kTokens];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Simd::zero();
#pragma GCC unroll 8
    for (int g = 0; g < (kWhole ? kLutGroups : groups); ++g) {
      const auto trits = Simd::trits(Simd::load(codes + g * kTileRows));
      Simd::prefetch(codes + g * kTileRows + kPrefetch);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int looked = Simd::look_up_trits(tables + n * stride + g * 32, trits);
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

  template <int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token, const float* scale) {
    const int64_t groups = ternary_bytes(w.columns), stride = args.x_stride;
    const uint8_t* codes = w.codes + tile * groups * kTileRows;
    const uint8_t* x = args.x + token * stride;
    const int32_t* multiple = reinterpret_cast<const int32_t*>(x + TernaryForm::multiple_offset(w.columns));
    const uint8_t* bias = x + TernaryForm::bias_offset(w.columns);
    Sums<kTokens> sums;
    for (int n = 0; n < kTokens; ++n) {
      const int32_t start = -*reinterpret_cast<const int32_t*>(bias + n * stride);
      for (int j = 0; j < 4; ++j) sums.rows[n][j] = Simd::set32(start);
    }
    int64_t g = 0;
    for (; g + kLutGroups <= groups; g += kLutGroups, ++multiple) {
      add_groups<kTokens, true>(codes + g * kTileRows, x + g * 32, stride, kLutGroups, multiple, sums);
    }
    if (g < groups) {
      add_groups<kTokens, false>(codes + g * kTileRows, x + g * 32, stride, static_cast<int>(groups - g),
                                multiple, sums);
    }
    store<kTokens>(w, args, tile, token, scale, sums);
  }

  template <int kTokens>
  [[gnu::noinline]] static void store(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token,
                                      const float* scale, const Sums<kTokens>& sums) {
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    const uint8_t* unit = args.x + token * args.x_stride + TernaryForm::unit_offset(w.columns);
    for (int n = 0; n < kTokens; ++n, unit += args.x_stride) {
      alignas(64) float total[kTileRows];
      for (int j = 0; j < 4; ++j) {
        const auto value = Simd::multiply_float(Simd::to_float(sums.rows[n][j]), Simd::broadcast(reinterpret_cast<const float*>(unit)));
        Simd::store_float(total + j * kLanes, Simd::multiply_float(value, Simd::load_float(scale + j * kLanes)));
      }
      store_rows(args, token + n, tile * kTileRows, valid, total);
    }
  }

  static void matmul(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                     int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      alignas(64) float scale[kTileRows], offset[kTileRows];
      load_group(w, kTileRows, tile, 0, w.zero_point, scale, offset);
      int64_t token = token_begin;
      if constexpr (Simd::kSubTiles == 2) {
        for (; token + 8 <= token_end; token += 8) product<8>(w, args, tile, token, scale);
      }
      for (; token + 4 <= token_end; token += 4) product<4>(w, args, tile, token, scale);
      for (; token + 2 <= token_end; token += 2) product<2>(w, args, tile, token, scale);
      for (; token < token_end; ++token) product<1>(w, args, tile, token, scale);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
