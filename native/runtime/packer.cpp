#include "runtime/packer.h"

#include <algorithm>

#include "runtime/thread_pool.h"

namespace lutmac {

std::shared_ptr<PackedMatrix> Packer::add(const LowBitSource& source) {
  jobs_.push_back({std::make_shared<PackedMatrix>(target_, source), source});
  return jobs_.back().matrix;
}

std::shared_ptr<PackedMatrix> Packer::add(const DenseSource& source) {
  jobs_.push_back({std::make_shared<PackedMatrix>(target_, source), source});
  return jobs_.back().matrix;
}

std::shared_ptr<PackedMatrix> Packer::add(const RandomSource& source) {
  jobs_.push_back({std::make_shared<PackedMatrix>(target_, source), source});
  return jobs_.back().matrix;
}

void Packer::finish() {
  std::vector<int64_t> first_tile;  // of each job, in the common list
  int64_t tiles = 0;
  for (const Job& job : jobs_) {
    first_tile.push_back(tiles);
    tiles += job.matrix->tiles();
  }
  ThreadPool::instance().for_each(threads_, tiles, [&](int64_t tile) {
    const auto next = std::upper_bound(first_tile.begin(), first_tile.end(), tile);
    const size_t index = static_cast<size_t>(next - first_tile.begin()) - 1;
    const Job& job = jobs_[index];
    std::visit([&](const auto& source) { job.matrix->fill_tile(source, tile - first_tile[index]); }, job.source);
  });
  jobs_.clear();
}

}  // namespace lutmac
