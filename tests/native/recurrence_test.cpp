// Operations with a slot, and those beside them in a gated DeltaNet, on every ISA target that this CPU runs: against naive
// references in double, and to the bit however the tokens are cut into steps and whoever else is in them.
//
// Tolerances: values are of size 1 and keys of length 1, so a state's entries stay of size 1. A token's sums over the keys
// are off by some 2^-22, decayed by the next tokens: within 2e-5 with room, and far below what any wrong index makes.
#include <cmath>
#include <cstring>

#include "attention_case.h"
#include "check.h"
#include "one_operation.h"

using namespace lutmac;

namespace {

using Rows = std::vector<std::vector<float>>;  // of the tokens of a sequence

// An operation with a state, and what it reads: by name the width.
struct Recurrence {
  const char* operation;
  FieldMap fields;
  std::vector<std::pair<std::string, int>> inputs;
  int out_width;
  int64_t slot_bytes;
};

// Of two sequences their rows of each input.
using Inputs = std::vector<std::vector<Rows>>;

Inputs random_inputs(TestRandom& random, const Recurrence& recurrence, const int (&tokens)[2]) {
  Inputs found(2);
  for (int sequence = 0; sequence < 2; ++sequence) {
    for (const auto& [name, width] : recurrence.inputs) {
      Rows rows;
      for (int token = 0; token < tokens[sequence]; ++token) rows.push_back(random.floats(width));
      found[sequence].push_back(rows);
    }
  }
  return found;
}

// What comes out, of two sequences that are cut into steps of at most so many tokens each; slots hold NaN before.
std::vector<Rows> run(const TestTarget& target, const Recurrence& recurrence, const Inputs& inputs, const int (&cuts)[2],
                      int threads) {
  const int most = cuts[0] + cuts[1];
  std::vector<int64_t> offsets;
  int64_t next = most * form_stride(Form::plain, recurrence.out_width);
  for (const auto& [name, width] : recurrence.inputs) {
    offsets.push_back(next);
    next += most * form_stride(Form::plain, width);
  }
  Program program(*target.entry, most, 2, 256, next);
  ProgramState state;
  state.slot = true;
  state.bytes = recurrence.slot_bytes;
  program.add_state(state);
  FieldMap fields = recurrence.fields;
  fields["state"] = StateIndex{0};
  fields["out"] = Buffer{0, Form::plain, recurrence.out_width, {}, {}};
  for (size_t i = 0; i < offsets.size(); ++i)
    fields[recurrence.inputs[i].first] = Buffer{offsets[i], Form::plain, recurrence.inputs[i].second, {}, {}};
  program.add(recurrence.operation, fields, false);
  Cache cache({3}, {0}, {recurrence.slot_bytes});
  std::memset(cache.state(0), 0xff, static_cast<size_t>(3 * cache.page_stride(0)));
  const int32_t slots[2] = {2, 0};
  std::vector<Rows> out(2);
  while (out[0].size() < inputs[0][0].size() || out[1].size() < inputs[1][0].size()) {
    std::vector<int32_t> start = {0}, first, table, ids, of_row;
    for (int sequence = 0; sequence < 2; ++sequence) {
      const int done = static_cast<int>(out[sequence].size());
      const int count = std::min(cuts[sequence], static_cast<int>(inputs[sequence][0].size()) - done);
      if (count == 0) continue;
      for (size_t i = 0; i < offsets.size(); ++i) {
        const int64_t stride = form_stride(Form::plain, recurrence.inputs[i].second);
        for (int token = 0; token < count; ++token) {
          const std::vector<float>& row = inputs[sequence][i][done + token];
          std::memcpy(program.arena() + offsets[i] + (start.back() + token) * stride, row.data(), row.size() * 4);
        }
      }
      of_row.insert(of_row.end(), count, sequence);
      first.push_back(done);
      table.push_back(slots[sequence]);
      start.push_back(start.back() + count);
    }
    ids.assign(of_row.size(), 0);
    const int tokens = static_cast<int>(of_row.size()), sequences = static_cast<int>(first.size());
    program.step(cache, {tokens, sequences, 0, ids.data(), start.data(), first.data(), nullptr, {{table.data(), 1}}, nullptr,
                         nullptr, 0}, threads);
    for (int row = 0; row < tokens; ++row) {
      const float* from = reinterpret_cast<const float*>(program.arena() + row * form_stride(Form::plain, recurrence.out_width));
      out[of_row[row]].emplace_back(from, from + recurrence.out_width);
    }
  }
  return out;
}

void check_cuts(const TestTarget& target, const Recurrence& recurrence, const Inputs& inputs, const std::vector<Rows>& whole) {
  for (const auto& cuts : {std::pair{1, 1}, {2, 3}, {5, 1}, {7, 30}}) {
    const int of[2] = {cuts.first, cuts.second};
    check(run(target, recurrence, inputs, of, 1 + cuts.first % 3) == whole, "%s: %s in steps of %d and %d differs", target.name,
          recurrence.operation, cuts.first, cuts.second);
  }
}

void check_close(const TestTarget& target, const char* what, const Rows& found, const std::vector<std::vector<double>>& expected) {
  double worst = 0.0;
  for (size_t token = 0; token < expected.size(); ++token) {
    for (size_t i = 0; i < expected[token].size(); ++i) {
      const double error = std::abs(found[token][i] - expected[token][i]);
      worst = error <= worst ? worst : error;  // NaN, too
    }
  }
  check(worst < 2e-5, "%s: %s is off by %g", target.name, what, worst);
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }

void test_convolution(const TestTarget& target) {
  TestRandom random(1);
  for (const int kernel : {2, 4, 5}) {
    for (const int width : {16, 37, 100}) {
      const std::vector<float> weight = random.floats(width * kernel), bias = random.floats(width);
      Recurrence recurrence = {"causal_conv1d", {{"weight", weight}, {"bias", bias}, {"kernel", int64_t{kernel}}}, {{"x", width}},
                               width, (int64_t{width} * (kernel - 1) * 4 + 63) / 64 * 64};
      const Inputs inputs = random_inputs(random, recurrence, {9, 30});
      const std::vector<Rows> whole = run(target, recurrence, inputs, {9, 30}, 1);
      for (int sequence = 0; sequence < 2; ++sequence) {
        const Rows& x = inputs[sequence][0];
        std::vector<std::vector<double>> expected(x.size(), std::vector<double>(width));
        for (int token = 0; token < static_cast<int>(x.size()); ++token) {
          for (int i = 0; i < width; ++i) {
            double sum = bias[i];
            for (int j = 0; j < kernel; ++j) {
              const int from = token - (kernel - 1 - j);
              if (from >= 0) sum += double(weight[i * kernel + j]) * x[from][i];
            }
            expected[token][i] = silu(sum);
          }
        }
        check_close(target, "causal_conv1d", whole[sequence], expected);
      }
      check_cuts(target, recurrence, inputs, whole);
    }
  }
}

struct DeltaShape {
  int key_heads, value_heads, key_dim, value_dim;
  bool by_channel, tiled, is_log;
  double lower_bound = 0.0;  // of the logarithm of decays
};

// The logarithm of a decay. x: alpha + bias.
double log_decay(const DeltaShape& shape, double rate, double x) {
  const double magnitude = shape.is_log ? std::exp(rate) : rate;
  if (shape.lower_bound < 0.0) return shape.lower_bound / (1.0 + std::exp(-magnitude * x));
  return (shape.is_log ? -magnitude : magnitude) * std::log1p(std::exp(x));
}

std::vector<double> normed(const float* x, int size, double scale) {
  double sum = 1e-6;
  for (int i = 0; i < size; ++i) sum += double(x[i]) * x[i];
  std::vector<double> out(size);
  for (int i = 0; i < size; ++i) out[i] = x[i] * scale / std::sqrt(sum);
  return out;
}

std::vector<std::vector<double>> exact_delta_rule(const DeltaShape& shape, const std::vector<Rows>& inputs,
                                                  const std::vector<float>& rate, const std::vector<float>& bias) {
  const int keys = shape.key_heads * shape.key_dim;
  std::vector<std::vector<double>> out(inputs[0].size());
  for (int head = 0; head < shape.value_heads; ++head) {
    const int key_head = shape.tiled ? head % shape.key_heads : head / (shape.value_heads / shape.key_heads);
    std::vector<double> state(shape.key_dim * shape.value_dim, 0.0);
    for (size_t token = 0; token < out.size(); ++token) {
      const float* x = inputs[0][token].data();
      const std::vector<double> q = normed(x + key_head * shape.key_dim, shape.key_dim, 1.0 / std::sqrt(shape.key_dim));
      const std::vector<double> k = normed(x + keys + key_head * shape.key_dim, shape.key_dim, 1.0);
      for (int i = 0; i < shape.key_dim; ++i) {
        const int at = shape.by_channel ? head * shape.key_dim + i : head;
        const double decay = std::exp(log_decay(shape, rate[head], double(inputs[1][token][at]) + bias[at]));
        for (int j = 0; j < shape.value_dim; ++j) state[i * shape.value_dim + j] *= decay;
      }
      const double beta = 1.0 / (1.0 + std::exp(-double(inputs[2][token][head])));
      for (int j = 0; j < shape.value_dim; ++j) {
        double recalled = 0.0, read = 0.0;
        for (int i = 0; i < shape.key_dim; ++i) recalled += k[i] * state[i * shape.value_dim + j];
        const double change = (x[2 * keys + head * shape.value_dim + j] - recalled) * beta;
        for (int i = 0; i < shape.key_dim; ++i) {
          state[i * shape.value_dim + j] += k[i] * change;
          read += q[i] * state[i * shape.value_dim + j];
        }
        out[token].push_back(read);
      }
    }
  }
  return out;
}

void test_delta_rule(const TestTarget& target) {
  TestRandom random(2);
  const DeltaShape shapes[] = {{1, 1, 2, 1, false, false, false},  {2, 6, 12, 16, false, true, false},
                               {2, 4, 16, 40, false, false, true}, {3, 3, 64, 64, true, false, true},
                               {2, 4, 10, 33, true, true, false},  {1, 2, 128, 128, false, false, false},
                               {3, 3, 32, 32, true, false, true, -5.0},  {2, 2, 16, 40, true, false, false, -0.5}};
  for (const DeltaShape& shape : shapes) {
    const int alphas = shape.value_heads * (shape.by_channel ? shape.key_dim : 1), width = shape.value_heads * shape.value_dim;
    std::vector<float> rate = random.floats(shape.value_heads), bias = random.floats(alphas);
    for (float& value : rate)
      value = shape.is_log ? value - 3.0f : std::copysign(0.2f + 0.1f * std::abs(value), shape.lower_bound < 0.0 ? 1.0f : -1.0f);
    Recurrence recurrence = {"gated_delta_rule",
                             {{"rate", rate}, {"bias", bias}, {"key_heads", int64_t{shape.key_heads}},
                              {"value_heads", int64_t{shape.value_heads}}, {"key_dim", int64_t{shape.key_dim}},
                              {"rate_is_log", shape.is_log}, {"tiled", shape.tiled}, {"lower_bound", shape.lower_bound}},
                             {{"x", 2 * shape.key_heads * shape.key_dim + width}, {"alpha", alphas}, {"beta", shape.value_heads}},
                             width, int64_t{shape.value_heads} * shape.key_dim * ((shape.value_dim + 31) / 32 * 32) * 4};
    const Inputs inputs = random_inputs(random, recurrence, {30, 21});
    const std::vector<Rows> whole = run(target, recurrence, inputs, {30, 21}, 1);
    for (int sequence = 0; sequence < 2; ++sequence)
      check_close(target, "gated_delta_rule", whole[sequence], exact_delta_rule(shape, inputs[sequence], rate, bias));
    check_cuts(target, recurrence, inputs, whole);
  }
}

struct ScanShape {
  int heads, groups, head_dim, state_size;
  bool is_log, limited;
};

std::vector<std::vector<double>> exact_scan(const ScanShape& shape, const std::vector<Rows>& inputs, const std::vector<float>& rate,
                                            const std::vector<float>& bias, const std::vector<float>& skip) {
  const int width = shape.heads * shape.head_dim;
  std::vector<std::vector<double>> out(inputs[0].size());
  for (int head = 0; head < shape.heads; ++head) {
    const int group = head / (shape.heads / shape.groups);
    std::vector<double> state(shape.state_size * shape.head_dim, 0.0);
    for (size_t token = 0; token < out.size(); ++token) {
      const float* x = inputs[0][token].data() + head * shape.head_dim;
      const float* b = inputs[0][token].data() + width + group * shape.state_size;
      const float* c = b + shape.groups * shape.state_size;
      double dt = std::log1p(std::exp(double(inputs[1][token][head]) + bias[head]));
      if (shape.limited) dt = std::min(std::max(dt, 0.5), 0.75);
      const double decay = std::exp((shape.is_log ? -std::exp(double(rate[head])) : double(rate[head])) * dt);
      for (int j = 0; j < shape.head_dim; ++j) {
        double read = double(skip[head]) * x[j];
        for (int i = 0; i < shape.state_size; ++i) {
          double& entry = state[i * shape.head_dim + j];
          entry = decay * entry + dt * x[j] * b[i];
          read += c[i] * entry;
        }
        out[token].push_back(read);
      }
    }
  }
  return out;
}

void test_selective_scan(const TestTarget& target) {
  TestRandom random(3);
  const ScanShape shapes[] = {{1, 1, 1, 1, false, false}, {6, 2, 16, 12, true, false}, {4, 1, 40, 7, false, true},
                              {3, 3, 64, 16, true, true}, {2, 1, 33, 24, false, false}};
  for (const ScanShape& shape : shapes) {
    const int width = shape.heads * shape.head_dim;
    std::vector<float> rate = random.floats(shape.heads), bias = random.floats(shape.heads), skip = random.floats(shape.heads);
    for (float& value : rate) value = shape.is_log ? value * 0.3f : -0.5f - 0.3f * std::abs(value);  // a memory of a few tokens
    Recurrence recurrence = {"selective_scan",
                             {{"rate", rate}, {"bias", bias}, {"skip", skip}, {"heads", int64_t{shape.heads}},
                              {"groups", int64_t{shape.groups}}, {"state_size", int64_t{shape.state_size}},
                              {"rate_is_log", shape.is_log}, {"time_step_min", shape.limited ? 0.5 : 0.0}},
                             {{"x", width + 2 * shape.groups * shape.state_size}, {"time_step", shape.heads}},
                             width, int64_t{shape.heads} * shape.state_size * ((shape.head_dim + 31) / 32 * 32) * 4};
    if (shape.limited) recurrence.fields["time_step_max"] = 0.75;
    const Inputs inputs = random_inputs(random, recurrence, {30, 21});
    const std::vector<Rows> whole = run(target, recurrence, inputs, {30, 21}, 1);
    for (int sequence = 0; sequence < 2; ++sequence)
      check_close(target, "selective_scan", whole[sequence], exact_scan(shape, inputs[sequence], rate, bias, skip));
    check_cuts(target, recurrence, inputs, whole);
  }
}

void test_split_groups(const TestTarget& target) {
  TestRandom random(4);
  const std::vector<float> x = random.floats(60);  // 5 groups of 3, 2 and 7
  const int64_t row = form_stride(Form::plain, 60);
  for (const bool apart : {false, true}) {
    Program program(*target.entry, 1, 1, 1, 3 * row);
    std::memcpy(program.arena(), x.data(), 240);
    FieldMap fields = {{"x", Buffer{0, Form::plain, 60, {}, {}}}, {"parts", std::vector<int64_t>{3, 2, 7}},
                       {"out", Buffer{row, Form::plain, apart ? 25 : 60, {}, {}}}};
    if (apart) fields["rest"] = Buffer{2 * row, Form::plain, 35, {}, {}};
    program.add("split_groups", fields, false);
    const int32_t id = 0, start[2] = {0, 1}, first = 0;
    program.step(Cache({}, {}, {}), {1, 1, 0, &id, start, &first, nullptr, {}, nullptr, nullptr, 0}, 1);
    const float* out = reinterpret_cast<const float*>(program.arena() + row);
    const float* rest = apart ? reinterpret_cast<const float*>(program.arena() + 2 * row) : out + 25;
    for (int group = 0; group < 5; ++group) {
      bool right = true;
      for (int i = 0; i < 3; ++i) right &= out[3 * group + i] == x[12 * group + i];
      for (int i = 0; i < 2; ++i) right &= out[15 + 2 * group + i] == x[12 * group + 3 + i];
      for (int i = 0; i < 7; ++i) right &= rest[7 * group + i] == x[12 * group + 5 + i];
      check(right, "%s: split_groups mixes group %d", target.name, group);
    }
  }
}

}  // namespace

int main() {
  for (const TestTarget& target : runnable_targets()) {
    test_convolution(target);
    test_delta_rule(target);
    test_selective_scan(target);
    test_split_groups(target);
    std::printf("%s: checked\n", target.name);
  }
  return report("recurrence_test");
}
