#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <new>
#include <optional>
#include <vector>

#include <nanobind/stl/optional.h>

#include "python/bindings.h"
#include "python/low_bit_matrix.h"
#include "python/matrix_shape.h"
#include "runtime/packer.h"
#include "runtime/thread_pool.h"

namespace lutmac {
namespace {

// A packer that keeps the arrays it reads from alive.
class ArrayPacker {
 public:
  ArrayPacker(const std::string& target, int threads) : packer_(find_target(target), std::max(threads, 1)) {}

  // A LowBitMatrix of lutmac.lowbit.matrix.
  std::shared_ptr<PackedMatrix> add_lowbit(nb::handle matrix) { return packer_.add(read_matrix(matrix, arrays_)); }

  std::shared_ptr<PackedMatrix> add_dense(nb::handle array) { return packer_.add(dense_source(array, arrays_)); }

  // The same, streamed: the arrays live as long as the matrix.
  std::shared_ptr<PackedMatrix> stream_lowbit(nb::handle matrix) {
    auto kept = std::make_shared<std::vector<AnyArray>>();
    const LowBitSource source = read_matrix(matrix, *kept);
    return std::make_shared<PackedMatrix>(packer_.target(), source, kept);
  }

  std::shared_ptr<PackedMatrix> stream_dense(nb::handle array) {
    auto kept = std::make_shared<std::vector<AnyArray>>();
    const DenseSource source = dense_source(array, *kept);
    return std::make_shared<PackedMatrix>(packer_.target(), source, kept);
  }

  std::shared_ptr<PackedMatrix> add_random(int64_t rows, int64_t columns, int bits, int64_t group_size,
                                           int scale_exponent, uint64_t seed, bool ternary) {
    const CodeKind kind = ternary ? CodeKind::ternary : CodeKind::affine;
    return packer_.add(RandomSource{rows, columns, kind, bits, group_size, scale_exponent, seed});
  }

  void finish() { pack(std::numeric_limits<int64_t>::max()); }

  bool pack(int64_t most_bytes) {
    bool done;
    {
      const nb::gil_scoped_release release;
      done = packer_.pack(most_bytes);
    }
    if (done) arrays_.clear();
    return done;
  }

 private:
  static DenseSource dense_source(nb::handle array, std::vector<AnyArray>& keep) {
    using Code = nb::dlpack::dtype_code;
    const AnyArray data = read_array(array, "a dense matrix", keep);
    DenseSource in;
    in.rows = static_cast<int64_t>(data.shape(0));
    in.columns = static_cast<int64_t>(data.shape(1));
    in.data = data.data();
    if (is_type(data, Code::Float, 16)) {
      in.type = DenseType::f16;
    } else if (is_type(data, Code::UInt, 16)) {
      in.type = DenseType::bf16;
    } else {
      require(is_type(data, Code::Float, 32), "data must be float32, float16, or uint16 holding bfloat16 bits");
    }
    return in;
  }

  Packer packer_;
  std::vector<AnyArray> arrays_;
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

auto matmul(const PackedMatrix& matrix, const FloatMatrix& x, bool exact, bool prompt, bool rounded, int threads) {
  require(!matrix.streamed(), "the matrix is not in memory");
  require(static_cast<int64_t>(x.shape(1)) == matrix.columns(), "x must have as many columns as the matrix");
  const int64_t tokens = static_cast<int64_t>(x.shape(0)), columns = matrix.columns();
  float* y;
  auto result = new_matrix(tokens, matrix.rows(), y);
  const nb::gil_scoped_release release;
  const Kernels& kernels = *matrix.target().kernels;
  const Form of_matrix = exact ? Form::plain : rounded ? matrix.rounded_form() : matrix.form();
  const Form form = prompt ? prompt_form(kernels, of_matrix) : of_matrix;
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
      kernels.prepare(form, x.data() + token * columns, columns, forms.get() + token * args.x_stride);
    });
  }
  args.y = y;
  args.y_stride = matrix.rows();
  const int64_t tiles = matrix.tiles();
  const int64_t block = form == Form::bf16 ? prompt_block(tokens, tiles, threads) : tokens_per_task(args.x_stride);
  ThreadPool::instance().for_each(threads, (tokens + block - 1) / block * tiles, [&](int64_t task) {
    const int64_t first = task / tiles * block, tile = task % tiles;
    multiply(matrix, args, of_matrix, prompt, {tile, tile + 1, first, std::min(tokens, first + block)});
  });
  return result;
}

const char* form_name(Form form) {
  switch (form) {
    case Form::plain: return "plain";
    case Form::tables: return "tables";
    case Form::integers: return "integers";
    case Form::ternary: return "ternary";
    default: return "bf16";
  }
}

const char* codes_name(const PackedMatrix& matrix) {
  return matrix.is_dense() ? "floats" : name_of(matrix.lowbit().kind);
}

int bits_of(const PackedMatrix& matrix) {
  return matrix.is_dense() ? (matrix.dense().type == DenseType::f32 ? 32 : 16) : matrix.lowbit().bits;
}

}  // namespace

void bind_matrix(nb::module_& module) {
  nb::class_<ArrayPacker>(module, "Packer")
      .def(nb::init<const std::string&, int>(), nb::kw_only(), nb::arg("target"), nb::arg("threads"))
      .def("add_lowbit", &ArrayPacker::add_lowbit, nb::arg("matrix"))
      .def("add_dense", &ArrayPacker::add_dense, nb::arg("data"))
      .def("stream_lowbit", &ArrayPacker::stream_lowbit, nb::arg("matrix"))
      .def("stream_dense", &ArrayPacker::stream_dense, nb::arg("data"))
      .def("add_random", &ArrayPacker::add_random, nb::kw_only(), nb::arg("rows"), nb::arg("columns"), nb::arg("bits"),
           nb::arg("group_size"), nb::arg("scale_exponent"), nb::arg("seed"), nb::arg("ternary") = false)
      .def("finish", &ArrayPacker::finish)
      .def("pack", &ArrayPacker::pack, nb::arg("most_bytes"));
  nb::class_<PackedMatrix>(module, "Matrix")
      .def_prop_ro("shape", &shape_of)
      .def_prop_ro("rows", &PackedMatrix::rows)
      .def_prop_ro("columns", &PackedMatrix::columns)
      .def_prop_ro("kind", [](const PackedMatrix& m) { return m.is_dense() ? "dense" : "lowbit"; })
      .def_prop_ro("bits", &bits_of)
      .def_prop_ro("codes", &codes_name)
      .def_prop_ro("group_size", [](const PackedMatrix& m) { return m.is_dense() ? 0 : m.lowbit().group_size; })
      .def_prop_ro("target", [](const PackedMatrix& m) { return m.target().name; })
      .def_prop_ro("nbytes", &PackedMatrix::bytes)
      .def_prop_ro("form", [](const PackedMatrix& m) { return form_name(m.form()); })
      .def_prop_ro("rounded_form", [](const PackedMatrix& m) { return form_name(m.rounded_form()); })
      .def("unpack_rows", &unpack_rows, nb::arg("ids"))
      .def("matmul", &matmul, nb::arg("x"), nb::kw_only(), nb::arg("exact"), nb::arg("prompt") = false,
           nb::arg("rounded") = false, nb::arg("threads"));
  module.def(
      "form_stride",
      [](const std::string& form, int64_t width) {
        require(width > 0, "width must be positive");
        for (Form f : {Form::plain, Form::tables, Form::integers, Form::ternary, Form::bf16}) {
          if (form == form_name(f)) return form_stride(f, width);
        }
        throw std::invalid_argument("unknown form '" + form + "'");
      },
      nb::arg("form"), nb::arg("width"));
}

}  // namespace lutmac
