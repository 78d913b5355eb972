// The integer sums of the neon kernels: looked-up table entries of each row, weighted by plane and table scale.
//
// Instructions for 16 bytes of weights, one token, after the load:
//   4 bits   and, ushr (the two nibbles), 2 tbl, 2 udot                            6
//   2, 3     bif, ushr, orr (the nibbles, and which of two tables), 2 tbl, 2 udot  7
//   5, 6, 7  6 where a dword lies in one LUT group, else 7                         6.6, 6.3, 6.4
//   1        bif, ushr, orr, 2 tbl, 2 uadalp                                       7
//   8        2 sdot                                                                2
// Fewer cannot be had: a byte is two indices, and each takes a tbl and something to add what it finds. udot adds 16 entries
// in one instruction, weights the planes and needs no widening, provided that the 4 bytes that it sums belong to one row.
// With fewer than 4 planes they are then of two LUT groups, so of two tables: the third instruction of the nibbles chooses.
// The alternatives take more: one table per register and rows for bytes (as on x86) need a 16-bit sum for each half of the
// lookup, 8 at 2 bits and 1; tbl with four registers, which would let a dword be 4 groups at 1 bit, is 3 micro-ops on
// Apple's cores and 2/3 a cycle on Cortex-A720 and Neoverse V2, where the one with two registers runs at 2. At 1 bit a word
// is a row, and uadalp adds its two bytes to 16 bits, as cheap as udot and twice the rows.
//
// Per block of 32 k an mla by the table's multiple comes on top for 4 rows, and loads: one per 16 bytes of weights, and of
// the 8 tables, which serve 16 rows, one per dword and nibble. For many tokens indices are computed once for 4 of them: a
// token costs 2 tbl and 2 udot, 4.75 with its share of the rest.
#pragma once

#include <arm_neon.h>

#include "kernels/lut.h"
#include "kernels/neon/packing.h"

namespace lutmac::neon {

inline constexpr int kTileRows = Codes::kTileRows;

// The LUT groups of a block that are taken: all 8, or half of them where weight groups are of 16.
enum class Part { both, low, high };

// Consecutive blocks whose table scales are multiples of one unit.
struct LookupArgs {
  const uint8_t* codes;       // of the first block
  const uint8_t* tables;      // of the first block and token
  const uint8_t* multiples;   // s32, likewise
  int64_t stride;             // bytes from one token to the next, of both
  int blocks;
};

// A page, so that the prefetch crosses into the next one in time.
inline constexpr int kPrefetch = 4096;

template <int kBits>
struct DwordWeights {
  // udot's constants: byte p of the string is of plane p % kBits.
  alignas(16) uint8_t bytes[32] = {};
  constexpr DwordWeights() {
    for (int p = 0; p < 4 * kBits; ++p) bytes[p] = static_cast<uint8_t>(1 << p % kBits);
  }
};

// 2 to 7 bits. Of the 32 registers one token and 4 vectors of 4 rows take 4 for the running sums, 4 for the block's, 8 for
// indices and 4 for tables; 4 tokens and 2 vectors 8, 8, 4 and 4. The rest are constants and what was just looked up.
template <int kBits, int kTokens, Part kPart>
struct DwordLookup {
  static constexpr int kTogether = kTokens == 1 ? 4 : 2;
  static constexpr DwordWeights<kBits> kWeights{};
  using Sums = uint32x4_t[kTokens][kTogether];

  template <int kDword>
  [[gnu::always_inline]] static inline void add(const uint8_t* codes, const uint8_t* tables, int64_t stride, Sums& sums) {
    constexpr int kFirst = 4 * kDword / kBits, kInFirst = kBits * (kFirst + 1) - 4 * kDword;
    constexpr bool kTwo = kInFirst < 4;
    // 0x10 leads a byte's index to the second table.
    constexpr uint32_t kSecond = kTwo ? 0x10101010u << (kTwo ? 8 * kInFirst : 0) : 0u;
    const uint8x16_t second = vreinterpretq_u8_u32(vdupq_n_u32(kSecond)), nibble = vdupq_n_u8(15);
    const uint8x16_t weights = vld1q_u8(kWeights.bytes + kDword / 4 * 16);
    uint8x16_t low[kTogether], high[kTogether];
#pragma GCC unroll 8
    for (int t = 0; t < kTogether; ++t) {
      const uint8x16_t bytes = vld1q_u8(codes + kDword * kTileRows * 4 + t * 16);
      low[t] = kTwo ? vbslq_u8(nibble, bytes, second) : vandq_u8(bytes, nibble);
      high[t] = kTwo ? vorrq_u8(vshrq_n_u8(bytes, 4), second) : vshrq_n_u8(bytes, 4);
    }
    if (kTokens == 1) __builtin_prefetch(codes + kDword * kTileRows * 4 + kPrefetch);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n, tables += stride) {
      if constexpr (kPart != Part::high) look_up<kDword, kTwo>(tables + kFirst * 16, low, weights, sums[n]);
      if constexpr (kPart != Part::low) look_up<kDword, kTwo>(tables + kFirst * 16 + 64, high, weights, sums[n]);
    }
    // Loads stay with their dword: the compiler would bring them forward into registers that it does not have.
    asm volatile("" ::: "memory");
    if constexpr (kDword + 1 < kBits) add<kDword + 1>(codes, tables - kTokens * stride, stride, sums);
  }

  template <int kDword, bool kTwo>
  [[gnu::always_inline]] static inline void look_up(const uint8_t* tables, const uint8x16_t* index, uint8x16_t weights,
                                                    uint32x4_t* sums) {
    if constexpr (kTwo) {
      const uint8x16x2_t table = vld1q_u8_x2(tables);
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) {
        sums[t] = vdotq_laneq_u32(sums[t], vqtbl2q_u8(table, index[t]), weights, kDword % 4);
      }
    } else {
      const uint8x16_t table = vld1q_u8(tables);
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) {
        sums[t] = vdotq_laneq_u32(sums[t], vqtbl1q_u8(table, index[t]), weights, kDword % 4);
      }
    }
  }

  // integers [kTokens][kTileRows] = sum of multiple * (sum of plane weight * entry, less the tables' bias).
  [[gnu::noinline]] static void run(const LookupArgs& lookup, int32_t* integers) {
    constexpr uint32_t kBias = 128u * (kPart == Part::both ? 8 : 4) * ((1 << kBits) - 1);
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      int32x4_t totals[kTokens][kTogether] = {};
      const uint8_t *codes = lookup.codes + t0 * 16, *tables = lookup.tables, *multiples = lookup.multiples;
      for (int block = 0; block < lookup.blocks; ++block, codes += Codes::block_bytes(kBits), tables += 128, multiples += 4) {
        Sums sums;
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
          for (int t = 0; t < kTogether; ++t) sums[n][t] = vdupq_n_u32(-kBias);
        }
        add<0>(codes, tables, lookup.stride, sums);
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          const int32x4_t multiple = vld1q_dup_s32(reinterpret_cast<const int32_t*>(multiples + n * lookup.stride));
#pragma GCC unroll 8
          for (int t = 0; t < kTogether; ++t) {
            totals[n][t] = vmlaq_s32(totals[n][t], vreinterpretq_s32_u32(sums[n][t]), multiple);
          }
        }
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) vst1q_s32(integers + n * kTileRows + (t0 + t) * 4, totals[n][t]);
      }
    }
  }
};

// 1 bit: vectors of 8 rows, summed in 16 bits.
template <int kTokens, Part kPart>
struct WordLookup {
  static constexpr int kTogether = kTokens == 1 ? 2 : 1;

  [[gnu::always_inline]] static inline void add(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                uint16x8_t (&sums)[kTokens][kTogether]) {
    const uint8x16_t second = vreinterpretq_u8_u16(vdupq_n_u16(0x1000)), nibble = vdupq_n_u8(15);
    uint8x16_t low[kTogether], high[kTogether];
#pragma GCC unroll 8
    for (int v = 0; v < kTogether; ++v) {
      const uint8x16_t bytes = vld1q_u8(codes + v * 16);
      low[v] = vbslq_u8(nibble, bytes, second);
      high[v] = vorrq_u8(vshrq_n_u8(bytes, 4), second);
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n, tables += stride) {
      if constexpr (kPart != Part::high) look_up(tables, low, sums[n]);
      if constexpr (kPart != Part::low) look_up(tables + 64, high, sums[n]);
    }
  }

  [[gnu::always_inline]] static inline void look_up(const uint8_t* tables, const uint8x16_t* index, uint16x8_t* sums) {
    const uint8x16x2_t table = vld1q_u8_x2(tables);
#pragma GCC unroll 8
    for (int v = 0; v < kTogether; ++v) sums[v] = vpadalq_u8(sums[v], vqtbl2q_u8(table, index[v]));
  }

  [[gnu::noinline]] static void run(const LookupArgs& lookup, int32_t* integers) {
    // A block's sum less the bias fits s16, and a multiple does.
    constexpr uint16_t kBias = 128 * (kPart == Part::both ? 8 : 4);
    for (int v0 = 0; v0 < 2; v0 += kTogether) {
      int32x4_t totals[kTokens][kTogether][2] = {};
      const uint8_t *codes = lookup.codes + v0 * 16, *tables = lookup.tables, *multiples = lookup.multiples;
      for (int block = 0; block < lookup.blocks; ++block, codes += Codes::block_bytes(1), tables += 128, multiples += 4) {
        uint16x8_t sums[kTokens][kTogether];
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
          for (int v = 0; v < kTogether; ++v) sums[n][v] = vdupq_n_u16(static_cast<uint16_t>(-kBias));
        }
        add(codes, tables, lookup.stride, sums);
        add(codes + 2 * kTileRows, tables + 32, lookup.stride, sums);
        if (kTokens == 1) __builtin_prefetch(codes + kPrefetch);
#pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          const int16x8_t multiple = vld1q_dup_s16(reinterpret_cast<const int16_t*>(multiples + n * lookup.stride));
#pragma GCC unroll 8
          for (int v = 0; v < kTogether; ++v) {
            const int16x8_t sum = vreinterpretq_s16_u16(sums[n][v]);
            totals[n][v][0] = vmlal_s16(totals[n][v][0], vget_low_s16(sum), vget_low_s16(multiple));
            totals[n][v][1] = vmlal_high_s16(totals[n][v][1], sum, multiple);
          }
        }
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int v = 0; v < kTogether; ++v) {
          int32_t* out = integers + n * kTileRows + (v0 + v) * 8;
          vst1q_s32(out, totals[n][v][0]);
          vst1q_s32(out + 4, totals[n][v][1]);
        }
      }
    }
  }
};

template <int kBits, int kTokens, Part kPart>
inline void look_up(const LookupArgs& lookup, int32_t* integers) {
  if constexpr (kBits == 1) {
    WordLookup<kTokens, kPart>::run(lookup, integers);
  } else {
    DwordLookup<kBits, kTokens, kPart>::run(lookup, integers);
  }
}

}  // namespace lutmac::neon
