#include "runtime/low_bit_shape.h"

#include <cmath>

#include "runtime/require.h"

namespace lutmac {
namespace {

void check_size(int64_t rows, int64_t columns) {
  constexpr int64_t kMost = int64_t{1} << 28;  // so that sizes multiply without overflow
  require(rows > 0 && columns > 0, "a matrix needs rows and columns");
  require(rows <= kMost && columns <= kMost, "a matrix has at most 2^28 rows and columns");
  require(columns % kTableGroup == 0, "columns must be a multiple of 32");
}

void check_codebook(const LowBitShape& shape) {
  require(shape.bits == 4, "codes of a codebook have 4 bits");
  require(shape.zero_point == 0.0f, "a codebook has no zero point");
  for (const Codebook* book : {&shape.codebook, &shape.second}) {
    for (const float value : book->values) require(std::isfinite(value), "a codebook's values must be finite");
  }
  require(!shape.has_second || shape.offset.kind != ParamKind::none, "a second codebook needs a scale of its own");
}

void check_ternary(const LowBitShape& shape) {
  require(shape.bits == 2 && shape.zero_point == 1.0f, "ternary codes have 2 bits and a zero point of 1");
  require(shape.group_size >= shape.columns || shape.group_size % TernaryForm::kBlock == 0,
          "ternary codes take one scale per row, or for groups of a multiple of 128");
  require(shape.offset.kind == ParamKind::none, "ternary codes take no offset");
}

void check_float8(const LowBitShape& shape) {
  require(shape.bits == 8 && shape.zero_point == 0.0f, "FP8 codes have 8 bits and no zero point");
  require(shape.offset.kind == ParamKind::none, "FP8 codes take no offset");
}

}  // namespace

void check_shape(const DenseShape& shape) { check_size(shape.rows, shape.columns); }

void check_shape(const LowBitShape& shape) {
  check_size(shape.rows, shape.columns);
  require(shape.bits >= 1 && shape.bits <= 8, "bits must be 1 to 8");
  require(shape.group_size == 16 || (shape.group_size > 0 && shape.group_size % 32 == 0),
          "group size must be 16 or a multiple of 32");
  require(shape.scale.kind != ParamKind::none, "a matrix needs scales");
  require(shape.scale.groups_per_super >= 1 && shape.offset.groups_per_super >= 1,
          "groups per super-scale must be at least 1");
  require(std::isfinite(shape.factor), "factor must be finite");
  require(std::isfinite(shape.zero_point), "zero point must be finite");
  require(shape.kind == CodeKind::codebook || !shape.has_second, "a second codebook stands beside a first");
  if (shape.kind == CodeKind::codebook) check_codebook(shape);
  if (shape.kind == CodeKind::ternary) check_ternary(shape);
  if (shape.kind == CodeKind::float8) check_float8(shape);
}

LowBit lay_out(const LowBitShape& shape, const Packing& packing, const TakePart& take) {
  LowBit w;
  static_cast<LowBitShape&>(w) = shape;
  w.groups = shape.count_groups();
  const int64_t tiles = (shape.rows + packing.tile_rows - 1) / packing.tile_rows, rows = tiles * packing.tile_rows;
  w.codes = take("codes", tiles * packing.packed_tile_bytes(shape.kind, shape.bits, shape.columns));
  const auto take_param = [&](const ParamShape& param, const char* name, const char* super_name) {
    PackedParam packed;
    const ParamFormat& format = format_of(param.kind);
    if (param.kind == ParamKind::none) return packed;
    packed.values = take(name, rows * w.groups * format.bytes);
    if (format.super == ParamKind::none) return packed;
    packed.super_groups = shape.count_super_groups(param);
    packed.super = take(super_name, rows * packed.super_groups * format_of(format.super).bytes);
    return packed;
  };
  w.packed_scale = take_param(shape.scale, "scale", "scale_super");
  w.packed_offset = take_param(shape.offset, "offset", "offset_super");
  return w;
}

Dense lay_out(const DenseShape& shape, const Packing& packing, const TakePart& take) {
  Dense w;
  static_cast<DenseShape&>(w) = shape;
  const int64_t rows = (shape.rows + packing.tile_rows - 1) / packing.tile_rows * packing.tile_rows;
  w.data = take("floats", rows * shape.columns * format_of(param_of(shape.type)).bytes);
  return w;
}

}  // namespace lutmac
