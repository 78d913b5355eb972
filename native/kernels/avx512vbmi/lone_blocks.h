// Products of 1 to 4 tokens with matrices whose blocks of 32 k, or the halves of these, have scales of their own: all of a block
// stays in registers up to its floats, and its bytes are read once for both halves, in the order of their addresses. The multiple of
// a lone block's tables is 1, so that the weights of all planes, at most 64, fit s8.
#pragma once

#include "kernels/avx512vbmi/indices.h"
#include "kernels/avx512vbmi/scale_reader.h"
#include "kernels/fetch.h"

namespace lutmac::LUTMAC_TARGET {

class LoneBlocks {
 public:
  // Whether it takes that many tokens: the sums of more would not fit the registers.
  static bool takes(const LowBit& w, int count) {
    return w.group_size == kTableGroup ? count <= 4 : w.group_size < kTableGroup && count <= 2;
  }

  // x: forms, stride bytes apart. totals: [count][tile rows], of a tile.
  static void add(const LowBit& w, const uint8_t* x, int64_t stride, int64_t tile, int count, float* totals) {
    using Add = void (*)(const LowBit&, const uint8_t*, int64_t, int64_t, float*);
    static constexpr Add kWhole[7][4] = {{of<1, 1, 1>, of<1, 1, 2>, of<1, 1, 3>, of<1, 1, 4>},
                                         {of<2, 1, 1>, of<2, 1, 2>, of<2, 1, 3>, of<2, 1, 4>},
                                         {of<3, 1, 1>, of<3, 1, 2>, of<3, 1, 3>, of<3, 1, 4>},
                                         {of<4, 1, 1>, of<4, 1, 2>, of<4, 1, 3>, of<4, 1, 4>},
                                         {of<5, 1, 1>, of<5, 1, 2>, of<5, 1, 3>, of<5, 1, 4>},
                                         {of<6, 1, 1>, of<6, 1, 2>, of<6, 1, 3>, of<6, 1, 4>},
                                         {of<7, 1, 1>, of<7, 1, 2>, of<7, 1, 3>, of<7, 1, 4>}};
    static constexpr Add kHalves[7][2] = {{of<1, 2, 1>, of<1, 2, 2>}, {of<2, 2, 1>, of<2, 2, 2>}, {of<3, 2, 1>, of<3, 2, 2>},
                                          {of<4, 2, 1>, of<4, 2, 2>}, {of<5, 2, 1>, of<5, 2, 2>}, {of<6, 2, 1>, of<6, 2, 2>},
                                          {of<7, 2, 1>, of<7, 2, 2>}};
    const Add add = w.group_size < kTableGroup ? kHalves[w.bits - 1][count - 1] : kWhole[w.bits - 1][count - 1];
    add(w, x, stride, tile, totals);
  }

 private:
  static constexpr int kTileRows = Codes::kTileRows, kVectors = kTileRows / kLanes;

  template <int kNumber, int kParts>
  using Sums = Ints[kNumber][kParts][kVectors];

  // kParts: of a block, with a scale each. kNumber: of tokens.
  template <int kBits, int kParts, int kNumber>
  [[gnu::noinline]] static void of(const LowBit& w, const uint8_t* x, int64_t stride, int64_t tile, float* out) {
    constexpr int32_t kBias = table_bias(kBits, kParts == 1 ? Part::whole : Part::first);
    const auto floats_at = [x](int64_t offset) { return reinterpret_cast<const float*>(x + offset); };
    const PerToken<float> units{floats_at(TableForm::scale_offset(w.columns)), stride};
    const PerToken<float> activations{
        floats_at(kParts == 1 ? TableForm::sum32_offset(w.columns) : TableForm::sum16_offset(w.columns)), stride};
    const Floats center = broadcast(center_of(kBits) - w.zero_point);
    const bool with_offset = w.offset.kind != ParamKind::none;
    ScaleReader scales(w, w.scale, w.packed_scale, tile), offsets(w, w.offset, w.packed_offset, tile);
    const uint8_t* codes = w.codes + tile * Codes::packed_tile_bytes(w.kind, kBits, w.columns);
    Floats totals[kNumber][kVectors] = {};
    for (int64_t block = 0; block < w.columns / kTableGroup; ++block, x += 128, codes += Codes::block_bytes(kBits)) {
      Sums<kNumber, kParts> sums;
#pragma GCC unroll 16
      for (int i = 0; i < kNumber * kParts * kVectors; ++i) (&sums[0][0][0])[i] = broadcast(-kBias);
      add_planes<kBits>(codes, x, stride, sums);
#pragma GCC unroll 2
      for (int part = 0; part < kParts; ++part) {
        Floats scale[kVectors], offset[kVectors];
        scales.next(scale);
        if (with_offset) offsets.next(offset);
#pragma GCC unroll 4
        for (int n = 0; n < kNumber; ++n) {
          const ToFloats floats(units.at(n)[block], activations.at(n)[block * kParts + part], center);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) {
            totals[n][v] = floats.add(sums[n][part][v], scale[v], totals[n][v]);
            if (with_offset) totals[n][v] = floats.add_offset(offset[v], totals[n][v]);
          }
        }
      }
    }
    for (int n = 0; n < kNumber; ++n) {
      for (int v = 0; v < kVectors; ++v) store(out + n * kTileRows + v * kLanes, totals[n][v]);
    }
  }

  // Vector v of a plane.
  template <int kBits, int kParts, int kNumber>
  [[gnu::always_inline]] static void fetch(const uint8_t* plane, int v) {
    if (kNumber > 1 || (kBits <= 4 && kParts > 1)) return fetch_far(plane + v * 64);
    if (kBits <= 4) fetch_near(plane + v * 64);
    if (v == 0) fetch_quarter(plane);
  }

  // One block. Where there is one part, both halves go to it.
  template <int kBits, int kNumber, int kParts>
  [[gnu::always_inline]] static void add_planes(const uint8_t* at, const uint8_t* tables, int64_t stride,
                                                Sums<kNumber, kParts>& sums) {
#pragma GCC unroll 7
    for (int plane = 0; plane < kBits; ++plane, at += Codes::kPlaneBytes) {
      const uint8_t plane_weight = static_cast<uint8_t>(1 << plane);
      const Bytes weight = Bytes{} + plane_weight;
      Bytes low[kVectors], high[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Bytes bytes = load_once(at + v * 64);
        fetch<kBits, kParts, kNumber>(at, v);
        low[v] = low_indices(bytes);
        high[v] = high_indices(bytes);
      }
#pragma GCC unroll 4
      for (int n = 0; n < kNumber; ++n) {
        const Bytes first = load_once(tables + n * stride), second = load_once(tables + n * stride + 64);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          add_dot_bytes(sums[n][0][v], look_up_four(first, low[v]), weight);
          add_dot_bytes(sums[n][kParts - 1][v], look_up_four(second, high[v]), weight);
        }
      }
    }
  }
};

}  // namespace lutmac::LUTMAC_TARGET
