// The arithmetic of prompts' rows: of the twin of amx, and of targets with a matrix unit, real or emulated, where they run.
#include <cstring>

#include "amx_twin.h"
#include "kernel_case.h"

using namespace lutmac;

namespace {

constexpr int64_t kGroupSizes[] = {16, 32, 64, 128, 256, 0};  // 0: one group per row
constexpr ParamKind kKinds[] = {ParamKind::f16,  ParamKind::f32,  ParamKind::two_level_f16, ParamKind::two_level_f32,
                                ParamKind::bf16, ParamKind::e8m0, ParamKind::e4m3,          ParamKind::none};
// Around 4, from which on there are tiles; 16 and 32, which tiles take; and with something left.
constexpr int kTokenCounts[] = {1, 2, 3, 4, 5, 8, 15, 16, 17, 20, 31, 32, 33, 40, 48, 63, 70};

std::vector<float> multiply_prompt(const PackedMatrix& matrix, FormRows& forms) {
  return multiply_by(matrix, forms, [&](const MatmulArgs& args, int64_t tokens) {
    matrix.matmul_prompt(args, 0, matrix.tiles(), 0, tokens);
  });
}

void check_product(const TargetEntry& target, const KernelCase& test, const std::vector<float>& y) {
  for (int token = 0; token < test.shape.tokens; ++token) {
    for (int64_t row = 0; row < test.shape.rows; ++row) {
      const KernelCase::Expected& expected = test.expected[token * test.shape.rows + row];
      const double actual = y[token * test.shape.rows + row];
      check(std::abs(actual - expected.value) <= expected.prompt, "%s: prompt, %s, token %d row %d: %.9g, expected %.9g +- %.3g",
            target.name, test.shape.describe().c_str(), token, static_cast<int>(row), actual, expected.value, expected.prompt);
    }
  }
}

// Tiles of rows and tokens by themselves, which go with tiles or without, give the same bits as all at once.
void check_parts(const TargetEntry& target, TestRandom& random, const KernelCase& test, const PackedMatrix& matrix,
                 FormRows& forms, const std::vector<float>& y) {
  const std::vector<float> parts = multiply_by(matrix, forms, [&](const MatmulArgs& args, int64_t tokens) {
    for (int64_t tile = 0; tile < matrix.tiles(); ++tile) {
      for (int64_t token = 0, end; token < tokens; token = end) {
        end = std::min<int64_t>(tokens, token + 1 + random.below(1 + random.below(20)));
        matrix.matmul_prompt(args, tile, tile + 1, token, end);
      }
    }
  });
  check(parts == y, "%s: prompt, %s: parts differ from the whole", target.name, test.shape.describe().c_str());
}

KernelShape random_shape(TestRandom& random, int number) {
  KernelShape shape;
  const int format = number % 13;  // 1 to 8 bits, 4 codebooks, ternary
  shape.columns = 32 * (1 + random.below(20));
  shape.group_size = kGroupSizes[random.below(6)];
  shape.rows = 1 + random.below(150);
  shape.tokens = kTokenCounts[number % 17];
  shape.scale_kind = kKinds[random.below(7)];
  shape.offset_kind = kKinds[random.below(8)];
  if (format < 8) {
    shape.bits = 1 + format;
    const float zero_points[] = {0.0f, static_cast<float>(1 << format), 0.5f};
    shape.zero_point = zero_points[random.below(3)];
  } else if (format < 12) {
    shape.kind = CodeKind::codebook;
    shape.book = format % 2;
    shape.second_book = format < 10 ? -1 : 12 - format;
    if (shape.second_book >= 0) shape.offset_kind = kKinds[random.below(7)];
  } else {
    shape.kind = CodeKind::ternary;
    shape.bits = 2;
    shape.zero_point = 1.0f;
    shape.offset_kind = ParamKind::none;
    if (shape.group_size % 128 != 0) shape.group_size = 0;
  }
  if (shape.group_size == 0) shape.group_size = shape.columns;
  return shape;
}

void check_case(const std::vector<TargetEntry>& targets, TestRandom& random, const KernelCase& test) {
  std::vector<float> first;
  for (const TargetEntry& target : targets) {
    const PackedMatrix matrix = pack(target, test.source());
    FormRows forms(*target.kernels, prompt_form(*target.kernels, matrix.form()), test.x, test.shape.columns);
    const std::vector<float> y = multiply_prompt(matrix, forms);
    check_product(target, test, y);
    check_parts(target, random, test, matrix, forms, y);
    if (first.empty()) first = y;
    check(y == first, "%s: prompt, %s: differs from %s", target.name, test.shape.describe().c_str(), targets[0].name);
  }
}

void test_formats(const std::vector<TargetEntry>& targets) {
  TestRandom random(21);
  for (int number = 0; number < 13 * 17 * 2; ++number) {
    const KernelShape shape = random_shape(random, number);
    check_case(targets, random, KernelCase(random, shape, make_activations(random, shape)));
  }
}

// Activations, products and sums around the smallest normal float.
void test_denormals(const std::vector<TargetEntry>& targets) {
  TestRandom random(22);
  for (int number = 0; number < 60; ++number) {
    KernelShape shape = random_shape(random, number);
    shape.scale_kind = ParamKind::f32;
    shape.rows = 1 + random.below(40);
    check_case(targets, random, KernelCase(random, shape, make_activations(random, shape, -40.0f, -33.0f)));
  }
}

// More tokens than are summed at once, and a row that is no number: the others are as without it.
void test_many_tokens(const TargetEntry& target) {
  TestRandom random(23);
  KernelShape shape;
  shape.columns = 288;
  shape.rows = 33;
  shape.tokens = 1100;
  KernelCase test(random, shape, make_activations(random, shape));
  const PackedMatrix matrix = pack(target, test.source());
  FormRows forms(*target.kernels, Form::bf16, test.x, shape.columns);
  const std::vector<float> y = multiply_prompt(matrix, forms);
  check_product(target, test, y);
  check_parts(target, random, test, matrix, forms, y);
  test.x[700 * shape.columns + 3] = std::nanf("");
  FormRows with_nan(*target.kernels, Form::bf16, test.x, shape.columns);
  const std::vector<float> z = multiply_prompt(matrix, with_nan);
  for (int64_t i = 0; i < shape.tokens * shape.rows; ++i) {
    const bool of_nan = i / shape.rows == 700;
    check(of_nan ? std::isnan(z[i]) : z[i] == y[i], "%s: token %d is not as it was beside one that is no number", target.name,
          static_cast<int>(i / shape.rows));
  }
}

// The bias, and what was there before.
void test_added(const TargetEntry& target) {
  TestRandom random(24);
  for (const int tokens : {3, 37}) {
    KernelShape shape;
    shape.columns = 320;
    shape.rows = 3 * target.kernels->packing.tile_rows - 5;
    shape.tokens = tokens;
    const KernelCase test(random, shape, make_activations(random, shape));
    const PackedMatrix matrix = pack(target, test.source());
    FormRows forms(*target.kernels, Form::bf16, test.x, shape.columns);
    const std::vector<float> product = multiply_prompt(matrix, forms), bias = random.floats(static_cast<size_t>(shape.rows));
    std::vector<float> y = random.floats(product.size());
    const std::vector<float> before = y;
    MatmulArgs args;
    args.x = forms.data();
    args.x_stride = forms.stride();
    args.y = y.data();
    args.y_stride = shape.rows;
    args.bias = bias.data();
    args.accumulate = true;
    matrix.matmul_prompt(args, 0, matrix.tiles(), 0, tokens);
    for (size_t i = 0; i < y.size(); ++i) {
      check(y[i] == before[i] + (product[i] + bias[i % static_cast<size_t>(shape.rows)]), "%s: a bias is added otherwise", target.name);
    }
  }
}

}  // namespace

int main() {
  std::vector<TargetEntry> targets = {kAmxTwin};
  for (const TargetEntry& target : runnable_kernels()) {
    if (target.kernels->matmul_prompt != nullptr) targets.push_back(target);
  }
  test_formats(targets);
  test_denormals(targets);
  for (const TargetEntry& target : targets) {
    test_many_tokens(target);
    test_added(target);
    std::printf("%s: checked\n", target.name);
  }
  return report("prompt_test");
}
