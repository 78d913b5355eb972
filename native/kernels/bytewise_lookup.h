// Lookups for byte shuffles that have one 16-entry table per 128 bits (avx2, avx512), one token or several.
//
// One token's integers stay in registers up to their floats; those of several are more than there are registers, so they go
// through memory. Both take the components of bytewise_block.h; integers are exact in any order.
#pragma once

#include "kernels/bytewise_block.h"
#include "kernels/chunks.h"

namespace lutmac::LUTMAC_TARGET {

template <typename Codes>
struct BytewiseLookup {
  static constexpr int kTileRows = Codes::kTileRows;
  // Vectors that are held in registers beside 8 tokens: 2 x 8 sums, 4 vectors of indices, 2 tables and 2 constants in 32
  // registers, or half of it in 16.
  static constexpr int kTogether = kRegisters == 32 ? 2 : 1;
  static constexpr int kMostTokens = 8;
  static constexpr int kTiles = 1;
  template <Part part>
  using Block = BytewiseBlock<part == Part::second ? 2 : 0, part == Part::whole ? 4 : 2>;

  // One token: adds a block, times its multiple, to sums[row / kLanes].
  template <int kBits, Part part>
  [[gnu::always_inline]] static inline void add_block(const uint8_t* codes, const uint8_t* tables, int multiple, Ints (&sums)[4]) {
    const auto add = [&](int, int rows, Words words, Words times) __attribute__((always_inline)) {
      sums[rows] = dot_pairs(words, times, sums[rows]);
    };
    Codes::template each_component<kBits>([&](auto which) __attribute__((always_inline)) {
      constexpr Component component = decltype(which)::value;
      const auto weighted = [=](int) { return multiple << Codes::plane(component, kBits); };
      Block<part>::template add<component, 1, Codes::vectors(component)>(codes + Codes::place(component, kBits), tables, 0,
                                                                        weighted, add);
    });
  }

  // Several: integers[n, row] of a chunk.
  template <int kBits, int kTokens, Part part>
  static void look_up(const LookupArgs& lookup, int32_t* integers) {
    if (kBits <= 4 && lookup.blocks == 1) {
      constexpr Component only = kBits == 4   ? Component::quad
                                 : kBits == 2 ? Component::pair
                                 : kBits == 1 ? Component::single
                                              : Component::triple;
      if constexpr (Codes::has(only, kBits)) return add_component<only, kBits, kTokens, part, true>(lookup, integers);
    }
    for (int n = 0; n < kTokens; ++n) {
      const Ints start = broadcast(lookup.start(n));
      for (int r = 0; r < kTileRows; r += kLanes) store(integers + n * kTileRows + r, start);
    }
    Codes::template each_component<kBits>([&](auto which) __attribute__((always_inline)) {
      add_component<decltype(which)::value, kBits, kTokens, part, false>(lookup, integers);
    });
  }

 private:
  // Adds a component of all blocks. Its own sums fill the registers, so it is not inlined into others: the compiler would hold
  // all of them in registers that it does not have. kAlone: of a lone block the only component: sets the integers.
  template <Component component, int kBits, int kTokens, Part part, bool kAlone>
  [[gnu::noinline]] static void add_component(const LookupArgs& lookup, int32_t* integers) {
    constexpr int kVectors = Codes::vectors(component), kRows = 4 / kVectors;
    constexpr int kAtOnce = kVectors < kTogether ? kVectors : kTogether, kPlane = Codes::plane(component, kBits);
    for (int v = 0; v < kVectors; v += kAtOnce) {
      const uint8_t* codes = lookup.codes + Codes::place(component, kBits) + v * kLanes * 4;
      const auto sums = [&](int n, int rows) { return integers + n * kTileRows + (v * kRows + rows) * kLanes; };
      if constexpr (kAlone && kRows == 1) {
        Block<part>::template lone_quad<kTokens, kAtOnce, component == Component::triple>(
            codes, lookup.tables, lookup.stride, lookup.bias,
            [&](int n, int rows, Ints sum) __attribute__((always_inline)) { store(sums(n, rows), sum); });
        continue;
      }
      const uint8_t* tables = lookup.tables;
      for (int block = 0; block < lookup.blocks; ++block, codes += Codes::block_bytes(kBits), tables += 128) {
        Block<part>::template add<component, kTokens, kAtOnce>(
            codes, tables, lookup.stride,
            [&](int n) __attribute__((always_inline)) { return kAlone ? 1 : lookup.multiples.at(n)[block] << kPlane; },
            [&](int n, int rows, Words words, Words times) __attribute__((always_inline)) {
              const Ints before = kAlone ? broadcast(-lookup.bias) : load(sums(n, rows));
              store(sums(n, rows), dot_pairs(words, times, before));
            });
      }
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
