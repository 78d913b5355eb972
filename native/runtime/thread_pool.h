// One pool per process: whoever runs a job brings its own thread and borrows the others.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace lutmac {

// Waits until value is `wanted`: spins briefly, then sleeps, for another process may hold the core of whoever is to
// change it. Whoever changes it calls notify_all.
void wait_until(const std::atomic<uint32_t>& value, uint32_t wanted);

class ThreadPool {
 public:
  static ThreadPool& instance();

  // Runs job(context, thread) on threads 0 .. count-1, thread 0 being the caller's; returns when all are done.
  // Jobs of several callers queue.
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

  ~ThreadPool();

 private:
  ThreadPool() = default;
  void work(int thread, uint32_t seen);
  void grow(int count);

  std::mutex job_mutex_;  // one job at a time
  std::vector<std::thread> workers_;
  std::atomic<uint32_t> generation_{0};
  std::atomic<uint32_t> running_{0};  // workers that have yet to finish the current job
  std::atomic<bool> stop_{false};
  int active_ = 0;  // threads of the current job
  void (*job_)(void*, int) = nullptr;
  void* context_ = nullptr;
};

// Cores that affinity and the cgroup's quota allow.
int default_threads();

}  // namespace lutmac
