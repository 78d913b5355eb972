// A program: the flat list of operations for one step, and the executor that walks it.
//
// Every thread walks the whole list. An operation has one or two phases. A phase is a number of tasks, of which each thread has a
// share (see task_shares.h). The next phase begins when all tasks are done, not when all threads arrive: so a thread that the system
// has suspended delays no other while it has no task. Nothing is allocated while a step runs.
//
// Of a step of one token the store of keys and values and the attention behind it are one phase (see KeyHeadTasks).
//
// If a step has one row, the operation that turns it into a form for a product (norm, activation, preparation) may leave that
// to the product: each thread that has tasks of the product first makes its own copy of the form. Otherwise the threads would wait
// for one of them and then fetch the form from its cache. The caller decides where (the field `own`).
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
#include "runtime/task_shares.h"
#include "runtime/trace.h"

namespace lutmac {

// A state of every sequence: keys and values of one layer, in pages; or a slot of fixed size. The cache of a step must have
// this state in the same group, with pages (or slots) of as many bytes.
struct ProgramState {
  int index = 0, group = 0;
  bool slot = false;
  CacheType type = CacheType::f16;
  int num_kv_heads = 0, head_dim = 0, value_dim = 0;
  int window = 0;  // positions that are read, the last ones; 0: all
  bool latent = false;  // a value is the first value_dim floats of its key, and is not kept apart
  int64_t bytes = 0;

  LayerCache of(const Step& step) const {
    LayerCache cache = step.groups[group];
    cache.base = step.cache->state(index);
    cache.page_stride = step.cache->page_stride(group);
    return cache;
  }
};

// An operation that has a task for each key head of a state, if a step has one token: task i works on key head i and its queries
// alone. So two such operations of one state are one phase, without a wait between them, unless the second writes over what the
// first reads.
class KeyHeadTasks {
 public:
  virtual ~KeyHeadTasks() = default;
  virtual int state_index() const = 0;
  virtual std::vector<Buffer> buffers_read() const = 0;
  virtual Buffer buffer_written() const = 0;
};

class Program {
 public:
  // Throws std::invalid_argument for limits that no program has.
  Program(const TargetEntry& target, int max_tokens, int max_sequences, int max_context, int64_t arena_bytes);

  // Adds a state; to be called before the operations that name it. Groups are numbered from 0 in order. A group holds either
  // pages or slots. Sets index, and for pages bytes.
  void add_state(ProgramState state);
  bool group_has_slots(int group) const;
  // Adds an operation by its name. together: it runs side by side with the one before.
  // Throws std::invalid_argument, naming operation and field, if a step could go wrong.
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
    bool (*is_interrupted)() = nullptr;    // called now and then between operations, by the caller's thread
    const int32_t* token_types = nullptr;  // null: all 0
    int prompt_rows = 0;                   // the last rows, which are of prompts; of output rows theirs come last too
  };
  // Runs a step. Calls from several threads wait for each other. False: the step was interrupted between two operations; its
  // results are then incomplete.
  bool step(const Cache& cache, const Input& input, int threads);

  // Steps are traced from now on, until the events are taken. Operations are numbered in the order of add, those that run
  // side by side as one.
  void start_trace();
  std::vector<TraceEvent> take_trace();

 private:
  struct Phase {
    const Operation& operation;
    int number;
    const Operation* follower;  // each task is also one of its first phase; null: none
  };

  void prepare_walk(int threads);
  void walk(int thread);
  void walk_operations(int thread);
  // The operation behind, if its first phase is part of this one's only phase in this step.
  const Operation* follower_of(size_t index, const Step& step, uint32_t tasks) const;
  // A thread's tasks of one phase, and its wait for those of the others. Returns how many tasks it ran.
  uint32_t run_phase(const Phase& phase, const TaskShares::Place& place, int64_t* end);
  bool ask_to_leave();

  const TargetEntry& target_;
  int max_tokens_, max_sequences_, max_context_, num_cache_groups_ = 0;
  std::vector<ProgramState> states_;
  int64_t arena_bytes_, vocab_size_ = 0, logits_size_ = 0, hidden_size_ = 0;
  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<bool> continued_;          // of each operation: whether the one behind has its tasks of key heads, too
  const RowOperation* maker_ = nullptr;  // whose forms the threads of the last operation make for themselves
  std::set<int64_t> left_forms_;         // forms that exist only in the arenas of the threads that made them
  std::unique_ptr<Mapping> arena_, scratch_;
  std::vector<int32_t> token_sequence_, token_position_;
  bool (*is_interrupted_)() = nullptr;
  std::chrono::steady_clock::time_point asked_;
  std::atomic<bool> left_{false};
  std::unique_ptr<Trace> trace_;  // null: steps are not traced
  TaskShares shares_;
  std::vector<std::unique_ptr<Mapping>> own_arenas_;  // of threads 1 and up
  Step step_;
  std::vector<Step> steps_;  // step_ as each thread sees it
  std::mutex mutex_;
};

}  // namespace lutmac
