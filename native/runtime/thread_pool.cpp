#include "runtime/thread_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lutmac {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");  // `yield` does nothing on most cores; this one waits for some tens of cycles
#endif
}

std::atomic<int> spin_for{kMaxSpinMicroseconds};

// Calls done() until it is true, or the time for spinning is over.
template <typename Done>
bool spin(Done done) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::microseconds(spin_for.load(std::memory_order_relaxed));
  do {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// Waits until is_wanted(value): spins briefly, then sleeps until a thread that has changed the value calls notify_all.
template <typename Wanted>
void wait_until(const std::atomic<uint32_t>& value, Wanted is_wanted) {
  const auto arrived = [&] { return is_wanted(value.load(std::memory_order_acquire)); };
  if (arrived() || spin(arrived)) return;
  for (uint32_t now; !is_wanted(now = value.load(std::memory_order_acquire));) value.wait(now, std::memory_order_acquire);
}

std::atomic<ThreadPool*> the_pool{nullptr};

}  // namespace

void set_spin_microseconds(int microseconds) {
  spin_for.store(std::clamp(microseconds, 0, kMaxSpinMicroseconds), std::memory_order_relaxed);
}

int spin_microseconds() { return spin_for.load(std::memory_order_relaxed); }

void wait_until_reached(const std::atomic<uint32_t>& value, uint32_t end) {
  wait_until(value, [end](uint32_t now) { return now >= end; });
}

// A pool is never destroyed: its workers sleep until the process ends, and in a forked child there is nobody to join.
ThreadPool& ThreadPool::instance() {
  if (ThreadPool* pool = the_pool.load(std::memory_order_acquire)) return *pool;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { the_pool.store(nullptr); });
  (void)registered;
  auto* made = new ThreadPool;
  ThreadPool* found = nullptr;
  if (the_pool.compare_exchange_strong(found, made)) return *made;
  delete made;  // another thread was first
  return *found;
}

void ThreadPool::grow(int count) {
  // Signals are for the threads that know what to do with them: Ctrl-C must wake Python's main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  for (; workers_ < count - 1; ++workers_) std::thread([this, thread = workers_ + 1] { work(thread); }).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void ThreadPool::work(int thread) {
  uint32_t last = 1;  // the job that this thread was in before, or has nothing to do in
  for (;;) {
    uint32_t number = 0;
    const auto open = [&] {
      number = job_number_.load(std::memory_order_acquire);
      return number % 2 == 0 && number != last;
    };
    while (!spin(open) && !open()) job_number_.wait(number, std::memory_order_acquire);
    // Either the caller, who closes the job and then looks who is inside, sees this thread, or this thread sees the job
    // closed: both need one order of all four accesses.
    inside_.fetch_add(1, std::memory_order_seq_cst);
    if (job_number_.load(std::memory_order_seq_cst) == number) {
      last = number;
      if (thread < active_) job_(context_, thread);
    }
    if (inside_.fetch_sub(1, std::memory_order_acq_rel) == 1) inside_.notify_all();
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
  job_number_.fetch_add(1, std::memory_order_seq_cst);
  job_number_.notify_all();
  job(context, 0);
  job_number_.fetch_add(1, std::memory_order_seq_cst);
  wait_until(inside_, [](uint32_t inside) { return inside == 0; });
}

}  // namespace lutmac
