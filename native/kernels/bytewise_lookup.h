// The integer sums of the bytewise kernels: looked-up table entries of each row, weighted by plane and table step.
//
// Instructions for 64 bytes (avx512), one token: load, and, shift, and, 2 shuffles, then 2 vpdpbusd for a quad or a triple
// (7 after the load), 2 vpmaddubsw + 2 vpaddw for a pair (9), 2 vpaddw + 2 shifts + 2 vpaddw for a single (11). For many
// tokens the indices are computed once and each token costs 4, 6 and 8. Byte shuffles have one port on Intel's cores of
// this kind, all other vector instructions share it and a second one: so half of these counts, in cycles, is the bound.
#pragma once

#include "kernels/bytewise_layout.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// Sum of the first 1 to 4 values, in their order. A loop the compiler would make ready for many more, which takes longer.
template <typename Value>
[[gnu::always_inline]] inline Value sum_first(const Value* values, int count) {
  static_assert(kTableUnit == 128, "a run has at most 4 blocks");
  Value sum = values[0];
  if (count > 1) sum += values[1];
  if (count > 2) sum += values[2];
  if (count > 3) sum += values[3];
  return sum;
}

// Consecutive blocks whose table steps are multiples of one unit.
struct LookupRun {
  const uint8_t* codes;      // of the first step
  const uint8_t* tables;     // of the first step and the first token
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
// Of each block steps kFirst to kFirst + kSteps - 1 of 8 k: all 4, or 2 where groups are of 16. Loops over them are unrolled,
// which keeps GCC from copying every sum in every round.
template <typename Simd, int kFirst, int kSteps>
struct BytewiseLookup {
  using Layout = typename Simd::Codes;
  using Int = typename Simd::Int;
  static constexpr int kLanes = Simd::kLanes;
  static constexpr int kBytes = kLanes * 4;
  static constexpr int kTileRows = 4 * kLanes;
  // How far ahead of the loads weights are fetched: a page, so that the prefetch crosses into the next one in time.
  static constexpr int kPrefetch = 4096;

  template <int kVectors>
  struct Indices {
    Int low[kVectors], high[kVectors];
  };

  // Vector v of a step: 4 bytes of each of kLanes rows. Step 3 of a triple lies in the spare bytes of its steps 0-2.
  template <bool kTriple, int kVectors>
  static Indices<kVectors> indices(const uint8_t* codes, int step, int step_vectors) {
    Indices<kVectors> result;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Int bytes;
      if (kTriple && step == 3) {
        const uint8_t* at = codes + v * kBytes;
        bytes = Simd::gather_spare(Simd::load(at), Simd::load(at + step_vectors * kBytes),
                                   Simd::load(at + 2 * step_vectors * kBytes));
      } else {
        const uint8_t* at = codes + (step * step_vectors + v) * kBytes;
        bytes = Simd::load(at);
        Simd::prefetch(at + kPrefetch);
      }
      result.low[v] = Simd::low_nibbles(bytes);
      result.high[v] = Simd::high_nibbles(bytes);
    }
    return result;
  }

  // Planes kPlane to kPlane + 3 (kTriple: + 2). kAlone: of a lone block the only component: sets the sums.
  template <int kTokens, bool kTriple, int kPlane, bool kAlone>
  [[gnu::noinline]] static void add_quad(const LookupRun& run, int64_t block_bytes, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 4 : Simd::kSubTiles;
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      const uint8_t *codes = run.codes + t0 * kBytes, *tables = run.tables;
      for (int block = 0; block < run.blocks; ++block, codes += block_bytes, tables += 128) {
        Int acc[kTokens][kTogether];
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
          for (int t = 0; t < kTogether; ++t) acc[n][t] = kAlone ? Simd::quad_start(-run.bias) : Simd::zero();
        }
        const uint8_t* at = tables;
#pragma GCC unroll 4
        for (int step = kFirst; step < kFirst + kSteps; ++step, at += 32) {
          const auto index = indices<kTriple, kTogether>(codes, step, 4);
#pragma GCC unroll 8
          for (int n = 0; n < kTokens; ++n) {
            const Int first = Simd::table(at + n * run.stride), second = Simd::table(at + n * run.stride + 16);
#pragma GCC unroll 8
            for (int t = 0; t < kTogether; ++t) {
              acc[n][t] = Simd::template quad_add<kTriple>(acc[n][t], Simd::lookup(first, index.low[t]));
              acc[n][t] = Simd::template quad_add<kTriple>(acc[n][t], Simd::lookup(second, index.high[t]));
            }
          }
        }
        keep_in_memory();
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          int32_t* out = sums + n * kTileRows + t0 * kLanes;
          if constexpr (kAlone) {
#pragma GCC unroll 8
            for (int t = 0; t < kTogether; ++t) {
              Simd::store_int(out + t * kLanes, Simd::quad_total(acc[n][t], -run.bias));
            }
          } else {
            const Int multiple = Simd::quad_multiple(run.multiples_of(n)[block] << kPlane);
#pragma GCC unroll 8
            for (int t = 0; t < kTogether; ++t) {
              int32_t* sum = out + t * kLanes;
              Simd::store_int(sum, Simd::multiply_words(Simd::load_int(sum), acc[n][t], multiple));
            }
          }
        }
      }
    }
  }

  // Planes kPlane and kPlane + 1. A vector holds 2 kLanes rows, as words of even and of odd place.
  template <int kTokens, int kPlane, bool kAlone>
  [[gnu::noinline]] static void add_pair(const LookupRun& run, int64_t block_bytes, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 2 : Simd::kSubTiles;
    for (int v0 = 0; v0 < 2; v0 += kTogether) {
      const uint8_t *codes = run.codes + v0 * kBytes, *tables = run.tables;
      for (int block = 0; block < run.blocks; ++block, codes += block_bytes, tables += 128) {
        Int acc[kTokens][kTogether];
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
          for (int v = 0; v < kTogether; ++v) acc[n][v] = Simd::zero();
        }
        const uint8_t* at = tables;
#pragma GCC unroll 4
        for (int step = kFirst; step < kFirst + kSteps; ++step, at += 32) {
          const auto index = indices<false, kTogether>(codes, step, 2);
#pragma GCC unroll 8
          for (int n = 0; n < kTokens; ++n) {
            const Int first = Simd::table(at + n * run.stride), second = Simd::table(at + n * run.stride + 16);
#pragma GCC unroll 8
            for (int v = 0; v < kTogether; ++v) {
              acc[n][v] = Simd::add16(acc[n][v], Simd::pair_sum(Simd::lookup(first, index.low[v])));
              acc[n][v] = Simd::add16(acc[n][v], Simd::pair_sum(Simd::lookup(second, index.high[v])));
            }
          }
        }
        keep_in_memory();
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          const int32_t multiple = kAlone ? 1 : run.multiples_of(n)[block] << kPlane;
          const Int even = Simd::set32(multiple), odd = Simd::set32(multiple << 16);
#pragma GCC unroll 8
          for (int v = 0; v < kTogether; ++v) {
            int32_t* out = sums + n * kTileRows + (v0 + v) * 2 * kLanes;
            add_words<kAlone>(out, acc[n][v], even, run.bias);
            add_words<kAlone>(out + kLanes, acc[n][v], odd, run.bias);
          }
        }
      }
    }
  }

  // Bytes are summed as 16-bit words: `all` holds even + 256 * odd, `odd` the odd bytes, both modulo 2^16.
  template <int kTokens, int kPlane, bool kAlone>
  [[gnu::noinline]] static void add_single(const LookupRun& run, int64_t block_bytes, int32_t* sums) {
    const uint8_t *codes = run.codes, *tables = run.tables;
    for (int block = 0; block < run.blocks; ++block, codes += block_bytes, tables += 128) {
      Int all[kTokens], odd[kTokens];
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Simd::zero();
      const uint8_t* at = tables;
#pragma GCC unroll 4
      for (int step = kFirst; step < kFirst + kSteps; ++step, at += 32) {
        const auto index = indices<false, 1>(codes, step, 1);
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          const Int first = Simd::lookup(Simd::table(at + n * run.stride), index.low[0]);
          const Int second = Simd::lookup(Simd::table(at + n * run.stride + 16), index.high[0]);
          all[n] = Simd::add16(Simd::add16(all[n], first), second);
          odd[n] = Simd::add16(Simd::add16(odd[n], Simd::upper_bytes(first)), Simd::upper_bytes(second));
        }
      }
      keep_in_memory();
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int even = Simd::subtract16(all[n], Simd::to_upper_bytes(odd[n]));
        const int32_t multiple = kAlone ? 1 : run.multiples_of(n)[block] << kPlane;
        const Int lower = Simd::set32(multiple), upper = Simd::set32(multiple << 16);
        int32_t* out = sums + n * kTileRows;
        add_words<kAlone>(out, even, lower, run.bias);
        add_words<kAlone>(out + kLanes, odd[n], lower, run.bias);
        add_words<kAlone>(out + 2 * kLanes, even, upper, run.bias);
        add_words<kAlone>(out + 3 * kLanes, odd[n], upper, run.bias);
      }
    }
  }

  // The compiler would carry the sums from block to block in registers that it does not have.
  static void keep_in_memory() { asm volatile("" ::: "memory"); }

  template <bool kAlone>
  static void add_words(int32_t* sum, Int words, Int multiple, int32_t bias) {
    const Int before = kAlone ? Simd::set32(-bias) : Simd::load_int(sum);
    Simd::store_int(sum, Simd::multiply_words(before, words, multiple));
  }

  // sums = multiple * (sum of plane weight * entry, less the bias), over the run.
  template <int kBits, int kTokens>
  static void look_up(LookupRun run, int32_t* sums) {
    const int64_t block_bytes = Layout::block_bytes(kBits);
    constexpr bool kQuad = Layout::has_quad(kBits), kTriple = Layout::has_triple(kBits);
    if (kBits <= 4 && run.blocks == 1) {
      if constexpr (kQuad || kTriple) return add_quad<kTokens, kTriple, 0, true>(run, block_bytes, sums);
      if constexpr (kBits == 2) return add_pair<kTokens, 0, true>(run, block_bytes, sums);
      if constexpr (kBits == 1) return add_single<kTokens, 0, true>(run, block_bytes, sums);
    }
    take_off_bias<kTokens>(run, sums);
    if constexpr (kQuad) {
      add_quad<kTokens, false, 0, false>(run, block_bytes, sums);
      run.codes += 16 * kBytes;
    }
    if constexpr (kTriple) add_quad<kTokens, true, kQuad ? 4 : 0, false>(run, block_bytes, sums);
    if constexpr (Layout::has_pair(kBits)) {
      add_pair<kTokens, kQuad ? 4 : 0, false>(run, block_bytes, sums);
      run.codes += 8 * kBytes;
    }
    if constexpr (Layout::has_single(kBits)) add_single<kTokens, kBits - 1, false>(run, block_bytes, sums);
  }

  template <int kTokens>
  static void take_off_bias(const LookupRun& run, int32_t* sums) {
    for (int n = 0; n < kTokens; ++n) {
      const Int start = Simd::set32(-run.bias * sum_first(run.multiples_of(n), run.blocks));
      for (int r = 0; r < kTileRows; r += kLanes) Simd::store_int(sums + n * kTileRows + r, start);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
