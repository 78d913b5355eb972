// Attention's product of 16-bit rows with bytes of the cache: every result is that of exact sums. For the emulator it is built with
// dot products, so that it is neon's (CMakeLists.txt); elsewhere it is portable's.
#define LUTMAC_TARGET byte_rows
#include "ops/byte_rows.h"

#include "check.h"

using namespace lutmac::byte_rows;

namespace {

struct Case {
  int rows, count, columns;  // count: pairs of k
  std::vector<int16_t> a;    // [rows, count x 2]
  std::vector<int8_t> b;     // [count, columns x 2]
};

// Half of the numbers are the largest there are, or the smallest.
template <typename Number>
Number any_number(TestRandom& random, int limit) {
  const int choice = random.below(4);
  if (choice > 1) return static_cast<Number>(random.below(2 * limit + 1) - limit);
  return static_cast<Number>(choice == 0 ? limit : -limit);
}

Case random_case(TestRandom& random) {
  Case result{1 + random.below(13), 1 + random.below(32), 16 * (1 + random.below(4)), {}, {}};
  if (random.below(4) > 0) result.count = (result.count + 3) / 4 * 4;
  result.a.resize(result.rows * result.count * 2);
  result.b.resize(result.count * result.columns * 2);
  for (int16_t& x : result.a) x = any_number<int16_t>(random, 32767);
  for (int8_t& x : result.b) x = any_number<int8_t>(random, 127);
  return result;
}

int32_t exact_sum(const Case& c, int row, int column) {
  int32_t sum = 0;
  for (int k = 0; k < 2 * c.count; ++k) sum += c.a[row * c.count * 2 + k] * c.b[k / 2 * c.columns * 2 + column * 2 + k % 2];
  return sum;
}

void test_sums(const Case& c) {
  const std::vector<float> scales(c.rows, 0x1p-5f);
  std::vector<float> out(c.rows * c.columns, -1.0f);
  RowProduct<ByteElements> product;
  product.out = out.data();
  product.out_stride = c.columns;
  product.a = c.a.data();
  product.a_stride = c.count * 2;
  product.b = c.b.data();
  product.b_stride = c.columns * 2;
  product.count = c.count;
  product.row_scale = scales.data();
  product.row_scale_stride = 1;
  multiply_byte_rows(product, c.rows, 0, c.columns, false);
  for (int row = 0; row < c.rows; ++row) {
    for (int column = 0; column < c.columns; ++column) {
      const float expected = static_cast<float>(exact_sum(c, row, column)) * 0x1p-5f, actual = out[row * c.columns + column];
      check(actual == expected, "%d rows, %d pairs: [%d, %d] is %.9g, expected %.9g", c.rows, c.count, row, column, actual, expected);
    }
  }
}

}  // namespace

int main() {
  TestRandom random(1);
  for (int i = 0; i < 500; ++i) test_sums(random_case(random));
  return report("byte_rows_test");
}
