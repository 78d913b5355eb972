// Packs many matrices at once: their tiles are one list of tasks. Python's other threads run meanwhile.
#pragma once

#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/packed_matrix.h"

namespace lutmac {

class Packer {
 public:
  Packer(const TargetEntry& target, int threads) : target_(target), threads_(threads) {}
  const TargetEntry& target() const { return target_; }
  // The matrix has its shape and size at once, its contents once all is packed. What the source points to must live until then.
  // Throw std::invalid_argument where the description contradicts itself.
  std::shared_ptr<PackedMatrix> add(const LowBitSource& source);
  std::shared_ptr<PackedMatrix> add(const DenseSource& source);
  std::shared_ptr<PackedMatrix> add(const RandomSource& source);
  // Fills matrices in the order in which they were added, about so many bytes of them. Returns whether all are full.
  bool pack(int64_t most_bytes);

 private:
  struct Job {
    std::shared_ptr<PackedMatrix> matrix;
    std::variant<LowBitSource, DenseSource, RandomSource> source;
  };

  const TargetEntry& target_;
  int threads_;
  std::vector<Job> jobs_;
  int64_t packed_tiles_ = 0;  // of all jobs' tiles, those that are full
};

}  // namespace lutmac
