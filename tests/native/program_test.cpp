// Threads: the pool gives every task to one thread, and a program's results are the same bits however many threads walk it
// and whoever else does at the same time. Run under the thread sanitizer, this is what finds a race.
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "kernel_case.h"
#include "runtime/operations.h"

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

constexpr int kWidth = 96, kVocabulary = 150, kTokens = 9;

std::shared_ptr<PackedMatrix> random_matrix(TestRandom& random, const TargetEntry& target, int bits) {
  KernelShape shape;
  shape.bits = bits;
  shape.rows = kVocabulary;
  shape.columns = kWidth;
  shape.tokens = 0;
  const KernelCase test(random, shape, {});
  return std::make_shared<PackedMatrix>(pack(target, test.source()));
}

// Embedding, norm and head, the smallest program that looks up, prepares and multiplies.
class TinyProgram {
 public:
  TinyProgram(const TargetEntry& target, uint64_t seed) : random_(seed), cache_({0}, {}, {}) {
    const int64_t row = form_stride(Form::plain, kWidth), tables = kTokens * row;
    program_ = std::make_unique<Program>(target, kTokens, 1, kTokens, tables + kTokens * form_stride(Form::tables, kWidth), 0, 1);
    const auto embedding = random_matrix(random_, target, 8), head = random_matrix(random_, target, 4);
    program_->add(std::make_unique<Embed>(embedding, 0, 1.0f));
    program_->add(std::make_unique<Norm>(target, Rows::tokens, 0, random_.floats(kWidth), 0.0f, 1e-5f, false,
                                         RowOutput(target.kernels, kWidth, -1, {{Form::tables, tables}})));
    Product product;
    product.matrix = head;
    product.x = tables;
    product.to_logits = true;
    program_->add(std::make_unique<Matmul>(Rows::tokens, std::vector<Product>{product}, false));
    for (int32_t& token : tokens_) token = random_.below(kVocabulary);
  }

  std::vector<float> step(int threads) {
    std::vector<float> logits(kTokens * kVocabulary);
    const int32_t start[2] = {0, kTokens}, first = 0, rows[kTokens] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, table = 0;
    program_->step(cache_, {kTokens, 1, kTokens, tokens_, start, &first, rows, {{&table, 1}}, logits.data(), nullptr, kTokens},
                   threads);
    return logits;
  }

 private:
  TestRandom random_;
  Cache cache_;
  std::unique_ptr<Program> program_;
  int32_t tokens_[kTokens];
};

void test_programs(const TargetEntry& target) {
  std::vector<std::unique_ptr<TinyProgram>> programs;
  std::vector<std::vector<float>> expected;
  for (const uint64_t seed : {1, 2}) {
    programs.push_back(std::make_unique<TinyProgram>(target, seed));
    expected.push_back(programs.back()->step(1));
  }
  check(expected[0] != expected[1], "%s: two programs give the same", target.name);
  // 4 callers, two on each program, with 1 to 4 threads each.
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 100; ++round) {
        const std::vector<float> logits = programs[caller % 2]->step(1 + (round + caller) % 4);
        check(std::memcmp(logits.data(), expected[caller % 2].data(), logits.size() * sizeof(float)) == 0,
              "%s: a step with %d threads differs from one with 1", target.name, 1 + (round + caller) % 4);
      }
    });
  }
  for (std::thread& thread : callers) thread.join();
}

}  // namespace

int main() {
  test_pool();
  for (const TargetEntry& target : runnable_kernels()) test_programs(target);
  return report("program_test");
}
