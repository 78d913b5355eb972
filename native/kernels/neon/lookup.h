// Lookups on neon: table entries of each row, weighted by plane and summed by udot.
//
// Instructions for 16 bytes of weights, one token, after the load:
//   4 bits   and, ushr (the two nibbles), 2 tbl, 2 udot                            6
//   2, 3     bif, ushr, orr (the nibbles, and which of two tables), 2 tbl, 2 udot  7
//   5, 6, 7  6 where a dword lies in one LUT group, else 7                         6.6, 6.3, 6.4
//   1        bif, ushr, orr, 2 tbl, 2 uadalp                                       7
//   8        2 sdot                                                                2
// This is the least: a byte is two indices, and each takes a tbl and an instruction that adds its entry. udot adds 16 entries
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

#include "kernels/chunks.h"
#include "kernels/fetch.h"
#include "kernels/neon/packing.h"

namespace lutmac::LUTMAC_TARGET {

template <int kBits>
struct DwordWeights {
  // udot's constants: byte p of the string is of plane p % kBits.
  alignas(16) uint8_t bytes[32] = {};
  constexpr DwordWeights() {
    for (int p = 0; p < 4 * kBits; ++p) bytes[p] = static_cast<uint8_t>(1 << p % kBits);
  }
};

// A block of 2 to 7 bits, kTogether vectors of 4 rows. Of the 32 registers one token and 4 vectors take 4 for the running
// sums, 4 for the block's, 8 for indices and 4 for tables; 4 tokens and 2 vectors 8, 8, 4 and 4. The rest are constants and
// what was just looked up.
template <int kBits, int kTokens, Part part>
struct DwordBlock {
  static constexpr int kTogether = kTokens == 1 ? 4 : 2;
  static constexpr DwordWeights<kBits> kWeights{};

  // totals += multiple(n) * (the block's sums).
  template <typename Multiple>
  [[gnu::always_inline]] static inline void add(const uint8_t* codes, const uint8_t* tables, int64_t stride, Multiple multiple,
                                                Ints (*totals)[kTogether]) {
    Ints sums[kTokens][kTogether] = {};
    add_dwords<0>(codes, tables, stride, sums);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const Ints times = broadcast(multiple(n));
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) totals[n][t] += sums[n][t] * times;
    }
  }

 private:
  template <int kDword>
  [[gnu::always_inline]] static inline void add_dwords(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                       Ints (&sums)[kTokens][kTogether]) {
    constexpr int kFirst = 4 * kDword / kBits, kInFirst = kBits * (kFirst + 1) - 4 * kDword;
    constexpr bool kTwo = kInFirst < 4;
    // 0x10 leads a byte's index to the second table.
    constexpr uint32_t kSecond = kTwo ? 0x10101010u << (kTwo ? 8 * kInFirst : 0) : 0u;
    const Bytes second = (Bytes)(Bits{} + kSecond), nibble = Bytes{} + 15, weights = load(kWeights.bytes + kDword / 4 * 16);
    Bytes low[kTogether], high[kTogether];
#pragma GCC unroll 8
    for (int t = 0; t < kTogether; ++t) {
      const Bytes bytes = load(codes + kDword * Codes::kTileRows * 4 + t * 16);
      low[t] = kTwo ? masked_or(bytes, nibble, second) : low_nibbles(bytes);
      high[t] = kTwo ? high_nibbles(bytes) | second : high_nibbles(bytes);
    }
    if (kTokens == 1) prefetch(codes + kDword * Codes::kTileRows * 4 + kWeightPrefetch);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n, tables += stride) {
      if constexpr (part != Part::second) add_entries<kDword, kTwo>(tables + kFirst * 16, low, weights, sums[n]);
      if constexpr (part != Part::first) add_entries<kDword, kTwo>(tables + kFirst * 16 + 64, high, weights, sums[n]);
    }
    // Loads stay with their dword: the compiler would bring them forward into registers that it does not have.
    keep_apart();
    if constexpr (kDword + 1 < kBits) add_dwords<kDword + 1>(codes, tables - kTokens * stride, stride, sums);
  }

  template <int kDword, bool kTwo>
  [[gnu::always_inline]] static inline void add_entries(const uint8_t* tables, const Bytes* index, Bytes weights, Ints* sums) {
    const auto table = [tables] {
      if constexpr (kTwo) return load_two_tables(tables);
      else return load_table(tables);
    }();
#pragma GCC unroll 8
    for (int t = 0; t < kTogether; ++t) sums[t] = dot_bytes_at<kDword % 4>(LUTMAC_TARGET::look_up(table, index[t]), weights, sums[t]);
  }
};

// A block of 1 bit: vectors of 8 rows, summed in 16 bits, which a multiple fits, too. kTogether counts vectors of 4 rows.
template <int kTokens, Part part>
struct WordBlock {
  static constexpr int kTogether = kTokens == 1 ? 4 : 2, kVectors = kTogether / 2;

  template <typename Multiple>
  [[gnu::always_inline]] static inline void add(const uint8_t* codes, const uint8_t* tables, int64_t stride, Multiple multiple,
                                                Ints (*totals)[kTogether]) {
    Words sums[kTokens][kVectors] = {};
    add_half(codes, tables, stride, sums);
    add_half(codes + 2 * Codes::kTileRows, tables + 32, stride, sums);
    if (kTokens == 1) prefetch(codes + kWeightPrefetch);
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
      const int16_t times = static_cast<int16_t>(multiple(n));
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) add_products(totals[n][2 * v], totals[n][2 * v + 1], sums[n][v], times);
    }
  }

 private:
  [[gnu::always_inline]] static inline void add_half(const uint8_t* codes, const uint8_t* tables, int64_t stride,
                                                     Words (&sums)[kTokens][kVectors]) {
    const Bytes second = (Bytes)(Words{} + 0x1000), nibble = Bytes{} + 15;
    Bytes low[kVectors], high[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Bytes bytes = load(codes + v * 16);
      low[v] = masked_or(bytes, nibble, second);
      high[v] = high_nibbles(bytes) | second;
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n, tables += stride) {
      if constexpr (part != Part::second) add_entries(tables, low, sums[n]);
      if constexpr (part != Part::first) add_entries(tables + 64, high, sums[n]);
    }
  }

  [[gnu::always_inline]] static inline void add_entries(const uint8_t* tables, const Bytes* index, Words* sums) {
    const TwoTables table = load_two_tables(tables);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sums[v] = add_byte_pairs(sums[v], LUTMAC_TARGET::look_up(table, index[v]));
  }
};

struct NeonLookup {
  static constexpr int kMostTokens = 4;
  // Tiles that several tokens go through together, so that their tables come from the L2 cache once for 64 rows: 1 KB for a
  // block and 8 tokens, against 2 KB of sums and as much of parameters that have to stay in the L1 cache.
  static constexpr int kTiles = 4;

  // One token: adds a block, times its multiple.
  template <int kBits, Part part>
  [[gnu::always_inline]] static inline void add_block(const uint8_t* codes, const uint8_t* tables, int multiple, Ints (&sums)[4]) {
    Block<kBits, 1, part>::add(codes, tables, 0, [=](int) { return multiple; }, &sums);
  }

  // Several: integers[n, row] of a chunk.
  template <int kBits, int kTokens, Part part>
  [[gnu::noinline]] static void look_up(const LookupArgs& lookup, int32_t* integers) {
    using Some = Block<kBits, kTokens, part>;
    constexpr int kTogether = Some::kTogether;
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      Ints totals[kTokens][kTogether];
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) totals[n][t] = broadcast(lookup.start(n));
      }
      const uint8_t *codes = lookup.codes + t0 * kVectorBytes<kBits>, *tables = lookup.tables;
      for (int block = 0; block < lookup.blocks; ++block, codes += Codes::block_bytes(kBits), tables += 128) {
        Some::add(codes, tables, lookup.stride, [&](int n) { return lookup.multiples.at(n)[block]; }, totals);
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) store(integers + n * Codes::kTileRows + (t0 + t) * kLanes, totals[n][t]);
      }
    }
  }

 private:
  // Of 4 rows: a vector, or at 1 bit half of one.
  template <int kBits>
  static constexpr int kVectorBytes = kBits == 1 ? 8 : 16;

  template <int kBits, int kTokens, Part part>
  struct BlockOf {
    using Type = DwordBlock<kBits, kTokens, part>;
  };
  template <int kTokens, Part part>
  struct BlockOf<1, kTokens, part> {
    using Type = WordBlock<kTokens, part>;
  };
  template <int kBits, int kTokens, Part part>
  using Block = typename BlockOf<kBits, kTokens, part>::Type;
};

}  // namespace lutmac::LUTMAC_TARGET
