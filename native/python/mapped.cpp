// Packed matrices out of their bytes and back: what the native format writes to a file and maps from it.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <utility>
#include <vector>

#include "python/matrix_shape.h"
#include "runtime/cores.h"
#include "runtime/packed_matrix.h"
#include "runtime/unpacking.h"

namespace lutmac {
namespace {

using Part = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::list parts_of(const std::shared_ptr<PackedMatrix>& matrix) {
  nb::list out;
  for (const Span& part : matrix->parts()) {
    nb::capsule owner(new std::shared_ptr<PackedMatrix>(matrix),
                      [](void* at) noexcept { delete static_cast<std::shared_ptr<PackedMatrix>*>(at); });
    out.append(nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>>(part.data, {static_cast<size_t>(part.bytes)}, owner));
  }
  return out;
}

// The arrays stay alive with what is made of them; they are let go of under the interpreter's lock.
PackedBytes packed_bytes(const std::vector<Part>& parts) {
  PackedBytes bytes;
  for (const Part& part : parts) bytes.parts.push_back({part.data(), static_cast<int64_t>(part.shape(0))});
  bytes.owner = std::shared_ptr<const void>(new std::vector<Part>(parts), [](const void* arrays) {
    const nb::gil_scoped_acquire lock;
    delete static_cast<const std::vector<Part>*>(arrays);
  });
  return bytes;
}

std::shared_ptr<PackedMatrix> map_matrix(const MatrixShape& shape, const std::vector<Part>& parts, const std::string& target) {
  return std::visit(
      [&](const auto& known) { return std::make_shared<PackedMatrix>(find_target(target), known, packed_bytes(parts)); },
      shape.value);
}

// A new array [rows, row_bytes] for NumPy, uninitialised.
nb::ndarray<nb::numpy, uint8_t, nb::ndim<2>> new_bytes(int64_t rows, int64_t row_bytes) {
  auto* data = new uint8_t[static_cast<size_t>(rows * row_bytes)];
  nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<uint8_t*>(p); });
  return {data, {static_cast<size_t>(rows), static_cast<size_t>(row_bytes)}, owner};
}

// Takes a matrix's parts out of a packing, for Python: codes as a byte each, values of scales and offsets as their bytes.
class Unpacker {
 public:
  Unpacker(const std::string& packing, const std::vector<Part>& parts) : packing_(find_packing(packing)), parts_(parts) {}

  nb::dict unpack(const LowBitShape& shape) {
    const LowBit w = lay_out(shape, packing_, taker());
    auto codes = new_bytes(w.rows, w.columns);
    {
      const nb::gil_scoped_release release;
      unpack_codes(w, packing_, default_threads(), codes.data());
    }
    found_["codes"] = codes;
    add_param(w, w.scale, w.packed_scale, "scale", "scale_super");
    add_param(w, w.offset, w.packed_offset, "offset", "offset_super");
    return found_;
  }

  nb::dict unpack(const DenseShape& shape) {
    const Dense w = lay_out(shape, packing_, taker());
    add_table("floats", w.rows, w.columns, param_of(w.type), w.data);
    return found_;
  }

 private:
  TakePart taker() {
    return [this](const char* name, int64_t bytes) {
      require(next_ < parts_.size(), "the packed bytes lack a part");
      const Part& part = parts_[next_++];
      const int64_t there = static_cast<int64_t>(part.shape(0));
      require(there >= bytes && there - bytes < 64, std::string("the packed bytes' part ") + name + " has the wrong size");
      return const_cast<uint8_t*>(part.data());  // only read
    };
  }

  void add_param(const LowBit& w, const ParamShape& shape, const PackedParam& packed, const char* name, const char* super) {
    if (packed.values) add_table(name, w.rows, w.groups, shape.kind, packed.values);
    if (packed.super) add_table(super, w.rows, packed.super_groups, format_of(shape.kind).super, packed.super);
  }

  void add_table(const char* name, int64_t rows, int64_t groups, ParamKind kind, const uint8_t* packed) {
    const TileTable table = {rows, groups, format_of(kind).bytes, packing_.tile_rows};
    auto values = new_bytes(rows, groups * table.item_bytes);
    {
      const nb::gil_scoped_release release;
      unpack_table(table, packed, default_threads(), values.data());
    }
    found_[name] = values;
  }

  const Packing& packing_;
  const std::vector<Part>& parts_;
  size_t next_ = 0;
  nb::dict found_;
};

nb::dict unpack_matrix(const MatrixShape& shape, const std::vector<Part>& parts, const std::string& packing) {
  return std::visit([&](const auto& known) { return Unpacker(packing, parts).unpack(known); }, shape.value);
}

}  // namespace

void bind_mapped(nb::module_& module) {
  module.def("matrix_parts", &parts_of, nb::arg("matrix"));
  module.def("map_matrix", &map_matrix, nb::arg("shape"), nb::arg("parts"), nb::kw_only(), nb::arg("target"));
  module.def("unpack_matrix", &unpack_matrix, nb::arg("shape"), nb::arg("parts"), nb::kw_only(), nb::arg("packing"));
}

}  // namespace lutmac
