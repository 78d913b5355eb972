// Which thread of a step runs which task of a phase.
//
// A thread begins with its share of the tasks: neighbours, so that it reads memory from one end to the other, and prefetches at the
// end of a task reach the next. It claims them one by one. Then it helps those that are late, and takes a part of what is left of
// their shares. So nobody waits long for a thread that is slow, or has not come because the system has given its core away.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "runtime/thread_pool.h"

namespace lutmac {

class TaskShares {
 public:
  // How far a thread has come in a step. Phases are counted from 1; end: the tasks of all phases up to this one.
  struct Place {
    int thread = 0;
    uint32_t phase = 0, tasks = 0, end = 0;

    void enter_phase(uint32_t count) {
      ++phase;
      tasks = count;
      end += count;
    }
  };
  struct TaskRange {
    uint32_t begin, end;
  };

  // Not while threads are in a step.
  void begin_step(int threads) {
    threads_ = threads;
    if (static_cast<int>(taken_.size()) < threads) taken_ = std::vector<Taken>(static_cast<size_t>(threads));
    for (Taken& taken : taken_) taken.value.store(0, std::memory_order_relaxed);
    done_.tasks.store(0, std::memory_order_relaxed);
  }

  // The next tasks of the phase that a thread is in; an empty range where none are left.
  TaskRange claim(const Place& place) {
    TaskRange found = take(place, place.thread, false);
    for (int i = 1; i < threads_ && found.begin == found.end && !is_over(place); ++i) {
      found = take(place, (place.thread + i) % threads_, true);
    }
    return found;
  }

  // A thread has run so many tasks of its phase, and found no more. Returns when all tasks of the phase have been run.
  void finish_phase(const Place& place, uint32_t own) {
    if (own > 0 && done_.tasks.fetch_add(own, std::memory_order_acq_rel) + own == place.end) {
      done_.tasks.notify_all();
    } else {
      wait_until_reached(done_.tasks, place.end);
    }
  }

 private:
  // Of a thread's share: the number of the phase in the high half, and how many tasks have been claimed in the low half. An older
  // phase means that nobody has claimed any of this one yet. So nothing has to be reset between phases.
  struct alignas(64) Taken {
    std::atomic<uint64_t> value{0};
  };

  // Of the step. Not the first word of its line: the standard library knows by bits 2 to 5 of an address whether threads may be waiting
  // there, and the pool's sleeping threads wait at the beginning of a line. So each notification would be a system call (0.5 us).
  struct alignas(64) Done {
    [[maybe_unused]] uint32_t first_word = 0;
    std::atomic<uint32_t> tasks{0};
  };

  bool is_over(const Place& place) const { return done_.tasks.load(std::memory_order_relaxed) >= place.end; }

  TaskRange take(const Place& place, int thread, bool helping) {
    const auto first_task = [&](int64_t share) { return static_cast<uint32_t>(place.tasks * share / threads_); };
    const uint32_t begin = first_task(thread), size = first_task(thread + 1) - begin;
    const uint64_t phase = uint64_t{place.phase} << 32;
    std::atomic<uint64_t>& value = taken_[static_cast<size_t>(thread)].value;
    uint64_t seen = value.load(std::memory_order_relaxed);
    for (;;) {
      if (seen >> 32 > place.phase) return {0, 0};  // all are in a later phase: this one is over
      const uint32_t taken = seen < phase ? 0 : static_cast<uint32_t>(seen);
      if (taken >= size) return {0, 0};
      const uint32_t left = size - taken, threads = static_cast<uint32_t>(threads_);
      const uint32_t count = helping || threads == 1 ? std::max<uint32_t>(1, left / threads) : 1;
      if (value.compare_exchange_weak(seen, phase + taken + count, std::memory_order_relaxed)) {
        return {begin + taken, begin + taken + count};
      }
    }
  }

  int threads_ = 0;
  std::vector<Taken> taken_;  // of each thread, and of those that were in earlier steps
  Done done_;
};

}  // namespace lutmac
