// Sums, products, rounding to int8 and the choice of experts, of every ISA target that this CPU runs.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention_case.h"
#include "check.h"
#include "one_operation.h"

using namespace lutmac;

namespace {

constexpr int kWidths[] = {1, 3, 16, 64, 100, 577, 4096};

// One product and one sum, rounded together or one after the other.
void test_sums_and_products(const TestTarget& target) {
  TestRandom random(1);
  for (const int width : kWidths) {
    const std::vector<float> a = random.floats(width, 3.0f), b = random.floats(width, 3.0f);
    const std::vector<float> sum = run_operation(target, "add", 1, width, {{"a", a}, {"b", b}}, {{"scale", double(0.22f)}});
    const std::vector<float> product = run_operation(target, "multiply", 1, width, {{"a", a}, {"b", b}}, {});
    for (int i = 0; i < width; ++i) {
      const double exact = a[i] + double(0.22f) * b[i];
      check(std::abs(sum[i] - exact) <= 0x1p-24 * (std::abs(exact) + std::abs(0.22f * b[i])) * 2,
            "%s: add_scaled width %d [%d]: %.9g, expected %.9g", target.name, width, i, sum[i], exact);
      check(product[i] == a[i] * b[i], "%s: multiply width %d [%d]", target.name, width, i);
    }
  }
}

// One product for each float, with a factor for all or one for each column.
void test_scales(const TestTarget& target) {
  TestRandom random(6);
  for (const int width : kWidths) {
    const std::vector<float> x = random.floats(width, 3.0f), factors = random.floats(width, 2.0f);
    const FieldMap one = {{"factor", 0.5}, {"trained", std::vector<float>{factors[0]}}};
    const FieldMap many = {{"factor", 0.5}, {"trained", factors}};
    const std::vector<float> same = run_operation(target, "scale", 1, width, {{"x", x}}, one);
    const std::vector<float> columns = run_operation(target, "scale", 1, width, {{"x", x}}, many);
    for (int i = 0; i < width; ++i) {
      check(same[i] == x[i] * (0.5f * factors[0]), "%s: scale width %d [%d]", target.name, width, i);
      check(columns[i] == x[i] * (0.5f * factors[i]), "%s: scale by columns, width %d [%d]", target.name, width, i);
    }
  }
}

// Sums of n floats in 2 x lanes partial sums, at least 8: each within n u / 8 of the sum of magnitudes.
void test_magnitudes(const TestTarget& target) {
  TestRandom random(7);
  for (const int width : kWidths) {
    const std::vector<float> x = random.floats(width, 3.0f), like = random.floats(width, 0.5f);
    const double allowed = (16 + width / 8.0) * 0x1p-24;
    double own = 0.0, wanted = 0.0, mean = 0.0, variance = 0.0;
    for (int i = 0; i < width; ++i) {
      own += double(x[i]) * x[i] / width;
      wanted += double(like[i]) * like[i] / width;
      mean += double(x[i]) / width;
    }
    for (int i = 0; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean) / width;
    const double cutoff = mean + 0.75 * std::sqrt(variance);
    const std::vector<float> matched =
        run_operation(target, "match_magnitude", 1, width, {{"x", x}, {"like", like}}, {{"least", 1e-5}});
    const std::vector<float> cut = run_operation(target, "gaussian_top_k", 1, width, {{"x", x}}, {{"deviations", 0.75}});
    for (int i = 0; i < width; ++i) {
      const double as_long = x[i] * std::sqrt(wanted / std::max(own, 1e-5)), above = std::max(0.0, x[i] - cutoff);
      check(std::abs(matched[i] - as_long) <= allowed * (std::abs(as_long) + 1e-30) * 2,
            "%s: match_magnitude width %d [%d]: %.9g, expected %.9g", target.name, width, i, matched[i], as_long);
      check(std::abs(cut[i] - above) <= allowed * 8, "%s: gaussian_top_k width %d [%d]: %.9g, expected %.9g", target.name,
            width, i, cut[i], above);
    }
  }
}

// To the bit what the reference's float arithmetic gives, ties to even.
void test_int8_rows(const TestTarget& target) {
  TestRandom random(2);
  for (const int width : kWidths) {
    for (const float size : {5.0f, 1e-7f, 0.0f}) {
      const std::vector<float> x = random.floats(width, size);
      const std::vector<float> out = run_operation(target, "round_to_int8", 1, width, {{"x", x}}, {});
      float largest = 1e-5f;
      for (const float v : x) largest = std::max(largest, std::abs(v));
      const float scale = 127.0f / largest;
      for (int i = 0; i < width; ++i) {
        const float expected = std::nearbyint(x[i] * scale) / scale;
        check(out[i] == expected, "%s: round_to_int8 width %d [%d]: %.9g, expected %.9g", target.name, width, i, out[i],
              expected);
      }
    }
  }
}

// Each of log2(block) stages rounds once, and so do scale and sign: within as many u of the root of the sum of squares.
void test_hadamard(const TestTarget& target) {
  TestRandom random(5);
  for (const auto& [width, block] : {std::pair{32, 32}, {96, 32}, {192, 64}, {384, 128}, {1024, 512}, {3072, 1024}, {8192, 4096}}) {
    const std::vector<float> x = random.floats(width, 3.0f);
    std::vector<float> signs(width);
    for (float& sign : signs) sign = random.floats(1, 1.0f)[0] < 0.0f ? -1.0f : 1.0f;
    for (const bool inverse : {false, true}) {
      const FieldMap fields = {{"block_size", int64_t{block}}, {"signs", signs}, {"inverse", inverse}};
      const std::vector<float> out = run_operation(target, "hadamard", 1, width, {{"x", x}}, fields);
      for (int i = 0; i < width; ++i) {
        const int begin = i / block * block;
        double sum = 0.0, length = 0.0;
        for (int j = 0; j < block; ++j) {
          const double term = x[begin + j] * (inverse ? 1.0 : double(signs[begin + j]));
          sum += __builtin_parity((i - begin) & j) ? -term : term;
          length += term * term;
        }
        const double expected = sum / std::sqrt(block) * (inverse ? signs[i] : 1.0f);
        check(std::abs(out[i] - expected) <= 14 * 0x1p-24 * std::sqrt(length), "%s: hadamard %d in blocks of %d [%d]: %.9g, expected %.9g",
              target.name, width, block, i, out[i], expected);
      }
    }
  }
}

// Stages go in one order whatever a vector's width.
void test_hadamard_has_the_same_bits_everywhere() {
  const std::vector<TestTarget> targets = runnable_targets();
  const std::vector<float> x = TestRandom(6).floats(6144, 3.0f);
  const FieldMap fields = {{"block_size", int64_t{2048}}};
  const std::vector<float> first = run_operation(targets[0], "hadamard", 1, 6144, {{"x", x}}, fields);
  for (const TestTarget& target : targets)
    check(run_operation(target, "hadamard", 1, 6144, {{"x", x}}, fields) == first, "%s: hadamard has bits of its own", target.name);
}

// One token's choices, by a program of that operation alone. more: fields that are not the usual ones.
void route(const TestTarget& target, const std::vector<float>& logits, int count, const FieldMap& more, int32_t* chosen,
           float* weights) {
  const int64_t experts = static_cast<int64_t>(logits.size()), room = form_stride(Form::plain, 2 * experts + 1);
  const int64_t choices = room, starts = room + form_stride(Form::plain, 3 * count);
  Program program(*target.entry, 1, 1, 1, starts + room);
  std::memcpy(program.arena(), logits.data(), sizeof(float) * logits.size());
  FieldMap fields = {{"logits", Buffer{0, Form::plain, experts, {}, {}}},
                     {"choices", Buffer{choices, Form::plain, 3 * count, {}, {}}},
                     {"starts", Buffer{starts, Form::plain, 2 * experts + 1, {}, {}}},
                     {"per_token", int64_t{count}},
                     {"normalize", true},
                     {"scores", std::string("softmax")},
                     {"scale", 1.0},
                     {"groups", int64_t{1}},
                     {"top_groups", int64_t{1}},
                     {"group_scores", int64_t{2}}};
  for (const auto& [name, field] : more) fields[name] = field;
  program.add("route", fields, false);
  const int32_t id = 0, start[2] = {0, 1}, first = 0;
  const Cache cache({}, {}, {});
  program.step(cache, {1, 1, 0, &id, start, &first, nullptr, {}, nullptr, nullptr, 0}, 1);
  std::memcpy(chosen, program.arena() + choices, sizeof(int32_t) * count);
  std::memcpy(weights, program.arena() + choices + sizeof(int32_t) * count, sizeof(float) * count);
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
        std::vector<int32_t> chosen(count);
        std::vector<float> weights(count);
        route(target, logits, count, {{"normalize", normalize}}, chosen.data(), weights.data());
        for (int i = 0; i < count; ++i) {
          const double expected = std::exp(double(logits[order[i]])) / sum;
          check(chosen[i] == order[i], "%s: choice %d of %d: %d, expected %d", target.name, i, experts, chosen[i], order[i]);
          check(std::abs(weights[i] - expected) <= 1e-6 * expected, "%s: weight %d of %d: %.9g, expected %.9g",
                target.name, i, experts, weights[i], expected);
        }
      }
    }
  }
}

// Sigmoid scores, a bias that only selects, groups of which those of the best one or two scores count, and a scale.
void test_choices_by_bias_and_group(const TestTarget& target) {
  constexpr int kExperts = 16, kGroups = 4, kCount = 3;
  TestRandom random(4);
  for (int round = 0; round < 50; ++round) {
    const int group_scores = 1 + round % 2;
    const std::vector<float> logits = random.floats(kExperts, 3.0f), bias = random.floats(kExperts, 0.5f);
    std::vector<double> scores(kExperts), keys(kExperts), sums(kGroups);
    for (int i = 0; i < kExperts; ++i) {
      scores[i] = 1.0 / (1.0 + std::exp(-double(logits[i])));
      keys[i] = scores[i] + bias[i];
    }
    for (int group = 0; group < kGroups; ++group) {
      std::vector<double> of_group(keys.begin() + group * 4, keys.begin() + group * 4 + 4);
      std::sort(of_group.rbegin(), of_group.rend());
      sums[group] = of_group[0] + (group_scores > 1 ? of_group[1] : 0.0);
    }
    std::vector<int> groups(kGroups), order;
    std::iota(groups.begin(), groups.end(), 0);
    std::stable_sort(groups.begin(), groups.end(), [&](int a, int b) { return sums[a] > sums[b]; });
    for (int i = 0; i < kExperts; ++i) {
      if (i / 4 == groups[0] || i / 4 == groups[1]) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] > keys[b]; });
    double sum = 0.0;
    for (int i = 0; i < kCount; ++i) sum += scores[order[i]];
    int32_t chosen[kCount];
    float weights[kCount];
    route(target, logits, kCount,
          {{"scores", std::string("sigmoid")}, {"bias", bias}, {"groups", int64_t{kGroups}}, {"top_groups", int64_t{2}},
           {"group_scores", int64_t{group_scores}}, {"scale", 2.5}},
          chosen, weights);
    for (int i = 0; i < kCount; ++i) {
      const double expected = 2.5 * scores[order[i]] / sum;
      check(chosen[i] == order[i] && std::abs(weights[i] - expected) <= 1e-6 * expected,
            "%s: choice %d by bias and group: %d times %.9g, expected %d times %.9g", target.name, i, chosen[i], weights[i],
            order[i], expected);
    }
  }
}

// Against their definitions in double.
void test_gates(const TestTarget& target) {
  TestRandom random(5);
  const auto sigmoid = [](double x) { return 1.0 / (1.0 + std::exp(-x)); };
  for (const int width : kWidths) {
    const std::vector<float> gate = random.floats(width, 6.0f), up = random.floats(width, 6.0f);
    const std::vector<float> clamped =
        run_operation(target, "clamped_swiglu", 1, width, {{"gate", gate}, {"up", up}}, {{"limit", 4.0}, {"alpha", 1.5}, {"offset", 1.0}});
    const std::vector<float> xielu =
        run_operation(target, "xielu", 1, width, {{"x", gate}},
                      {{"alpha_p", std::vector<float>{0.7f}}, {"alpha_n", std::vector<float>{-0.4f}}, {"beta", std::vector<float>{0.5f}},
                       {"eps", std::vector<float>{-1e-6f}}});
    const std::vector<float> gated = run_operation(target, "gate_segments", 1, width, {{"x", up}, {"gate", gate}}, {{"kind", std::string("softplus")}});
    const double positive = std::log1p(std::exp(double(0.7f))), negative = 0.5 + std::log1p(std::exp(double(-0.4f)));
    for (int i = 0; i < width; ++i) {
      const double g = std::min(double(gate[i]), 4.0), u = std::clamp(double(up[i]), -4.0, 4.0), x = gate[i];
      const double glu = g * sigmoid(1.5 * g) * (u + 1.0), product = up[i] * std::log1p(std::exp(x));
      const double ielu = 0.5 * x + (x > 0 ? positive * x * x : negative * (std::expm1(std::min(x, double(-1e-6f))) - x));
      check(std::abs(clamped[i] - glu) <= 2e-6 * std::abs(glu) + 1e-30, "%s: clamped_swiglu [%d]: %.9g, expected %.9g", target.name, i, clamped[i], glu);
      check(std::abs(xielu[i] - ielu) <= 2e-6 * std::abs(x) * (1 + std::abs(x)) + 1e-30, "%s: xielu [%d]: %.9g, expected %.9g", target.name, i, xielu[i], ielu);
      check(std::abs(gated[i] - product) <= 2e-6 * std::abs(product) + 1e-30, "%s: gate_segments [%d]: %.9g, expected %.9g", target.name, i, gated[i], product);
    }
  }
}

// A short convolution in steps of any size, against its definition in double: what a slot keeps is all that a step needs.
void test_short_conv(const TestTarget& target) {
  constexpr int kTokens = 23, kWidth = 37;
  for (const int kernel : {2, 3, 7}) {
    TestRandom random(kernel);
    const std::vector<float> x = random.floats(kTokens * 3 * kWidth), weight = random.floats(kWidth * kernel), bias = random.floats(kWidth);
    std::vector<float> whole;
    for (const int chunk : {kTokens, 1, 2, 5}) {
      const int64_t in = form_stride(Form::plain, 3 * kWidth), out = form_stride(Form::plain, kWidth);
      Program program(*target.entry, chunk, 1, kTokens, chunk * (in + out));
      ProgramState state;
      state.slot = true;
      state.bytes = (kWidth * (kernel - 1) * 4 + 63) / 64 * 64;
      program.add_state(state);
      program.add("short_conv",
                  {{"x", Buffer{0, Form::plain, 3 * kWidth, {}, {}}},
                   {"out", Buffer{chunk * in, Form::plain, kWidth, {}, {}}},
                   {"kernel", int64_t{kernel}},
                   {"weight", weight},
                   {"bias", bias},
                   {"state", StateIndex{0}}},
                  false);
      Cache cache({2}, {0}, {state.bytes});
      std::memset(cache.state(0), 0x7f, 2 * state.bytes);  // what somebody else has left there
      std::vector<float> found;
      for (int32_t first = 0; first < kTokens; first += chunk) {
        const int count = std::min(chunk, kTokens - first);
        for (int i = 0; i < count; ++i) std::memcpy(program.arena() + i * in, &x[(first + i) * 3 * kWidth], 3 * kWidth * 4);
        const std::vector<int32_t> ids(count, 0);
        const int32_t start[2] = {0, count}, slot = 1;
        program.step(cache, {count, 1, 0, ids.data(), start, &first, nullptr, {{&slot, 1}}, nullptr, nullptr, 0}, 1);
        for (int i = 0; i < count; ++i) {
          const float* row = reinterpret_cast<const float*>(program.arena() + chunk * in + i * out);
          found.insert(found.end(), row, row + kWidth);
        }
      }
      if (whole.empty()) whole = found;
      check(found == whole, "%s: short_conv of %d in steps of %d differs", target.name, kernel, chunk);
    }
    for (int token = 0; token < kTokens; ++token) {
      for (int i = 0; i < kWidth; ++i) {
        double sum = bias[i];
        for (int j = 0; j < kernel; ++j) {
          const int at = token - (kernel - 1 - j);
          if (at >= 0) sum += double(weight[i * kernel + j]) * x[at * 3 * kWidth + i] * x[at * 3 * kWidth + 2 * kWidth + i];
        }
        const double expected = sum * x[token * 3 * kWidth + kWidth + i];
        check(std::abs(whole[token * kWidth + i] - expected) < 1e-6 * (kernel + 1), "%s: short_conv of %d [%d, %d]: %g, expected %g",
              target.name, kernel, token, i, whole[token * kWidth + i], expected);
      }
    }
  }
}

}  // namespace

int main() {
  for (const TestTarget& target : runnable_targets()) {
    test_sums_and_products(target);
    test_scales(target);
    test_magnitudes(target);
    test_int8_rows(target);
    test_hadamard(target);
    test_choices(target);
    test_choices_by_bias_and_group(target);
    test_gates(target);
    test_short_conv(target);
    std::printf("%s: checked\n", target.name);
  }
  test_hadamard_has_the_same_bits_everywhere();
  return report("rowwise_test");
}
