// One chunk of a product: from codes and forms to integers, and from those to floats. See bytewise.h.
#pragma once

#include <type_traits>

#include "kernels/bytewise_layout.h"
#include "kernels/bytewise_lookup.h"
#include "kernels/params.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Simd>
struct BytewiseChunks {
  using Int = typename Simd::Int;
  using Float = typename Simd::Float;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kTileRows = 4 * kLanes;
  // How far ahead of the loads parameters are fetched: 8 groups of f16 on avx512, 16 on avx2.
  static constexpr int kParamPrefetch = 1024;

  static constexpr int32_t kOne = 1;

  // A float of each token, in its form or elsewhere.
  struct PerToken {
    const float* first;
    int64_t stride;  // bytes
    float one(int token) const {
      return *reinterpret_cast<const float*>(reinterpret_cast<const uint8_t*>(first) + token * stride);
    }
    Float at(int token) const { return Simd::set_float(one(token)); }
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

  // Blocks that take one way from integers to floats: of one weight group, and of tables with a common unit.
  // Where groups are of 16 it is half of a block.
  struct Chunk {
    int64_t block;
    int blocks, first_quarter, quarters;
  };

  // Unrolled, since the compiler would make a loop `rep stos`, which is slow to start.
  template <int kTokens>
  static void clear_totals(State<kTokens>& state) {
#pragma GCC unroll 32
    for (int i = 0; i < kTokens * kTileRows; i += kLanes) Simd::store_float(state.total + i, Simd::set_float(0.0f));
  }

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

  // Adds integers times scale[n] times a row's parameter, for a codebook's pass.
  template <int kTokens>
  [[gnu::noinline]] static void flush_pass(State<kTokens>& state, const float* scales, const float* params) {
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Float scale = Simd::broadcast(scales + n);
#pragma GCC unroll 4
      for (int t = 0; t < kTileRows; t += kLanes) {
        const int at = n * kTileRows + t;
        const Float value = Simd::multiply_float(Simd::to_float(Simd::load_int(state.integers + at)), scale);
        const Float total = Simd::load_float(state.total + at);
        Simd::store_float(state.total + at, Simd::multiply_add(value, Simd::load_float(params + t), total));
      }
    }
  }

  // Adds the offsets times the sums of the activations.
  template <int kTokens>
  static void flush_offsets(State<kTokens>& state) {
    for (int n = 0; n < kTokens; ++n) {
      const Float activations = state.activations.at(n);
      for (int t = 0; t < kTileRows; t += kLanes) {
        float* total = state.total + n * kTileRows + t;
        Simd::store_float(total, Simd::multiply_add(Simd::load_float(state.offset + t), activations,
                                                    Simd::load_float(total)));
      }
    }
  }

  // The integers of a chunk by lookup.
  template <int kBits, int kTokens>
  static void look_up(int64_t columns, const uint8_t* codes, const uint8_t* x, int64_t stride, const Chunk& chunk,
                      State<kTokens>& state) {
    const bool whole = chunk.quarters == 4;
    const int64_t block = chunk.block;
    const int64_t sums_at = whole ? TableForm::sum32_offset(columns) + block * 4
                                  : TableForm::sum16_offset(columns) + (block * 2 + chunk.first_quarter / 2) * 4;
    const float* sums = reinterpret_cast<const float*>(x + sums_at);
    const uint8_t* tables = x + block * 128 + chunk.first_quarter * 32;
    const uint8_t* multiples = x + TableForm::multiple_offset(columns) + block * 4;
    const int32_t bias = chunk.quarters * 2 * 128 * ((1 << kBits) - 1);
    LookupArgs lookup{codes, tables, stride, chunk.blocks, multiples, stride, bias};
    if (chunk.blocks == 1) {  // its own scale is the unit
      lookup.multiples = reinterpret_cast<const uint8_t*>(&kOne);
      lookup.multiple_stride = 0;
      state.unit = {reinterpret_cast<const float*>(x + TableForm::scale_offset(columns)) + block, stride};
      state.activations = {sums, stride};
    } else {
      state.unit = {reinterpret_cast<const float*>(x + TableForm::unit_offset(columns)) + block / 4, stride};
      state.activations = {state.sums, 4};
      for (int n = 0; n < kTokens; ++n, sums += stride / 4) state.sums[n] = sum_first(sums, chunk.blocks);
    }
    if (whole) {
      BytewiseLookup<Simd, 0, 4>::template look_up<kBits, kTokens>(lookup, state.integers);
    } else if (chunk.first_quarter == 0) {
      BytewiseLookup<Simd, 0, 2>::template look_up<kBits, kTokens>(lookup, state.integers);
    } else {
      BytewiseLookup<Simd, 2, 2>::template look_up<kBits, kTokens>(lookup, state.integers);
    }
  }

  // The integers of a block of weights that Simd makes bytes of. A block is 32 k of 8-bit codes or of a codebook's.
  template <int kTokens, typename Reader>
  static void multiply(const Reader& reader, int64_t columns, const uint8_t* codes, const uint8_t* x, int64_t stride,
                       const Chunk& chunk, State<kTokens>& state) {
    constexpr int kCodesPerByte = std::is_same_v<Reader, typename Simd::ByteReader> ? 1 : 2;
    const int first = chunk.first_quarter * 8, count = chunk.quarters * 8;
    int32_t sums[kTokens];
    for (int n = 0; n < kTokens; ++n) {
      const uint8_t* form = x + n * stride;
      const int32_t* sum16 = reinterpret_cast<const int32_t*>(form + IntegerForm::sum_offset(columns)) + chunk.block * 2;
      sums[n] = count == 32 ? sum16[0] + sum16[1] : sum16[first / 16];
      state.sums[n] =
          static_cast<float>(sums[n]) * reinterpret_cast<const float*>(form + IntegerForm::scale_offset(columns))[chunk.block];
    }
    state.unit = {reinterpret_cast<const float*>(x + IntegerForm::scale_offset(columns)) + chunk.block, stride};
    state.activations = {state.sums, 4};
    Simd::template multiply<kTokens>(reader, codes + first * kTileRows / kCodesPerByte,
                                     x + chunk.block * 64 + first * 2, stride, count, sums, state.integers);
  }

  // Scales and offsets; the common kinds in registers, and fetched ahead. Inlined, since groups of 32 want them often.
  [[gnu::always_inline]] static inline void load_params(const LowBit& w, int64_t tile, int64_t group, float* scale, float* offset) {
    if (w.factor != 1.0f || w.scale.kind != ParamKind::f16 ||
        (w.offset.kind != ParamKind::f16 && w.offset.kind != ParamKind::none)) {
      load_group(w, kTileRows, tile, group, w.zero_point, scale, offset);
      return;
    }
    const int64_t at = (tile * w.groups + group) * kTileRows;
    load_halves(reinterpret_cast<const uint16_t*>(w.packed_scale.values) + at, scale);
    if (w.offset.kind != ParamKind::none) load_halves(reinterpret_cast<const uint16_t*>(w.packed_offset.values) + at, offset);
  }

  [[gnu::always_inline]] static inline void load_halves(const uint16_t* halves, float* out) {
    for (int64_t byte = kParamPrefetch; byte < kParamPrefetch + kTileRows * 2; byte += 64) {
      Simd::prefetch(reinterpret_cast<const uint8_t*>(halves) + byte);
    }
    for (int t = 0; t < kTileRows; t += kLanes) Simd::store_float(out + t, Simd::load_half(halves + t));
  }
};

}  // namespace lutmac::LUTMAC_TARGET
