// A program: the flat list of operations for one step, and the executor that walks it.
//
// Every thread walks the whole list. An operation is one or two phases, a phase is tasks claimed from a counter, and the
// next phase begins when all its tasks are done: not when all threads arrive, so one that another process keeps from
// running holds nobody up while it has no task. Nothing is allocated while a step runs.
//
// Where a step has one row, what turns it into a form for a product (norm, activation, preparation) may be left to the
// product: each thread that has tasks of it makes its own copy of the form first. The others would only wait for it and
// fetch it from the maker's cache. Who makes the program decides where.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "runtime/fields.h"
#include "runtime/memory.h"
#include "runtime/operation.h"
#include "runtime/thread_pool.h"

namespace lutmac {

// What a program keeps for every sequence: keys and values of one layer, in pages of positions; or a slot of fixed size. A
// cache that it runs with must have this state, in that group, with pages (or slots) of as many bytes.
struct ProgramState {
  int index = 0, group = 0;
  bool slot = false;
  CacheType type = CacheType::f16;
  int num_kv_heads = 0, head_dim = 0, value_dim = 0;
  int window = 0;  // positions that are read, the last ones; 0: all
  int64_t bytes = 0;

  LayerCache of(const Step& step) const {
    LayerCache cache = step.groups[group];
    cache.base = step.cache->state(index);
    cache.page_stride = step.cache->page_stride(group);
    return cache;
  }
};

class Program {
 public:
  // Throws std::invalid_argument for limits that no program has.
  Program(const TargetEntry& target, int max_tokens, int max_sequences, int max_context, int64_t arena_bytes);

  // A state, before the operations that name it; groups are numbered as they come, and hold pages alone or slots alone. index,
  // and of pages the bytes, are set here.
  void add_state(ProgramState state);
  bool group_has_slots(int group) const;
  // An operation, by name. together: it runs side by side with the one before.
  // Throws std::invalid_argument, naming operation and field, where a step could go wrong.
  void add(const std::string& name, FieldMap fields, bool together);
  const std::vector<ProgramState>& states() const { return states_; }
  // Throws std::invalid_argument where the cache lacks what the program needs.
  void check_cache(const Cache& cache) const;
  // Attention announces the scratch that it needs.
  void reserve_scratch(int64_t bytes);

  const TargetEntry& target() const { return target_; }
  int max_tokens() const { return max_tokens_; }
  int max_sequences() const { return max_sequences_; }
  int max_context() const { return max_context_; }
  int64_t arena_bytes() const { return arena_bytes_; }
  uint8_t* arena() const { return arena_->data(); }  // not while a step runs
  int64_t vocab_size() const { return vocab_size_; }
  void set_vocab_size(int64_t size) { vocab_size_ = size; }
  int64_t logits_size() const { return logits_size_; }
  void set_logits_size(int64_t size) { logits_size_ = size; }
  int64_t hidden_size() const { return hidden_size_; }
  void set_hidden_size(int64_t size) { hidden_size_ = size; }

  // Input of a step; the arrays live as long as the call. Checked by the caller.
  struct Input {
    int num_tokens, num_sequences, num_output_rows;
    const int32_t *tokens, *sequence_start, *first_position, *output_rows;
    std::vector<std::pair<const int32_t*, int>> page_tables;  // table and stride per cache group
    float *logits, *hidden;
    int num_logits_rows;
    bool (*is_interrupted)() = nullptr;  // asked now and then between operations, by the caller's thread
  };
  // Steps of one program queue. False: the step was left between two operations, since it was interrupted. Of what it was to
  // write, some is written.
  bool step(const Cache& cache, const Input& input, int threads);

 private:
  void prepare_walk(int threads);
  void walk(int thread);
  bool ask_to_leave();

  const TargetEntry& target_;
  int max_tokens_, max_sequences_, max_context_, num_cache_groups_ = 0;
  std::vector<ProgramState> states_;
  int64_t arena_bytes_, vocab_size_ = 0, logits_size_ = 0, hidden_size_ = 0;
  std::vector<std::unique_ptr<Operation>> operations_;
  const RowOperation* maker_ = nullptr;  // of the forms that the last operation's threads make for themselves
  std::set<int64_t> left_forms_;         // buffers of forms that only who followed their maker has
  std::unique_ptr<Mapping> arena_, scratch_;
  std::vector<int32_t> token_sequence_, token_position_;
  // Of each phase of each operation, on a cache line of its own.
  struct alignas(64) Progress {
    std::atomic<uint32_t> claimed{0};
    std::atomic<uint32_t> done{0};

    // The next tasks that nobody has taken, in order, none at the end: several, for neighbours lie next to each other in
    // memory, and what is fetched ahead at the end of one is the beginning of the next. Ranges shrink, so that unequal threads
    // end together.
    struct TaskRange {
      uint32_t begin, end;
    };
    TaskRange claim(uint32_t tasks, int threads) {
      uint32_t begin = claimed.load(std::memory_order_relaxed), count;
      do {
        if (begin >= tasks) return {tasks, tasks};
        count = threads == 1 ? tasks - begin : std::max<uint32_t>(1, (tasks - begin) / static_cast<uint32_t>(threads + 1));
      } while (!claimed.compare_exchange_weak(begin, begin + count, std::memory_order_relaxed));
      return {begin, begin + count};
    }
  };
  int threads_ = 1;  // of the step
  bool (*is_interrupted_)() = nullptr;
  std::chrono::steady_clock::time_point asked_;
  std::atomic<bool> left_{false};
  std::vector<Progress> progress_;
  std::vector<std::unique_ptr<Mapping>> own_arenas_;  // of threads 1 and up
  Step step_;
  std::vector<Step> steps_;  // step_ as each thread sees it
  std::mutex mutex_;
};

}  // namespace lutmac
