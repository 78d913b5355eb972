// Products of dense matrices on bf16: of a twin in plain C++, and of the targets that have them, where they run.
//
// bf16 has 8 bits: a weight and an activation are each off by at most 2^-9 of themselves, a product by 2^-8 and a little. Every k
// is one fused multiply-add in f32. Denormals are zero: 2^-126 for each number, times what it is multiplied by, and for each sum.
#include <cstring>

#include "amx_twin.h"
#include "kernel_case.h"

using namespace lutmac;

namespace {

// Around 4, which go together, and above 256, which share the rounding of weights.
constexpr int kTokenCounts[] = {1, 2, 3, 4, 5, 7, 8, 31, 70, 256, 300};
constexpr double kSmallest = 0x1p-126;

std::vector<float> multiply_rounded(const PackedMatrix& matrix, FormRows& forms) {
  return multiply_by(matrix, forms, [&](const MatmulArgs& args, int64_t tokens) {
    matrix.matmul_bfloat16(args, {0, matrix.tiles(), 0, tokens});
  });
}

struct DenseCase {
  int64_t rows, columns;
  DenseType type;
  std::vector<uint8_t> bytes;
  std::vector<float> weights, x;
};

// size: the largest magnitude of a factor.
DenseCase make_case(TestRandom& random, int tokens, DenseType type, float size) {
  DenseCase test{1 + random.below(150), 32 * (1 + random.below(14)), type, {}, {}, {}};
  test.weights = random.floats(static_cast<size_t>(test.rows * test.columns));
  for (float& weight : test.weights) {
    weight *= size;
    uint32_t bits;
    std::memcpy(&bits, &weight, 4);
    if (type == DenseType::bf16) bits &= 0xffff0000u;
    std::memcpy(&weight, &bits, 4);
    for (int i = type == DenseType::bf16 ? 2 : 0; i < 4; ++i) test.bytes.push_back(static_cast<uint8_t>(bits >> (8 * i)));
  }
  test.x = random.floats(static_cast<size_t>(tokens * test.columns));
  for (float& value : test.x) value *= size;
  return test;
}

void check_values(const TargetEntry& target, const DenseCase& test, const std::vector<float>& y) {
  for (size_t i = 0; i < y.size(); ++i) {
    const float* weights = test.weights.data() + static_cast<int64_t>(i) % test.rows * test.columns;
    const float* x = test.x.data() + static_cast<int64_t>(i) / test.rows * test.columns;
    double expected = 0.0, magnitude = 0.0, flushed = 0.0;
    for (int64_t k = 0; k < test.columns; ++k) {
      expected += double{weights[k]} * x[k];
      magnitude += std::abs(double{weights[k]} * x[k]);
      flushed += kSmallest * (1 + std::abs(weights[k]) + std::abs(x[k]));
    }
    const double allowed = magnitude * (0x1.01p-8 + static_cast<double>(test.columns) * 0x1p-24) + flushed;
    check(std::abs(y[i] - expected) <= allowed, "%s: %d x %d, number %d: %.9g, expected %.9g +- %.3g", target.name,
          static_cast<int>(test.rows), static_cast<int>(test.columns), static_cast<int>(i), static_cast<double>(y[i]), expected, allowed);
  }
}

// Tiles and tokens by themselves give the same bits as all at once.
void check_parts(const TargetEntry& target, TestRandom& random, const PackedMatrix& matrix, FormRows& forms, const std::vector<float>& y) {
  const std::vector<float> parts = multiply_by(matrix, forms, [&](const MatmulArgs& args, int64_t tokens) {
    for (int64_t tile = 0; tile < matrix.tiles(); ++tile) {
      for (int64_t token = 0, end; token < tokens; token = end) {
        end = std::min<int64_t>(tokens, token + 1 + random.below(1 + random.below(40)));
        matrix.matmul_bfloat16(args, {tile, tile + 1, token, end});
      }
    }
  });
  check(parts == y, "%s: parts differ from the whole", target.name);
}

void test_products(const std::vector<TargetEntry>& targets, float size) {
  TestRandom random(31);
  for (const DenseType type : {DenseType::f32, DenseType::bf16}) {
    for (const int tokens : kTokenCounts) {
      const DenseCase test = make_case(random, tokens, type, size);
      std::vector<float> first;
      for (const TargetEntry& target : targets) {
        const PackedMatrix matrix = pack(target, DenseSource{{test.rows, test.columns, type}, test.bytes.data()});
        check(matrix.rounded_form() == Form::bf16, "%s: it is not offered", target.name);
        FormRows forms(*target.kernels, Form::bf16, test.x, test.columns);
        const std::vector<float> y = multiply_rounded(matrix, forms);
        check_values(target, test, y);
        check_parts(target, random, matrix, forms, y);
        if (first.empty()) first = y;
        check(y == first, "%s: differs from %s", target.name, targets[0].name);
      }
    }
  }
}

}  // namespace

int main() {
  std::vector<TargetEntry> targets = {kAmxTwin};
  for (const TargetEntry& target : runnable_kernels()) {
    if (target.kernels->matmul_dense_bfloat16 != nullptr) targets.push_back(target);
  }
  test_products(targets, 1.0f);
  test_products(targets, 0x1p-62f);  // sums around the smallest normal float
  for (const TargetEntry& target : targets) std::printf("%s: checked\n", target.name);
  return report("bfloat16_test");
}
