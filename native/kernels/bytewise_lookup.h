// The integer sums of several tokens, in memory: more than there are registers. See bytewise_block.h.
#pragma once

#include "kernels/bytewise_block.h"

namespace lutmac::LUTMAC_TARGET {

// Sum of the first 1 to 4 values, in their order. A loop the compiler would make ready for many more, which takes longer.
template <typename Value>
[[gnu::always_inline]] inline Value sum_first(const Value* values, int count) {
  static_assert(kTableUnit == 128, "a unit has at most 4 blocks");
  Value sum = values[0];
  if (count > 1) sum += values[1];
  if (count > 2) sum += values[2];
  if (count > 3) sum += values[3];
  return sum;
}

// Consecutive blocks whose table scales are multiples of one unit.
struct LookupArgs {
  const uint8_t* codes;      // of the first quarter
  const uint8_t* tables;     // of the first quarter and the first token
  int64_t stride;            // bytes from a token's tables to the next token's
  int blocks;
  const uint8_t* multiples;  // s32 [block] of the first token
  int64_t multiple_stride;   // bytes to the next token's
  int32_t bias;              // of the tables in a block's sum: 128 per lookup and plane weight

  const int32_t* multiples_of(int token) const {
    return reinterpret_cast<const int32_t*>(multiples + token * multiple_stride);
  }
};

// sums: [token][tile row]. Each component adds its planes to them; its own sums fill the registers, so the functions are
// not inlined into each other: the compiler would hold all of it in registers that it does not have.
template <typename Simd, int kFirst, int kQuarters>
struct BytewiseLookup {
  using Block = BytewiseBlock<Simd, kFirst, kQuarters>;
  using Layout = typename Simd::Codes;
  using Int = typename Simd::Int;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kBytes = kLanes * 4;
  static constexpr int kTileRows = 4 * kLanes;

  // Calls one(codes, tables, multiple, add) for each block of a component; its vectors of rows begin at `rows`. kAlone: of a
  // lone block the only component: sets the sums.
  template <int kPlane, bool kAlone, typename One>
  [[gnu::always_inline]] static inline void each_block(const LookupArgs& lookup, const uint8_t* codes, int64_t block_bytes,
                                                       int rows, int32_t* sums, One one) {
    const uint8_t* tables = lookup.tables;
    for (int block = 0; block < lookup.blocks; ++block, codes += block_bytes, tables += 128) {
      one(codes, tables, [&](int n) __attribute__((always_inline)) { return kAlone ? 1 : lookup.multiples_of(n)[block] << kPlane; },
          [&](int n, int vector, Int words, Int multiple) __attribute__((always_inline)) {
            int32_t* sum = sums + n * kTileRows + (rows + vector) * kLanes;
            const Int before = kAlone ? Simd::set32(-lookup.bias) : Simd::load_int(sum);
            Simd::store_int(sum, Simd::multiply_words(before, words, multiple));
          });
    }
  }

  // Planes kPlane to kPlane + 3 (kTriple: + 2).
  template <int kTokens, bool kTriple, int kPlane, bool kAlone>
  [[gnu::noinline]] static void add_quad(const LookupArgs& lookup, int64_t block_bytes, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 4 : Simd::kSubTiles;
    for (int t = 0; t < 4; t += kTogether) {
      if constexpr (kAlone) {
        Block::template lone_quad<kTokens, kTogether, kTriple>(
            lookup.codes + t * kBytes, lookup.tables, lookup.stride, lookup.bias,
            [&](int n, int vector, Int sum) { Simd::store_int(sums + n * kTileRows + (t + vector) * kLanes, sum); });
        continue;
      }
      each_block<kPlane, kAlone>(lookup, lookup.codes + t * kBytes, block_bytes, t, sums,
                                 [&](const uint8_t* codes, const uint8_t* tables, auto multiple, auto add)
                                     __attribute__((always_inline)) {
        Block::template quad<kTokens, kTogether, kTriple>(codes, tables, lookup.stride, multiple, add);
      });
    }
  }

  // Planes kPlane and kPlane + 1.
  template <int kTokens, int kPlane, bool kAlone>
  [[gnu::noinline]] static void add_pair(const LookupArgs& lookup, int64_t block_bytes, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 2 : Simd::kSubTiles;
    for (int v = 0; v < 2; v += kTogether) {
      each_block<kPlane, kAlone>(lookup, lookup.codes + v * kBytes, block_bytes, 2 * v, sums,
                                 [&](const uint8_t* codes, const uint8_t* tables, auto multiple, auto add)
                                     __attribute__((always_inline)) {
        Block::template pair<kTokens, kTogether>(codes, tables, lookup.stride, multiple, add);
      });
    }
  }

  template <int kTokens, int kPlane, bool kAlone>
  [[gnu::noinline]] static void add_single(const LookupArgs& lookup, int64_t block_bytes, int32_t* sums) {
    each_block<kPlane, kAlone>(lookup, lookup.codes, block_bytes, 0, sums,
                               [&](const uint8_t* codes, const uint8_t* tables, auto multiple, auto add)
                                   __attribute__((always_inline)) {
      Block::template single<kTokens>(codes, tables, lookup.stride, multiple, add);
    });
  }

  // sums = multiple * (sum of plane weight * entry, less the bias), over the lookup.
  template <int kBits, int kTokens>
  static void look_up(LookupArgs lookup, int32_t* sums) {
    const int64_t block_bytes = Layout::block_bytes(kBits);
    constexpr bool kQuad = Layout::has_quad(kBits), kTriple = Layout::has_triple(kBits);
    if (kBits <= 4 && lookup.blocks == 1) {
      if constexpr (kQuad || kTriple) return add_quad<kTokens, kTriple, 0, true>(lookup, block_bytes, sums);
      if constexpr (kBits == 2) return add_pair<kTokens, 0, true>(lookup, block_bytes, sums);
      if constexpr (kBits == 1) return add_single<kTokens, 0, true>(lookup, block_bytes, sums);
    }
    take_off_bias<kTokens>(lookup, sums);
    if constexpr (kQuad) {
      add_quad<kTokens, false, 0, false>(lookup, block_bytes, sums);
      lookup.codes += 16 * kBytes;
    }
    if constexpr (kTriple) add_quad<kTokens, true, kQuad ? 4 : 0, false>(lookup, block_bytes, sums);
    if constexpr (Layout::has_pair(kBits)) {
      add_pair<kTokens, kQuad ? 4 : 0, false>(lookup, block_bytes, sums);
      lookup.codes += 8 * kBytes;
    }
    if constexpr (Layout::has_single(kBits)) add_single<kTokens, kBits - 1, false>(lookup, block_bytes, sums);
  }

  template <int kTokens>
  static void take_off_bias(const LookupArgs& lookup, int32_t* sums) {
    for (int n = 0; n < kTokens; ++n) {
      const Int start = Simd::set32(-lookup.bias * sum_first(lookup.multiples_of(n), lookup.blocks));
      for (int r = 0; r < kTileRows; r += kLanes) Simd::store_int(sums + n * kTileRows + r, start);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
