#include "python/low_bit_matrix.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cmath>
#include <string>
#include <utility>

#include "python/matrix_shape.h"
#include "runtime/codebook.h"

namespace lutmac {
namespace {

using Code = nb::dlpack::dtype_code;

template <typename Value>
Value get(nb::handle object, const char* name) {
  Value value{};
  require(nb::try_cast(object.attr(name), value), std::string(name) + " has the wrong type");
  return value;
}

BlockNumbers read_fields(nb::handle fields) {
  std::vector<BitFields> all;
  for (nb::handle field : fields) {
    BitFields read{get<int>(field, "first"), get<int>(field, "count"), get<int>(field, "byte"), get<int>(field, "shift"),
                get<int>(field, "width"), get<int>(field, "dest"),  get<int>(field, "stride"), {}};
    // Entries are 16 bits; negative ones stand for what their bits are.
    for (const int entry : get<std::vector<int>>(field, "table")) read.table.push_back(static_cast<uint16_t>(entry));
    all.push_back(std::move(read));
  }
  return BlockNumbers(std::move(all));
}

std::shared_ptr<const Grid> read_grid(nb::handle grid, std::vector<AnyArray>& keep) {
  if (grid.is_none()) return nullptr;
  const AnyArray vectors = read_array(grid.attr("vectors"), "a grid", keep);
  require(is_type(vectors, Code::UInt, 8), "a grid's vectors must be uint8");
  auto read = std::make_shared<Grid>();
  read->length = static_cast<int>(vectors.shape(1));
  require(read->length == 4 || read->length == 8, "a grid's vectors have 4 or 8 codes");
  for (size_t i = 0; i < vectors.shape(0); ++i) {
    uint64_t codes = 0;
    std::memcpy(&codes, static_cast<const uint8_t*>(vectors.data()) + i * vectors.shape(1), vectors.shape(1));
    read->vectors.push_back(codes);
  }
  read->index = read_fields(grid.attr("index"));
  read->flips = read_fields(grid.attr("flips"));
  read->flip = static_cast<uint8_t>(get<int>(grid, "flip"));
  return read;
}

// A scale or an offset on its way into a source.
class ParamReader {
 public:
  ParamReader(const LowBitSource& source, const char* what, std::vector<AnyArray>& keep)
      : source_(source), what_(what), keep_(keep) {}

  void read(nb::handle param, ParamShape& shape, ParamArray& array) {
    if (param.is_none()) return;
    if (nb::hasattr(param, "floats")) {
      read_in_blocks(param, shape, array);
    } else if (nb::hasattr(param, "super_scale")) {
      read_two_levels(param, shape, array);
    } else if (nb::hasattr(param, "format")) {
      shape.kind = float_kind(param);
      const AnyArray values = values_of(param.attr("values"), source_.count_groups());
      require(is_type(values, Code::UInt, 8) && format_of(shape.kind).bytes == 1, what_ + " of bytes must be uint8");
      array.values = values.data();
    } else {
      const AnyArray values = values_of(param, source_.count_groups());
      shape.kind = kind_of(values);
      array.values = values.data();
    }
  }

 private:
  AnyArray values_of(nb::handle array, int64_t groups) {
    const AnyArray values = read_array(array, what_.c_str(), keep_);
    require(static_cast<int64_t>(values.shape(0)) == source_.rows && static_cast<int64_t>(values.shape(1)) == groups,
            what_ + " must have one value per row and group");
    return values;
  }

  ParamKind kind_of(const AnyArray& values) const {
    if (is_type(values, Code::UInt, 16)) return ParamKind::bf16;
    if (is_type(values, Code::Float, 16)) return ParamKind::f16;
    require(is_type(values, Code::Float, 32),
            what_ + " must be float16, float32, uint16 holding bfloat16 bits, or ByteFloats: uint8 with a format");
    return ParamKind::f32;
  }

  // The kind of a float by its name, of an InBlocks or ByteFloats.
  static ParamKind float_kind(nb::handle param) {
    const ParamKind kind = param_kind(get<std::string>(param, "format"));
    require(kind != ParamKind::none && format_of(kind).super == ParamKind::none, "a format must be that of a float");
    return kind;
  }

  void read_two_levels(nb::handle param, ParamShape& shape, ParamArray& array) {
    const int per_super = get<int>(param, "groups_per_super");
    require(per_super >= 1, "groups per super-scale must be at least 1");
    const AnyArray values = values_of(param.attr("values"), source_.count_groups());
    require(is_type(values, Code::Int, 8), what_ + " under a super-scale must be int8");
    const AnyArray super = values_of(param.attr("super_scale"), (source_.count_groups() + per_super - 1) / per_super);
    shape = {two_level_kind(kind_of(super)), per_super};
    array.values = values.data();
    array.super = super.data();
  }

  ParamKind two_level_kind(ParamKind super) const {
    for (size_t i = 1; i < std::size(kParamFormats); ++i) {
      if (kParamFormats[i].super == super) return static_cast<ParamKind>(i);
    }
    throw std::invalid_argument(what_ + "'s super-scale must be float16 or float32");
  }

  void read_in_blocks(nb::handle param, ParamShape& shape, ParamArray& array) {
    const ParamKind kind = float_kind(param);
    auto read = std::make_shared<InBlocks>();
    read->floats = read_fields(param.attr("floats"));
    read->integers = read_fields(param.attr("integers"));
    read->bias = get<int>(param, "bias");
    read->negative = get<bool>(param, "negative");
    read->bytes_per_float = format_of(kind).bytes;
    require(read->bytes_per_float <= 2, "a float in blocks has at most 16 bits");
    require(kind == ParamKind::f16 || (read->integers.empty() && !read->negative),
            "only a float16 takes a sign or integers under it");
    shape.kind = read->integers.empty() ? kind : two_level_kind(kind);
    shape.groups_per_super = static_cast<int>(std::max<int64_t>(1, source_.block_weights / source_.group_size));
    array.in_blocks = std::move(read);
  }

  const LowBitSource& source_;
  std::string what_;
  std::vector<AnyArray>& keep_;
};

Codebook read_codebook(nb::handle values) {
  std::vector<float> read;
  require(nb::try_cast(values, read) && read.size() == 16, "a codebook must have 16 values");
  return make_codebook(read.data());
}

void read_meaning(nb::handle matrix, LowBitSource& source) {
  const nb::object codebook = matrix.attr("codebook"), second = matrix.attr("second_codebook");
  const bool ternary = get<bool>(matrix, "ternary"), float8 = get<bool>(matrix, "float8");
  require(!codebook.is_none() + ternary + float8 <= 1, "a matrix has a codebook, ternary codes or FP8 codes, not two of them");
  source.kind = !codebook.is_none() ? CodeKind::codebook
                : ternary           ? CodeKind::ternary
                : float8            ? CodeKind::float8
                                    : CodeKind::affine;
  if (!codebook.is_none()) source.codebook = read_codebook(codebook);
  source.has_second = !second.is_none();
  if (source.has_second) source.second = read_codebook(second);
}

}  // namespace

bool is_type(const AnyArray& array, nb::dlpack::dtype_code code, int bits) {
  return array.dtype().code == static_cast<uint8_t>(code) && array.dtype().bits == bits;
}

AnyArray read_array(nb::handle array, const char* what, std::vector<AnyArray>& keep) {
  AnyArray read;
  require(nb::try_cast(array, read), std::string(what) + " must be an array of two dimensions");
  keep.push_back(read);
  return read;
}

LowBitSource read_matrix(nb::handle matrix, std::vector<AnyArray>& keep) {
  LowBitSource source;
  source.rows = get<int64_t>(matrix, "rows");
  source.columns = get<int64_t>(matrix, "columns");
  source.bits = get<int>(matrix, "bits");
  source.group_size = get<int64_t>(matrix, "group_size");
  source.zero_point = get<float>(matrix, "zero_point");
  source.factor = get<float>(matrix, "factor");
  require(source.group_size > 0 && source.columns > 0, "columns and group size must be positive");
  read_meaning(matrix, source);

  const nb::object layout = matrix.attr("layout");
  const AnyArray bytes = read_array(matrix.attr("source"), "the source", keep);
  require(is_type(bytes, Code::UInt, 8), "the source must be uint8");
  require(static_cast<int64_t>(bytes.shape(0)) == source.rows, "the source must have one line per row");
  source.bytes = static_cast<const uint8_t*>(bytes.data());
  source.row_bytes = static_cast<int64_t>(bytes.shape(1));
  source.block_weights = get<int>(layout, "block_weights");
  source.block_bytes = get<int>(layout, "block_bytes");
  source.codes = read_fields(layout.attr("fields"));
  source.grid = read_grid(layout.attr("grid"), keep);
  source.code_xor = static_cast<uint8_t>(get<int>(layout, "xor"));

  ParamReader(source, "scale", keep).read(matrix.attr("scale"), source.scale, source.scale_array);
  ParamReader(source, "offset", keep).read(matrix.attr("offset"), source.offset, source.offset_array);
  return source;
}

}  // namespace lutmac
