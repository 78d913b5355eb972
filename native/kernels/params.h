// Scales and offsets of one tile and group, from their kind in memory to f32.
#pragma once

#include "kernels/arithmetic.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// Rows of the widest tile of any target: 4 vectors of 16 floats.
inline constexpr int kMaxTileRows = 64;

struct ParamSource {
  ParamKind kind;
  const uint8_t* values;
  const uint8_t* super;
  int groups_per_super;
  int64_t super_groups;
};

inline void load_params(const ParamSource& source, int64_t groups, int tile_rows, int64_t tile, int64_t group,
                        float* out) {
  const int64_t at = (tile * groups + group) * tile_rows;
  if (source.kind == ParamKind::f32) {
    std::memcpy(out, source.values + at * 4, static_cast<size_t>(tile_rows) * 4);
  } else if (source.kind == ParamKind::f16) {
    halves_to_floats(reinterpret_cast<const uint16_t*>(source.values) + at, out, tile_rows);
  } else if (source.kind == ParamKind::none) {
    for (int r = 0; r < tile_rows; ++r) out[r] = 0.0f;
  } else if (source.kind == ParamKind::bf16) {
    const uint16_t* bits = reinterpret_cast<const uint16_t*>(source.values) + at;
    for (int r = 0; r < tile_rows; ++r) out[r] = bfloat16_to_float(bits[r]);
  } else if (source.kind == ParamKind::e8m0) {
    for (int r = 0; r < tile_rows; ++r) out[r] = e8m0_to_float(source.values[at + r]);
  } else if (source.kind == ParamKind::e4m3) {
    for (int r = 0; r < tile_rows; ++r) out[r] = e4m3_to_float(source.values[at + r]);
  } else {
    const int64_t super_at = (tile * source.super_groups + group / source.groups_per_super) * tile_rows;
    const int8_t* small = reinterpret_cast<const int8_t*>(source.values) + at;
    float super[kMaxTileRows];
    if (source.kind == ParamKind::two_level_f16) {
      halves_to_floats(reinterpret_cast<const uint16_t*>(source.super) + super_at, super, tile_rows);
    } else {
      std::memcpy(super, source.super + super_at * 4, static_cast<size_t>(tile_rows) * 4);
    }
    for (int r = 0; r < tile_rows; ++r) out[r] = static_cast<float>(small[r]) * super[r];
  }
}

// scale[r], and the factor of the group's sum of activations: offset[r] + scale[r] * (center - zero_point), where
// center is the mean code that the form's symmetric arithmetic leaves out.
inline void load_group(const LowBit& w, int tile_rows, int64_t tile, int64_t group, float center, float* scale,
                       float* offset) {
  load_params({w.scale_kind, w.scale, w.scale_super, w.groups_per_super, w.super_groups}, w.groups, tile_rows, tile,
              group, scale);
  if (w.factor != 1.0f) {
    for (int r = 0; r < tile_rows; ++r) scale[r] *= w.factor;
  }
  load_params({w.offset_kind, w.offset, w.offset_super, w.offset_groups_per_super, w.offset_super_groups}, w.groups,
              tile_rows, tile, group, offset);
  if (w.factor != 1.0f) {
    for (int r = 0; r < tile_rows; ++r) offset[r] *= w.factor;
  }
  const float shift = center - w.zero_point;
  for (int r = 0; r < tile_rows; ++r) offset[r] = multiply_add(scale[r], shift, offset[r]);
}

// The mean code: (2^bits - 1) / 2 for tables, whose entries are sums of +x and -x; 128 for 8-bit codes, which the
// integer kernels read as signed.
inline float center_of(int bits) { return bits == 8 ? 128.0f : static_cast<float>((1 << bits) - 1) * 0.5f; }

}  // namespace lutmac::LUTMAC_TARGET
