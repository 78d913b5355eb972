// The kernels of every ISA target that this CPU runs, against products in double; kernel_case.h derives the tolerances.
#include <cstring>

#include "kernel_case.h"
#include "vbmi_twin.h"

using namespace lutmac;

namespace {

constexpr double kUnit = 0x1p-24;
constexpr int64_t kGroupSizes[] = {16, 32, 64, 128, 256, 0};  // 0: one group per row
constexpr ParamKind kKinds[] = {ParamKind::f16,  ParamKind::f32,  ParamKind::two_level_f16, ParamKind::two_level_f32,
                                ParamKind::bf16, ParamKind::e8m0, ParamKind::e4m3,          ParamKind::none};
#ifdef LUTMAC_TWINS
const std::vector<TargetEntry> kTwins = {kVbmiTwin};
#else
const std::vector<TargetEntry> kTwins;  // of targets of another architecture
#endif

void check_product(const TargetEntry& target, const KernelCase& test, const std::vector<float>& y, bool exact) {
  for (int token = 0; token < test.shape.tokens; ++token) {
    for (int64_t row = 0; row < test.shape.rows; ++row) {
      const KernelCase::Expected& expected = test.expected[token * test.shape.rows + row];
      const double allowed = exact ? expected.exact_rounding : expected.form + expected.rounding;
      const double actual = y[token * test.shape.rows + row];
      check(std::abs(actual - expected.value) <= allowed, "%s: %s, %s, token %d row %d: %.9g, expected %.9g +- %.3g",
            target.name, exact ? "exact" : "product", test.shape.describe().c_str(), token, static_cast<int>(row),
            actual, expected.value, allowed);
    }
  }
}

// A token alone gives the same bits as among others.
void check_invariance(const TargetEntry& target, const KernelCase& test, const PackedMatrix& matrix, Form form, bool exact,
                      const std::vector<float>& together) {
  const int64_t columns = test.shape.columns, rows = test.shape.rows;
  for (int token = 0; token < test.shape.tokens; ++token) {
    const std::vector<float> x(test.x.begin() + token * columns, test.x.begin() + (token + 1) * columns);
    FormRows alone(*target.kernels, form, x, columns);
    check(std::memcmp(multiply(matrix, alone, exact).data(), together.data() + token * rows, rows * sizeof(float)) == 0,
          "%s: %s: token %d alone differs from the same among %d", target.name, test.shape.describe().c_str(), token,
          test.shape.tokens);
  }
}

void check_rows(const TargetEntry& target, const KernelCase& test, const PackedMatrix& matrix) {
  std::vector<float> row_values(static_cast<size_t>(test.shape.columns));
  for (int64_t row = 0; row < test.shape.rows; ++row) {
    matrix.unpack_row(row, row_values.data());
    for (int64_t k = 0; k < test.shape.columns; ++k) {
      // Scale times zero point, plus offset, plus scale times code, and the two levels.
      check(std::abs(row_values[k] - test.weight(row, k)) <= 6 * kUnit * test.magnitude(row, k),
            "%s: %s: weight %d, %d: %.9g, expected %.9g", target.name, test.shape.describe().c_str(),
            static_cast<int>(row), static_cast<int>(k), static_cast<double>(row_values[k]), test.weight(row, k));
    }
  }
}

// with_exact: in exact mode, too, whose one loop serves all bits and forms.
void check_case(const TargetEntry& target, const KernelCase& test, bool with_exact) {
  const PackedMatrix matrix = pack(target, test.source());
  for (const bool exact : {false, true}) {
    if (exact && !with_exact) continue;
    const Form form = exact ? Form::plain : matrix.form();
    FormRows forms(*target.kernels, form, test.x, test.shape.columns);
    const std::vector<float> y = multiply(matrix, forms, exact);
    check_product(target, test, y, exact);
    check_invariance(target, test, matrix, form, exact, y);
  }
  if (test.shape.tokens == 1) check_rows(target, test, matrix);
}

// Tokens go by 8, 4, 3, 2 and 1 (neon: 4, 2 and 1): all of these, and what comes after them. As many counts as the kinds of
// parameter have no factor in common with, so that each count meets each kind.
constexpr int kTokenCounts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 17};

// All bits, groups and token counts, the kinds of scale and offset in turn.
void test_lowbit(const std::vector<TargetEntry>& targets) {
  TestRandom random(1);
  int number = 0;
  for (int bits = 1; bits <= 8; ++bits) {
    for (const int64_t group_size : kGroupSizes) {
      for (const int tokens : kTokenCounts) {
        KernelShape shape;
        shape.bits = bits;
        shape.columns = 32 * (1 + random.below(18));
        shape.group_size = group_size == 0 ? shape.columns : group_size;
        shape.rows = 1 + random.below(tokens == 1 || tokens == 5 ? 150 : 40);
        shape.tokens = tokens;
        shape.scale_kind = kKinds[number % 7];
        shape.offset_kind = kKinds[number / 7 % 8];
        const float zero_points[] = {0.0f, static_cast<float>(1 << (bits - 1)), 0.5f};
        shape.zero_point = zero_points[number % 3];
        const KernelCase test(random, shape, make_activations(random, shape));
        for (const TargetEntry& target : targets) check_case(target, test, number % 5 == 0);
        for (const TargetEntry& twin : kTwins) {
          if (bits < 8) check_case(twin, test, number % 5 == 0);
        }
        ++number;
      }
    }
  }
}

// Codebooks of each kind, alone and with a second one, ternary codes, and FP8.
void test_codes(const std::vector<TargetEntry>& targets) {
  TestRandom random(5);
  for (int number = 0; number < 6 * 6 * 9; ++number) {
    KernelShape shape;
    const int books = number % 6;
    shape.kind = books == 5 ? CodeKind::float8 : books == 4 ? CodeKind::ternary : CodeKind::codebook;
    shape.columns = 32 * (1 + random.below(18));
    shape.group_size = kGroupSizes[number / 6 % 6];
    if (shape.group_size == 0 || (books == 4 && shape.group_size % 128 != 0)) shape.group_size = shape.columns;
    shape.rows = 1 + random.below(number % 4 == 0 ? 150 : 40);
    shape.tokens = 1 + number / 36;
    shape.scale_kind = kKinds[number % 7];
    if (books == 4) {
      shape.bits = 2;
      shape.zero_point = 1.0f;
    } else if (books == 5) {
      shape.bits = 8;
    } else {
      shape.book = books % 2;
      shape.second_book = books < 2 ? -1 : 4 - books;
      shape.offset_kind = shape.second_book >= 0 ? kKinds[number / 7 % 7] : kKinds[number / 7 % 8];
    }
    const KernelCase test(random, shape, make_activations(random, shape));
    for (const TargetEntry& target : targets) check_case(target, test, number % 3 == 0);
    for (const TargetEntry& twin : kTwins) {
      if (books == 4) check_case(twin, test, number % 3 == 0);
    }
  }
}

// Targets that differ in instructions and packing alone give the same bits from the same forms.
// lookups_only: the other has kernels for 1 to 7 bits and ternary codes only.
void compare_twins(const TargetEntry& one, const TargetEntry& other, bool lookups_only = false) {
  TestRandom random(6);
  for (int number = 0; number < 160; ++number) {
    KernelShape shape;
    shape.bits = 1 + number % (lookups_only ? 7 : 8);
    shape.columns = 32 * (1 + random.below(18));
    shape.rows = 1 + random.below(140);
    shape.tokens = 1 + random.below(20);
    if (!lookups_only && shape.bits == 4 && random.below(2)) shape.kind = CodeKind::codebook;
    if (shape.bits == 2 && random.below(2)) shape.kind = CodeKind::ternary;
    const int64_t of_ternary[] = {128, 256, shape.columns};
    shape.group_size = shape.kind == CodeKind::ternary ? of_ternary[random.below(3)] : kGroupSizes[random.below(5)];
    if (shape.kind == CodeKind::affine) {
      shape.zero_point = 0.5f * static_cast<float>(random.below(3));
      shape.scale_kind = kKinds[random.below(7)];
      shape.offset_kind = kKinds[random.below(8)];
    }
    if (shape.kind == CodeKind::ternary) shape.zero_point = 1.0f;
    const KernelCase test(random, shape, make_activations(random, shape));
    const PackedMatrix a = pack(one, test.source()), b = pack(other, test.source());
    FormRows forms(*one.kernels, a.form(), test.x, shape.columns);
    check(multiply(a, forms, false) == multiply(b, forms, false), "%s: %s: differs from %s", other.name, shape.describe().c_str(), one.name);
  }
}

// Targets with one packing are one source; avx512vbmi sums the integers of avx512 in another way.
void test_twins(const std::vector<TargetEntry>& targets) {
  for (size_t i = 1; i < targets.size(); ++i) {
    if (std::strcmp(targets[i - 1].packing, targets[i].packing) == 0) compare_twins(targets[i - 1], targets[i]);
    if (std::strcmp(targets[i - 1].name, "avx512vbmi") == 0) compare_twins(targets[i - 1], targets[i]);
  }
  for (const TargetEntry& target : targets) {
    if (std::strcmp(target.packing, "avx512/2") != 0) continue;
    for (const TargetEntry& twin : kTwins) compare_twins(target, twin, true);
  }
}

// Vectors of any width give the same bits, forms included: the order of sums does not depend on the width.
void test_widths(const std::vector<TargetEntry>& targets) {
  TestRandom random(13);
  for (int number = 0; number < 40; ++number) {
    KernelShape shape;
    shape.bits = 1 + number % 8;
    shape.columns = 32 * (1 + random.below(18));
    shape.rows = 1 + random.below(140);
    shape.tokens = 1 + random.below(9);
    shape.group_size = kGroupSizes[random.below(5)];
    shape.scale_kind = kKinds[random.below(7)];
    shape.offset_kind = kKinds[random.below(8)];
    const KernelCase test(random, shape, make_activations(random, shape));
    std::vector<float> first;
    for (const TargetEntry& target : targets) {
      if (std::strcmp(target.name, "portable") == 0) continue;
      const PackedMatrix matrix = pack(target, test.source());
      FormRows forms(*target.kernels, matrix.form(), test.x, shape.columns);
      const std::vector<float> y = multiply(matrix, forms, false);
      if (first.empty()) first = y;
      check(y == first, "%s: %s: differs from %s", target.name, shape.describe().c_str(), targets[0].name);
    }
  }
}

// Bias and the values before are added to the product, and only the tiles and tokens that were asked for are written.
void test_parts(const TargetEntry& target) {
  TestRandom random(2);
  for (const int bits : {1, 3, 4, 8}) {
    KernelShape shape;
    shape.bits = bits;
    shape.columns = 128;
    shape.rows = 3 * target.kernels->packing.tile_rows - 5;
    shape.tokens = 6;
    const KernelCase test(random, shape, make_activations(random, shape));
    const PackedMatrix matrix = pack(target, test.source());
    FormRows forms(*target.kernels, matrix.form(), test.x, shape.columns);
    const std::vector<float> product = multiply(matrix, forms, false), before = random.floats(product.size());
    const std::vector<float> bias = random.floats(static_cast<size_t>(shape.rows));
    std::vector<float> y = before;
    MatmulArgs args;
    args.x = forms.data();
    args.x_stride = forms.stride();
    args.y = y.data();
    args.y_stride = shape.rows;
    args.bias = bias.data();
    args.accumulate = true;
    matrix.matmul(args, false, 1, 3, 2, 5);
    for (int token = 0; token < shape.tokens; ++token) {
      for (int64_t row = 0; row < shape.rows; ++row) {
        const size_t at = static_cast<size_t>(token * shape.rows + row);
        const bool asked = token >= 2 && token < 5 && row >= target.kernels->packing.tile_rows;
        const double expected = asked ? double{before[at]} + bias[row] + product[at] : double{before[at]};
        const double allowed = asked ? 2 * kUnit * (std::abs(product[at]) + 2) : 0.0;
        check(std::abs(y[at] - expected) <= allowed, "%s: %d bits, part of a product, token %d row %d: %.9g, expected %.9g",
              target.name, bits, token, static_cast<int>(row), static_cast<double>(y[at]), expected);
      }
    }
  }
}

// What a dense matrix of `type` holds for a float, and the bytes that it holds it in.
double add_dense(DenseType type, float value, std::vector<uint8_t>& bytes) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (type == DenseType::f16) bits = (bits >> 16 & 0x8000) | ((bits >> 23 & 3) + 12) << 10 | (bits >> 13 & 1023);
  if (type == DenseType::bf16) bits >>= 16;
  for (int i = 0; i < (type == DenseType::f32 ? 4 : 2); ++i) bytes.push_back(static_cast<uint8_t>(bits >> (8 * i)));
  if (type == DenseType::f32) return value;
  if (type == DenseType::f16) return half_value(static_cast<uint16_t>(bits));
  bits <<= 16;
  std::memcpy(&value, &bits, 4);
  return value;
}

void test_dense(const TargetEntry& target) {
  TestRandom random(3);
  for (const DenseType type : {DenseType::f32, DenseType::f16, DenseType::bf16}) {
    for (const int tokens : kTokenCounts) {
      const int64_t rows = 1 + random.below(100), columns = 32 * (1 + random.below(12));
      std::vector<uint8_t> bytes;
      std::vector<double> weights;
      for (int64_t i = 0; i < rows * columns; ++i) weights.push_back(add_dense(type, random.signed_unit(), bytes));
      const std::vector<float> x = random.floats(static_cast<size_t>(tokens * columns));
      const PackedMatrix matrix = pack(target, DenseSource{{rows, columns, type}, bytes.data()});
      FormRows forms(*target.kernels, Form::plain, x, columns);
      const std::vector<float> y = multiply(matrix, forms, false);
      std::vector<float> values(static_cast<size_t>(columns));
      for (int64_t row = 0; row < rows; ++row) {
        matrix.unpack_row(row, values.data());
        for (int64_t k = 0; k < columns; ++k) {
          check(values[k] == weights[row * columns + k], "%s: dense row %d [%d] is not what was packed", target.name,
                static_cast<int>(row), static_cast<int>(k));
        }
        for (int token = 0; token < tokens; ++token) {
          double expected = 0.0, magnitude = 0.0;
          for (int64_t k = 0; k < columns; ++k) {
            expected += weights[row * columns + k] * x[token * columns + k];
            magnitude += std::abs(weights[row * columns + k] * x[token * columns + k]);
          }
          const double actual = y[token * rows + row];
          check(std::abs(actual - expected) <= 2 * static_cast<double>(columns) * kUnit * magnitude,
                "%s: dense type %d, %d x %d, token %d of %d row %d: %.9g, expected %.9g", target.name,
                static_cast<int>(type), static_cast<int>(rows), static_cast<int>(columns), token, tokens,
                static_cast<int>(row), actual, expected);
        }
      }
    }
  }
}

// Entries are the sums of the activations with the index's signs, to half a scale (and 8 roundings of up to 255).
void test_tables(const TargetEntry& target) {
  TestRandom random(4);
  for (const int64_t columns : {32, 96, 128, 416}) {
    KernelShape shape;
    shape.columns = columns;
    const KernelCase test(random, shape, make_activations(random, shape));
    FormRows forms(*target.kernels, Form::tables, test.x, columns);
    const uint8_t* tables = forms.data();
    const float* half_scales = reinterpret_cast<const float*>(tables + TableForm::scale_offset(columns));
    for (int64_t entry = 0; entry < columns * 4; ++entry) {
      double sum = 0.0;
      for (int i = 0; i < 4; ++i) {
        const double activation = test.x[entry / 16 * 4 + i];
        sum += entry >> i & 1 ? activation : -activation;
      }
      const double exact = sum / (2 * double{half_scales[entry / 128]}) + 128;
      check(std::abs(tables[entry] - exact) <= 0.5 + 8 * 255 * kUnit, "%s: table entry %d is %d, expected %.9g", target.name,
            static_cast<int>(entry), tables[entry], exact);
    }
  }
}

// What any packing, also of another architecture, puts down comes back as it was, in whole tiles or in pieces of columns.
void test_packing(const Packing& packing, const char* name) {
  TestRandom random(11);
  const auto round_trip = [&](CodeKind kind, int bits, int largest) {
    const int64_t columns = 32 * (1 + random.below(11)), rows = packing.tile_rows;
    std::vector<uint8_t> codes(static_cast<size_t>(rows * columns)), back(32);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.below(largest + 1));
    std::vector<uint8_t> packed(static_cast<size_t>(packing.packed_tile_bytes(kind, bits, columns)));
    packing.pack_tile(kind, bits, columns, codes.data(), packed.data());
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t block = 0; block < columns / 32; ++block) {
        packing.unpack_row_block(kind, bits, packed.data(), block, static_cast<int>(row), back.data());
        const uint8_t* expected = codes.data() + row * columns + block * 32;
        check(std::memcmp(back.data(), expected, 32) == 0, "%s: codes of %d bits do not come back", name, bits);
      }
    }
  };
  for (int bits = 1; bits <= 8; ++bits) round_trip(CodeKind::affine, bits, (1 << bits) - 1);
  round_trip(CodeKind::codebook, 4, 15);
  round_trip(CodeKind::float8, 8, 255);
  round_trip(CodeKind::ternary, 2, 2);
}

// A target's own, compiled with its flags, puts down the same bytes as the one for any processor.
void test_same_packing(const TargetEntry& target) {
  const Packing &own = target.kernels->packing, &other = find_packing(target.packing);
  TestRandom random(12);
  for (int bits = 1; bits <= 8; ++bits) {
    std::vector<uint8_t> codes(static_cast<size_t>(own.tile_rows) * 96);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random.below(1 << bits));
    std::vector<uint8_t> a(static_cast<size_t>(own.packed_tile_bytes(CodeKind::affine, bits, 96))), b(a.size());
    own.pack_tile(CodeKind::affine, bits, 96, codes.data(), a.data());
    other.pack_tile(CodeKind::affine, bits, 96, codes.data(), b.data());
    check(a == b, "%s: %d bits are packed otherwise for other processors", target.name, bits);
  }
}

}  // namespace

int main() {
  for (const TargetRow& row : target_table()) test_packing(find_packing(row.packing), row.packing);
  const std::vector<TargetEntry> targets = runnable_kernels();
  test_lowbit(targets);
  test_codes(targets);
  test_twins(targets);
  test_widths(targets);
  for (const TargetEntry& target : targets) {
    test_packing(target.kernels->packing, target.name);
    test_same_packing(target);
    test_tables(target);
    test_parts(target);
    test_dense(target);
    std::printf("%s: checked\n", target.name);
  }
  return report("kernels_test");
}
