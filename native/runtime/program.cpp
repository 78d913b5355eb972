#include "runtime/program.h"

#include <algorithm>
#include <utility>

#include "runtime/operation_list.h"
#include "runtime/require.h"

namespace lutmac {
namespace {

constexpr std::chrono::milliseconds kInterruptEvery{20};

bool overlap_in_first_row(const Buffer& a, const Buffer& b) {
  return a.offset < b.offset + b.stride() && b.offset < a.offset + a.stride();
}

bool are_one_phase(const Operation& before, const Operation& behind) {
  const auto *first = dynamic_cast<const KeyHeadTasks*>(&before), *second = dynamic_cast<const KeyHeadTasks*>(&behind);
  if (!first || !second || first->state_index() != second->state_index()) return false;
  const std::vector<Buffer> read = first->buffers_read();
  const Buffer written = second->buffer_written();
  return std::none_of(read.begin(), read.end(), [&](const Buffer& buffer) { return overlap_in_first_row(buffer, written); });
}

}  // namespace

Program::Program(const TargetEntry& target, int max_tokens, int max_sequences, int max_context, int64_t arena_bytes)
    : target_(target),
      max_tokens_(max_tokens),
      max_sequences_(max_sequences),
      max_context_(max_context),
      arena_bytes_(arena_bytes) {
  require(max_tokens >= 1 && max_tokens <= 65536 && max_sequences >= 1 && max_context >= 1 && arena_bytes >= 1,
          "a program's limits must be positive, and a step have at most 65536 tokens");
  arena_ = std::make_unique<Mapping>(static_cast<size_t>(arena_bytes), true);
  token_sequence_.resize(max_tokens);
  token_position_.resize(max_tokens);
  step_.arena = arena_->data();
}

void Program::add_state(ProgramState state) {
  require(state.group >= 0 && state.group <= num_cache_groups_, "cache groups are numbered in the order of their states");
  require(state.group == num_cache_groups_ || group_has_slots(state.group) == state.slot,
          "a cache group has pages alone or slots alone");
  state.index = static_cast<int>(states_.size());
  if (state.slot) {
    require(state.bytes >= 1 && state.bytes <= int64_t{1} << 40 && state.bytes % 64 == 0,
            "a slot must have bytes, a multiple of 64");
  } else {
    require(state.num_kv_heads >= 1 && state.num_kv_heads <= 65536, "keys and values need a head");
    for (const int dim : {state.head_dim, state.value_dim}) {
      require(dim > 0 && dim % 2 == 0 && dim <= kMaxHeadDim, "the size of a key or a value must be even, at most 576");
    }
    require(state.window >= 0, "window must not be negative");
    require(!state.latent || state.value_dim <= state.head_dim, "the value in a latent must not be larger than it");
    state.bytes = state.latent ? state.num_kv_heads * latent_page_bytes(state.type, state.head_dim)
                               : page_bytes(state.type, state.num_kv_heads, state.head_dim, state.value_dim);
  }
  num_cache_groups_ = std::max(num_cache_groups_, state.group + 1);
  step_.groups.resize(num_cache_groups_);
  states_.push_back(state);
}

bool Program::group_has_slots(int group) const {
  return std::any_of(states_.begin(), states_.end(),
                     [&](const ProgramState& state) { return state.group == group && state.slot; });
}

void Program::add(const std::string& name, FieldMap given, bool together) {
  Fields fields(*this, name, std::move(given));
  std::unique_ptr<Operation> operation = make_operation(name, fields);
  fields.finish();
  require(!together || !operations_.empty(), "there is nothing to run side by side with");
  if (!together) maker_ = operations_.empty() ? nullptr : operations_.back()->leaves_forms();
  for (const int64_t form : fields.forms_read()) {
    require(left_forms_.count(form) == 0 || (maker_ && maker_->writes_form(form)),
            "a form is read that only the operation behind its maker has");
  }
  for (const int64_t form : fields.forms_written()) left_forms_.erase(form);
  if (maker_) operation->take_over(*maker_);
  if (const RowOperation* maker = operation->leaves_forms()) {
    for (const Buffer& form : maker->forms()) left_forms_.insert(form.offset);
  }
  if (together) {
    operations_.back()->join(*operation);
  } else {
    if (!operations_.empty()) continued_.back() = are_one_phase(*operations_.back(), *operation);
    operations_.push_back(std::move(operation));
    continued_.push_back(false);
  }
}

void Program::check_cache(const Cache& cache) const {
  bool fits = cache.num_groups() == num_cache_groups_ && cache.num_states() == static_cast<int>(states_.size());
  for (int i = 0; fits && i < cache.num_states(); ++i) {
    fits = cache.state_group(i) == states_[i].group && cache.state_page_bytes(i) >= states_[i].bytes;
  }
  require(fits, "the cache does not have the states that the program keeps");
}

void Program::reserve_scratch(int64_t bytes) {
  if (bytes <= step_.scratch_bytes) return;
  scratch_ = std::make_unique<Mapping>(static_cast<size_t>(bytes), false);
  step_.scratch = scratch_->data();
  step_.scratch_bytes = bytes;
}

void Program::prepare_walk(int threads) {
  // Small pages: only one row of each form is written in a thread's own arena.
  while (static_cast<int>(own_arenas_.size()) < threads - 1) {
    own_arenas_.push_back(std::make_unique<Mapping>(static_cast<size_t>(arena_bytes_), false));
  }
  step_.threads = threads;
  shares_.begin_step(threads);
  if (trace_) trace_->make_room(threads);
  if (static_cast<int>(steps_.size()) < threads) steps_.resize(threads);
  for (int thread = 0; thread < threads; ++thread) {
    steps_[thread] = step_;
    steps_[thread].own_arena = thread == 0 ? step_.arena : own_arenas_[thread - 1]->data();
  }
}

// Whether the step is interrupted. Asks the caller, at most every kInterruptEvery.
bool Program::ask_to_leave() {
  const auto now = std::chrono::steady_clock::now();
  if (now - asked_ < kInterruptEvery) return false;
  asked_ = now;
  return is_interrupted_();
}

void Program::walk(int thread) {
  if (!trace_) return walk_operations(thread);
  const int64_t begin = trace_clock();
  walk_operations(thread);
  const int64_t end = trace_clock();
  trace_->add({thread, -1, 0, step_.batch.num_tokens, begin, end, end});
}

void Program::walk_operations(int thread) {
  const Step& step = steps_[thread];
  TaskShares::Place place{.thread = thread};
  const Operation* follower = nullptr;
  for (size_t index = 0; index < operations_.size(); ++index) {
    const Operation& operation = *operations_[index];
    // Threads may leave between two operations: those that are in an operation do all of its remaining tasks.
    if (thread == 0 && is_interrupted_ && ask_to_leave()) left_.store(true, std::memory_order_relaxed);
    if (left_.load(std::memory_order_relaxed)) return;
    const bool begun = std::exchange(follower, nullptr) != nullptr;
    for (int phase = begun ? 1 : 0; phase < operation.phases(); ++phase) {
      const uint32_t tasks = static_cast<uint32_t>(operation.tasks(step, phase));
      if (tasks == 0) continue;
      place.enter_phase(tasks);
      follower = follower_of(index, step, tasks);
      const Phase parts{operation, phase, follower};
      if (!trace_) {
        run_phase(parts, place, nullptr);
        continue;
      }
      TraceEvent event{thread, static_cast<int64_t>(follower ? index + 1 : index), phase, 0, trace_clock(), 0, 0};
      event.tasks = run_phase(parts, place, &event.end);
      event.released = trace_clock();
      trace_->add(event);
    }
  }
}

const Operation* Program::follower_of(size_t index, const Step& step, uint32_t tasks) const {
  if (!continued_[index] || step.batch.num_tokens > 1) return nullptr;
  const Operation* next = operations_[index + 1].get();
  return next->tasks(step, 0) == tasks ? next : nullptr;  // else attention is cut finer than by key heads
}

uint32_t Program::run_phase(const Phase& phase, const TaskShares::Place& place, int64_t* end) {
  const Step& step = steps_[place.thread];
  uint32_t own = 0;
  for (TaskShares::TaskRange range; (range = shares_.claim(place)).begin < range.end; own += range.end - range.begin) {
    if (own == 0) phase.operation.begin(step);
    for (uint32_t task = range.begin; task < range.end; ++task) {
      phase.operation.run(step, phase.number, task);
      if (phase.follower) phase.follower->run(step, 0, task);
    }
  }
  if (end) *end = trace_clock();
  shares_.finish_phase(place, own);
  return own;
}

void Program::start_trace() {
  const std::lock_guard lock(mutex_);
  trace_ = std::make_unique<Trace>();
}

std::vector<TraceEvent> Program::take_trace() {
  const std::lock_guard lock(mutex_);
  if (!trace_) return {};
  return std::unique_ptr<Trace>(std::move(trace_))->all();
}

bool Program::step(const Cache& cache, const Input& input, int threads) {
  const std::lock_guard lock(mutex_);
  Batch& batch = step_.batch;
  batch = {input.num_tokens,     input.num_sequences,    input.tokens,          input.sequence_start,
           input.first_position, token_sequence_.data(), token_position_.data(), input.token_types,
           input.num_output_rows, input.output_rows,    input.num_tokens - input.prompt_rows};
  while (batch.generated_outputs < batch.num_output_rows &&
         batch.output_rows[batch.generated_outputs] < batch.generated_rows) {
    ++batch.generated_outputs;
  }
  for (int s = 0; s < input.num_sequences; ++s) {
    for (int row = input.sequence_start[s]; row < input.sequence_start[s + 1]; ++row) {
      token_sequence_[row] = s;
      token_position_[row] = input.first_position[s] + row - input.sequence_start[s];
    }
  }
  for (int group = 0; group < num_cache_groups_; ++group) {
    step_.groups[group].page_table = input.page_tables[group].first;
    step_.groups[group].table_stride = input.page_tables[group].second;
  }
  step_.cache = &cache;
  step_.logits = input.logits;
  step_.num_logits_rows = input.num_logits_rows;
  step_.hidden = input.hidden;

  is_interrupted_ = input.is_interrupted;
  asked_ = std::chrono::steady_clock::now();
  left_.store(false, std::memory_order_relaxed);
  prepare_walk(threads);
  auto job = [this](int thread) { walk(thread); };
  ThreadPool::instance().run(threads, job);
  return !left_.load(std::memory_order_relaxed);
}

}  // namespace lutmac
