// The packing of the bytewise kernels' bit planes; see bytewise.h.
#pragma once

#include "kernels/packed_codes.h"

namespace lutmac::LUTMAC_TARGET {

template <int kVectorLanes, bool kTriples, int kInterleave, int kXor>
struct BytewiseLayout : WholeBytes<BytewiseLayout<kVectorLanes, kTriples, kInterleave, kXor>> {
  static constexpr int kLanes = kVectorLanes;
  static constexpr int kBytes = kLanes * 4;
  static constexpr int kTileRows = 4 * kLanes;
  static constexpr int kIntegerInterleave = kInterleave, kIntegerXor = kXor;
  using Trits = BytewiseTrits<kTileRows>;

  static constexpr bool has_quad(int bits) { return bits >= 4; }
  static constexpr bool has_triple(int bits) { return kTriples && (bits & 3) == 3; }
  static constexpr bool has_pair(int bits) { return !has_triple(bits) && (bits & 2) != 0; }
  static constexpr bool has_single(int bits) { return !has_triple(bits) && (bits & 1) != 0; }

  // A word of planes is a quarter of 8 k.
  template <int bits, typename Move>
  [[gnu::always_inline]] static void each_part(int row, Move move) {
    const int t = row / kLanes;
    int plane = 0, start = row % kLanes * 4;
    if constexpr (has_quad(bits)) {
#pragma GCC unroll 4
      for (int quarter = 0; quarter < 4; ++quarter) move(PlaneCount<4>(), start + (quarter * 4 + t) * kBytes, quarter, 0);
      start += 16 * kBytes;
      plane = 4;
    }
    if constexpr (has_triple(bits)) {
#pragma GCC unroll 3
      for (int quarter = 0; quarter < 3; ++quarter) {
        move(PlaneCount<3>(), start + (quarter * 4 + t) * kBytes, quarter, plane);
        move(PlaneCount<1>(), start + (quarter * 4 + t) * kBytes + 3, 3, plane + quarter);
      }
    }
    if constexpr (has_pair(bits)) {
#pragma GCC unroll 4
      for (int quarter = 0; quarter < 4; ++quarter) {
        move(PlaneCount<2>(), start + (quarter * 2 + t / 2) * kBytes + t % 2 * 2, quarter, plane);
      }
      start += 8 * kBytes;
      plane += 2;
    }
    if constexpr (has_single(bits)) {
#pragma GCC unroll 4
      for (int quarter = 0; quarter < 4; ++quarter) move(PlaneCount<1>(), start + quarter * kBytes + t, quarter, plane);
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
