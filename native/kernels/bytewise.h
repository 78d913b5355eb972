// Lookup kernels for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512).
//
// All bytes of a 128-bit part look up the same table, so bytes are rows. The planes of one row share the table too: they
// lie in adjacent bytes, and one multiply-add by (1, 2, 4, 8) weights and sums them without widening first.
//
// A tile is 4 L rows, L the 32-bit lanes of a vector. A block is 32 k of a tile; it holds its planes in components:
//   quad    planes 0-3 of 4 to 7 bits:     4 vectors per step; vector t, lane e is row t L + e, its bytes the planes
//   triple  the last 3 planes of 3 and 7:  the same with 3 planes, and only 3 steps: byte 3 of step s is plane s of step 3
//   pair    the last 2 planes of 2 and 6:  2 vectors per step; vector v, lane e, word h is row (2 v + h) L + e
//   single  the last plane of 1 and 5:     1 vector per step; lane e, byte j is row j L + e
// each component as 4 steps of 8 k: the low nibble of a byte is the index into the table of the step's first LUT group,
// the high nibble into that of its second. 8-bit codes lie as integers; see the target's file.
#pragma once

#include "kernels/bytewise_lookup.h"
#include "kernels/bytewise_ternary.h"
#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/params.h"
#include "kernels/prepare.h"
#include "kernels/prepare_ternary.h"

namespace lutmac::LUTMAC_TARGET {

// Simd is the target's thin wrapper of its intrinsics; it says how many sub-tiles (vectors of a quad) are held in
// registers beside 8 tokens.
template <typename Simd>
struct Bytewise {
  using Layout = BytewiseLayout<Simd>;
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kBytes = kLanes * 4;
  static constexpr int kTileRows = 4 * kLanes;
  static constexpr int kUnitSteps = kTableUnit / 8;
  // How far ahead of the loads parameters are fetched: 8 groups of f16 on avx512, 16 on avx2.
  static constexpr int kParamPrefetch = 1024;

  // ---- products ----

  // A float of each token, in its form or elsewhere.
  struct PerToken {
    const float* first;
    int64_t stride;  // bytes
    Float at(int token) const {
      return Simd::broadcast(reinterpret_cast<const float*>(reinterpret_cast<const uint8_t*>(first) + token * stride));
    }
  };

  // One tile and kTokens tokens on their way through the weight groups.
  template <int kTokens>
  struct State {
    // In this order no load of flush lies a multiple of 4 KB after a store shortly before it, which would delay it.
    alignas(64) int32_t integers[kTokens * kTileRows];  // of the chunk
    alignas(64) float total[kTokens * kTileRows];
    alignas(64) float scale[kTileRows], offset[kTileRows];
    // Of the chunk, for each token: what an integer stands for, and the sum of the activations.
    PerToken unit, activations;
    float sums[kTokens];  // what activations reads where the form does not hold it
  };

  // Blocks that take one way from integers to floats: of one weight group, and of one run of tables with a common unit.
  // Where groups are of 16 it is half of a block.
  struct Chunk {
    int64_t block;
    int blocks, first_step, steps;
  };

  // Adds a chunk to the totals; center: the mean code less the zero point.
  template <int kTokens, bool kOffset>
  [[gnu::noinline]] static void flush(State<kTokens>& state, float center) {
    const PerToken units = state.unit, sums = state.activations;
    const Float centers = Simd::set_float(center);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Float unit = units.at(n), activations = sums.at(n), shift = Simd::multiply_float(centers, activations);
#pragma GCC unroll 4
      for (int t = 0; t < kTileRows; t += kLanes) {
        const int at = n * kTileRows + t;
        const Float integers = Simd::to_float(Simd::load_int(state.integers + at));
        const Float value = Simd::multiply_add(integers, unit, shift);
        Float total = Simd::multiply_add(value, Simd::load_float(state.scale + t), Simd::load_float(state.total + at));
        if constexpr (kOffset) total = Simd::multiply_add(Simd::load_float(state.offset + t), activations, total);
        Simd::store_float(state.total + at, total);
      }
    }
  }

  // The integers of a chunk by lookup.
  template <int kBits, int kTokens>
  static void look_up(int64_t columns, const uint8_t* codes, const uint8_t* x, int64_t stride, const Chunk& chunk,
                      State<kTokens>& state) {
    const bool whole = chunk.steps == 4;
    const int64_t block = chunk.block;
    const int64_t sums_at = whole ? TableForm::sum32_offset(columns) + block * 4
                                  : TableForm::sum16_offset(columns) + (block * 2 + chunk.first_step / 2) * 4;
    const float* sums = reinterpret_cast<const float*>(x + sums_at);
    int32_t multiples[4 * kTokens];
    if (chunk.blocks == 1) {
      state.unit = {reinterpret_cast<const float*>(x + TableForm::scale_offset(columns)) + block, stride};
      state.activations = {sums, stride};
      for (int n = 0; n < kTokens; ++n) multiples[n] = 1;
    } else {
      state.unit = {reinterpret_cast<const float*>(x + TableForm::unit_offset(columns)) + block / 4, stride};
      state.activations = {state.sums, 4};
      const uint8_t* multiple = x + TableForm::multiple_offset(columns) + block * 4;
      for (int n = 0; n < kTokens; ++n, multiple += stride, sums += stride / 4) {
        float together = sums[0];
        for (int b = 1; b < chunk.blocks; ++b) together += sums[b];
        state.sums[n] = together;
        for (int b = 0; b < chunk.blocks; ++b) {
          multiples[b * kTokens + n] = reinterpret_cast<const int32_t*>(multiple)[b];
        }
      }
    }
    const LookupRun run{codes,     x + block * 128 + chunk.first_step * 32,         stride, chunk.blocks,
                        multiples, chunk.steps * 2 * 128 * ((1 << kBits) - 1)};
    if (whole) {
      BytewiseLookup<Simd, 0, 4>::template look_up<kBits, kTokens>(run, state.integers);
    } else if (chunk.first_step == 0) {
      BytewiseLookup<Simd, 0, 2>::template look_up<kBits, kTokens>(run, state.integers);
    } else {
      BytewiseLookup<Simd, 2, 2>::template look_up<kBits, kTokens>(run, state.integers);
    }
  }

  // The integers of a block of 8-bit codes, which are centered at 128.
  template <int kTokens>
  static void multiply(int64_t columns, const uint8_t* codes, const uint8_t* x, int64_t stride, const Chunk& chunk,
                       State<kTokens>& state) {
    const int first = chunk.first_step * 8, count = chunk.steps * 8;
    int32_t sums[kTokens];
    for (int n = 0; n < kTokens; ++n) {
      const uint8_t* form = x + n * stride;
      const int32_t* sum16 = reinterpret_cast<const int32_t*>(form + IntegerForm::sum_offset(columns)) + chunk.block * 2;
      sums[n] = count == 32 ? sum16[0] + sum16[1] : sum16[first / 16];
      state.sums[n] =
          static_cast<float>(sums[n]) * reinterpret_cast<const float*>(form + IntegerForm::step_offset(columns))[chunk.block];
    }
    state.unit = {reinterpret_cast<const float*>(x + IntegerForm::step_offset(columns)) + chunk.block, stride};
    state.activations = {state.sums, 4};
    Simd::template multiply<kTokens>(codes + first * kTileRows, x + chunk.block * 64 + first * 2, stride, count, sums,
                                     state.integers);
  }

  // Scales and offsets for the common kinds, in registers. One token reads each parameter once: `ahead` fetches early.
  static void load_params(const LowBit& w, int64_t tile, int64_t group, bool ahead, float* scale, float* offset) {
    if (w.factor != 1.0f || w.scale_kind != ParamKind::f16 ||
        (w.offset_kind != ParamKind::f16 && w.offset_kind != ParamKind::none)) {
      load_group(w, kTileRows, tile, group, w.zero_point, scale, offset);
      return;
    }
    const int64_t at = (tile * w.groups + group) * kTileRows;
    load_halves(reinterpret_cast<const uint16_t*>(w.scale) + at, ahead, scale);
    if (w.offset_kind != ParamKind::none) load_halves(reinterpret_cast<const uint16_t*>(w.offset) + at, ahead, offset);
  }

  static void load_halves(const uint16_t* halves, bool ahead, float* out) {
    if (ahead) {
      for (int64_t byte = kParamPrefetch; byte < kParamPrefetch + kTileRows * 2; byte += 64) {
        Simd::prefetch(reinterpret_cast<const uint8_t*>(halves) + byte);
      }
    }
    for (int t = 0; t < kTileRows; t += kLanes) Simd::store_float(out + t, Simd::load_half(halves + t));
  }

  template <int kBits, int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    State<kTokens> state;
    for (float& value : state.total) value = 0.0f;
    const uint8_t* codes = w.codes + tile * Layout::packed_tile_bytes(CodeKind::affine, kBits, w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    const float center = center_of(kBits) - w.zero_point;
    const bool halves = w.group_size < 32, offset = w.offset_kind != ParamKind::none;
    const int steps = halves ? 2 : 4;
    const int64_t group_steps = w.group_size / 8, all_steps = w.columns / 8;
    for (int64_t step = 0, group = -1; step < all_steps;) {
      if (step / group_steps != group) load_params(w, tile, ++group, kTokens == 1, state.scale, state.offset);
      Chunk chunk{step / 4, 1, static_cast<int>(step % 4), steps};
      if (!halves && kBits != 8) {
        int64_t end = (group + 1) * group_steps < all_steps ? (group + 1) * group_steps : all_steps;
        const int64_t unit_end = (step / kUnitSteps + 1) * kUnitSteps;
        end = unit_end < end ? unit_end : end;
        chunk.blocks = static_cast<int>((end - step) / 4);
      }
      const uint8_t* at = codes + chunk.block * Layout::block_bytes(kBits);
      if constexpr (kBits == 8) {
        multiply<kTokens>(w.columns, at, x, args.x_stride, chunk, state);
      } else {
        look_up<kBits, kTokens>(w.columns, at, x, args.x_stride, chunk, state);
      }
      offset ? flush<kTokens, true>(state, center) : flush<kTokens, false>(state, center);
      step += chunk.blocks * steps;
    }
    const int64_t left = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(left < kTileRows ? left : kTileRows);
    for (int n = 0; n < kTokens; ++n) {
      store_rows(args, token + n, tile * kTileRows, valid, state.total + n * kTileRows);
    }
  }

  template <int kBits>
  static void products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                       int64_t token_begin, int64_t token_end) {
    for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
      int64_t token = token_begin;
      for (; token + 8 <= token_end; token += 8) product<kBits, 8>(w, args, tile, token);
      for (; token + 4 <= token_end; token += 4) product<kBits, 4>(w, args, tile, token);
      for (; token + 3 <= token_end; token += 3) product<kBits, 3>(w, args, tile, token);
      for (; token + 2 <= token_end; token += 2) product<kBits, 2>(w, args, tile, token);
      for (; token < token_end; ++token) product<kBits, 1>(w, args, tile, token);
    }
  }

  static void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                            int64_t token_begin, int64_t token_end) {
    if (w.kind == CodeKind::ternary) {
      return BytewiseTernary<Simd>::matmul(w, args, tile_begin, tile_end, token_begin, token_end);
    }
    if (w.kind != CodeKind::affine) {
      return Layout::Codes::matmul_lowbit(w, args, tile_begin, tile_end, token_begin, token_end);
    }
    using Products = void (*)(const LowBit&, const MatmulArgs&, int64_t, int64_t, int64_t, int64_t);
    static constexpr Products kProducts[] = {products<1>, products<2>, products<3>, products<4>,
                                             products<5>, products<6>, products<7>, products<8>};
    kProducts[w.bits - 1](w, args, tile_begin, tile_end, token_begin, token_end);
  }

  static void matmul_lowbit_exact(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                                  int64_t token_begin, int64_t token_end) {
    exact_product<kTileRows>(w, args, tile_begin, tile_end, token_begin, token_end, Layout::unpack_block);
  }

  // ---- forms ----

  static void prepare(Form form, const float* x, int64_t k, uint8_t* out) {
    if (form == Form::plain) {
      std::memcpy(out, x, static_cast<size_t>(k) * 4);
    } else if (form == Form::tables) {
      prepare_tables<Simd>(x, k, out);
    } else if (form == Form::ternary) {
      prepare_ternary(x, k, out);
    } else {
      prepare_integers(x, k, out, Simd::store_integers);
    }
  }
};

template <typename Simd>
constexpr Kernels bytewise_kernels(const char* name) {
  using B = Bytewise<Simd>;
  return {name,
          B::kTileRows,
          B::prepare,
          B::Layout::packed_tile_bytes,
          B::Layout::pack_tile,
          B::matmul_lowbit,
          B::matmul_lowbit_exact,
          dense_product<B::kTileRows>,
          B::Layout::unpack_row,
          dense_row<B::kTileRows>};
}

}  // namespace lutmac::LUTMAC_TARGET
