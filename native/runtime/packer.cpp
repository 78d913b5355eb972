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

bool Packer::pack(int64_t most_bytes) {
  std::vector<int64_t> first_tile;  // of each job, in the common list
  int64_t tiles = 0, end = packed_tiles_;
  for (const Job& job : jobs_) {
    const int64_t of_job = job.matrix->tiles();
    first_tile.push_back(tiles);
    tiles += of_job;
    if (end >= tiles || most_bytes <= 0 || of_job == 0) continue;
    const int64_t tile_bytes = std::max<int64_t>(1, static_cast<int64_t>(job.matrix->bytes()) / of_job);
    const int64_t count = std::min(tiles - end, (most_bytes - 1) / tile_bytes + 1);
    end += count;
    most_bytes -= count * tile_bytes;
  }
  const int64_t begin = packed_tiles_;
  ThreadPool::instance().for_each(threads_, end - begin, [&](int64_t task) {
    const int64_t tile = begin + task;
    const auto next = std::upper_bound(first_tile.begin(), first_tile.end(), tile);
    const size_t index = static_cast<size_t>(next - first_tile.begin()) - 1;
    const Job& job = jobs_[index];
    std::visit([&](const auto& source) { job.matrix->fill_tile(source, tile - first_tile[index]); }, job.source);
  });
  packed_tiles_ = end;
  if (end < tiles) return false;
  jobs_.clear();
  packed_tiles_ = 0;
  return true;
}

}  // namespace lutmac
