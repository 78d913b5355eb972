// The operations of every ISA target that this CPU runs, against naive references in double.
//
// Tolerances: u = 2^-24 is float's unit of rounding. A norm's sum of n squares in 4 x lanes partial sums, its root and its
// three products stay within 16 u + n u / 16. Activations state theirs in activation.cpp. Keys and values are rounded to
// f16 before the reference sees them, so attention's error is float arithmetic only: a score is a chain of head_dim
// products, off by at most head_dim u |q| |k| scale; that error is magnified by the exponential and averaged by values of
// size 1. With |scores| of a few units 1e-5 holds with room; without room for any wrong position or weight. An int8 cache
// states its own below.
#include <cmath>
#include <cstring>
#include <limits>

#include "attention_case.h"
#include "check.h"
#include "one_operation.h"

using namespace lutmac;

namespace {

// Every fourth round and every fifth has a shape of its own: 20 have all of them.
#ifdef LUTMAC_EMULATED
constexpr int kAttentionRounds = 20, kChunks[] = {1, 33};
#else
constexpr int kAttentionRounds = 40, kChunks[] = {1, 7, 33, 64};
#endif

constexpr double kUnit = 0x1p-24;

void test_norm(const TestTarget& target) {
  TestRandom random(1);
  for (const int width : {1, 3, 16, 64, 100, 576, 1000, 4096}) {
    for (const double bias : {0.0, 1.0}) {
      const std::vector<float> x = random.floats(width, 3.0f), weight = random.floats(width);
      const FieldMap fields = {{"weight", weight}, {"weight_bias", bias}, {"eps", 1e-5}};
      const std::vector<float> out = run_operation(target, "rms_norm", 1, width, {{"x", x}}, fields);
      double sum = 0.0;
      for (const float v : x) sum += double(v) * v;
      const double inverse = 1.0 / std::sqrt(sum / width + double(1e-5f));
      for (int i = 0; i < width; ++i) {
        const double expected = x[i] * inverse * (double(weight[i]) + bias);
        check(std::abs(out[i] - expected) <= (16 + width / 16.0) * kUnit * std::abs(x[i] * inverse) * 2,
              "%s: rms_norm width %d [%d]: %.9g, expected %.9g", target.name, width, i, out[i], expected);
      }
    }
  }
}

// The mean and the variance are sums of n values in 4 x lanes partial sums, each within n u / 16; centring a row whose mean
// is c times its deviation magnifies the mean's rounding by c.
void test_layer_norm(const TestTarget& target) {
  TestRandom random(9);
  for (const int run : {1, 3, 16, 64, 100, 576, 4096}) {
    for (const int runs : {1, 3}) {
      const int width = run * runs;
      std::vector<float> x = random.floats(width, 3.0f);
      for (float& v : x) v += 5.0f;
      const std::vector<float> weight = random.floats(width), bias = random.floats(width);
      std::vector<std::vector<float>> weights;
      for (int first = 0; first < width; first += run) weights.emplace_back(&weight[first], &weight[first] + run);
      FieldMap fields = {{"weights", weights}, {"bias", bias}, {"eps", 1e-5}};
      const std::vector<float> out = run_operation(target, "layer_norm", 1, width, {{"x", x}}, fields);
      fields.erase("bias");
      const std::vector<float> unbiased = run_operation(target, "layer_norm", 1, width, {{"x", x}}, fields);
      for (int first = 0; first < width; first += run) {
        double mean = 0.0, variance = 0.0;
        for (int i = first; i < first + run; ++i) mean += x[i] / run;
        for (int i = first; i < first + run; ++i) variance += (x[i] - mean) * (x[i] - mean) / run;
        const double inverse = 1.0 / std::sqrt(variance + double(1e-5f));
        for (int i = first; i < first + run; ++i) {
          const double expected = (x[i] - mean) * inverse * weight[i];
          const double allowed = (16 + run / 16.0) * kUnit * 4 * (8.0 * inverse + std::abs(expected) + 1.0);
          check(std::abs(unbiased[i] - expected) <= allowed && std::abs(out[i] - expected - bias[i]) <= allowed,
                "%s: layer_norm run %d [%d]: %.9g, expected %.9g", target.name, run, i, unbiased[i], expected);
        }
      }
    }
  }
}

enum class Activation { silu, gelu_tanh, gelu, relu_squared };
const char* const kActivationNames[] = {"silu", "gelu_tanh", "gelu", "relu_squared"};

double exact_activation(Activation kind, double x) {
  switch (kind) {
    case Activation::silu: return x / (1.0 + std::exp(-x));
    case Activation::gelu_tanh: return x / (1.0 + std::exp(-2.0 * std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::relu_squared: return x > 0.0 ? x * x : 0.0;
  }
  return 0.0;
}

// Relative error that activation.cpp states.
double activation_tolerance(Activation kind, double x) {
  if (x < 0.0 && kind == Activation::gelu_tanh) return 4e-7 + 3e-7 * 1.6 * std::abs(x + 0.044715 * x * x * x);
  if (x < 0.0 && kind == Activation::gelu) return 4e-7 + 1.5e-7 * x * x;
  return 4e-7;
}

void test_activations(const TestTarget& target) {
  constexpr int kWidth = 40013;  // odd, so that there is a tail
  std::vector<float> gate(kWidth), up(kWidth, 1.0f);
  for (int i = 0; i < kWidth; ++i) gate[i] = static_cast<float>(i - kWidth / 2) * 1e-3f;
  for (const Activation kind : {Activation::silu, Activation::gelu_tanh, Activation::gelu, Activation::relu_squared}) {
    const FieldMap fields = {{"kind", std::string(kActivationNames[static_cast<int>(kind)])}};
    const std::vector<float> out = run_operation(target, "gated_activation", 1, kWidth, {{"gate", gate}, {"up", up}}, fields);
    const std::vector<float> plain = run_operation(target, "activation", 1, kWidth, {{"x", gate}}, fields);
    check(out == plain, "%s: activation %d with a gate of 1 and without differ", target.name, static_cast<int>(kind));
    for (int i = 0; i < kWidth; ++i) {
      const double expected = exact_activation(kind, gate[i]);
      // Where the result is not a normal float, or the exponential has left its range, it may as well be 0.
      const double allowed = activation_tolerance(kind, gate[i]) * std::abs(expected) + 1e-35;
      check(std::abs(out[i] - expected) <= allowed, "%s: activation %d at %g: %.9g, expected %.9g", target.name,
            static_cast<int>(kind), gate[i], out[i], expected);
    }
  }
  const std::vector<float> ends = {-1e4f, 1e4f, -std::numeric_limits<float>::infinity(), 0.0f};
  const std::vector<float> few = run_operation(target, "activation", 1, 4, {{"x", ends}}, {{"kind", std::string("silu")}});
  check(few[0] == 0.0f && few[1] == 1e4f && few[3] == 0.0f, "%s: silu at the ends: %g %g %g", target.name, few[0],
        few[1], few[3]);
}

// Rotation against double, by the angles that rope_angles makes: one program of that operation alone.
void test_rope(const TestTarget& target) {
  TestRandom random(2);
  constexpr int kHeadDim = 64, kToken = 5, kContext = 200;
  for (const RopeStyle style : {RopeStyle::half_split, RopeStyle::interleaved}) {
    for (const int rotary_dim : {0, 32, 64}) {
      AttentionCase test(random, {.num_heads = 2, .num_kv_heads = 1, .head_dim = kHeadDim, .context = kContext});
      std::vector<float> inverse_frequency(rotary_dim / 2);
      for (int i = 0; i < rotary_dim / 2; ++i) inverse_frequency[i] = std::pow(10000.0f, -2.0f * i / rotary_dim);
      test.style = style;
      test.rotary_dim = rotary_dim;
      if (rotary_dim > 0) {
        test.angles = run_operation(target, "rope_angles", kContext, rotary_dim, {},
                                    {{"inverse_frequency", inverse_frequency},
                                     {"attention_factor", 1.25},
                                     {"style", std::string("half_split")},
                                     {"rotary_dim", int64_t{rotary_dim}}});
      }
      const std::vector<float> before = test.q;
      std::vector<float> rotated = test.q;
      test.store(target, {kContext}, rotated);
      const int64_t row = int64_t{kToken} * 2 * kHeadDim;
      for (int i = 0; i < rotary_dim / 2; ++i) {
        const int a = style == RopeStyle::half_split ? i : 2 * i;
        const int b = style == RopeStyle::half_split ? i + rotary_dim / 2 : 2 * i + 1;
        const double angle = static_cast<float>(kToken) * inverse_frequency[i];
        const double expected = 1.25 * (before[row + a] * std::cos(angle) - before[row + b] * std::sin(angle));
        const double expected_b = 1.25 * (before[row + b] * std::cos(angle) + before[row + a] * std::sin(angle));
        check(std::abs(rotated[row + a] - expected) < 8 * kUnit && std::abs(rotated[row + b] - expected_b) < 8 * kUnit,
              "%s: rope of pair %d: %g %g, expected %g %g", target.name, i, rotated[row + a], rotated[row + b], expected,
              expected_b);
      }
      for (int i = rotary_dim; i < kHeadDim; ++i)
        check(rotated[row + i] == before[row + i], "%s: rope touched dimension %d", target.name, i);
    }
  }
}

// A token that sees only itself gets its value back, as the cache has rounded it.
void test_cache_rounding(const TestTarget& target) {
  TestRandom random(6);
  AttentionCase test(random, {.num_heads = 1, .num_kv_heads = 1, .head_dim = 256, .context = 64, .window = 1});
  for (size_t i = 0; i < test.v.size(); ++i) test.v[i] = std::ldexp(test.v[i], static_cast<int>(i % 50) - 30);
  const float special[] = {0.0f, 65504.0f, 65519.0f, 65520.0f, 1e30f, -1e30f, 0x1p-24f, 0x1p-25f, 0x1.8p-25f, 0x1.ffcp-15f,
                           0x1.ffep-15f, 1.0f + 0x1p-11f, 1.0f + 0x1.8p-10f, std::numeric_limits<float>::infinity()};
  std::copy(std::begin(special), std::end(special), test.v.begin());
  const std::vector<float> out = test.run(target, {64}, Splitting::off);
  for (size_t i = 0; i < out.size(); ++i)
    check(out[i] == round_to_half(test.v[i]), "%s: cache rounds %a to %a, expected %a", target.name, test.v[i], out[i],
          round_to_half(test.v[i]));
  test.v[300] = NAN;
  check(std::isnan(test.run(target, {64}, Splitting::off)[300]), "%s: the cache hides a NaN", target.name);
}

// f32 keeps a value to the bit, whatever class of number it is.
void test_f32_keeps_values(const TestTarget& target) {
  TestRandom random(8);
  AttentionCase test(random, {.head_dim = 100, .context = 70, .window = 1, .cache_type = CacheType::f32});
  for (size_t i = 0; i < test.v.size(); ++i) test.v[i] = std::ldexp(test.v[i], static_cast<int>(i % 200) - 100);
  const float special[] = {0.0f, 1e30f, -1e30f, 65520.0f, 0x1p-126f, 1.0f + 0x1p-23f};
  std::copy(std::begin(special), std::end(special), test.v.begin());
  check(test.run(target, {70}, Splitting::off) == test.v, "%s: an f32 cache changes values", target.name);
  test.v[3] = NAN;
  check(std::isnan(test.run(target, {70}, Splitting::off)[3]), "%s: an f32 cache hides a NaN", target.name);
}

// The same in int8: the nearest code, so at most half a scale from the value; a NaN takes its block with it.
void test_int8_rounding(const TestTarget& target) {
  TestRandom random(7);
  constexpr int kDim = 100, kTokens = 70;  // the last block of values is neither full nor whole vectors
  AttentionCase test(random, {.head_dim = kDim, .context = kTokens, .window = 1, .cache_type = CacheType::int8});
  for (size_t i = 0; i < test.v.size(); ++i) test.v[i] = std::ldexp(test.v[i], static_cast<int>(i / kDim) / 2 - 20);
  const float special[] = {0.0f, 1e30f, -1e30f, 65504.0f, std::numeric_limits<float>::infinity()};
  std::copy(std::begin(special), std::end(special), test.v.begin() + 5 * kDim);
  const std::vector<float> out = test.run(target, {kTokens}, Splitting::off);
  for (int token = 0; token < kTokens; ++token) {
    if (token == 5) continue;
    const std::vector<double> expected = test.cached(test.v, token, 0, kValueBlock);
    for (int i = 0; i < kDim; ++i) {
      const double x = test.v[token * kDim + i], found = out[token * kDim + i];
      const double scale = std::ldexp(1.0, token / 2 - 20) / 127.0;  // at most
      check(std::abs(found - expected[i]) <= 4 * kUnit * std::abs(expected[i]), "%s: int8 keeps %a as %a, expected %a",
            target.name, x, found, expected[i]);
      // f16 rounds the scale by 2^-11, or where it is tiny by half of 2^-24.
      check(std::abs(found - x) <= scale / 2 * 1.001 + 127 * 0x1p-25, "%s: int8 keeps %a as %a", target.name, x, found);
    }
  }
  check(out[5 * kDim + 1] == -out[5 * kDim + 2] && std::abs(out[5 * kDim + 1] - 65504.0f) < 65504.0f / 254 &&
            out[5 * kDim + 1] == out[5 * kDim + 4],
        "%s: int8 keeps 1e30 as %g and infinity as %g", target.name, out[5 * kDim + 1], out[5 * kDim + 4]);
  test.v[3] = NAN;
  test.k[2 * kDim] = NAN;
  const std::vector<float> poisoned = test.run(target, {kTokens}, Splitting::off);
  check(std::isnan(poisoned[3]) && std::isnan(poisoned[2 * kDim]), "%s: an int8 cache hides a NaN", target.name);
  check(std::equal(poisoned.begin() + 3 * kDim, poisoned.end(), out.begin() + 3 * kDim), "%s: a NaN reaches others",
        target.name);
}

// Largest error that attention may make on what the cache holds, with |q| <= 3, |k| and |v| <= 1.
//
// f16 and f32: see above. int8: a query is off by 2^-16 of its block's largest value, so a score by d = 3 sqrt(head_dim) 2^-16 and
// a share by 2 d; a weight is off by 2^-16 of the largest on its page, so 64 of them by at most 2^-10 of that one. Both
// sum up errors that are in truth of either sign: their root mean square is far smaller, and is tested too.
double attention_tolerance(const CaseShape& shape) {
  return shape.cache_type != CacheType::int8 ? 1e-5 : 6 * std::sqrt(shape.head_dim) * 0x1p-16 + 0x1p-10;
}
double attention_rms_tolerance(const CaseShape& shape) { return shape.cache_type != CacheType::int8 ? 2e-6 : 4e-5; }

void test_attention_values(const TestTarget& target, CacheType type) {
  TestRandom random(3);
  const int head_dims[] = {6, 64, 80, 96, 100, 128, 256, 512}, groups[] = {1, 3, 4, 8, 20}, windows[] = {0, 0, 1, 5, 64, 200, 700};
  for (int round = 0; round < kAttentionRounds; ++round) {
    CaseShape shape;
    shape.cache_type = type;
    shape.head_dim = head_dims[random.below(8)];
    if (round % 5 == 0) {  // a latent, and values wider than keys
      shape.head_dim = round % 2 == 0 ? 576 : 24;
      shape.value_dim = round % 2 == 0 ? 512 : 40;
    }
    shape.num_kv_heads = 1 + random.below(2);
    shape.num_heads = shape.num_kv_heads * groups[random.below(5)];
    if (round % 4 == 3) {  // latents that serve as both
      const int ranks[] = {512, 32, 64}, ropes[] = {64, 10, 2}, which = random.below(3);
      shape.latent = true;
      shape.num_kv_heads = 1;
      shape.value_dim = ranks[which];
      shape.head_dim = ranks[which] + ropes[which];
    }
    shape.window = windows[random.below(7)];
    shape.softcap = random.below(3) == 0 ? 2.0f : 0.0f;
    // Many spans go with few heads: emulators and sanitizers run these too.
    shape.context = 1 + random.below(round % 4 == 0 && shape.num_heads <= 4 ? 800 : 150);
    AttentionCase test(random, shape);
    const std::vector<float> out = test.run(target, {shape.context}, Splitting::off);
    double squares = 0.0;
    constexpr int kTrials = 20;
    for (int trial = 0; trial < kTrials; ++trial) {
      const int token = trial == 0 ? shape.context - 1 : random.below(shape.context);
      const int head = random.below(shape.num_heads);
      const std::vector<double> expected = test.reference(target, token, head);
      for (int i = 0; i < shape.values(); ++i) {
        const float actual = out[(int64_t{token} * shape.num_heads + head) * shape.values() + i];
        squares += (actual - expected[i]) * (actual - expected[i]) / (kTrials * shape.values());
        check(std::abs(actual - expected[i]) < attention_tolerance(shape), "%s: attention %s token %d head %d [%d]: %.9g, expected %.9g",
              target.name, test.describe().c_str(), token, head, i, actual, expected[i]);
      }
    }
    check(std::sqrt(squares) < attention_rms_tolerance(shape), "%s: attention %s: root mean square error %g", target.name,
          test.describe().c_str(), std::sqrt(squares));
  }
}

// The same bits however the tokens are cut into steps, and whether or not spans are tasks of their own.
void test_attention_invariance(const TestTarget& target, CacheType type) {
  TestRandom random(4);
  for (CaseShape shape : {CaseShape{3, 1, 32, 530, 0, 0.0f}, CaseShape{2, 1, 128, 270, 0, 2.0f},
                          CaseShape{2, 2, 80, 400, 100, 0.0f}, CaseShape{8, 1, 256, 100, 40, 0.0f},
                          CaseShape{20, 1, 16, 200, 0, 0.0f}, CaseShape{6, 3, 100, 330, 3, 0.0f},
                          CaseShape{10, 1, 74, 330, 0, 0.0f, type, 64, true}}) {
    shape.cache_type = type;
    AttentionCase test(random, shape);
    const std::vector<float> whole = test.run(target, {shape.context}, Splitting::off);
    for (const int chunk : kChunks) {
      for (const Splitting splitting : {Splitting::off, Splitting::on}) {
        const std::vector<float> parts = test.run(target, {chunk}, splitting);
        check(std::memcmp(parts.data(), whole.data(), whole.size() * sizeof(float)) == 0,
              "%s: attention %s in chunks of %d%s differs from all at once", target.name, test.describe().c_str(), chunk,
              splitting == Splitting::on ? ", split," : "");
      }
    }
  }
}

// Several sequences in one step give what each gives alone.
void test_attention_batch(const TestTarget& target, CacheType type) {
  TestRandom random(5);
  std::vector<AttentionCase> cases;
  for (const int context : {1, 300, 64, 130, 0, 530})
    cases.emplace_back(random, CaseShape{4, 2, 64, context, 0, 0.0f, type});
  std::vector<std::vector<float>> alone;
  for (AttentionCase& test : cases) alone.push_back(test.run(target, {test.shape.context}, Splitting::off));
  for (const Splitting splitting : {Splitting::off, Splitting::on}) {
    const std::vector<std::vector<float>> together = run_together(target, cases, splitting);
    for (size_t i = 0; i < cases.size(); ++i) {
      check(alone[i] == together[i], "%s: sequence %zu of a batch differs from the same alone", target.name, i);
    }
  }
}

void test_scratch(const TestTarget& target) {
  check(target.attention->scratch_bytes(1, 4096, 9, 64) < 1 << 20, "%s: scratch for one token", target.name);
  check(target.attention->scratch_bytes(512, 131072, 32, 128) <= 16 << 20, "%s: scratch for many", target.name);

  // One token far into a sequence is spread over tasks: as many per kv head as there are spans.
  const int32_t start[2] = {0, 1}, position = 4095, sequence = 0;
  Batch batch;
  batch.num_tokens = batch.num_sequences = 1;
  batch.sequence_start = start;
  batch.first_position = batch.token_position = &position;
  batch.token_sequence = &sequence;
  AttentionArgs args;
  args.batch = &batch;
  args.num_heads = 9;
  args.num_kv_heads = 3;
  args.head_dim = 64;
  check(target.attention->tasks(args) == 3 && target.attention->combine_tasks(args) == 0,
        "%s: without scratch a token is a task per kv head", target.name);
  args.scratch_bytes = target.attention->scratch_bytes(1, 4096, 9, 64);
  check(target.attention->tasks(args) > 32 && target.attention->combine_tasks(args) == 3,
        "%s: a long context is not spread over tasks", target.name);
}

}  // namespace

int main() {
  for (const TestTarget& target : runnable_targets()) {
    test_norm(target);
    test_layer_norm(target);
    test_activations(target);
    test_rope(target);
    test_cache_rounding(target);
    test_f32_keeps_values(target);
    test_int8_rounding(target);
    for (const CacheType type : {CacheType::f16, CacheType::f32, CacheType::int8}) {
      test_attention_values(target, type);
      test_attention_invariance(target, type);
      test_attention_batch(target, type);
    }
    test_scratch(target);
    std::printf("%s: checked\n", target.name);
  }
  return report("ops_test");
}
