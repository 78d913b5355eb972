// One token's product by lookup: the integers of a tile stay in registers up to their floats. Through memory, as those of several
// tokens go, they would cost as much as the lookups (1 bit: half of the time).
#pragma once

#include "kernels/chunks.h"
#include "kernels/float_product.h"

namespace lutmac::LUTMAC_TARGET {

// Of a tile and group. Apart from the totals, which would be kept in memory with them: some kinds are read by a call.
struct Scales {
  static constexpr int kTileRows = 4 * kLanes;
  alignas(64) float scale[kTileRows], offset[kTileRows];

  [[gnu::always_inline]] void read(const LowBit& w, int64_t tile, int64_t group) { load_scales<kTileRows>(w, tile, group, scale, offset); }
};

// A tile's results.
inline void store_totals(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token, const Floats (&totals)[4]) {
  constexpr int kTileRows = 4 * kLanes;
  alignas(64) float rows[kTileRows];
  for (int t = 0; t < 4; ++t) store(rows + t * kLanes, totals[t]);
  const int64_t left = w.rows - tile * kTileRows;
  store_rows(args, token, tile * kTileRows, static_cast<int>(left < kTileRows ? left : kTileRows), rows);
}

template <typename Lookup, typename Codes, int kBits>
struct OneToken {
  // Lookup, Codes: as of LookupProducts' target.
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    w.group_size < 32 ? sum_chunks<true>(w, args, tile, token) : sum_chunks<false>(w, args, tile, token);
  }

 private:
  // All chunks of a tile.
  // kHalves: groups are of 16.
  template <bool kHalves>
  [[gnu::noinline]] static void sum_chunks(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(CodeKind::affine, kBits, w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    Scales scales;
    Floats totals[4] = {};
    const auto group = [&](int64_t at) __attribute__((always_inline)) { scales.read(w, tile, at); };
    const auto add = [&](const Chunk& chunk) __attribute__((always_inline)) {
      if constexpr (!kHalves) return add_chunk<Part::whole>(w, codes, x, chunk, scales, totals);
      chunk.part == Part::first ? add_chunk<Part::first>(w, codes, x, chunk, scales, totals)
                                : add_chunk<Part::second>(w, codes, x, chunk, scales, totals);
    };
    if constexpr (kHalves) {
      each_half_block(w, group, add);
    } else {
      each_span(w, kUnitBlocks, group, add);
    }
    store_totals(w, args, tile, token, totals);
  }

  template <Part part>
  [[gnu::always_inline]] static inline void add_chunk(const LowBit& w, const uint8_t* codes, const uint8_t* x, const Chunk& chunk,
                                                      const Scales& scales, Floats (&totals)[4]) {
    ChunkForms<1> forms;
    const int32_t* multiples = forms.read_tables(w.columns, x, 0, chunk).first;
    const uint8_t *at = codes + chunk.block * Codes::block_bytes(kBits), *tables = x + chunk.block * 128;
    constexpr int32_t kBias = table_bias(kBits, part);
    Ints sums[4];
    if (chunk.blocks == 1) {
      for (Ints& sum : sums) sum = broadcast(-kBias);
      Lookup::template add_block<kBits, part>(at, tables, 1, sums);
    } else {
      for (Ints& sum : sums) sum = broadcast(-kBias * sum_first(multiples, chunk.blocks));
      for (int block = 0; block < chunk.blocks; ++block, at += Codes::block_bytes(kBits)) {
        Lookup::template add_block<kBits, part>(at, tables + block * 128, multiples[block], sums);
      }
    }
    const bool with_offset = w.offset.kind != ParamKind::none;
    const ToFloats floats(*forms.unit.first, *forms.activations.first, broadcast(center_of(kBits) - w.zero_point));
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      totals[t] = floats.add(sums[t], load(scales.scale + t * kLanes), totals[t]);
      if (with_offset) totals[t] = floats.add_offset(load(scales.offset + t * kLanes), totals[t]);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
