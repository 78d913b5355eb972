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
  // The matrix has its shape and size at once, its contents after finish. What the source points to must live until then.
  // Throw std::invalid_argument where the description contradicts itself.
  std::shared_ptr<PackedMatrix> add(const LowBitSource& source);
  std::shared_ptr<PackedMatrix> add(const DenseSource& source);
  std::shared_ptr<PackedMatrix> add(const RandomSource& source);
  void finish();

 private:
  struct Job {
    std::shared_ptr<PackedMatrix> matrix;
    std::variant<LowBitSource, DenseSource, RandomSource> source;
  };

  const TargetEntry& target_;
  int threads_;
  std::vector<Job> jobs_;
};

}  // namespace lutmac
