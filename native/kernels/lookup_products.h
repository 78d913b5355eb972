// Products on tables and integers: a tile and some tokens on their way through the chunks. One for all vector targets.
//
// Target says what differs:
//   Codes                                  the packing
//   Lookup                                 integers of 1 to 7 bits: look_up for several tokens, add_block for one; kMostTokens that
//                                          are taken together, and kTiles that several tokens go through together
//   IntegerSum, ByteReader, CodebookReader integers of 8-bit codes and codebooks: see integer_product.h
//   ternary                                the product of ternary codes
#pragma once

#include "kernels/book_pass.h"
#include "kernels/chunks.h"
#include "kernels/float_product.h"
#include "kernels/integer_product.h"
#include "kernels/one_token.h"
#include "kernels/one_token_integers.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Target>
struct LookupProducts {
  using Codes = typename Target::Codes;
  using Lookup = typename Target::Lookup;
  static constexpr int kTileRows = Codes::kTileRows;
  static_assert(kTileRows == 4 * kLanes, "a tile is four vectors of rows");

  static void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                            int64_t token_begin, int64_t token_end) {
    if (w.kind == CodeKind::ternary) return Target::ternary(w, args, tile_begin, tile_end, token_begin, token_end);
    using Products = void (*)(const LowBit&, const MatmulArgs&, int64_t, int64_t, int64_t, int64_t);
    static constexpr Products kProducts[] = {products<0>, products<1>, products<2>, products<3>, products<4>,
                                             products<5>, products<6>, products<7>, products<8>};
    kProducts[w.kind == CodeKind::codebook ? 0 : w.bits](w, args, tile_begin, tile_end, token_begin, token_end);
  }

 private:
  // One tile and kTokens tokens.
  template <int kTokens>
  struct State {
    // In this order no load of flush lies a multiple of 4 KB after a store shortly before it, which would delay it.
    alignas(64) int32_t integers[kTokens * kTileRows];  // of the chunk
    alignas(64) float total[kTokens * kTileRows];
    alignas(64) float scale[kTileRows], offset[kTileRows];
  };

  // Unrolled, since the compiler would make a loop `rep stos`, which is slow to start.
  template <int kTokens>
  static void clear_totals(State<kTokens>& state) {
#pragma GCC unroll 32
    for (int i = 0; i < kTokens * kTileRows; i += kLanes) store(state.total + i, Floats{});
  }

  // Adds a chunk to the totals; center: the mean code less the zero point.
  template <int kTokens, bool kOffset>
  [[gnu::noinline]] static void flush(State<kTokens>& state, const ChunkForms<kTokens>& forms, float center) {
    const PerToken<float> units = forms.unit, sums = forms.activations;
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const ToFloats floats(*units.at(n), *sums.at(n), broadcast(center));
#pragma GCC unroll 4
      for (int t = 0; t < kTileRows; t += kLanes) {
        const int at = n * kTileRows + t;
        Floats total = floats.add(load(state.integers + at), load(state.scale + t), load(state.total + at));
        if constexpr (kOffset) total = floats.add_offset(load(state.offset + t), total);
        store(state.total + at, total);
      }
    }
  }

  // Adds integers times scale times the unit times a row's parameter, for a codebook's pass.
  template <int kTokens>
  [[gnu::noinline]] static void flush_pass(State<kTokens>& state, const ChunkForms<kTokens>& forms, float scale,
                                           const float* params) {
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Floats unit = broadcast(scale * *forms.unit.at(n));
#pragma GCC unroll 4
      for (int t = 0; t < kTileRows; t += kLanes) {
        float* total = state.total + n * kTileRows + t;
        store(total, multiply_add(to_floats(load(state.integers + n * kTileRows + t)) * unit, load(params + t), load(total)));
      }
    }
  }

  // Adds the offsets times the sums of the activations.
  template <int kTokens>
  static void flush_offsets(State<kTokens>& state, const ChunkForms<kTokens>& forms) {
    for (int n = 0; n < kTokens; ++n) {
      const Floats activations = broadcast(*forms.activations.at(n));
      for (int t = 0; t < kTileRows; t += kLanes) {
        float* total = state.total + n * kTileRows + t;
        store(total, multiply_add(load(state.offset + t), activations, load(total)));
      }
    }
  }

  template <int kBits, int kTokens>
  static void look_up(const LookupArgs& lookup, Part part, int32_t* integers) {
    if (part == Part::whole) return Lookup::template look_up<kBits, kTokens, Part::whole>(lookup, integers);
    if (part == Part::first) return Lookup::template look_up<kBits, kTokens, Part::first>(lookup, integers);
    Lookup::template look_up<kBits, kTokens, Part::second>(lookup, integers);
  }

  // The integers of a chunk of weights that are bytes or words, one block; codes: of the block.
  template <int kTokens, typename Reader>
  static void multiply(const Reader& reader, const uint8_t* codes, const uint8_t* x, int64_t stride, const Chunk& chunk,
                       const int32_t* activations, int32_t* integers) {
    constexpr int kColumnBytes = Reader::kPieceBytes / (Reader::kUnits * Target::IntegerSum::kColumns);
    multiply_integers<kTokens, typename Target::IntegerSum>(reader, codes + chunk.first_column() * kColumnBytes,
                                                            x + chunk.block * 64 + chunk.first_column() * 2, stride,
                                                            chunk.columns(), activations, integers);
  }

  // `tiles` tiles, at most Lookup::kTiles.
  template <int kBits, int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int tiles, int64_t token) {
    State<kTokens> states[Lookup::kTiles];
    for (int i = 0; i < tiles; ++i) clear_totals(states[i]);
    const uint8_t* x = args.x + token * args.x_stride;
    const int64_t tile_bytes = Codes::packed_tile_bytes(CodeKind::affine, kBits, w.columns);
    const float center = center_of(kBits) - w.zero_point;
    const bool offset = w.offset.kind != ParamKind::none;
    const auto group = [&](int64_t at) __attribute__((always_inline)) {
      for (int i = 0; i < tiles; ++i) load_scales<kTileRows>(w, tile + i, at, states[i].scale, states[i].offset);
    };
    each_chunk(w, kBits == 8 ? 1 : kUnitBlocks, group, [&](const Chunk& chunk) __attribute__((always_inline)) {
      ChunkForms<kTokens> forms;
      PerToken<int32_t> multiples;
      int32_t activations[kTokens];
      if constexpr (kBits == 8) {
        forms.read_integers(w.columns, x, args.x_stride, chunk, activations);
      } else {
        multiples = forms.read_tables(w.columns, x, args.x_stride, chunk);
      }
      const uint8_t* codes = w.codes + tile * tile_bytes + chunk.block * Codes::block_bytes(kBits);
      for (int i = 0; i < tiles; ++i, codes += tile_bytes) {
        State<kTokens>& state = states[i];
        if constexpr (kBits == 8) {
          multiply<kTokens>(typename Target::ByteReader{}, codes, x, args.x_stride, chunk, activations, state.integers);
        } else {
          const LookupArgs lookup{codes, x + chunk.block * 128, args.x_stride, chunk.blocks, multiples, table_bias(kBits, chunk.part)};
          look_up<kBits, kTokens>(lookup, chunk.part, state.integers);
        }
        offset ? flush<kTokens, true>(state, forms, center) : flush<kTokens, false>(state, forms, center);
      }
    });
    for (int i = 0; i < tiles; ++i) store_tile<kTokens>(w, args, tile + i, token, states[i]);
  }

  // A codebook's passes; wide integers take two, 256 * high + low, and a second codebook has its own scale.
  template <int kTokens>
  static void book_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    BookPass passes[4];
    int count = book_passes(w.codebook, false, passes);
    if (w.has_second) count += book_passes(w.second, true, passes + count);
    State<kTokens> state;
    clear_totals(state);
    const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(CodeKind::codebook, 4, w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    const bool offset = !w.has_second && w.offset.kind != ParamKind::none;
    const auto group = [&](int64_t at) __attribute__((always_inline)) { load_scales<kTileRows>(w, tile, at, state.scale, state.offset); };
    each_chunk(w, 1, group, [&](const Chunk& chunk) __attribute__((always_inline)) {
      ChunkForms<kTokens> forms;
      int32_t activations[kTokens];
      forms.read_integers(w.columns, x, args.x_stride, chunk, activations);
      for (int i = 0; i < count; ++i) {
        const typename Target::CodebookReader reader(passes[i].values);
        multiply<kTokens>(reader, codes + chunk.block * kTileRows * 16, x, args.x_stride, chunk, activations, state.integers);
        flush_pass<kTokens>(state, forms, passes[i].scale, passes[i].second ? state.offset : state.scale);
      }
      if (offset) flush_offsets<kTokens>(state, forms);
    });
    store_tile<kTokens>(w, args, tile, token, state);
  }

  template <int kTokens>
  static void store_tile(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token, const State<kTokens>& state) {
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < kTokens; ++n) store_rows(args, token + n, tile * kTileRows, valid, state.total + n * kTileRows);
  }

  // kBits: 0 is a codebook.
  template <int kBits, int kTokens>
  static void any_product(const LowBit& w, const MatmulArgs& args, int64_t tile, int tiles, int64_t token) {
    if constexpr (kBits > 0 && kTokens > 1) return product<kBits, kTokens>(w, args, tile, tiles, token);
    for (int64_t one = tile; one < tile + tiles; ++one) {
      if constexpr (kTokens > 1) {
        book_product<kTokens>(w, args, one, token);
      } else if constexpr (kBits == 0) {
        OneTokenIntegers<Target>::book_product(w, args, one, token);
      } else if constexpr (kBits == 8) {
        OneTokenIntegers<Target>::byte_product(w, args, one, token);
      } else {
        OneToken<Lookup, Codes, kBits>::product(w, args, one, token);
      }
    }
  }

  template <int kBits>
  static void products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                       int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; tile += Lookup::kTiles) {
      const int tiles = static_cast<int>(tile_end - tile < Lookup::kTiles ? tile_end - tile : Lookup::kTiles);
      int64_t token = token_begin;
      if constexpr (Lookup::kMostTokens == 8) {
        for (; token + 8 <= token_end; token += 8) any_product<kBits, 8>(w, args, tile, tiles, token);
      }
      for (; token + 4 <= token_end; token += 4) any_product<kBits, 4>(w, args, tile, tiles, token);
      for (; token + 3 <= token_end; token += 3) any_product<kBits, 3>(w, args, tile, tiles, token);
      for (; token + 2 <= token_end; token += 2) any_product<kBits, 2>(w, args, tile, tiles, token);
      for (; token < token_end; ++token) any_product<kBits, 1>(w, args, tile, tiles, token);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
