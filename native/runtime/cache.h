// The states of all sequences: pages that page tables name, and slots, which are as pages of which a sequence has one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/memory.h"

namespace lutmac {

// A group's page holds the pages of all its states side by side, so that a short sequence touches little memory even where
// the system hands it out in huge pages.
class Cache {
 public:
  Cache(std::vector<int> num_pages, std::vector<int> state_groups, std::vector<int64_t> state_page_bytes);
  int num_groups() const { return static_cast<int>(num_pages_.size()); }
  int num_states() const { return static_cast<int>(states_.size()); }
  int num_pages(int group) const { return num_pages_[group]; }
  int state_group(int state) const { return state_groups_[state]; }
  int64_t state_page_bytes(int state) const { return state_page_bytes_[state]; }
  uint8_t* state(int index) const { return states_[index]; }
  int64_t page_stride(int group) const { return page_strides_[group]; }
  // All that a page (or a slot) of a group holds. Not while a step runs.
  void copy_page(int group, int source, int target);
  int64_t bytes() const { return static_cast<int64_t>(memory_->bytes()); }

 private:
  std::vector<int> num_pages_, state_groups_;
  std::vector<int64_t> state_page_bytes_, page_strides_;
  std::vector<uint8_t*> states_;
  std::unique_ptr<Mapping> memory_;
};

}  // namespace lutmac
