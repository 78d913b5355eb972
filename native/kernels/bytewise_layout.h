// The packing of the bytewise kernels' bit planes.
//
// All bytes of a 128-bit part look up the same table, so bytes are rows. The planes of one row share the table too: they
// lie in adjacent bytes, and one multiply-add by (1, 2, 4, 8) weights and sums them without widening first.
//
// A tile is 4 L rows, L the 32-bit lanes of a vector. A block is 32 k of a tile; it holds its planes in components:
//   quad    planes 0-3 of 4 to 7 bits:     4 vectors per quarter; vector t, lane e is row t L + e, its bytes the planes
//   triple  the last 3 planes of 3 and 7 (avx512): the same with 3 planes, and only 3 quarters: byte 3 of quarter s is plane s of quarter 3
//   pair    2 planes after the quads, if any: 2 vectors per quarter; vector v, lane e, word h is row (2 v + h) L + e
//   single  the last plane of odd bits:    1 vector per quarter; lane e, byte j is row j L + e
// each component as 4 quarters of 8 k: the low nibble of a byte is the index into the table of the quarter's first LUT group,
// the high nibble into that of its second.
#pragma once

#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

enum class Component { quad, triple, pair, single };

template <Component which>
struct ComponentTag {
  static constexpr Component value = which;
};

template <int kVectorLanes, bool kTriples, int kInterleave, int kXor>
struct BytewiseLayout : WholeBytes<BytewiseLayout<kVectorLanes, kTriples, kInterleave, kXor>> {
  static constexpr int kVectorBytes = kVectorLanes * 4;
  static constexpr int kTileRows = 4 * kVectorLanes;
  static constexpr int kIntegerInterleave = kInterleave, kIntegerXor = kXor;
  using Trits = BytewiseTrits<kTileRows>;

  static constexpr bool has(Component component, int bits) {
    const bool triple = kTriples && (bits & 3) == 3;
    switch (component) {
      case Component::quad: return bits >= 4;
      case Component::triple: return triple;
      case Component::pair: return !triple && (bits & 2) != 0;
      default: return !triple && (bits & 1) != 0;
    }
  }
  // Vectors of a quarter.
  static constexpr int vectors(Component component) {
    return component == Component::pair ? 2 : component == Component::single ? 1 : 4;
  }
  // Where a component begins in its block, and its first plane.
  static constexpr int place(Component component, int bits) {
    if (component == Component::quad) return 0;
    const int quads = has(Component::quad, bits) ? 16 : 0;
    return (quads + (component == Component::single && has(Component::pair, bits) ? 8 : 0)) * kVectorBytes;
  }
  static constexpr int plane(Component component, int bits) {
    if (component == Component::single) return bits - 1;
    return component != Component::quad && has(Component::quad, bits) ? 4 : 0;
  }

  // Calls visit(ComponentTag) for each component of a block.
  template <int bits, typename Visit>
  [[gnu::always_inline]] static inline void each_component(Visit visit) {
    if constexpr (has(Component::quad, bits)) visit(ComponentTag<Component::quad>());
    if constexpr (has(Component::triple, bits)) visit(ComponentTag<Component::triple>());
    if constexpr (has(Component::pair, bits)) visit(ComponentTag<Component::pair>());
    if constexpr (has(Component::single, bits)) visit(ComponentTag<Component::single>());
  }

  // A word of planes is a quarter of 8 k.
  template <int bits, typename Move>
  [[gnu::always_inline]] static void each_part(int row, Move move) {
    const int t = row / kVectorLanes, lane = row % kVectorLanes * 4;
    each_component<bits>([&](auto which) {
      constexpr Component component = decltype(which)::value;
      constexpr int kPlane = plane(component, bits), kQuarterBytes = vectors(component) * kVectorBytes;
      constexpr bool kTriple = component == Component::triple;
      const int start = place(component, bits) + lane;
#pragma GCC unroll 4
      for (int quarter = 0; quarter < (kTriple ? 3 : 4); ++quarter) {
        const int at = start + quarter * kQuarterBytes;
        if constexpr (component == Component::quad) {
          move(PlaneCount<4>(), at + t * kVectorBytes, quarter, kPlane);
        } else if constexpr (kTriple) {
          move(PlaneCount<3>(), at + t * kVectorBytes, quarter, kPlane);
          move(PlaneCount<1>(), at + t * kVectorBytes + 3, 3, kPlane + quarter);
        } else if constexpr (component == Component::pair) {
          move(PlaneCount<2>(), at + t / 2 * kVectorBytes + t % 2 * 2, quarter, kPlane);
        } else {
          move(PlaneCount<1>(), at + t, quarter, kPlane);
        }
      }
    });
  }
};

}  // namespace lutmac::LUTMAC_TARGET
