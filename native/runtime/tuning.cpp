#include "runtime/tuning.h"

#include <stdexcept>

#include "runtime/thread_pool.h"

namespace lutmac {
namespace {

Tuning current;

}  // namespace

const Tuning& tuning() { return current; }

void set_tuning(const Tuning& tuning) {
  if (tuning.spin_microseconds < 0 || tuning.spin_microseconds > kMaxSpinMicroseconds) {
    throw std::invalid_argument("spin_microseconds must be 0 to 50");
  }
  if (tuning.tasks_per_product < 1 || tuning.tasks_per_product > 4096) {
    throw std::invalid_argument("tasks_per_product must be 1 to 4096");
  }
  if (tuning.block_kilobytes < 1 || tuning.block_kilobytes > 1 << 20) {
    throw std::invalid_argument("block_kilobytes must be 1 to 1048576");
  }
  current = tuning;
  set_spin_microseconds(tuning.spin_microseconds);
}

}  // namespace lutmac
