// An operation's fields, from Python.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "python/bindings.h"

namespace lutmac {
namespace {

Form parse_form(const std::string& form) {
  if (form == "plain") return Form::plain;
  if (form == "tables") return Form::tables;
  if (form == "integers") return Form::integers;
  if (form == "ternary") return Form::ternary;
  if (form == "bf16") return Form::bf16;
  throw std::invalid_argument("unknown form '" + form + "'");
}

std::vector<float> to_vector(const std::string& name, nb::handle value) {
  FloatArray array;
  if (!nb::try_cast(value, array)) throw std::invalid_argument("field " + name + " has a type that no operation reads");
  return {array.data(), array.data() + array.shape(0)};
}

Field to_field(const std::string& name, nb::handle value) {
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value);
  if (nb::isinstance<nb::int_>(value)) return nb::cast<int64_t>(value);
  if (nb::isinstance<nb::float_>(value)) return nb::cast<double>(value);
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  if (nb::isinstance<Buffer>(value)) return nb::cast<Buffer>(value);
  if (nb::isinstance<StateIndex>(value)) return nb::cast<StateIndex>(value);
  if (nb::isinstance<PackedMatrix>(value)) return nb::cast<MatrixPtr>(value);
  if (nb::isinstance<nb::list>(value)) {
    const nb::list list = nb::borrow<nb::list>(value);
    if (list.size() > 0 && nb::isinstance<PackedMatrix>(list[0])) return nb::cast<std::vector<MatrixPtr>>(value);
    if (list.size() > 0 && nb::isinstance<Buffer>(list[0])) return nb::cast<std::vector<Buffer>>(value);
    if (list.size() > 0 && nb::isinstance<nb::int_>(list[0])) return nb::cast<std::vector<int64_t>>(value);
    std::vector<std::vector<float>> vectors;
    for (nb::handle item : list) vectors.push_back(to_vector(name, item));
    return vectors;
  }
  return to_vector(name, value);
}

}  // namespace

FieldMap to_fields(const nb::dict& fields) {
  FieldMap found;
  for (const auto& [key, value] : fields) {
    const std::string name = nb::cast<std::string>(key);
    found.emplace(name, to_field(name, value));
  }
  return found;
}

void bind_fields(nb::module_& module) {
  nb::class_<Buffer>(module, "Buffer")
      .def(
          "__init__",
          [](Buffer* self, int64_t offset, const std::string& form, int64_t width, bool outputs, int per_token,
             const std::optional<IntArray>& order) {
            new (self) Buffer{offset, parse_form(form), width, Rows{outputs, per_token}, {}};
            if (order) self->order.assign(order->data(), order->data() + order->shape(0));
          },
          nb::kw_only(), nb::arg("offset"), nb::arg("form"), nb::arg("width"), nb::arg("outputs"), nb::arg("per_token"),
          nb::arg("order").none());
  nb::class_<StateIndex>(module, "State").def(nb::init<int>(), nb::arg("index"));
}

}  // namespace lutmac
