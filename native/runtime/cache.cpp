#include "runtime/cache.h"

#include <cstring>

namespace lutmac {

Cache::Cache(std::vector<int> num_pages, std::vector<int> state_groups, std::vector<int64_t> state_page_bytes)
    : num_pages_(std::move(num_pages)),
      state_groups_(std::move(state_groups)),
      state_page_bytes_(std::move(state_page_bytes)),
      page_strides_(num_pages_.size(), 0) {
  for (size_t i = 0; i < state_groups_.size(); ++i) page_strides_[state_groups_[i]] += state_page_bytes_[i];
  int64_t total = 0;
  std::vector<int64_t> next_state(num_pages_.size());  // of each group, as states take their places
  for (size_t group = 0; group < num_pages_.size(); ++group) {
    next_state[group] = total;
    total += num_pages_[group] * page_strides_[group];
  }
  memory_ = std::make_unique<Mapping>(static_cast<size_t>(total), true);
  for (size_t i = 0; i < state_groups_.size(); ++i) {
    states_.push_back(memory_->data() + next_state[state_groups_[i]]);
    next_state[state_groups_[i]] += state_page_bytes_[i];
  }
}

void Cache::copy_page(int group, int source, int target) {
  if (source == target) return;
  for (size_t i = 0; i < states_.size(); ++i) {
    if (state_groups_[i] != group) continue;
    const int64_t stride = page_strides_[group];
    std::memcpy(states_[i] + target * stride, states_[i] + source * stride, static_cast<size_t>(state_page_bytes_[i]));
  }
}

}  // namespace lutmac
