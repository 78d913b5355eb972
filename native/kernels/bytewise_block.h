// What one block adds to the integer sums: the components of its planes, for any number of tokens.
//
// A component looks its quarters up, sums them in registers, and hands over what it found: for each token n and vector of
// rows add(n, rows, words, multiple) is to add the products of words and multiple to the sums of that vector, of which a tile has
// four. Where those sums are, in registers or in memory, is the caller's choice: see bytewise_token.h and bytewise_lookup.h.
//
// Instructions for 64 bytes (avx512), one token: load, and, shift, and, 2 shuffles, then 2 vpdpbusd for a quad or a triple
// (7 after the load), 2 vpmaddubsw + 2 vpaddw for a pair (9), 2 vpaddw + 2 shifts + 2 vpaddw for a single (11). For many
// tokens the indices are computed once and each token costs 4, 6 and 8. Byte shuffles have one port on Intel's cores of
// this kind, all other vector instructions share it and a second one: so half of these counts, in cycles, is the bound.
#pragma once

#include "kernels/bytewise_layout.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// Of each block quarters kFirst to kFirst + kQuarters - 1 of 8 k: all 4, or 2 where groups are of 16. Loops over them are
// unrolled, which keeps GCC from copying every sum in every round.
template <typename Simd, int kFirst, int kQuarters>
struct BytewiseBlock {
  using Int = typename Simd::Int;
  static constexpr int kBytes = Simd::kLanes * 4;
  // How far ahead of the loads weights are fetched: a page, so that the prefetch crosses into the next one in time.
  static constexpr int kPrefetch = 4096;

  template <int kVectors>
  struct Indices {
    Int low[kVectors], high[kVectors];
  };

  // Vector v of a quarter: 4 bytes of each of kLanes rows. Quarter 3 of a triple lies in the spare bytes of its quarters 0-2.
  template <bool kTriple, int kVectors>
  static Indices<kVectors> indices(const uint8_t* codes, int quarter, int quarter_vectors) {
    Indices<kVectors> result;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Int bytes;
      if (kTriple && quarter == 3) {
        const uint8_t* at = codes + v * kBytes;
        bytes = Simd::gather_spare(Simd::load(at), Simd::load(at + quarter_vectors * kBytes),
                                   Simd::load(at + 2 * quarter_vectors * kBytes));
      } else {
        const uint8_t* at = codes + (quarter * quarter_vectors + v) * kBytes;
        bytes = Simd::load(at);
        Simd::prefetch(at + kPrefetch);
      }
      result.low[v] = Simd::low_nibbles(bytes);
      result.high[v] = Simd::high_nibbles(bytes);
    }
    return result;
  }

  // Four planes, or three. multiple(n): that of a token, with the plane's weight.
  template <int kTokens, int kTogether, bool kTriple, typename Multiple, typename Add>
  [[gnu::always_inline]] static inline void quad(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                 Multiple multiple, Add add) {
    Int acc[kTokens][kTogether];
    look_quad_up<kTokens, kTogether, kTriple>(codes, tables, stride, 0, acc);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Int times = Simd::quad_multiple(multiple(n));
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) add(n, t, acc[n][t], times);
    }
  }

  // The only component of a lone block, whose multiple is 1: set(n, rows, sum) gets the sums, less the bias.
  template <int kTokens, int kTogether, bool kTriple, typename Set>
  [[gnu::always_inline]] static inline void lone_quad(const uint8_t* codes, const uint8_t* tables, int64_t stride, int bias,
                                                      Set set) {
    Int acc[kTokens][kTogether];
    look_quad_up<kTokens, kTogether, kTriple>(codes, tables, stride, -bias, acc);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) set(n, t, Simd::quad_total(acc[n][t], -bias));
    }
  }

  template <int kTokens, int kTogether, bool kTriple>
  [[gnu::always_inline]] static inline void look_quad_up(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                         int start, Int (&acc)[kTokens][kTogether]) {
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) acc[n][t] = Simd::quad_start(start);
    }
#pragma GCC unroll 4
    for (int quarter = kFirst; quarter < kFirst + kQuarters; ++quarter, tables += 32) {
      const auto index = indices<kTriple, kTogether>(codes, quarter, 4);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int first = Simd::table(tables + n * stride), second = Simd::table(tables + n * stride + 16);
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          acc[n][t] = Simd::template quad_add<kTriple>(acc[n][t], Simd::lookup(first, index.low[t]));
          acc[n][t] = Simd::template quad_add<kTriple>(acc[n][t], Simd::lookup(second, index.high[t]));
        }
      }
    }
    keep_sums_apart<kTokens>();
  }

  // Two planes. A vector of indices holds two vectors of rows, as words of even and of odd place.
  template <int kTokens, int kTogether, typename Multiple, typename Add>
  [[gnu::always_inline]] static inline void pair(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                 Multiple multiple, Add add) {
    Int acc[kTokens][kTogether];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int v = 0; v < kTogether; ++v) acc[n][v] = Simd::zero();
    }
#pragma GCC unroll 4
    for (int quarter = kFirst; quarter < kFirst + kQuarters; ++quarter, tables += 32) {
      const auto index = indices<false, kTogether>(codes, quarter, 2);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int first = Simd::table(tables + n * stride), second = Simd::table(tables + n * stride + 16);
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) {
          acc[n][v] = Simd::add16(acc[n][v], Simd::pair_sum(Simd::lookup(first, index.low[v])));
          acc[n][v] = Simd::add16(acc[n][v], Simd::pair_sum(Simd::lookup(second, index.high[v])));
        }
      }
    }
    keep_sums_apart<kTokens>();
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const int times = multiple(n);
      const Int even = Simd::set32(times), odd = Simd::set32(times << 16);
#pragma GCC unroll 8
      for (int v = 0; v < kTogether; ++v) {
        add(n, 2 * v, acc[n][v], even);
        add(n, 2 * v + 1, acc[n][v], odd);
      }
    }
  }

  // One plane. Bytes are summed as 16-bit words: `all` holds even + 256 * odd, `odd` the odd bytes, both modulo 2^16.
  template <int kTokens, typename Multiple, typename Add>
  [[gnu::always_inline]] static inline void single(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                   Multiple multiple, Add add) {
    Int all[kTokens], odd[kTokens];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Simd::zero();
#pragma GCC unroll 4
    for (int quarter = kFirst; quarter < kFirst + kQuarters; ++quarter, tables += 32) {
      const auto index = indices<false, 1>(codes, quarter, 1);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Int first = Simd::lookup(Simd::table(tables + n * stride), index.low[0]);
        const Int second = Simd::lookup(Simd::table(tables + n * stride + 16), index.high[0]);
        all[n] = Simd::add16(Simd::add16(all[n], first), second);
        odd[n] = Simd::add16(Simd::add16(odd[n], Simd::upper_bytes(first)), Simd::upper_bytes(second));
      }
    }
    keep_sums_apart<kTokens>();
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Int even = Simd::subtract16(all[n], Simd::to_upper_bytes(odd[n]));
      const int times = multiple(n);
      const Int lower = Simd::set32(times), upper = Simd::set32(times << 16);
      add(n, 0, even, lower);
      add(n, 1, odd[n], lower);
      add(n, 2, even, upper);
      add(n, 3, odd[n], upper);
    }
  }

  // The compiler would carry the sums of several tokens from block to block in registers that it does not have.
  template <int kTokens>
  [[gnu::always_inline]] static inline void keep_sums_apart() {
    if constexpr (kTokens > 1) asm volatile("" ::: "memory");
  }
};

}  // namespace lutmac::LUTMAC_TARGET
