#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <optional>
#include <vector>

#include <nanobind/stl/optional.h>

#include "python/bindings.h"
#include "python/blocks.h"
#include "runtime/packer.h"
#include "runtime/thread_pool.h"

namespace lutmac {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

bool is_type(const AnyArray& array, nb::dlpack::dtype_code code, int bits) {
  return array.dtype().code == static_cast<uint8_t>(code) && array.dtype().bits == bits;
}

void require_shape(const AnyArray& array, int64_t rows, int64_t groups, const char* what) {
  require(static_cast<int64_t>(array.shape(0)) == rows && static_cast<int64_t>(array.shape(1)) == groups,
          std::string(what) + " must have one value per row and group");
}

// The kind of a parameter without super-scale; format: of bytes, "e8m0" or "e4m3".
ParamKind param_kind(const AnyArray& values, const std::string& format, const char* what) {
  using Code = nb::dlpack::dtype_code;
  if (is_type(values, Code::UInt, 8) && format == "e8m0") return ParamKind::e8m0;
  if (is_type(values, Code::UInt, 8) && format == "e4m3") return ParamKind::e4m3;
  if (is_type(values, Code::UInt, 16)) return ParamKind::bf16;
  if (is_type(values, Code::Float, 16)) return ParamKind::f16;
  require(is_type(values, Code::Float, 32),
          std::string(what) + " must be float16, float32, uint16 holding bfloat16 bits, or uint8 with a format");
  return ParamKind::f32;
}

ParamArray param(const std::optional<BlockParams>& in_blocks, int groups_per_block,
                 const std::optional<AnyArray>& values, const std::optional<AnyArray>& super, int groups_per_super,
                 const std::string& format, int64_t rows, int64_t groups, const char* what) {
  using Code = nb::dlpack::dtype_code;
  ParamArray out;
  if (in_blocks) {
    out.kind = in_blocks->kind;
    out.in_blocks = in_blocks->in_blocks;
    out.groups_per_super = groups_per_block;
    return out;
  }
  if (!values) return out;
  require_shape(*values, rows, groups, what);
  out.values = values->data();
  if (!super) {
    out.kind = param_kind(*values, format, what);
    return out;
  }
  require(is_type(*values, Code::Int, 8), std::string(what) + " under a super-scale must be int8");
  require(is_type(*super, Code::Float, 16) || is_type(*super, Code::Float, 32),
          std::string(what) + "'s super-scale must be float16 or float32");
  require(groups_per_super >= 1, "groups per super-scale must be at least 1");
  require_shape(*super, rows, (groups + groups_per_super - 1) / groups_per_super, "a super-scale");
  out.kind = super->dtype().bits == 16 ? ParamKind::two_level_f16 : ParamKind::two_level_f32;
  out.super = super->data();
  out.groups_per_super = groups_per_super;
  return out;
}

// A packer that keeps the arrays it reads from alive.
class ArrayPacker {
 public:
  ArrayPacker(const std::string& target, int threads) : packer_(find_target(target), std::max(threads, 1)) {}

  std::shared_ptr<PackedMatrix> add_lowbit(int64_t rows, int64_t columns, int bits, int64_t group_size,
                                           const Bytes& source, int block_weights, int block_bytes,
                                           const BlockNumbers& codes, const std::shared_ptr<Grid>& grid, int code_xor,
                                           const std::optional<BlockParams>& scale_in_blocks,
                                           const std::optional<AnyArray>& scale,
                                           const std::optional<AnyArray>& scale_super, int scale_groups_per_super,
                                           float zero_point, const std::optional<BlockParams>& offset_in_blocks,
                                           const std::optional<AnyArray>& offset,
                                           const std::optional<AnyArray>& offset_super, int offset_groups_per_super,
                                           const std::string& scale_format, const std::string& offset_format,
                                           float factor, const std::optional<FloatArray>& codebook,
                                           const std::optional<FloatArray>& second_codebook, bool ternary,
                                           bool float8) {
    require(group_size > 0 && columns > 0, "columns and group size must be positive");
    require(static_cast<int64_t>(source.shape(0)) == rows, "the source must have one line per row");
    const int64_t groups = (columns + group_size - 1) / group_size;
    LowBitSource in;
    in.rows = rows;
    in.columns = columns;
    in.bits = bits;
    in.group_size = group_size;
    in.bytes = source.data();
    in.row_bytes = static_cast<int64_t>(source.shape(1));
    in.block_weights = block_weights;
    in.block_bytes = block_bytes;
    in.codes = codes;
    in.grid = grid;
    in.code_xor = static_cast<uint8_t>(code_xor);
    in.zero_point = zero_point;
    in.factor = factor;
    require((codebook ? 1 : 0) + ternary + float8 <= 1, "a matrix has a codebook, ternary codes or FP8 codes, not two of them");
    require(codebook || !second_codebook, "a second codebook stands beside a first");
    for (const auto* book : {&codebook, &second_codebook}) {
      require(!*book || (*book)->shape(0) == 16, "a codebook must have 16 values");
    }
    in.kind = codebook  ? CodeKind::codebook
              : ternary ? CodeKind::ternary
              : float8  ? CodeKind::float8
                        : CodeKind::affine;
    in.codebook = codebook ? codebook->data() : nullptr;
    in.second_codebook = second_codebook ? second_codebook->data() : nullptr;
    require(scale_in_blocks || scale, "a matrix needs scales");
    const int per_block = static_cast<int>(std::max<int64_t>(1, block_weights / group_size));
    in.scale = param(scale_in_blocks, per_block, scale, scale_super, scale_groups_per_super, scale_format, rows, groups,
                     "scale");
    in.offset = param(offset_in_blocks, per_block, offset, offset_super, offset_groups_per_super, offset_format, rows,
                      groups, "offset");
    auto matrix = packer_.add(in);
    sources_.push_back(source);
    for (const auto& array : {scale, scale_super, offset, offset_super}) {
      if (array) params_.push_back(*array);
    }
    return matrix;
  }

  std::shared_ptr<PackedMatrix> add_dense(const AnyArray& data) {
    using Code = nb::dlpack::dtype_code;
    DenseSource in{DenseType::f32, data.data(), static_cast<int64_t>(data.shape(0)),
                   static_cast<int64_t>(data.shape(1))};
    if (is_type(data, Code::Float, 16)) {
      in.type = DenseType::f16;
    } else if (is_type(data, Code::UInt, 16)) {
      in.type = DenseType::bf16;
    } else {
      require(is_type(data, Code::Float, 32), "data must be float32, float16, or uint16 holding bfloat16 bits");
    }
    auto matrix = packer_.add(in);
    params_.push_back(data);
    return matrix;
  }

  std::shared_ptr<PackedMatrix> add_random(int64_t rows, int64_t columns, int bits, int64_t group_size,
                                           int scale_exponent, uint64_t seed, bool ternary) {
    const CodeKind kind = ternary ? CodeKind::ternary : CodeKind::affine;
    return packer_.add(RandomSource{rows, columns, kind, bits, group_size, scale_exponent, seed});
  }

  void finish() {
    {
      const nb::gil_scoped_release release;
      packer_.finish();
    }
    sources_.clear();
    params_.clear();
  }

 private:
  Packer packer_;
  std::vector<Bytes> sources_;
  std::vector<AnyArray> params_;
};

auto unpack_rows(const PackedMatrix& matrix, const IntArray& ids) {
  for (size_t i = 0; i < ids.shape(0); ++i) {
    require(ids.data()[i] >= 0 && ids.data()[i] < matrix.rows(), "row id out of range");
  }
  float* out;
  auto result = new_matrix(static_cast<int64_t>(ids.shape(0)), matrix.columns(), out);
  const nb::gil_scoped_release release;
  for (size_t i = 0; i < ids.shape(0); ++i) matrix.unpack_row(ids.data()[i], out + i * matrix.columns());
  return result;
}

auto matmul(const PackedMatrix& matrix, const FloatMatrix& x, bool exact, int threads) {
  require(static_cast<int64_t>(x.shape(1)) == matrix.columns(), "x must have as many columns as the matrix");
  const int64_t tokens = static_cast<int64_t>(x.shape(0)), columns = matrix.columns();
  float* y;
  auto result = new_matrix(tokens, matrix.rows(), y);
  const nb::gil_scoped_release release;
  const Form form = exact ? Form::plain : matrix.form();
  MatmulArgs args;
  std::unique_ptr<uint8_t, decltype(&std::free)> forms(nullptr, &std::free);
  if (form == Form::plain) {
    args.x = reinterpret_cast<const uint8_t*>(x.data());
    args.x_stride = columns * 4;
  } else {
    args.x_stride = form_stride(form, columns);
    forms.reset(static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(tokens * args.x_stride))));
    if (!forms) throw std::bad_alloc();
    args.x = forms.get();
    ThreadPool::instance().for_each(threads, tokens, [&](int64_t token) {
      matrix.target().kernels->prepare(form, x.data() + token * columns, columns,
                                       forms.get() + token * args.x_stride);
    });
  }
  args.y = y;
  args.y_stride = matrix.rows();
  const int64_t block = tokens_per_task(args.x_stride), tiles = matrix.tiles();
  ThreadPool::instance().for_each(threads, (tokens + block - 1) / block * tiles, [&](int64_t task) {
    const int64_t first = task / tiles * block, tile = task % tiles;
    matrix.matmul(args, exact, tile, tile + 1, first, std::min(tokens, first + block));
  });
  return result;
}

const char* form_name(Form form) {
  switch (form) {
    case Form::plain: return "plain";
    case Form::tables: return "tables";
    case Form::integers: return "integers";
    default: return "ternary";
  }
}

const char* codes_name(const PackedMatrix& matrix) {
  if (matrix.is_dense()) return "floats";
  switch (matrix.lowbit().kind) {
    case CodeKind::affine: return "affine";
    case CodeKind::codebook: return "codebook";
    case CodeKind::ternary: return "ternary";
    default: return "float8";
  }
}

int bits_of(const PackedMatrix& matrix) {
  return matrix.is_dense() ? (matrix.dense().type == DenseType::f32 ? 32 : 16) : matrix.lowbit().bits;
}

}  // namespace

void bind_matrix(nb::module_& module) {
  nb::class_<ArrayPacker>(module, "Packer")
      .def(nb::init<const std::string&, int>(), nb::kw_only(), nb::arg("target"), nb::arg("threads"))
      .def("add_lowbit", &ArrayPacker::add_lowbit, nb::kw_only(), nb::arg("rows"), nb::arg("columns"), nb::arg("bits"),
           nb::arg("group_size"), nb::arg("source"), nb::arg("block_weights"), nb::arg("block_bytes"), nb::arg("codes"),
           nb::arg("grid").none(), nb::arg("xor"), nb::arg("scale_in_blocks").none(), nb::arg("scale").none(),
           nb::arg("scale_super").none(), nb::arg("scale_groups_per_super"), nb::arg("zero_point"),
           nb::arg("offset_in_blocks").none(), nb::arg("offset").none(), nb::arg("offset_super").none(),
           nb::arg("offset_groups_per_super"), nb::arg("scale_format") = "", nb::arg("offset_format") = "",
           nb::arg("factor") = 1.0f, nb::arg("codebook").none() = nb::none(),
           nb::arg("second_codebook").none() = nb::none(), nb::arg("ternary") = false,
           nb::arg("float8") = false)
      .def("add_dense", &ArrayPacker::add_dense, nb::arg("data"))
      .def("add_random", &ArrayPacker::add_random, nb::kw_only(), nb::arg("rows"), nb::arg("columns"), nb::arg("bits"),
           nb::arg("group_size"), nb::arg("scale_exponent"), nb::arg("seed"), nb::arg("ternary") = false)
      .def("finish", &ArrayPacker::finish);
  nb::class_<PackedMatrix>(module, "Matrix")
      .def_prop_ro("rows", &PackedMatrix::rows)
      .def_prop_ro("columns", &PackedMatrix::columns)
      .def_prop_ro("kind", [](const PackedMatrix& m) { return m.is_dense() ? "dense" : "lowbit"; })
      .def_prop_ro("bits", &bits_of)
      .def_prop_ro("codes", &codes_name)
      .def_prop_ro("group_size", [](const PackedMatrix& m) { return m.is_dense() ? 0 : m.lowbit().group_size; })
      .def_prop_ro("target", [](const PackedMatrix& m) { return m.target().name; })
      .def_prop_ro("nbytes", &PackedMatrix::bytes)
      .def_prop_ro("form", [](const PackedMatrix& m) { return form_name(m.form()); })
      .def("unpack_rows", &unpack_rows, nb::arg("ids"))
      .def("matmul", &matmul, nb::arg("x"), nb::kw_only(), nb::arg("exact"), nb::arg("threads"));
  module.def(
      "form_stride",
      [](const std::string& form, int64_t width) {
        require(width > 0, "width must be positive");
        for (Form f : {Form::plain, Form::tables, Form::integers, Form::ternary}) {
          if (form == form_name(f)) return form_stride(f, width);
        }
        throw std::invalid_argument("unknown form '" + form + "'");
      },
      nb::arg("form"), nb::arg("width"));
}

}  // namespace lutmac
