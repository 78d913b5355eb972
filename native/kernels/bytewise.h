// Lookup kernels for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512).
//
// All bytes of a 128-bit part look up the same table, so bytes are rows. The planes of one row share the table too: they
// lie in adjacent bytes, and one multiply-add by (1, 2, 4, 8) weights and sums them without widening first.
//
// A tile is 4 L rows, L the 32-bit lanes of a vector. A block is 32 k of a tile; it holds its planes in components:
//   quad    planes 0-3 of 4 to 7 bits:     4 vectors per quarter; vector t, lane e is row t L + e, its bytes the planes
//   triple  the last 3 planes of 3 and 7 (avx512): the same with 3 planes, and only 3 quarters: byte 3 of quarter s is
//           plane s of quarter 3
//   pair    2 planes after the quads, if any: 2 vectors per quarter; vector v, lane e, word h is row (2 v + h) L + e
//   single  the last plane of odd bits:    1 vector per quarter; lane e, byte j is row j L + e
// each component as 4 quarters of 8 k: the low nibble of a byte is the index into the table of the quarter's first LUT
// group, the high nibble into that of its second. 8-bit codes lie as integers; see the target's file.
#pragma once

#include "kernels/book_pass.h"
#include "kernels/bytewise_chunk.h"
#include "kernels/bytewise_ternary.h"
#include "kernels/bytewise_token.h"
#include "kernels/kernel_table.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// Simd is the target's thin wrapper of its intrinsics; it says how many sub-tiles (vectors of a quad) are held in
// registers beside 8 tokens.
template <typename Simd>
struct Bytewise : BytewiseChunks<Simd> {
  using Chunks = BytewiseChunks<Simd>;
  using typename Chunks::Chunk;
  template <int kTokens>
  using State = typename Chunks::template State<kTokens>;
  using Layout = typename Simd::Codes;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kTileRows = 4 * kLanes;
  static constexpr int kUnitQuarters = kTableUnit / 8;

  // ---- products ----

  template <int kBits, int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    State<kTokens> state;
    Chunks::clear_totals(state);
    const uint8_t* codes = w.codes + tile * Layout::packed_tile_bytes(CodeKind::affine, kBits, w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    const float center = center_of(kBits) - w.zero_point;
    const bool halves = w.group_size < 32, offset = w.offset.kind != ParamKind::none;
    const int quarters = halves ? 2 : 4;
    const int64_t group_quarters = w.group_size / 8, all_quarters = w.columns / 8;
    for (int64_t quarter = 0, group = -1, group_end = 0; quarter < all_quarters;) {
      if (quarter == group_end) {
        Chunks::load_params(w, tile, ++group, state.scale, state.offset);
        group_end = quarter + group_quarters < all_quarters ? quarter + group_quarters : all_quarters;
      }
      Chunk chunk{quarter / 4, 1, static_cast<int>(quarter % 4), quarters};
      if (!halves && kBits != 8) {
        const int64_t unit_end = (quarter / kUnitQuarters + 1) * kUnitQuarters;
        const int64_t end = unit_end < group_end ? unit_end : group_end;
        chunk.blocks = static_cast<int>((end - quarter) / 4);
      }
      const uint8_t* at = codes + chunk.block * Layout::block_bytes(kBits);
      if constexpr (kBits == 8) {
        Chunks::template multiply<kTokens>(typename Simd::ByteReader{}, w.columns, at, x, args.x_stride, chunk, state);
      } else {
        Chunks::template look_up<kBits, kTokens>(w.columns, at, x, args.x_stride, chunk, state);
      }
      offset ? Chunks::template flush<kTokens, true>(state, center) : Chunks::template flush<kTokens, false>(state, center);
      quarter += chunk.blocks * quarters;
    }
    store_tile<kTokens>(w, args, tile, token, state);
  }

  template <int kTokens>
  static void book_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    BookPass passes[4];
    int count = book_passes(w.codebook, false, passes);
    if (w.has_second) count += book_passes(w.second, true, passes + count);
    State<kTokens> state;
    Chunks::clear_totals(state);
    const uint8_t* codes = w.codes + tile * Layout::packed_tile_bytes(CodeKind::codebook, 4, w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    const bool offset = !w.has_second && w.offset.kind != ParamKind::none;
    const int quarters = w.group_size < 32 ? 2 : 4;
    const int64_t group_quarters = w.group_size / 8, all_quarters = w.columns / 8;
    for (int64_t quarter = 0, group = -1, group_end = 0; quarter < all_quarters; quarter += quarters) {
      if (quarter == group_end) {
        Chunks::load_params(w, tile, ++group, state.scale, state.offset);
        group_end = quarter + group_quarters;
      }
      const Chunk chunk{quarter / 4, 1, static_cast<int>(quarter % 4), quarters};
      for (int i = 0; i < count; ++i) {
        const typename Simd::CodebookReader reader(passes[i].values);
        Chunks::template multiply<kTokens>(reader, w.columns, codes + chunk.block * kTileRows * 16, x, args.x_stride,
                                           chunk, state);
        float unit[kTokens];
        for (int n = 0; n < kTokens; ++n) unit[n] = passes[i].scale * state.unit.one(n);
        Chunks::template flush_pass<kTokens>(state, unit, passes[i].second ? state.offset : state.scale);
      }
      if (offset) Chunks::template flush_offsets<kTokens>(state);
    }
    store_tile<kTokens>(w, args, tile, token, state);
  }

  template <int kTokens>
  static void store_tile(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token,
                         const State<kTokens>& state) {
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < kTokens; ++n) {
      store_rows(args, token + n, tile * kTileRows, valid, state.total + n * kTileRows);
    }
  }

  // kBits: 0 is a codebook.
  template <int kBits, int kTokens>
  static void any_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    if constexpr (kBits == 0) {
      book_product<kTokens>(w, args, tile, token);
    } else {
      if constexpr (kTokens == 1 && kBits < 8) {
        if (w.group_size >= 32) return BytewiseToken<Simd, kBits>::product(w, args, tile, token);
      }
      product<kBits, kTokens>(w, args, tile, token);
    }
  }

  template <int kBits>
  static void products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                       int64_t token_begin, int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      int64_t token = token_begin;
      for (; token + 8 <= token_end; token += 8) any_product<kBits, 8>(w, args, tile, token);
      for (; token + 4 <= token_end; token += 4) any_product<kBits, 4>(w, args, tile, token);
      for (; token + 3 <= token_end; token += 3) any_product<kBits, 3>(w, args, tile, token);
      for (; token + 2 <= token_end; token += 2) any_product<kBits, 2>(w, args, tile, token);
      for (; token < token_end; ++token) any_product<kBits, 1>(w, args, tile, token);
    }
  }

  static void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                            int64_t token_begin, int64_t token_end) {
    if (w.kind == CodeKind::ternary) {
      return BytewiseTernary<Simd>::matmul(w, args, tile_begin, tile_end, token_begin, token_end);
    }
    using Products = void (*)(const LowBit&, const MatmulArgs&, int64_t, int64_t, int64_t, int64_t);
    static constexpr Products kProducts[] = {products<0>, products<1>, products<2>, products<3>, products<4>,
                                             products<5>, products<6>, products<7>, products<8>};
    kProducts[w.kind == CodeKind::codebook ? 0 : w.bits](w, args, tile_begin, tile_end, token_begin, token_end);
  }
};

template <typename Simd>
constexpr Kernels bytewise_kernels() {
  using Codes = typename Simd::Codes;
  constexpr auto store = Codes::kIntegerInterleave == 2 ? lay_as_words : lay_as_halves;
  return kernel_table<Codes>(prepare<Simd, BytewiseTernary<Simd>, store>, Bytewise<Simd>::matmul_lowbit);
}

}  // namespace lutmac::LUTMAC_TARGET
