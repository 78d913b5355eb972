#include "runtime/program.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace lutmac {

Cache::Cache(std::vector<int> num_pages, std::vector<int> layer_groups, std::vector<int64_t> layer_page_bytes)
    : num_pages_(std::move(num_pages)),
      layer_groups_(std::move(layer_groups)),
      layer_page_bytes_(std::move(layer_page_bytes)),
      page_strides_(num_pages_.size(), 0) {
  for (size_t i = 0; i < layer_groups_.size(); ++i) page_strides_[layer_groups_[i]] += layer_page_bytes_[i];
  int64_t total = 0;
  std::vector<int64_t> next_layer(num_pages_.size());  // of each group, as layers take their places
  for (size_t group = 0; group < num_pages_.size(); ++group) {
    next_layer[group] = total;
    total += num_pages_[group] * page_strides_[group];
  }
  memory_ = std::make_unique<Mapping>(static_cast<size_t>(total), true);
  for (size_t i = 0; i < layer_groups_.size(); ++i) {
    layers_.push_back(memory_->data() + next_layer[layer_groups_[i]]);
    next_layer[layer_groups_[i]] += layer_page_bytes_[i];
  }
}

void Cache::copy_page(int source, int target) {
  if (source == target) return;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const int64_t stride = page_strides_[layer_groups_[i]];
    std::memcpy(layers_[i] + target * stride, layers_[i] + source * stride, static_cast<size_t>(layer_page_bytes_[i]));
  }
}

Program::Program(const TargetEntry& target, int max_tokens, int max_sequences, int max_context, int64_t arena_bytes,
                 int num_layers, int num_cache_groups)
    : target_(target),
      max_tokens_(max_tokens),
      max_sequences_(max_sequences),
      max_context_(max_context),
      num_cache_groups_(num_cache_groups),
      cached_layers_(num_layers),
      arena_bytes_(arena_bytes),
      arena_(std::make_unique<Mapping>(static_cast<size_t>(arena_bytes), true)),
      token_sequence_(max_tokens),
      token_position_(max_tokens) {
  step_.groups.resize(num_cache_groups);
  step_.arena = arena_->data();
}

void Program::add_cached_layer(int layer, int group, int64_t page_bytes) {
  if (layer < 0 || layer >= static_cast<int>(cached_layers_.size())) throw std::invalid_argument("no such layer");
  if (group < 0 || group >= num_cache_groups_) throw std::invalid_argument("no such cache group");
  cached_layers_[layer] = {group, std::max(page_bytes, cached_layers_[layer].page_bytes)};
}

void Program::check_cache(const Cache& cache) const {
  bool fits = cache.num_groups() == num_cache_groups_ && cache.num_layers() == static_cast<int>(cached_layers_.size());
  for (int layer = 0; fits && layer < cache.num_layers(); ++layer) {
    const CachedLayer& needed = cached_layers_[layer];
    fits = needed.group < 0 ||
           (cache.layer_group(layer) == needed.group && cache.layer_page_bytes(layer) >= needed.page_bytes);
  }
  if (!fits) throw std::invalid_argument("the cache does not have the layers that the program keeps");
}

void Program::reserve_scratch(int64_t bytes) {
  if (bytes <= step_.scratch_bytes) return;
  scratch_ = std::make_unique<Mapping>(static_cast<size_t>(bytes), false);
  step_.scratch = scratch_->data();
  step_.scratch_bytes = bytes;
}

void Program::prepare_walk(int threads) {
  size_t phases = 0;
  for (const auto& operation : operations_) phases += static_cast<size_t>(operation->phases());
  if (progress_.size() != phases) {
    progress_ = std::vector<Progress>(phases);
    const std::span all(operations_);
    for (size_t i = 1; i < all.size(); ++i) all[i]->follow(*all[i - 1], all.subspan(i + 1));
  }
  for (Progress& progress : progress_) {
    progress.claimed.store(0, std::memory_order_relaxed);
    progress.done.store(0, std::memory_order_relaxed);
  }
  // Of a thread's own arena one row of each form is ever written: small pages.
  while (static_cast<int>(own_arenas_.size()) < threads - 1) {
    own_arenas_.push_back(std::make_unique<Mapping>(static_cast<size_t>(arena_bytes_), false));
  }
  threads_ = threads;
  if (static_cast<int>(steps_.size()) < threads) steps_.resize(threads);
  for (int thread = 0; thread < threads; ++thread) {
    steps_[thread] = step_;
    steps_[thread].own_arena = thread == 0 ? step_.arena : own_arenas_[thread - 1]->data();
  }
}

void Program::walk(int thread) {
  const Step& step = steps_[thread];
  Progress* progress = progress_.data();
  for (const auto& operation : operations_) {
    const int phases = operation->phases();
    for (int phase = 0; phase < phases; ++phase, ++progress) {
      const uint32_t tasks = static_cast<uint32_t>(operation->tasks(step, phase));
      if (tasks == 0) continue;
      uint32_t own = 0;
      for (Progress::Run run; (run = progress->claim(tasks, threads_)).begin < tasks; own += run.end - run.begin) {
        if (own == 0) operation->begin(step);
        for (uint32_t task = run.begin; task < run.end; ++task) operation->run(step, phase, task);
      }
      if (own > 0 && progress->done.fetch_add(own, std::memory_order_acq_rel) + own == tasks) {
        progress->done.notify_all();
      } else {
        wait_until(progress->done, tasks);
      }
    }
  }
}

void Program::step(const Cache& cache, const Input& input, int threads) {
  const std::lock_guard lock(mutex_);
  Batch& batch = step_.batch;
  batch = {input.num_tokens,     input.num_sequences,    input.tokens,          input.sequence_start,
           input.first_position, token_sequence_.data(), token_position_.data(), input.num_output_rows,
           input.output_rows};
  for (int s = 0; s < input.num_sequences; ++s) {
    for (int row = input.sequence_start[s]; row < input.sequence_start[s + 1]; ++row) {
      token_sequence_[row] = s;
      token_position_[row] = input.first_position[s] + row - input.sequence_start[s];
    }
  }
  for (int group = 0; group < num_cache_groups_; ++group) {
    step_.groups[group].block_table = input.block_tables[group].first;
    step_.groups[group].table_stride = input.block_tables[group].second;
  }
  step_.cache = &cache;
  step_.logits = input.logits;
  step_.num_logits_rows = input.num_logits_rows;
  step_.hidden = input.hidden;

  prepare_walk(threads);
  auto job = [this](int thread) { walk(thread); };
  ThreadPool::instance().run(threads, job);
}

}  // namespace lutmac
