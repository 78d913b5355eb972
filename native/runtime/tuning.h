// What may differ from machine to machine without changing a bit of any result. `lutmac tune` searches for it.
#pragma once

namespace lutmac {

struct Tuning {
  // How long a waiting thread spins before it sleeps: see thread_pool.h for the limit.
  int spin_microseconds = 50;
  // No thread should wait long for another's last task, which is half a task on average: each product is cut into about this many.
  // A claim costs little, so that more tasks cost next to nothing.
  int tasks_per_product = 64;
  // Forms of a token block that stay in cache while the tiles of a matrix pass by: half of a 1 MB L2 cache, the
  // other half being for the weights.
  int block_kilobytes = 512;
};

// Of this process. A program keeps what held when it was made, but for the spinning, which changes at once.
const Tuning& tuning();
// Throws std::invalid_argument where a value is out of range; not to be called while programs are made or run.
void set_tuning(const Tuning& tuning);

}  // namespace lutmac
