// Sums, products, rounding to int8 and the choice of experts, of every ISA target that this CPU runs.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention_case.h"
#include "check.h"

using namespace lutmac;

namespace {

constexpr int kWidths[] = {1, 3, 16, 64, 100, 577, 4096};

// One product and one sum, rounded together or one after the other.
void test_sums_and_products(const TestTarget& target) {
  TestRandom random(1);
  for (const int width : kWidths) {
    const std::vector<float> a = random.floats(width, 3.0f), b = random.floats(width, 3.0f);
    std::vector<float> sum(width + 1, 7.0f), product(width + 1, 7.0f), in_place = a;
    target.ops->add_scaled(a.data(), b.data(), 0.22f, width, sum.data());
    target.ops->add_scaled(in_place.data(), b.data(), 0.22f, width, in_place.data());
    target.ops->multiply(a.data(), b.data(), width, product.data());
    for (int i = 0; i < width; ++i) {
      const double exact = a[i] + double(0.22f) * b[i];
      check(std::abs(sum[i] - exact) <= 0x1p-24 * (std::abs(exact) + std::abs(0.22f * b[i])) * 2,
            "%s: add_scaled width %d [%d]: %.9g, expected %.9g", target.name, width, i, sum[i], exact);
      check(sum[i] == in_place[i], "%s: add_scaled in place differs, width %d [%d]", target.name, width, i);
      check(product[i] == a[i] * b[i], "%s: multiply width %d [%d]", target.name, width, i);
    }
    check(sum[width] == 7.0f && product[width] == 7.0f, "%s: wrote past a row, width %d", target.name, width);
  }
}

// To the bit what the reference's float arithmetic gives, ties to even.
void test_int8_rows(const TestTarget& target) {
  TestRandom random(2);
  for (const int width : kWidths) {
    for (const float size : {5.0f, 1e-7f, 0.0f}) {
      const std::vector<float> x = random.floats(width, size);
      std::vector<float> out(width + 1, 7.0f);
      target.ops->round_to_int8(x.data(), width, out.data());
      float largest = 1e-5f;
      for (const float v : x) largest = std::max(largest, std::abs(v));
      const float scale = 127.0f / largest;
      for (int i = 0; i < width; ++i) {
        const float expected = std::nearbyint(x[i] * scale) / scale;
        check(out[i] == expected, "%s: round_to_int8 width %d [%d]: %.9g, expected %.9g", target.name, width, i, out[i],
              expected);
      }
      check(out[width] == 7.0f, "%s: round_to_int8 wrote past its row, width %d", target.name, width);
    }
  }
}

void test_choices(const TestTarget& target) {
  TestRandom random(3);
  for (const int experts : {1, 2, 8, 60, 128}) {
    for (const int count : {1, 2, 8}) {
      if (count > experts) continue;
      for (const bool normalize : {false, true}) {
        std::vector<float> logits = random.floats(experts, 4.0f);
        logits[experts / 2] = logits[0];  // of equal ones the lower
        std::vector<int> order(experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
        double sum = 0.0;
        for (int i = 0; i < (normalize ? count : experts); ++i) sum += std::exp(double(logits[order[i]]));
        std::vector<int32_t> chosen(count + 1, -1);
        std::vector<float> weights(count + 1, 7.0f);
        target.ops->choose_experts(logits.data(), experts, count, normalize, chosen.data(), weights.data());
        for (int i = 0; i < count; ++i) {
          const double expected = std::exp(double(logits[order[i]])) / sum;
          check(chosen[i] == order[i], "%s: choice %d of %d: %d, expected %d", target.name, i, experts, chosen[i], order[i]);
          check(std::abs(weights[i] - expected) <= 1e-6 * expected, "%s: weight %d of %d: %.9g, expected %.9g",
                target.name, i, experts, weights[i], expected);
        }
        check(chosen[count] == -1 && weights[count] == 7.0f, "%s: wrote past its choices", target.name);
      }
    }
  }
}

}  // namespace

int main() {
  for (const TestTarget& target : runnable_targets()) {
    test_sums_and_products(target);
    test_int8_rows(target);
    test_choices(target);
    std::printf("%s: checked\n", target.name);
  }
  return report("rowwise_test");
}
