// A program: the flat list of operations for one step, and the executor that walks it.
//
// Every thread walks the whole list. An operation is one or two phases, a phase is tasks claimed from a counter, and the
// next phase begins when all its tasks are done: not when all threads arrive, so one that another process keeps from
// running holds nobody up while it has no task. Nothing is allocated while a step runs.
//
// Where a step has one row, what turns it into a form for a product (norm, activation, preparation) is no phase of its
// own: each thread that has tasks of the product makes its own copy of the form first. The others would only wait for it
// and fetch it from the maker's cache.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "ops/ops.h"
#include "runtime/memory.h"
#include "runtime/packed_matrix.h"
#include "runtime/thread_pool.h"

namespace lutmac {

// Keys and values of all layers, in pages that block tables name. A group's page holds the pages of all its layers side by
// side, so that a short sequence touches little memory even where the system hands it out in huge pages.
class Cache {
 public:
  Cache(std::vector<int> num_pages, std::vector<int> layer_groups, std::vector<int64_t> layer_page_bytes);
  int num_groups() const { return static_cast<int>(num_pages_.size()); }
  int num_layers() const { return static_cast<int>(layers_.size()); }
  int num_pages(int group) const { return num_pages_[group]; }
  int layer_group(int layer) const { return layer_groups_[layer]; }
  int64_t layer_page_bytes(int layer) const { return layer_page_bytes_[layer]; }
  uint8_t* layer(int index) const { return layers_[index]; }
  int64_t page_stride(int group) const { return page_strides_[group]; }
  // All that a page of every group holds. Not while a step runs.
  void copy_page(int source, int target);
  int64_t bytes() const { return static_cast<int64_t>(memory_->bytes()); }

 private:
  std::vector<int> num_pages_, layer_groups_;
  std::vector<int64_t> layer_page_bytes_, page_strides_;
  std::vector<uint8_t*> layers_;
  std::unique_ptr<Mapping> memory_;
};

// Where an operation finds what changes from step to step.
struct Step {
  Batch batch;
  uint8_t* arena = nullptr;
  uint8_t* own_arena = nullptr;  // the calling thread's, in which it keeps fused forms at the offsets that `arena` has
  const Cache* cache = nullptr;
  std::vector<LayerCache> groups;  // per cache group: block table and stride; base is the layer's
  float* logits = nullptr;         // [num_logits_rows, vocab], of the first of the output rows
  int num_logits_rows = 0;
  float* hidden = nullptr;         // [num_output_rows, hidden size] of final hidden states; null: nobody wants them
  uint8_t* scratch = nullptr;
  int64_t scratch_bytes = 0;
};

// Which rows an operation works on; how many there are is read at run time. per_token: each token has so many rows of its
// own, one for each expert that it goes to.
struct Rows {
  bool outputs_only = false;
  int per_token = 1;
  static const Rows tokens, outputs;
  bool operator==(const Rows&) const = default;
};
inline constexpr Rows Rows::tokens{false, 1};
inline constexpr Rows Rows::outputs{true, 1};

inline int64_t row_count(const Step& step, Rows rows) {
  return int64_t{rows.outputs_only ? step.batch.num_output_rows : step.batch.num_tokens} * rows.per_token;
}

class Operation {
 public:
  virtual ~Operation() = default;
  virtual int phases() const { return 1; }
  // The number of tasks of a phase: every thread asks, and all get the same answer.
  virtual int64_t tasks(const Step& step, int phase) const = 0;
  // What a thread does before the first task that it claims of a phase.
  virtual void begin(const Step&) const {}
  // Whether it takes a prepared form from this place of the arena, and whether it puts one there.
  virtual bool reads_form(int64_t) const { return false; }
  virtual bool writes_form(int64_t) const { return false; }
  // Told of the operation before this one and of those behind it, once, before the first step.
  virtual void follow(Operation&, std::span<const std::unique_ptr<Operation>>) {}
  virtual void run(const Step& step, int phase, int64_t task) const = 0;
};

class Program {
 public:
  Program(const TargetEntry& target, int max_tokens, int max_sequences, int max_context, int64_t arena_bytes,
          int num_layers, int num_cache_groups);

  void add(std::unique_ptr<Operation> operation) { operations_.push_back(std::move(operation)); }
  const std::vector<std::unique_ptr<Operation>>& operations() const { return operations_; }
  // A layer whose keys and values the program keeps: the step's cache must have it, in that group, with such pages.
  void add_cached_layer(int layer, int group, int64_t page_bytes);
  // Throws std::invalid_argument where the cache lacks what the program needs.
  void check_cache(const Cache& cache) const;
  // Attention announces the scratch that it needs.
  void reserve_scratch(int64_t bytes);

  const TargetEntry& target() const { return target_; }
  int max_tokens() const { return max_tokens_; }
  int max_sequences() const { return max_sequences_; }
  int max_context() const { return max_context_; }
  int64_t arena_bytes() const { return arena_bytes_; }
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
    std::vector<std::pair<const int32_t*, int>> block_tables;  // table and stride per cache group
    float *logits, *hidden;
    int num_logits_rows;
  };
  // Steps of one program queue.
  void step(const Cache& cache, const Input& input, int threads);

 private:
  void prepare_walk(int threads);
  void walk(int thread);

  const TargetEntry& target_;
  struct CachedLayer {
    int group = -1;
    int64_t page_bytes = 0;
  };

  int max_tokens_, max_sequences_, max_context_, num_cache_groups_;
  std::vector<CachedLayer> cached_layers_;
  int64_t arena_bytes_, vocab_size_ = 0, logits_size_ = 0, hidden_size_ = 0;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::unique_ptr<Mapping> arena_, scratch_;
  std::vector<int32_t> token_sequence_, token_position_;
  // Of each phase of each operation, on a cache line of its own.
  struct alignas(64) Progress {
    std::atomic<uint32_t> claimed{0};
    std::atomic<uint32_t> done{0};

    // The next tasks that nobody has taken, in order, none at the end: a run of them, for neighbours lie next to each other in
    // memory, and what is fetched ahead at the end of one is the beginning of the next. Runs shrink, so that unequal threads
    // end together.
    struct Run {
      uint32_t begin, end;
    };
    Run claim(uint32_t tasks, int threads) {
      uint32_t begin = claimed.load(std::memory_order_relaxed), count;
      do {
        if (begin >= tasks) return {tasks, tasks};
        count = threads == 1 ? tasks - begin : std::max<uint32_t>(1, (tasks - begin) / static_cast<uint32_t>(threads + 1));
      } while (!claimed.compare_exchange_weak(begin, begin + count, std::memory_order_relaxed));
      return {begin, begin + count};
    }
  };
  int threads_ = 1;  // of the step
  std::vector<Progress> progress_;
  std::vector<std::unique_ptr<Mapping>> own_arenas_;  // of threads 1 and up
  Step step_;
  std::vector<Step> steps_;  // step_ as each thread sees it
  std::mutex mutex_;
};

}  // namespace lutmac
