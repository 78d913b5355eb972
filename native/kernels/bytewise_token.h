// One token's product by lookup: the integer sums of a tile stay in registers up to their floats.
//
// Integers are exact in any order, and each chunk adds to the floats as flush of bytewise_chunk.h does: the bits are those of
// several tokens, whose sums go through memory. With one token that way would cost as much as the lookups (1 bit: half of
// the time).
#pragma once

#include "kernels/bytewise_chunk.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Simd, int kBits>
struct BytewiseToken {
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  using Layout = typename Simd::Codes;
  using Block = BytewiseBlock<Simd, 0, 4>;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kBytes = kLanes * 4;
  static constexpr int kTileRows = 4 * kLanes;
  static constexpr int kUnitBlocks = kTableUnit / kTableGroup;
  // Of the tables, in the sum of a block: 128 for each lookup and plane weight.
  static constexpr int kBias = 8 * 128 * ((1 << kBits) - 1);

  // [row / L], lane row % L.
  struct Sums {
    Int rows[4];
  };

  [[gnu::always_inline]] static inline void add_block(const uint8_t* codes, const uint8_t* tables, int multiple, Sums& sums) {
    constexpr bool kQuad = Layout::has_quad(kBits), kPair = Layout::has_pair(kBits);
    constexpr int kPlane = kQuad ? 4 : 0;
    const auto add = [&](int, int rows, Int words, Int times) __attribute__((always_inline)) {
      sums.rows[rows] = Simd::multiply_words(sums.rows[rows], words, times);
    };
    const auto weighted = [multiple](int plane) { return [=](int) { return multiple << plane; }; };
    if constexpr (kQuad) Block::template quad<1, 4, false>(codes, tables, 0, weighted(0), add);
    const uint8_t* rest = codes + (kQuad ? 16 * kBytes : 0);
    if constexpr (Layout::has_triple(kBits)) Block::template quad<1, 4, true>(rest, tables, 0, weighted(kPlane), add);
    if constexpr (kPair) Block::template pair<1, 2>(rest, tables, 0, weighted(kPlane), add);
    if constexpr (Layout::has_single(kBits)) {
      Block::template single<1>(rest + (kPair ? 8 * kBytes : 0), tables, 0, weighted(kBits - 1), add);
    }
  }

  // Groups of 32 and more. center: the mean code less the zero point.
  [[gnu::noinline]] static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    const int64_t columns = w.columns, blocks = columns / 32, group_blocks = w.group_size / 32;
    const uint8_t* codes = w.codes + tile * Layout::packed_tile_bytes(CodeKind::affine, kBits, columns);
    const uint8_t* x = args.x + token * args.x_stride;
    const float* half_scales = reinterpret_cast<const float*>(x + TableForm::scale_offset(columns));
    const float* block_sums = reinterpret_cast<const float*>(x + TableForm::sum32_offset(columns));
    const int32_t* multiples = reinterpret_cast<const int32_t*>(x + TableForm::multiple_offset(columns));
    const float* units = reinterpret_cast<const float*>(x + TableForm::unit_offset(columns));
    const Float center = Simd::set_float(center_of(kBits) - w.zero_point);
    const bool with_offset = w.offset.kind != ParamKind::none;
    alignas(64) float scale[kTileRows], offset[kTileRows], totals[kTileRows];
    Float total[4];
    for (Float& value : total) value = Simd::set_float(0.0f);
    for (int64_t block = 0, group = -1, group_end = 0; block < blocks;) {
      if (block == group_end) {
        BytewiseChunks<Simd>::load_params(w, tile, ++group, scale, offset);
        group_end = (group + 1) * group_blocks < blocks ? (group + 1) * group_blocks : blocks;
      }
      const int64_t unit_end = (block / kUnitBlocks + 1) * kUnitBlocks, end = unit_end < group_end ? unit_end : group_end;
      Sums sums;
      const int count = static_cast<int>(end - block);
      const float activations = sum_first(block_sums + block, count);
      float unit = half_scales[block];
      if (count == 1) {
        for (Int& sum : sums.rows) sum = Simd::set32(-kBias);
        add_block(codes, x + block * 128, 1, sums);
        codes += Layout::block_bytes(kBits);
      } else {
        unit = units[block / kUnitBlocks];
        const int bias = kBias * sum_first(multiples + block, count);
        for (Int& sum : sums.rows) sum = Simd::set32(-bias);
        for (int64_t b = block; b < end; ++b, codes += Layout::block_bytes(kBits)) {
          add_block(codes, x + b * 128, multiples[b], sums);
        }
      }
      block = end;
      const Float per_unit = Simd::set_float(unit), all = Simd::set_float(activations);
      const Float shift = Simd::multiply_float(center, all);
#pragma GCC unroll 4
      for (int t = 0; t < 4; ++t) {
        const Float value = Simd::multiply_add(Simd::to_float(sums.rows[t]), per_unit, shift);
        total[t] = Simd::multiply_add(value, Simd::load_float(scale + t * kLanes), total[t]);
        if (with_offset) total[t] = Simd::multiply_add(Simd::load_float(offset + t * kLanes), all, total[t]);
      }
    }
    for (int t = 0; t < 4; ++t) Simd::store_float(totals + t * kLanes, total[t]);
    const int64_t left = w.rows - tile * kTileRows;
    store_rows(args, token, tile * kTileRows, static_cast<int>(left < kTileRows ? left : kTileRows), totals);
  }
};

}  // namespace lutmac::LUTMAC_TARGET
