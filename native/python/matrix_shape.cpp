#include "python/matrix_shape.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <set>
#include <string>
#include <vector>

#include "runtime/codebook.h"
#include "runtime/packed_matrix.h"

namespace lutmac {
namespace {

constexpr const char* kCodeNames[] = {"affine", "codebook", "ternary", "float8"};  // by CodeKind
constexpr DenseType kDenseTypes[] = {DenseType::f32, DenseType::f16, DenseType::bf16};

const char* name_of(DenseType type) { return format_of(param_of(type)).name; }

// The fields of a dictionary, each read once; their types are checked, since they come from a file.
class ShapeFields {
 public:
  explicit ShapeFields(const nb::dict& fields) : fields_(fields) {}

  bool has(const char* name) const { return fields_.contains(name); }

  int64_t integer(const char* name) {
    const nb::object value = take(name);
    int64_t found = 0;
    require(nb::isinstance<nb::int_>(value) && !nb::isinstance<nb::bool_>(value) && nb::try_cast(value, found) &&
                found > 0 && found < int64_t{1} << 31,
            std::string(name) + " must be an integer above 0");
    return found;
  }

  float number(const char* name) {
    const nb::object value = take(name);
    double found = 0.0;
    require((nb::isinstance<nb::int_>(value) || nb::isinstance<nb::float_>(value)) && nb::try_cast(value, found),
            std::string(name) + " must be a number");
    return static_cast<float>(found);
  }

  std::string text(const char* name) {
    const nb::object value = take(name);
    require(nb::isinstance<nb::str>(value), std::string(name) + " must be a text");
    return nb::cast<std::string>(value);
  }

  Codebook codebook(const char* name) {
    std::vector<float> values;
    require(nb::try_cast(take(name), values) && values.size() == 16, std::string(name) + " must have 16 values");
    return make_codebook(values.data());
  }

  void finish() const {
    for (const auto& [key, value] : fields_) {
      const std::string name = nb::cast<std::string>(nb::str(key));
      require(taken_.count(name) > 0, "a matrix has no " + name);
    }
  }

 private:
  nb::object take(const char* name) {
    require(has(name), std::string("a matrix needs ") + name);
    taken_.insert(name);
    return nb::borrow(fields_[name]);
  }

  nb::dict fields_;
  std::set<std::string> taken_;
};

DenseShape read_dense(ShapeFields& fields) {
  DenseShape shape;
  shape.rows = fields.integer("rows");
  shape.columns = fields.integer("columns");
  const std::string wanted = fields.text("floats");
  bool known = false;
  for (const DenseType type : kDenseTypes) {
    if (wanted != name_of(type)) continue;
    shape.type = type;
    known = true;
  }
  require(known, "unknown floats '" + wanted + "'");
  fields.finish();
  check_shape(shape);
  return shape;
}

CodeKind code_kind(const std::string& wanted) {
  for (size_t i = 0; i < std::size(kCodeNames); ++i) {
    if (wanted == kCodeNames[i]) return static_cast<CodeKind>(i);
  }
  throw std::invalid_argument("unknown codes '" + wanted + "'");
}

LowBitShape read_lowbit(ShapeFields& fields) {
  LowBitShape shape;
  shape.rows = fields.integer("rows");
  shape.columns = fields.integer("columns");
  shape.kind = code_kind(fields.text("codes"));
  shape.bits = static_cast<int>(fields.integer("bits"));
  shape.group_size = fields.integer("group_size");
  shape.zero_point = fields.number("zero_point");
  shape.factor = fields.number("factor");
  shape.scale = {param_kind(fields.text("scale")), static_cast<int>(fields.integer("scale_groups_per_super"))};
  shape.offset = {param_kind(fields.text("offset")), static_cast<int>(fields.integer("offset_groups_per_super"))};
  require((shape.kind == CodeKind::codebook) == fields.has("codebook"), "codes of a codebook come with its values");
  if (fields.has("codebook")) shape.codebook = fields.codebook("codebook");
  shape.has_second = fields.has("second_codebook");
  if (shape.has_second) shape.second = fields.codebook("second_codebook");
  fields.finish();
  check_shape(shape);
  return shape;
}

nb::list values_of(const Codebook& book) {
  nb::list values;
  for (const float value : book.values) values.append(value);
  return values;
}

nb::dict fields_of(const LowBitShape& shape) {
  nb::dict out;
  out["rows"] = shape.rows;
  out["columns"] = shape.columns;
  out["codes"] = name_of(shape.kind);
  out["bits"] = shape.bits;
  out["group_size"] = shape.group_size;
  out["zero_point"] = shape.zero_point;
  out["factor"] = shape.factor;
  out["scale"] = format_of(shape.scale.kind).name;
  out["scale_groups_per_super"] = shape.scale.groups_per_super;
  out["offset"] = format_of(shape.offset.kind).name;
  out["offset_groups_per_super"] = shape.offset.groups_per_super;
  if (shape.kind == CodeKind::codebook) out["codebook"] = values_of(shape.codebook);
  if (shape.has_second) out["second_codebook"] = values_of(shape.second);
  return out;
}

nb::dict fields_of(const DenseShape& shape) {
  nb::dict out;
  out["rows"] = shape.rows;
  out["columns"] = shape.columns;
  out["floats"] = name_of(shape.type);
  return out;
}

// Names do not depend on the packing.
nb::tuple part_names(const MatrixShape& shape) {
  nb::list names;
  const auto take = [&](const char* name, int64_t) {
    names.append(name);
    return static_cast<uint8_t*>(nullptr);
  };
  std::visit([&](const auto& known) { lay_out(known, targets().back().kernels->packing, take); }, shape.value);
  return nb::tuple(names);
}

}  // namespace

const char* name_of(CodeKind kind) { return kCodeNames[static_cast<int>(kind)]; }

ParamKind param_kind(const std::string& name) {
  for (size_t i = 0; i < std::size(kParamFormats); ++i) {
    if (name == kParamFormats[i].name) return static_cast<ParamKind>(i);
  }
  throw std::invalid_argument("unknown kind of scale '" + name + "'");
}

MatrixShape shape_of(const PackedMatrix& matrix) {
  if (matrix.is_dense()) return {static_cast<const DenseShape&>(matrix.dense())};
  return {static_cast<const LowBitShape&>(matrix.lowbit())};
}

void bind_matrix_shape(nb::module_& module) {
  nb::class_<MatrixShape>(module, "MatrixShape")
      .def(
          "__init__",
          [](MatrixShape* self, const nb::dict& values) {
            ShapeFields fields(values);
            new (self) MatrixShape(values.contains("floats") ? MatrixShape{read_dense(fields)} : MatrixShape{read_lowbit(fields)});
          },
          nb::arg("fields"))
      .def("fields", [](const MatrixShape& shape) { return std::visit([](const auto& s) { return fields_of(s); }, shape.value); })
      .def_prop_ro("rows", [](const MatrixShape& shape) { return std::visit([](const auto& s) { return s.rows; }, shape.value); })
      .def_prop_ro("columns",
                   [](const MatrixShape& shape) { return std::visit([](const auto& s) { return s.columns; }, shape.value); })
      .def_prop_ro("part_names", &part_names);
  nb::list kinds;
  for (const ParamFormat& format : kParamFormats) {
    kinds.append(nb::make_tuple(format.name, format.bytes, format_of(format.super).name));
  }
  module.attr("SCALE_KINDS") = nb::tuple(kinds);
}

}  // namespace lutmac
