// A parameter of a tile's groups, one group after another, as floats in registers.
#pragma once

#include "kernels/avx512vbmi/packing.h"
#include "kernels/chunks.h"

namespace lutmac::LUTMAC_TARGET {

// The floats of load_param, to the bit. Super-scales are converted once for all groups below them, and fetched from memory ahead of
// their use: a miss at each of them would cost as much as the products of its groups.
class ScaleReader {
 public:
  static constexpr int kTileRows = Codes::kTileRows, kVectors = kTileRows / kLanes;

  ScaleReader(const LowBit& w, const ParamShape& shape, const PackedParam& packed, int64_t tile)
      : w_(w), shape_(shape), packed_(packed), tile_(tile), values_(packed.values + tile * w.groups * kTileRows),
        super_(reinterpret_cast<const uint16_t*>(packed.super) + tile * packed.super_groups * kTileRows) {}

  // Of the next group, from group 0 on.
  [[gnu::always_inline]] void next(Floats (&out)[kVectors]) {
    if (shape_.kind == ParamKind::two_level_f16) {
      next_of_two_levels(out);
    } else {
      alignas(64) float floats[kTileRows];
      load_param<kTileRows>(w_, shape_, packed_, tile_, group_++, floats);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) out[v] = load(floats + v * kLanes);
    }
  }

 private:
  static constexpr int kSupersAhead = 4;

  [[gnu::always_inline]] void next_of_two_levels(Floats (&out)[kVectors]) {
    if (groups_left_ == 0) read_supers();
    --groups_left_;
    prefetch_far(values_ + 2 * kParamPrefetch);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) out[v] = load_signed(values_ + v * kLanes) * load(supers_ + v * kLanes);
    values_ += kTileRows;
    if (w_.factor != 1.0f) {
      for (Floats& scale : out) scale = scale * w_.factor;
    }
  }

  void read_supers() {
    for (int r = 0; r < kTileRows; r += kLanes) store(supers_ + r, load_half(super_ + r));
    for (int line = 0; line < kTileRows; line += 32) prefetch_far(super_ + kSupersAhead * kTileRows + line);
    super_ += kTileRows;
    groups_left_ = shape_.groups_per_super;
  }

  const LowBit& w_;
  const ParamShape& shape_;
  const PackedParam& packed_;
  const int64_t tile_;
  const uint8_t* values_;
  const uint16_t* super_;
  int64_t group_ = 0;
  int groups_left_ = 0;
  alignas(64) float supers_[kTileRows];
};

}  // namespace lutmac::LUTMAC_TARGET
