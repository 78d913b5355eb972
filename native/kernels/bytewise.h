// Lookup kernels for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512).
//
// All bytes of a 128-bit part look up the same table, so bytes are rows. The planes of one row share the table too: they
// lie in adjacent bytes, and one multiply-add by (1, 2, 4, 8) weights and sums them without widening first.
//
// A tile is 4 L rows, L the 32-bit lanes of a vector. A block is 32 k of a tile; it holds its planes in components:
//   quad    planes 0-3 of 4 to 7 bits:       4 vectors per step; vector t, lane e is row t L + e, its bytes the planes
//   pair    the next two planes if bits & 2: 2 vectors per step; vector v, lane e, word h is row (2 v + h) L + e
//   single  the last plane if bits & 1:      1 vector per step; lane e, byte j is row j L + e
// each component as 4 steps of 8 k: the low nibble of a byte is the index into the table of the step's first LUT group,
// the high nibble into that of its second. 8-bit codes lie as integers; see the target's file.
//
// Instructions for 64 bytes (avx512), one token: load, and, shift, and, 2 shuffles, then 2 vpdpbusd for a quad (7 after
// the load), 2 vpmaddubsw + 2 vpaddw for a pair (9), 2 vpaddw + 2 shifts + 2 vpaddw for a single (11). For many tokens
// the indices are computed once and each token costs 4, 6 and 8.
#pragma once

#include "kernels/bytewise_layout.h"
#include "kernels/float_product.h"
#include "kernels/lut.h"
#include "kernels/params.h"
#include "kernels/prepare.h"

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
  // How far ahead of the loads weights are fetched: a page, so that the prefetch crosses into the next one in time.
  static constexpr int kPrefetch = 4096;
  // The same for parameters, of which there are fewer: 8 groups of f16 ahead on avx512, 16 on avx2.
  static constexpr int kParamPrefetch = 1024;

  // ---- lookup ----

  // Sums of one segment (a block, or half of one where the group size is 16) lie in memory, [token][tile row]: each
  // component's own sums fill the registers. The functions are not inlined into each other, or the compiler would hold
  // all of it in registers that it does not have.

  template <int kVectors>
  struct Indices {
    Int low[kVectors], high[kVectors];
    explicit Indices(const uint8_t* codes, bool ahead) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const Int bytes = Simd::load(codes + v * kBytes);
        if (ahead) Simd::prefetch(codes + v * kBytes + kPrefetch);
        low[v] = Simd::low_nibbles(bytes);
        high[v] = Simd::high_nibbles(bytes);
      }
    }
  };

  // Each component adds its planes' sums; the first one sets them and takes off the tables' bias (128 per lookup and
  // plane weight) for all.
  // Token n's tables for the segment's first step are at tables + n * stride.
  template <int kTokens>
  [[gnu::noinline]] static void add_quad(const uint8_t* codes, const uint8_t* tables, int64_t stride, int steps,
                                         int32_t bias, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 4 : Simd::kSubTiles;
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      Int acc[kTokens][kTogether];
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) acc[n][t] = Simd::quad_start(bias);
      }
      const uint8_t* at = tables;
      for (int step = 0; step < steps; ++step, at += 32) {
        const Indices<kTogether> index(codes + (step * 4 + t0) * kBytes, kTokens == 1);
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          const Int first = Simd::table(at + n * stride), second = Simd::table(at + n * stride + 16);
#pragma GCC unroll 8
          for (int t = 0; t < kTogether; ++t) {
            acc[n][t] = Simd::quad_add(acc[n][t], Simd::lookup(first, index.low[t]));
            acc[n][t] = Simd::quad_add(acc[n][t], Simd::lookup(second, index.high[t]));
          }
        }
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          Simd::store_int(sums + n * kTileRows + (t0 + t) * kLanes, Simd::quad_total(acc[n][t], bias));
        }
      }
    }
  }

  template <int kTokens, int kPlane>
  [[gnu::noinline]] static void add_pair(const uint8_t* codes, const uint8_t* tables, int64_t stride, int steps,
                                         int32_t bias, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 2 : Simd::kSubTiles;
    for (int v0 = 0; v0 < 2; v0 += kTogether) {
      Int acc[kTokens][kTogether];
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) acc[n][v] = Simd::zero();
      }
      const uint8_t* at = tables;
      for (int step = 0; step < steps; ++step, at += 32) {
        const Indices<kTogether> index(codes + (step * 2 + v0) * kBytes, kTokens == 1);
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          const Int first = Simd::table(at + n * stride), second = Simd::table(at + n * stride + 16);
#pragma GCC unroll 8
          for (int v = 0; v < kTogether; ++v) {
            acc[n][v] = Simd::add16(acc[n][v], Simd::pair_sum(Simd::lookup(first, index.low[v])));
            acc[n][v] = Simd::add16(acc[n][v], Simd::pair_sum(Simd::lookup(second, index.high[v])));
          }
        }
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) {
          int32_t* out = sums + n * kTileRows + (v0 + v) * 2 * kLanes;
          add_plane<kPlane>(out, Simd::even_words(acc[n][v]), bias);
          add_plane<kPlane>(out + kLanes, Simd::odd_words(acc[n][v]), bias);
        }
      }
    }
  }

  // Bytes are summed as 16-bit words: `all` holds even + 256 * odd, `odd` the odd bytes, both modulo 2^16.
  template <int kTokens, int kPlane>
  [[gnu::noinline]] static void add_single(const uint8_t* codes, const uint8_t* tables, int64_t stride, int steps,
                                           int32_t bias, int32_t* sums) {
    Int all[kTokens], odd[kTokens];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Simd::zero();
    for (int step = 0; step < steps; ++step, tables += 32) {
      const Indices<1> index(codes + step * kBytes, kTokens == 1);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int first = Simd::lookup(Simd::table(tables + n * stride), index.low[0]);
        const Int second = Simd::lookup(Simd::table(tables + n * stride + 16), index.high[0]);
        all[n] = Simd::add16(Simd::add16(all[n], first), second);
        odd[n] = Simd::add16(Simd::add16(odd[n], Simd::upper_bytes(first)), Simd::upper_bytes(second));
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Int even = Simd::subtract16(all[n], Simd::to_upper_bytes(odd[n]));
      int32_t* out = sums + n * kTileRows;
      add_plane<kPlane>(out, Simd::even_words(even), bias);
      add_plane<kPlane>(out + kLanes, Simd::even_words(odd[n]), bias);
      add_plane<kPlane>(out + 2 * kLanes, Simd::odd_words(even), bias);
      add_plane<kPlane>(out + 3 * kLanes, Simd::odd_words(odd[n]), bias);
    }
  }

  template <int kPlane>
  static void add_plane(int32_t* sum, Int value, int32_t bias) {
    if constexpr (kPlane > 0) {
      value = Simd::add32(Simd::load_int(sum), Simd::template shift_left32<kPlane>(value));
    } else {
      value = Simd::add32(value, Simd::set32(-bias));
    }
    Simd::store_int(sum, value);
  }

  // The sums of one segment; codes: its block.
  template <int kBits, int kTokens>
  static void look_up(const uint8_t* codes, const uint8_t* tables, int64_t stride, int first_step, int steps,
                      int32_t* sums) {
    const int32_t bias = steps * 2 * 128 * ((1 << kBits) - 1);
    if constexpr (Layout::has_quad(kBits)) {
      add_quad<kTokens>(codes + first_step * 4 * kBytes, tables, stride, steps, bias, sums);
      codes += 16 * kBytes;
    }
    if constexpr (Layout::has_pair(kBits)) {
      add_pair<kTokens, Layout::pair_plane(kBits)>(codes + first_step * 2 * kBytes, tables, stride, steps, bias, sums);
      codes += 8 * kBytes;
    }
    if constexpr (Layout::has_single(kBits)) {
      add_single<kTokens, Layout::single_plane(kBits)>(codes + first_step * kBytes, tables, stride, steps, bias, sums);
    }
  }

  // ---- products ----

  // One tile and kTokens tokens on their way through the weight groups.
  template <int kTokens>
  struct State {
    // In this order no load of flush lies a multiple of 4 KB after a store shortly before it, which would delay it.
    alignas(64) int32_t integers[kTokens * kTileRows];  // of the segment
    alignas(64) float total[kTokens * kTileRows];
    alignas(64) float group[kTokens * kTileRows];  // of the weight group so far, before its scale
    alignas(64) float scale[kTileRows], offset[kTileRows];
    float activations[kTokens];  // sums of the segment's, where the form does not hold them
  };

  // Where flush reads a float of each token: the step of the segment's integers, or the sum of its activations.
  struct PerToken {
    const uint8_t* base;
    int64_t stride;
    Float at(int token) const { return Simd::broadcast(base + token * stride); }
  };

  // Half 0 or 1 of a block, or all of it.
  struct Part {
    int64_t block;
    int half;
    bool halves;
    int first() const { return half * 16; }
    int count() const { return halves ? 16 : 32; }
  };

  // Adds a segment to the group, and the group to the total where it ends.
  template <int kTokens, bool kFirst, bool kLast>
  [[gnu::noinline]] static void flush(State<kTokens>& state, PerToken step, PerToken activations) {
    for (int t = 0; t < kTileRows; t += kLanes) {
      const Float scale = Simd::load_float(state.scale + t), offset = Simd::load_float(state.offset + t);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const int at = n * kTileRows + t;
        const Float integers = Simd::to_float(Simd::load_int(state.integers + at));
        const Float partial = kFirst ? Simd::multiply_float(integers, step.at(n))
                                     : Simd::multiply_add(integers, step.at(n), Simd::load_float(state.group + at));
        Float total = Simd::multiply_add(offset, activations.at(n), Simd::load_float(state.total + at));
        if constexpr (kLast) {
          total = Simd::multiply_add(partial, scale, total);
        } else {
          Simd::store_float(state.group + at, partial);
        }
        Simd::store_float(state.total + at, total);
      }
    }
  }

  template <int kTokens>
  static void flush(bool first, bool last, State<kTokens>& state, PerToken step, PerToken activations) {
    if (first) {
      last ? flush<kTokens, true, true>(state, step, activations) : flush<kTokens, true, false>(state, step, activations);
    } else {
      last ? flush<kTokens, false, true>(state, step, activations)
           : flush<kTokens, false, false>(state, step, activations);
    }
  }

  template <int kBits, int kTokens>
  static void segment(int64_t columns, const uint8_t* codes, const uint8_t* x, int64_t stride, Part part, bool first,
                      bool last, State<kTokens>& state) {
    if constexpr (kBits == 8) {
      const PerToken step{x + IntegerForm::step_offset(columns) + part.block * 4, stride};
      int32_t sums[kTokens];
      for (int n = 0; n < kTokens; ++n) {
        const uint8_t* form = x + n * stride;
        const int32_t* sum16 = reinterpret_cast<const int32_t*>(form + IntegerForm::sum_offset(columns));
        const int32_t* pair = sum16 + part.block * 2;
        sums[n] = part.halves ? pair[part.half] : pair[0] + pair[1];
        state.activations[n] = static_cast<float>(sums[n]) * *reinterpret_cast<const float*>(step.base + n * stride);
      }
      Simd::template multiply<kTokens>(codes + part.first() * kTileRows, x + part.block * 64 + part.first() * 2, stride,
                                       part.count(), sums, state.integers);
      flush<kTokens>(first, last, state, step, {reinterpret_cast<const uint8_t*>(state.activations), 4});
    } else {
      const int64_t sums = part.halves ? TableForm::sum16_offset(columns) + (part.block * 2 + part.half) * 4
                                       : TableForm::sum32_offset(columns) + part.block * 4;
      look_up<kBits, kTokens>(codes, x + part.block * 128 + part.first() * 4, stride, part.half * 2, part.count() / 8,
                              state.integers);
      flush<kTokens>(first, last, state, {x + TableForm::scale_offset(columns) + part.block * 4, stride},
                     {x + sums, stride});
    }
  }

  // load_group for the common kinds, in registers. One token reads each parameter once: `ahead` fetches them early.
  static void load_params(const LowBit& w, int64_t tile, int64_t group, float center, bool ahead, float* scale,
                          float* offset) {
    if (w.scale_kind != ParamKind::f16 || (w.offset_kind != ParamKind::f16 && w.offset_kind != ParamKind::none)) {
      load_group(w, kTileRows, tile, group, center, scale, offset);
      return;
    }
    const int64_t at = (tile * w.groups + group) * kTileRows;
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(w.scale) + at;
    const uint16_t* offsets = reinterpret_cast<const uint16_t*>(w.offset) + at;
    const Float shift = Simd::set_float(center - w.zero_point);
    if (ahead) {
      for (int64_t byte = kParamPrefetch; byte < kParamPrefetch + kTileRows * 2; byte += 64) {
        Simd::prefetch(reinterpret_cast<const uint8_t*>(scales) + byte);
        if (w.offset_kind != ParamKind::none) Simd::prefetch(reinterpret_cast<const uint8_t*>(offsets) + byte);
      }
    }
    for (int t = 0; t < kTileRows; t += kLanes) {
      const Float s = Simd::load_half(scales + t);
      Simd::store_float(scale + t, s);
      Simd::store_float(offset + t, w.offset_kind == ParamKind::none
                                        ? Simd::multiply_float(s, shift)
                                        : Simd::multiply_add(s, shift, Simd::load_half(offsets + t)));
    }
  }

  template <int kBits, int kTokens>
  static void product(const LowBit& w, const MatmulArgs& args, int64_t tile, int64_t token) {
    State<kTokens> state;
    for (float& value : state.total) value = 0.0f;
    const uint8_t* codes = w.codes + tile * Layout::packed_tile_bytes(kBits, w.columns);
    const uint8_t* x = args.x + token * args.x_stride;
    const bool halves = w.group_size < 32;
    const int64_t blocks = w.columns / 32, group_blocks = halves ? 1 : w.group_size / 32;
    int64_t group = 0, in_group = 0;  // the current group, and blocks of it done
    for (int64_t block = 0; block < blocks; ++block, codes += Layout::block_bytes(kBits)) {
      for (int half = 0; half <= (halves ? 1 : 0); ++half) {
        const bool first = halves || in_group == 0;
        const bool last = halves || in_group + 1 == group_blocks || block + 1 == blocks;
        if (first) load_params(w, tile, group, center_of(kBits), kTokens == 1, state.scale, state.offset);
        segment<kBits, kTokens>(w.columns, codes, x, args.x_stride, {block, half, halves}, first, last, state);
        in_group = last ? 0 : in_group + 1;
        group += last;
      }
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
      for (; token + 2 <= token_end; token += 2) product<kBits, 2>(w, args, tile, token);
      for (; token < token_end; ++token) product<kBits, 1>(w, args, tile, token);
    }
  }

  static void matmul_lowbit(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end,
                            int64_t token_begin, int64_t token_end) {
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
