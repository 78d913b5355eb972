// Threads: the pool gives every task to one thread, and a program's results are the same bits however many threads walk it
// and whoever else does at the same time. Run under the thread sanitizer, this is what finds a race.
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "kernel_case.h"
#include "runtime/program.h"

using namespace lutmac;

namespace {

void test_pool() {
  const auto caller = [](int count) {
    for (int round = 0; round < 50; ++round) {
      std::vector<std::atomic<int>> done(static_cast<size_t>(count));
      ThreadPool::instance().for_each(1 + round % 5, count, [&](int64_t task) { done[task].fetch_add(1); });
      for (int task = 0; task < count; ++task) check(done[task] == 1, "task %d of %d ran %d times", task, count, done[task].load());
    }
  };
  std::vector<std::thread> callers;
  for (const int count : {0, 1, 3, 100}) callers.emplace_back(caller, count);
  for (std::thread& thread : callers) thread.join();
}

constexpr int kWidth = 96, kHeads = 3, kVocabulary = 150, kTokens = 9;

std::shared_ptr<PackedMatrix> random_matrix(TestRandom& random, const TargetEntry& target, int bits, int rows = kVocabulary) {
  KernelShape shape;
  shape.bits = bits;
  shape.rows = rows;
  shape.columns = kWidth;
  shape.tokens = 0;
  const KernelCase test(random, shape, {});
  return std::make_shared<PackedMatrix>(pack(target, test.source()));
}

ProgramState keys_and_values() {
  ProgramState state;
  state.num_kv_heads = kHeads;
  state.head_dim = state.value_dim = kWidth / kHeads;
  return state;
}

// Embedding, one layer of attention, norm and head: the smallest program that looks up, prepares, multiplies and remembers.
class TinyProgram {
 public:
  // over_keys: the result of attention lies where the keys lay, that of a head on the next head's key. It may write over them when they
  // all are stored.
  TinyProgram(const TargetEntry& target, uint64_t seed, bool over_keys) : random_(seed) {
    const int64_t row = kTokens * form_stride(Form::plain, kWidth), tables = 6 * row, head_bytes = 4 * kWidth / kHeads;
    program_ = std::make_unique<Program>(target, kTokens, 1, kTokens, tables + kTokens * form_stride(Form::tables, kWidth));
    program_->add_state(keys_and_values());
    cache_ = std::make_unique<Cache>(std::vector{1}, std::vector{0}, std::vector{program_->states().front().bytes});
    const auto plain = [&](int64_t place) { return Buffer{place * row, Form::plain, kWidth, {}, {}}; };
    const Buffer hidden = plain(0), q = plain(1), k = plain(2), v = plain(3);
    const Buffer attended{over_keys ? k.offset + head_bytes : 4 * row, Form::plain, kWidth, {}, {}};
    const Buffer gathered{5 * row, Form::plain, kWidth, {true, 1}, {}};
    const Buffer form{tables, Form::tables, kWidth, {}, {}}, last{tables, Form::tables, kWidth, {true, 1}, {}};
    const auto weight = [&](int bits, int rows) { return random_matrix(random_, target, bits, rows); };
    program_->add("embed", {{"weight", weight(8, kVocabulary)}, {"out", hidden}, {"scale", 1.0}}, false);
    add_norm(hidden, form);
    for (const Buffer& out : {q, k, v}) {
      program_->add("matmul", {{"weight", weight(4, kWidth)}, {"x", form}, {"out", out}}, out.offset != q.offset);
    }
    program_->add("rope_store",
                  {{"q", q}, {"k", k}, {"v", v}, {"out", q}, {"cache", StateIndex{0}}, {"num_heads", int64_t{kHeads}},
                   {"style", std::string("half_split")}},
                  false);
    program_->add("attention",
                  {{"q", q}, {"out", attended}, {"cache", StateIndex{0}}, {"num_heads", int64_t{kHeads}}, {"scale", 0.2},
                   {"softcap", 0.0}},
                  false);
    program_->add("prepare", {{"x", attended}, {"forms", std::vector<Buffer>{form}}, {"own", true}}, false);
    program_->add("matmul", {{"weight", weight(4, kWidth)}, {"x", form}, {"out", hidden}, {"accumulate", true}}, false);
    program_->add("gather_outputs", {{"x", hidden}, {"out", gathered}}, false);
    add_norm(gathered, last);
    program_->add("logits", {{"weight", weight(4, kVocabulary)}, {"x", last}, {"scale", 1.0}, {"softcap", 0.0}}, false);
    for (int32_t& token : tokens_) token = random_.below(kVocabulary);
  }

  // The logits of all tokens. alone: each has a step of its own, else all have one.
  std::vector<float> run(int threads, bool alone) {
    std::vector<float> logits(kTokens * kVocabulary);
    const int each = alone ? 1 : kTokens;
    for (int first = 0; first < kTokens; first += each) step(first, each, threads, logits.data() + first * kVocabulary);
    return logits;
  }

 private:
  TestRandom random_;
  std::unique_ptr<Program> program_;
  std::unique_ptr<Cache> cache_;
  int32_t tokens_[kTokens];

  void add_norm(const Buffer& x, const Buffer& form) {
    program_->add("rms_norm",
                  {{"x", x}, {"weight", random_.floats(kWidth)}, {"weight_bias", 0.0}, {"eps", 1e-5},
                   {"forms", std::vector<Buffer>{form}}, {"own", true}},
                  false);
  }

  void step(int first, int count, int threads, float* logits) {
    const int32_t start[2] = {0, count}, rows[kTokens] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, page = 0;
    program_->step(*cache_, {count, 1, count, tokens_ + first, start, &first, rows, {{&page, 1}}, logits, nullptr, count}, threads);
  }
};

void test_programs(const TargetEntry& target) {
  std::vector<std::unique_ptr<TinyProgram>> programs;
  std::vector<std::vector<float>> expected;
  for (const uint64_t seed : {1, 2}) {
    programs.push_back(std::make_unique<TinyProgram>(target, seed, seed == 2));
    expected.push_back(programs.back()->run(1, false));
  }
  check(expected[0] != expected[1], "%s: two programs give the same", target.name);
  // 4 callers, two on each program, with 1 to 4 threads each.
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 100; ++round) {
        const std::vector<float> logits = programs[caller % 2]->run(1 + (round + caller) % 4, round % 3 == 0);
        check(std::memcmp(logits.data(), expected[caller % 2].data(), logits.size() * sizeof(float)) == 0,
              "%s: a run with %d threads differs from one with 1", target.name, 1 + (round + caller) % 4);
      }
    });
  }
  for (std::thread& thread : callers) thread.join();
}

// 16 rows of a matrix of 9 tiles would leave one of two threads without work for a tenth of the time.
void test_blocks() {
  struct Case {
    int64_t rows, most, tasks_per_block;
    int threads;
    int64_t expected;
  };
  for (const Case& c : {Case{16, 160, 9, 2, 8}, Case{16, 160, 9, 1, 160}, Case{16, 160, 64, 2, 160}, Case{1, 160, 9, 2, 160},
                        Case{128, 160, 15, 2, 64}, Case{11, 160, 9, 2, 8}, Case{8, 160, 1, 64, 160}, Case{100, 32, 1, 3, 8}}) {
    const int64_t found = generated_block(c.rows, c.most, c.tasks_per_block, c.threads);
    check(found == c.expected, "%d rows for %d threads: blocks of %d rows, expected %d", static_cast<int>(c.rows), c.threads,
          static_cast<int>(found), static_cast<int>(c.expected));
  }
}

// What a program cannot be made of is refused by name, whoever makes it.
void test_refusals(const TargetEntry& target) {
  TestRandom random(3);
  const int64_t row = form_stride(Form::plain, kWidth);
  const Buffer x{0, Form::plain, kWidth, {}, {}}, out{kTokens * row, Form::plain, kWidth, {}, {}};
  const Buffer tables{2 * kTokens * row, Form::tables, kWidth, {}, {}};
  const auto weight = random_matrix(random, target, 4);
  const FieldMap norm = {{"x", x}, {"weight", random.floats(kWidth)}, {"weight_bias", 0.0}, {"eps", 1e-5}, {"out", out}};
  struct Case {
    const char* operation;
    std::function<void(FieldMap&)> change;
    const char* message;
  };
  const auto with = [](const char* field, Field value) { return [=](FieldMap& fields) { fields[field] = value; }; };
  const Buffer outside{1 << 20, Form::plain, kWidth, {}, {}}, crooked{4, Form::plain, kWidth, {}, {}};
  const Buffer narrow{0, Form::plain, kWidth - 1, {}, {}}, wide{0, Form::plain, int64_t{1} << 40, {}, {}};
  const Case cases[] = {
      {"nothing", {}, "there is no operation"},
      {"rms_norm", with("x", outside), "outside the arena"},
      {"rms_norm", with("x", crooked), "outside the arena or is not aligned"},
      {"rms_norm", with("x", wide), "no width that a row can have"},
      {"rms_norm", with("x", narrow), "differ in width"},
      {"rms_norm", with("x", tables), "must be plain floats"},
      {"rms_norm", with("x", 3.0), "x is not a buffer"},
      {"rms_norm", [](FieldMap& fields) { fields.erase("eps"); }, "eps is missing"},
      {"rms_norm", with("epsilon", 1.0), "it has no field epsilon"},
      {"rms_norm", with("weight", std::vector<float>(7)), "does not divide"},
      {"rms_norm", with("own", true), "nobody's own"},
      {"matmul", [&](FieldMap& fields) { fields = {{"x", tables}, {"out", x}, {"weight", weight}}; }, "other rows than its matrix"},
      {"attention",
       [&](FieldMap& fields) {
         fields = {{"q", x}, {"out", out}, {"cache", StateIndex{0}}, {"num_heads", int64_t{1}}, {"scale", 1.0}, {"softcap", 0.0}};
       },
       "no such state"},
  };
  for (const Case& refused : cases) {
    Program program(target, kTokens, 1, kTokens, 2 * kTokens * row + kTokens * form_stride(Form::tables, kWidth));
    FieldMap fields = norm;
    if (refused.change) refused.change(fields);
    std::string message = "nothing";
    try {
      program.add(refused.operation, fields, false);
    } catch (const std::invalid_argument& error) {
      message = error.what();
    }
    check(message.find(refused.message) != std::string::npos, "%s: %s was refused with '%s', expected '%s'", target.name,
          refused.operation, message.c_str(), refused.message);
  }
}

// Forms that a product's threads make for themselves are in nobody else's hands.
void test_left_forms(const TargetEntry& target) {
  TestRandom random(4);
  const int64_t row = form_stride(Form::plain, kWidth);
  const Buffer x{0, Form::plain, kWidth, {}, {}}, tables{3 * kTokens * row, Form::tables, kWidth, {}, {}};
  const auto weight = random_matrix(random, target, 4);
  Program program(target, kTokens, 1, kTokens, 3 * kTokens * row + kTokens * form_stride(Form::tables, kWidth));
  program.add("prepare", {{"x", x}, {"forms", std::vector<Buffer>{tables}}, {"own", true}}, false);
  const Buffer out{kTokens * row, Form::plain, kVocabulary, {}, {}}, over_x{0, Form::plain, kVocabulary, {}, {}};
  const auto refused = [&](const Buffer& result) {
    try {
      program.add("matmul", {{"x", tables}, {"out", result}, {"weight", weight}}, false);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  check(refused(over_x), "%s: a product writes over what its threads make its input of", target.name);
  check(!refused(out), "%s: a product cannot take forms over", target.name);
  check(refused(out), "%s: a form is read that nobody has made", target.name);
}

}  // namespace

int main() {
  test_pool();
  test_blocks();
  for (const TargetEntry& target : runnable_kernels()) {
    test_refusals(target);
    test_left_forms(target);
  }
  for (const TargetEntry& target : runnable_kernels()) test_programs(target);
  return report("program_test");
}
