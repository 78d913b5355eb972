#include "runtime/thread_pool.h"

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lutmac {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Longer than any imbalance between operations of a step, shorter than a scheduler's time slice.
constexpr std::chrono::microseconds kSpin{50};

// Calls done() until it is true, or the time for spinning is over.
template <typename Done>
bool spin(Done done) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  if (spin([&] { return value.load(std::memory_order_acquire) != old; })) return;
  value.wait(old, std::memory_order_acquire);
}

// cpu.max of cgroup v2 ("max" or microseconds per period): whole cores, at least 1; 0 when there is no quota.
int quota_cores() {
  FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r");
  if (!file) return 0;
  char quota[32] = {};
  long long period = 0;
  const int fields = std::fscanf(file, "%31s %lld", quota, &period);
  std::fclose(file);
  if (fields != 2 || period <= 0 || quota[0] == 'm') return 0;
  const long long microseconds = std::atoll(quota);
  return microseconds > 0 ? static_cast<int>(std::max(1LL, microseconds / period)) : 0;
}

// First core listed as this one's hyperthread siblings: one number per physical core.
int first_sibling(int cpu) {
  const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
  FILE* file = std::fopen(path.c_str(), "r");
  int first = cpu;
  if (file) {
    if (std::fscanf(file, "%d", &first) != 1) first = cpu;
    std::fclose(file);
  }
  return first;
}

}  // namespace

void wait_until(const std::atomic<uint32_t>& value, uint32_t wanted) {
  if (spin([&] { return value.load(std::memory_order_acquire) == wanted; })) return;
  for (uint32_t now; (now = value.load(std::memory_order_acquire)) != wanted;) {
    value.wait(now, std::memory_order_acquire);
  }
}

ThreadPool& ThreadPool::instance() {
  static ThreadPool pool;
  return pool;
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::grow(int count) {
  while (static_cast<int>(workers_.size()) < count - 1) {
    const int thread = static_cast<int>(workers_.size()) + 1;
    // The generation is read here, under the job lock: a worker that starts late must not miss the next job.
    const uint32_t seen = generation_.load(std::memory_order_relaxed);
    workers_.emplace_back([this, thread, seen] { work(thread, seen); });
  }
}

void ThreadPool::work(int thread, uint32_t seen) {
  // Signals are for the threads that know what to do with them: Ctrl-C must wake Python's main thread.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  for (;;) {
    wait_for_change(generation_, seen);
    if (stop_.load(std::memory_order_acquire)) return;
    ++seen;
    if (thread < active_) job_(context_, thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
  }
}

void ThreadPool::run(int count, void (*job)(void*, int), void* context) {
  if (count <= 1) {
    job(context, 0);
    return;
  }
  const std::lock_guard lock(job_mutex_);
  grow(count);
  active_ = count;
  job_ = job;
  context_ = context;
  running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  job(context, 0);
  wait_until(running_, 0);
}

int default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::set<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cores.insert(first_sibling(cpu));
    }
  }
  int count = cores.empty() ? static_cast<int>(std::thread::hardware_concurrency()) : static_cast<int>(cores.size());
  if (const int quota = quota_cores()) count = std::min(count, quota);
  return std::max(count, 1);
}

}  // namespace lutmac
