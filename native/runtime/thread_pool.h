// The process's pool of threads. A caller runs a job on its own thread and on those of the pool.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace lutmac {

// A waiting thread spins for at most this long and then sleeps. That is longer than threads differ within a step, and shorter
// than a time slice of the system's scheduler.
inline constexpr int kMaxSpinMicroseconds = 50;

// How long waiting threads of this process spin: 0 to kMaxSpinMicroseconds, which is the default.
void set_spin_microseconds(int microseconds);
int spin_microseconds();

// Waits until a value that grows is at least `end`: spins briefly, then sleeps, since the thread that will change it may not have a
// core. The thread that makes it `end` calls notify_all.
void wait_until_reached(const std::atomic<uint32_t>& value, uint32_t end);

class ThreadPool {
 public:
  // The process's pool. Made anew in a forked child, which has none of its parent's threads; a job that ran while
  // another thread forked is not continued there.
  static ThreadPool& instance();

  // Runs job(context, thread) on thread 0, which is the caller's, and on those of threads 1 .. count-1 that arrive before
  // thread 0 has ended its call. Returns when all of these have ended. So a job must claim its work from a counter: it is then
  // done even if some threads get no core. Jobs of several callers run one after the other.
  void run(int count, void (*job)(void* context, int thread), void* context);

  // The same for a callable. Tasks must not throw.
  template <typename Function>
  void run(int count, Function& function) {
    run(count, [](void* context, int thread) { (*static_cast<Function*>(context))(thread); }, &function);
  }

  // Tasks 0 .. count-1, claimed one at a time by `threads` threads.
  template <typename Function>
  void for_each(int threads, int64_t count, Function&& function) {
    std::atomic<int64_t> next{0};
    if (count < threads) threads = count < 1 ? 1 : static_cast<int>(count);
    auto claim = [&](int) {
      for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < count;) function(task);
    };
    run(threads, claim);
  }

 private:
  ThreadPool() = default;
  void work(int thread);
  void grow(int count);

  // Even: the job of that number is open, and threads may enter; odd: closed.
  std::atomic<uint32_t> job_number_{1};
  alignas(64) std::atomic<uint32_t> inside_{0};  // workers that have entered the job, or are about to see it closed
  alignas(64) std::mutex job_mutex_;             // one job at a time
  int workers_ = 0;
  int active_ = 0;  // threads of the current job
  void (*job_)(void*, int) = nullptr;
  void* context_ = nullptr;
};

}  // namespace lutmac
