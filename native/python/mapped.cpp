// Packed matrices out of their bytes and back: what the native format writes to a file and maps from it.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <utility>
#include <vector>

#include "python/bindings.h"
#include "runtime/packed_matrix.h"

namespace lutmac {
namespace {

using Part = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// Of rows and of columns: sizes multiply without overflow.
constexpr int64_t kMostWeights = int64_t{1} << 28;

constexpr std::pair<ParamKind, const char*> kParamNames[] = {
    {ParamKind::none, "none"}, {ParamKind::f16, "f16"},   {ParamKind::f32, "f32"},
    {ParamKind::bf16, "bf16"}, {ParamKind::e8m0, "e8m0"}, {ParamKind::e4m3, "e4m3"},
    {ParamKind::two_level_f16, "int8 under f16"},         {ParamKind::two_level_f32, "int8 under f32"},
};
constexpr std::pair<CodeKind, const char*> kCodeNames[] = {
    {CodeKind::affine, "affine"},
    {CodeKind::codebook, "codebook"},
    {CodeKind::ternary, "ternary"},
    {CodeKind::float8, "float8"}};
constexpr std::pair<DenseType, const char*> kDenseNames[] = {
    {DenseType::f32, "f32"}, {DenseType::f16, "f16"}, {DenseType::bf16, "bf16"}};

template <typename Names, typename Value>
const char* name_of(const Names& names, Value value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  throw std::logic_error("a kind without a name");
}

template <typename Names>
auto named(const Names& names, const std::string& text) {
  for (const auto& [known, name] : names) {
    if (text == name) return known;
  }
  throw std::invalid_argument("unknown kind '" + text + "'");
}

std::vector<float> values_of(const Codebook& book) { return {std::begin(book.values), std::end(book.values)}; }

nb::dict describe(const PackedMatrix& matrix) {
  nb::dict out;
  out["rows"] = matrix.rows();
  out["columns"] = matrix.columns();
  if (matrix.is_dense()) {
    out["floats"] = name_of(kDenseNames, matrix.dense().type);
    return out;
  }
  const LowBit& w = matrix.lowbit();
  out["codes"] = name_of(kCodeNames, w.kind);
  out["bits"] = w.bits;
  out["group_size"] = w.group_size;
  out["zero_point"] = w.zero_point;
  out["factor"] = w.factor;
  out["scale"] = name_of(kParamNames, w.scale_kind);
  out["scale_groups_per_super"] = w.groups_per_super;
  out["offset"] = name_of(kParamNames, w.offset_kind);
  out["offset_groups_per_super"] = w.offset_groups_per_super;
  if (w.kind == CodeKind::codebook) out["codebook"] = values_of(w.codebook);
  if (w.has_second) out["second_codebook"] = values_of(w.second);
  return out;
}

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

void check_book(const std::optional<std::vector<float>>& book) {
  require(!book || book->size() == 16, "a codebook must have 16 values");
}

std::shared_ptr<PackedMatrix> map_lowbit(const std::string& target, const std::vector<Part>& parts, int64_t rows,
                                         int64_t columns, const std::string& codes, int bits, int64_t group_size,
                                         float zero_point, float factor, const std::string& scale,
                                         int scale_groups_per_super, const std::string& offset,
                                         int offset_groups_per_super, const std::optional<std::vector<float>>& codebook,
                                         const std::optional<std::vector<float>>& second_codebook) {
  check_book(codebook);
  check_book(second_codebook);
  LowBitSource source;
  source.rows = rows;
  source.columns = columns;
  source.kind = named(kCodeNames, codes);
  require((source.kind == CodeKind::codebook) == codebook.has_value(), "codes of a codebook come with its values");
  require(codebook || !second_codebook, "a second codebook stands beside a first");
  source.bits = bits;
  source.group_size = group_size;
  source.zero_point = zero_point;
  source.factor = factor;
  source.codebook = codebook ? codebook->data() : nullptr;
  source.second_codebook = second_codebook ? second_codebook->data() : nullptr;
  source.scale.kind = named(kParamNames, scale);
  source.scale.groups_per_super = scale_groups_per_super;
  source.offset.kind = named(kParamNames, offset);
  source.offset.groups_per_super = offset_groups_per_super;
  require(source.scale.kind != ParamKind::none, "a low-bit matrix has scales");
  require(rows <= kMostWeights && columns <= kMostWeights, "a matrix of that size is not to be had");
  source.block_weights = source.block_bytes = static_cast<int>(kTableGroup);
  source.row_bytes = columns;
  source.codes = BlockNumbers({{.first = 0, .count = 32, .byte = 0, .shift = 0, .width = 8, .dest = 0, .stride = 8}});
  return std::make_shared<PackedMatrix>(find_target(target), source, packed_bytes(parts));
}

std::shared_ptr<PackedMatrix> map_dense(const std::string& target, const std::vector<Part>& parts, int64_t rows,
                                        int64_t columns, const std::string& floats) {
  require(rows <= kMostWeights && columns <= kMostWeights, "a matrix of that size is not to be had");
  const DenseSource source{named(kDenseNames, floats), nullptr, rows, columns};
  return std::make_shared<PackedMatrix>(find_target(target), source, packed_bytes(parts));
}

}  // namespace

void bind_mapped(nb::module_& module) {
  module.def("describe_matrix", &describe, nb::arg("matrix"));
  module.def("matrix_parts", &parts_of, nb::arg("matrix"));
  module.def("map_lowbit", &map_lowbit, nb::kw_only(), nb::arg("target"), nb::arg("parts"), nb::arg("rows"),
             nb::arg("columns"), nb::arg("codes"), nb::arg("bits"), nb::arg("group_size"), nb::arg("zero_point"),
             nb::arg("factor"), nb::arg("scale"), nb::arg("scale_groups_per_super"), nb::arg("offset"),
             nb::arg("offset_groups_per_super"), nb::arg("codebook").none() = nb::none(),
             nb::arg("second_codebook").none() = nb::none());
  module.def("map_dense", &map_dense, nb::kw_only(), nb::arg("target"), nb::arg("parts"), nb::arg("rows"),
             nb::arg("columns"), nb::arg("floats"));
}

}  // namespace lutmac
