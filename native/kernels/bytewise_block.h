// What one block adds to the integer sums: the components of its planes, for any number of tokens.
//
// A component looks its quarters up, sums them in registers, and hands over what it found: for each token n and vector of rows
// add(n, rows, words, multiple) is to add the products of words and multiple to the sums of that vector, of which a tile has
// four. Where those sums are, in registers (one token) or in memory (several), is the caller's choice: see bytewise_lookup.h.
//
// Instructions for 64 bytes (avx512), one token: load, and, shift, and, 2 shuffles, then 2 vpdpbusd for a quad or a triple
// (7 after the load), 2 vpmaddubsw + 2 vpaddw for a pair (9), 2 vpaddw + 2 shifts + 2 vpaddw for a single (11). For many
// tokens the indices are computed once and each token costs 4, 6 and 8. Byte shuffles have one port on Intel's cores of
// this kind, all other vector instructions share it and a second one: so half of these counts, in cycles, is the bound.
#pragma once

#include "kernels/bytewise_layout.h"
#include "kernels/fetch.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Of each block quarters kFirst to kFirst + kQuarters - 1 of 8 k: all 4, or 2 where groups are of 16. Loops over them are unrolled,
// which keeps GCC from copying every sum in every round.
template <int kFirst, int kQuarters>
struct BytewiseBlock {
  static constexpr int kBytes = kLanes * 4;

  // add: see above. codes: of the component; tables: of the block's first token, stride bytes to the next one's; multiple(n):
  // that of a token, with the weight of the component's first plane. kTogether: vectors of a quarter at a time.
  template <Component component, int kTokens, int kTogether, typename Multiple, typename Add>
  [[gnu::always_inline]] static inline void add(const uint8_t* codes, const uint8_t* tables, int64_t stride, Multiple multiple,
                                                Add add) {
    tables += kFirst * 32;
    if constexpr (component == Component::single) {
      single<kTokens>(codes, tables, stride, multiple, add);
    } else if constexpr (component == Component::pair) {
      pair<kTokens, kTogether>(codes, tables, stride, multiple, add);
    } else {
      quad<kTokens, kTogether, component == Component::triple>(codes, tables, stride, multiple, add);
    }
  }

  // Of a quad or triple that is the only component of a lone block, whose multiple is 1: set(n, rows, sum) gets the sums, less
  // the bias.
  template <int kTokens, int kTogether, bool kTriple, typename Set>
  [[gnu::always_inline]] static inline void lone_quad(const uint8_t* codes, const uint8_t* tables, int64_t stride, int bias,
                                                      Set set) {
    Ints acc[kTokens][kTogether];
    look_quad_up<kTokens, kTogether, kTriple>(codes, tables + kFirst * 32, stride, -bias, acc);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) {
        set(n, t, kHasDotBytes ? acc[n][t] : dot_pairs((Words)acc[n][t], quad_multiple(1), broadcast(-bias)));
      }
    }
  }

 private:
  template <int kVectors>
  struct Indices {
    Bytes low[kVectors], high[kVectors];
  };

  // Vector v of a quarter: 4 bytes of each of kLanes rows. Quarter 3 of a triple lies in the spare bytes of its quarters 0-2.
  template <int kTokens, bool kTriple, int kVectors>
  static Indices<kVectors> indices(const uint8_t* codes, int quarter, int quarter_vectors) {
    Indices<kVectors> result;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Bytes bytes;
      if (kTriple && quarter == 3) {
        const uint8_t* at = codes + v * kBytes;
        bytes = gather_spare((Bits)load(at), (Bits)load(at + quarter_vectors * kBytes), (Bits)load(at + 2 * quarter_vectors * kBytes));
      } else {
        const uint8_t* at = codes + (quarter * quarter_vectors + v) * kBytes;
        bytes = load(at);
        fetch<kTokens>(at);
      }
      result.low[v] = low_nibbles(bytes);
      result.high[v] = high_nibbles(bytes);
    }
    return result;
  }

  // Four planes, or three. multiple(n): that of a token, with the plane's weight.
  template <int kTokens, int kTogether, bool kTriple, typename Multiple, typename Add>
  [[gnu::always_inline]] static inline void quad(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                 Multiple multiple, Add add) {
    Ints acc[kTokens][kTogether];
    look_quad_up<kTokens, kTogether, kTriple>(codes, tables, stride, 0, acc);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Words times = quad_multiple(multiple(n));
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) add(n, t, (Words)acc[n][t], times);
    }
  }

  template <int kTokens, int kTogether, bool kTriple>
  [[gnu::always_inline]] static inline void look_quad_up(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                         int start, Ints (&acc)[kTokens][kTogether]) {
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) acc[n][t] = broadcast(kHasDotBytes ? start : 0);
    }
#pragma GCC unroll 4
    for (int quarter = kFirst; quarter < kFirst + kQuarters; ++quarter, tables += 32) {
      const auto index = indices<kTokens, kTriple, kTogether>(codes, quarter, 4);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Bytes first = load_table(tables + n * stride), second = load_table(tables + n * stride + 16);
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          acc[n][t] = add_quad<kTriple>(look_up(first, index.low[t]), acc[n][t]);
          acc[n][t] = add_quad<kTriple>(look_up(second, index.high[t]), acc[n][t]);
        }
      }
    }
    keep_sums_apart<kTokens>();
  }

  // Two planes. A vector of indices holds two vectors of rows, as words of even and of odd place.
  template <int kTokens, int kTogether, typename Multiple, typename Add>
  [[gnu::always_inline]] static inline void pair(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                 Multiple multiple, Add add) {
    const Bytes weights = (Bytes)(Words{} + 0x0201);
    Words acc[kTokens][kTogether];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int v = 0; v < kTogether; ++v) acc[n][v] = Words{};
    }
#pragma GCC unroll 4
    for (int quarter = kFirst; quarter < kFirst + kQuarters; ++quarter, tables += 32) {
      const auto index = indices<kTokens, false, kTogether>(codes, quarter, 2);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Bytes first = load_table(tables + n * stride), second = load_table(tables + n * stride + 16);
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) {
          acc[n][v] = add_words(acc[n][v], dot_byte_pairs(look_up(first, index.low[v]), weights));
          acc[n][v] = add_words(acc[n][v], dot_byte_pairs(look_up(second, index.high[v]), weights));
        }
      }
    }
    keep_sums_apart<kTokens>();
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const int times = multiple(n);
      const Words even = (Words)broadcast(times), odd = (Words)broadcast(times << 16);
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
    Words all[kTokens], odd[kTokens];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) all[n] = odd[n] = Words{};
#pragma GCC unroll 4
    for (int quarter = kFirst; quarter < kFirst + kQuarters; ++quarter, tables += 32) {
      const auto index = indices<kTokens, false, 1>(codes, quarter, 1);
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        const Words first = (Words)look_up(load_table(tables + n * stride), index.low[0]);
        const Words second = (Words)look_up(load_table(tables + n * stride + 16), index.high[0]);
        all[n] = add_words(add_words(all[n], first), second);
        odd[n] = add_words(add_words(odd[n], upper_bytes(first)), upper_bytes(second));
      }
    }
    keep_sums_apart<kTokens>();
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Words even = subtract_words(all[n], to_upper_bytes(odd[n]));
      const int times = multiple(n);
      const Words lower = (Words)broadcast(times), upper = (Words)broadcast(times << 16);
      add(n, 0, even, lower);
      add(n, 1, odd[n], lower);
      add(n, 2, even, upper);
      add(n, 3, odd[n], upper);
    }
  }

  // Bytes 3 of a, b, c as bytes 0, 1, 2; byte 3 is anything.
  static Bytes gather_spare(Bits a, Bits b, Bits c) { return (Bytes)(a >> 24 | (b >> 16 & 0xff00) | (c >> 8 & 0xff0000)); }

  // Sums of a quad's planes, weighted. Without dot products of bytes they are words, of planes 0 + 2 * 1 and planes 2 + 2 * 3;
  // 8 lookups of a block stay below 6,121.
  template <bool kTriple>
  static Ints add_quad(Bytes looked, Ints sum) {
    if constexpr (kHasDotBytes) return dot_bytes(looked, (Bytes)broadcast(kTriple ? 0x00040201 : 0x08040201), sum);
    return (Ints)add_words((Words)sum, dot_byte_pairs(looked, (Bytes)broadcast(kTriple ? 0x00010201 : 0x02010201)));
  }
  // Else a block's sum of a quad stays below 30,601: it is a word.
  static Words quad_multiple(int multiple) { return (Words)broadcast(kHasDotBytes ? multiple : multiple * 0x00040001); }

  // The compiler would carry the sums of several tokens from block to block in registers that it does not have.
  template <int kTokens>
  [[gnu::always_inline]] static inline void keep_sums_apart() {
    if constexpr (kTokens > 1) keep_apart();
  }
};

}  // namespace lutmac::LUTMAC_TARGET
