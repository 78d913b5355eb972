// Attention of prompts' rows in bf16: of the twin of amx, and of targets with a matrix unit, real or emulated, where they run.
//
// The reference gets queries, keys and values as bf16 has them, and goes on in double. What is left is float arithmetic (1e-5, see
// ops_test.cpp) and the rounding of each weight by at most 2^-9 of it, so that a mean of values of at most 1 is off by 2^-9.
#include <cmath>
#include <cstring>

#include "attention_case.h"
#include "attention_twin.h"
#include "check.h"

using namespace lutmac;

namespace {

constexpr double kTolerance = 0x1p-9 + 1e-5;

double to_bfloat16(double x) {
  if (x == 0.0) return 0.0;
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, exponent - 8);
  return std::nearbyint(x / unit) * unit;
}

// What attends prompts. The twin has its keys and values stored by portable.
std::vector<TestTarget> prompt_targets() {
  std::vector<TestTarget> targets = runnable_targets(), found = {targets.back()};
  found[0].name = "the twin of amx";
  found[0].attention = &kAttentionTwin;
  found[0].attend_prompt = attend_prompt_twin;
  for (TestTarget target : targets) {
    target.attend_prompt = target.entry->kernels->attend_prompt;
    if (target.attend_prompt != nullptr) found.push_back(target);
  }
  return found;
}

TestTarget without_roles(TestTarget target) {
  target.attend_prompt = nullptr;
  return target;
}

std::vector<double> rounded_reference(const AttentionCase& test, int token, int head) {
  const CaseShape& shape = test.shape;
  const int kv_head = head / (shape.num_heads / shape.num_kv_heads);
  const float* query = test.q.data() + (int64_t{token} * shape.num_heads + head) * shape.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  std::vector<double> out(shape.values()), weights;
  const int first = shape.window > 0 ? std::max(0, token - shape.window + 1) : 0;
  double total = 0.0;
  for (int position = first; position <= token; ++position) {
    const std::vector<double> key = test.cached(test.k, position, kv_head, kKeyBlock);
    double score = 0.0;
    for (int i = 0; i < shape.head_dim; ++i) score += to_bfloat16(double{query[i] * scale}) * to_bfloat16(key[i]);
    if (shape.softcap != 0.0f) score = shape.softcap * std::tanh(score / shape.softcap);
    weights.push_back(std::exp(score));
    total += weights.back();
  }
  for (int position = first; position <= token; ++position) {
    const std::vector<double> value = test.cached(test.v, position, kv_head, kValueBlock);
    for (int i = 0; i < shape.values(); ++i) out[i] += weights[position - first] / total * to_bfloat16(value[i]);
  }
  return out;
}

CaseShape random_shape(TestRandom& random, CacheType type, int round) {
  const int head_dims[] = {6, 64, 80, 96, 100, 128, 256, 512}, groups[] = {1, 3, 4, 8, 20}, windows[] = {0, 0, 1, 5, 64, 200, 700};
  CaseShape shape;
  shape.cache_type = type;
  shape.head_dim = head_dims[random.below(8)];
  if (round % 5 == 0) {
    shape.head_dim = round % 2 == 0 ? 576 : 24;
    shape.value_dim = round % 2 == 0 ? 512 : 40;
  }
  shape.num_kv_heads = 1 + random.below(2);
  shape.num_heads = shape.num_kv_heads * groups[random.below(5)];
  shape.window = windows[random.below(7)];
  shape.softcap = random.below(3) == 0 ? 2.0f : 0.0f;
  shape.context = 1 + random.below(round % 4 == 0 && shape.num_heads <= 4 ? 400 : 60);
  return shape;
}

// All of them give the same bits, near to the reference and to plain attention.
void test_values(const std::vector<TestTarget>& targets, CacheType type) {
  TestRandom random(31);
  for (int round = 0; round < 12; ++round) {
    AttentionCase test(random, random_shape(random, type, round));
    const CaseShape& shape = test.shape;
    const std::vector<float> out = test.run(targets[0], {shape.context}, Splitting::off);
    for (const TestTarget& target : targets) {
      const std::vector<float> same = test.run(target, {shape.context}, Splitting::on);
      check(std::memcmp(same.data(), out.data(), out.size() * sizeof(float)) == 0, "%s: prompt, %s: differs from %s", target.name,
            test.describe().c_str(), targets[0].name);
    }
    const std::vector<float> plain = test.run(without_roles(targets[0]), {shape.context}, Splitting::off);
    double squares = 0.0;
    for (size_t i = 0; i < out.size(); ++i) squares += (out[i] - plain[i]) * (out[i] - plain[i]) / static_cast<double>(out.size());
    check(squares > 0.0 && std::sqrt(squares) < 0x1p-8, "prompt, %s: %g from plain attention", test.describe().c_str(),
          std::sqrt(squares));
    for (int trial = 0; trial < 10; ++trial) {
      const int token = trial == 0 ? shape.context - 1 : random.below(shape.context), head = random.below(shape.num_heads);
      const std::vector<double> expected = rounded_reference(test, token, head);
      for (int i = 0; i < shape.values(); ++i) {
        const double actual = out[(int64_t{token} * shape.num_heads + head) * shape.values() + i];
        check(std::abs(actual - expected[i]) < kTolerance, "prompt, %s, token %d head %d [%d]: %.9g, expected %.9g",
              test.describe().c_str(), token, head, i, actual, expected[i]);
      }
    }
  }
}

// The same bits however a prompt is cut into steps, and whether or not spans are tasks of their own.
void test_cuts(const TestTarget& target, CacheType type) {
  TestRandom random(32);
  for (CaseShape shape : {CaseShape{2, 1, 32, 300, 0, 0.0f}, CaseShape{1, 1, 128, 270, 0, 2.0f}, CaseShape{2, 2, 80, 140, 100, 0.0f},
                          CaseShape{8, 1, 256, 20, 5, 0.0f}, CaseShape{20, 1, 16, 40, 0, 0.0f}, CaseShape{3, 3, 100, 80, 3, 0.0f}}) {
    shape.cache_type = type;
    AttentionCase test(random, shape);
    const std::vector<float> whole = test.run(target, {shape.context}, Splitting::off);
    for (const std::vector<int>& chunks : {std::vector<int>{1}, {33, 2}, {64, 1 + random.below(40)}}) {
      for (const Splitting splitting : {Splitting::off, Splitting::on}) {
        const std::vector<float> parts = test.run(target, chunks, splitting);
        check(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)) == 0, "%s: prompt, %s in chunks of %d%s differs",
              target.name, test.describe().c_str(), chunks[0], splitting == Splitting::on ? ", split," : "");
      }
    }
  }
}

// Prompts beside generated tokens: each as alone, the generated ones by plain attention.
void test_roles(const TestTarget& target, CacheType type) {
  constexpr size_t kGenerated = 3;
  TestRandom random(33);
  std::vector<AttentionCase> cases;
  for (const int context : {130, 30, 64, 100, 0, 270}) cases.emplace_back(random, CaseShape{4, 2, 32, context, 0, 0.0f, type});
  const std::vector<std::vector<float>> plain = run_together(without_roles(target), cases, Splitting::off);
  for (const Splitting splitting : {Splitting::off, Splitting::on}) {
    const std::vector<std::vector<float>> together = run_together(target, cases, splitting, kGenerated);
    for (size_t i = 0; i < cases.size(); ++i) {
      const bool generated = i < kGenerated;
      const std::vector<float> alone = generated ? plain[i] : cases[i].run(target, {cases[i].shape.context}, Splitting::off);
      const size_t last = i % 2 == 0 ? 0 : alone.size() - 4 * 32;  // that the step has computed
      check(std::equal(alone.begin() + static_cast<long>(last), alone.end(), together[i].begin() + static_cast<long>(last)),
            "%s: prompt, sequence %zu of a step of both roles differs from the same alone", target.name, i);
      check(generated || alone.empty() || alone != plain[i], "%s: prompt, sequence %zu has plain attention", target.name, i);
    }
  }
}

// Values that are no numbers reach those who see them alone, and scores that are none only their own positions.
void test_unseen_values(const TestTarget& target, CacheType type) {
  TestRandom random(34);
  for (const int window : {0, 50}) {
    CaseShape shape{3, 1, 48, 300, window, 0.0f, type};
    AttentionCase test(random, shape);
    const std::vector<float> clean = test.run(target, {shape.context}, Splitting::off);
    constexpr int kBad = 101, kDim = 48;
    test.v[kBad * kDim + 7] = NAN;
    test.k[kBad * kDim + 9] = NAN;
    for (const std::vector<int>& chunks : {std::vector<int>{300}, {17}}) {
      const std::vector<float> out = test.run(target, chunks, Splitting::off);
      for (int token = 0; token < shape.context; ++token) {
        const float *row = out.data() + token * 3 * kDim, *before = clean.data() + token * 3 * kDim;
        const bool sees = token >= kBad && (window == 0 || token < kBad + window);
        check(sees ? std::isnan(row[7]) : std::memcmp(row, before, 3 * kDim * sizeof(float)) == 0,
              "%s: prompt, %s, token %d is not as it was beside a value that is no number", target.name, test.describe().c_str(), token);
      }
    }
  }
}

// An f32 cache and latents stay with plain attention.
void test_plain(const TestTarget& target) {
  TestRandom random(35);
  for (const CaseShape& shape : {CaseShape{4, 2, 64, 100, 0, 0.0f, CacheType::f32}, CaseShape{10, 1, 74, 100, 0, 0.0f, CacheType::f16, 64, true}}) {
    AttentionCase test(random, shape);
    check(test.run(target, {shape.context}, Splitting::off) == test.run(without_roles(target), {shape.context}, Splitting::off),
          "%s: prompt, %s is not plain", target.name, test.describe().c_str());
  }
}

}  // namespace

int main() {
  const std::vector<TestTarget> targets = prompt_targets();
  for (const CacheType type : {CacheType::f16, CacheType::int8}) {
    test_values(targets, type);
    for (const TestTarget& target : targets) {
      test_cuts(target, type);
      test_roles(target, type);
      test_unseen_values(target, type);
    }
  }
  for (const TestTarget& target : targets) {
    test_plain(target);
    std::printf("%s: checked\n", target.name);
  }
  return report("prompt_attention_test");
}
