// Scales and offsets of one tile and group, from their kind in memory to f32.
#pragma once

#include "kernels/arithmetic.h"
#include "kernels/lut.h"

namespace lutmac::LUTMAC_TARGET {

// Rows of the widest tile of any target: 4 vectors of 16 floats.
inline constexpr int kMaxTileRows = 64;

// count values to floats: the functions that scales.def names.
inline void read_halves(const uint8_t* values, int count, float* out) {
  halves_to_floats(reinterpret_cast<const uint16_t*>(values), out, count);
}
inline void read_floats(const uint8_t* values, int count, float* out) {
  std::memcpy(out, values, static_cast<size_t>(count) * 4);
}
inline void read_bfloats(const uint8_t* values, int count, float* out) {
  const uint16_t* bits = reinterpret_cast<const uint16_t*>(values);
  for (int i = 0; i < count; ++i) out[i] = bfloat16_to_float(bits[i]);
}
// As e8m0_to_float and e4m3_to_float.
inline void read_e8m0(const uint8_t* values, int count, float* out) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Ints bits = (Ints)(load_unsigned(values + i) << 23 & 0x7f800000u);
    store(out + i, (Floats)(bits > 0x400000 ? bits : Ints{} + 0x400000));
  }
  for (; i < count; ++i) out[i] = e8m0_to_float(values[i]);
}
inline void read_e4m3(const uint8_t* values, int count, float* out) {
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Bits bytes = load_unsigned(values + i), magnitude = bytes & 0x7fu;
    const Bits bits = (Bits)((Floats)(magnitude << 20) * 0x1p120f);
    const Bits special = (Bits)(magnitude == 0x7fu) & 0x7fc00000u;
    store(out + i, (Floats)(bits | special | (bytes & 0x80u) << 24));
  }
  for (; i < count; ++i) out[i] = e4m3_to_float(values[i]);
}
inline void read_int8(const uint8_t* values, int count, float* out) {
  for (int i = 0; i < count; ++i) out[i] = static_cast<float>(static_cast<int8_t>(values[i]));
}

inline void read_values(ParamKind kind, const uint8_t* values, int count, float* out) {
  switch (kind) {
    case ParamKind::none:
      for (int i = 0; i < count; ++i) out[i] = 0.0f;
      return;
#define LUTMAC_SCALE(kind, name, bytes, super, read) \
  case ParamKind::kind: return read(values, count, out);
#include "scales.def"
#undef LUTMAC_SCALE
  }
}

inline void load_params(const LowBit& w, const ParamShape& shape, const PackedParam& packed, int tile_rows, int64_t tile,
                        int64_t group, float* out) {
  const ParamFormat& format = format_of(shape.kind);
  read_values(shape.kind, packed.values + (tile * w.groups + group) * tile_rows * format.bytes, tile_rows, out);
  if (format.super == ParamKind::none) return;
  const int64_t super_at = (tile * packed.super_groups + group / shape.groups_per_super) * tile_rows;
  float super[kMaxTileRows];
  read_values(format.super, packed.super + super_at * format_of(format.super).bytes, tile_rows, super);
  for (int r = 0; r < tile_rows; ++r) out[r] *= super[r];
}

// The scale of a group alone.
inline void load_scale(const LowBit& w, int tile_rows, int64_t tile, int64_t group, float* scale) {
  load_params(w, w.scale, w.packed_scale, tile_rows, tile, group, scale);
  for (int r = 0; r < tile_rows; ++r) scale[r] *= w.factor;
}

// scale[r], and the factor of the group's sum of activations: offset[r] + scale[r] * (center - zero_point), where
// center is the mean code that the form's symmetric arithmetic leaves out.
inline void load_group(const LowBit& w, int tile_rows, int64_t tile, int64_t group, float center, float* scale,
                       float* offset) {
  load_params(w, w.scale, w.packed_scale, tile_rows, tile, group, scale);
  load_params(w, w.offset, w.packed_offset, tile_rows, tile, group, offset);
  if (w.factor != 1.0f) {
    for (int r = 0; r < tile_rows; ++r) scale[r] *= w.factor;
    for (int r = 0; r < tile_rows; ++r) offset[r] *= w.factor;
  }
  const float shift = center - w.zero_point;
  for (int r = 0; r < tile_rows; ++r) offset[r] = multiply_add(scale[r], shift, offset[r]);
}

// The mean code: (2^bits - 1) / 2 for tables, whose entries are sums of +x and -x; 128 for 8-bit codes, which the
// integer kernels read as signed.
inline float center_of(int bits) { return bits == 8 ? 128.0f : static_cast<float>((1 << bits) - 1) * 0.5f; }

}  // namespace lutmac::LUTMAC_TARGET
