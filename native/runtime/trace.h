// What each thread did in the steps of a program, and when: for `lutmac bench --trace`.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace lutmac {

// Nanoseconds of a clock that only goes forward.
inline int64_t trace_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A thread's part of one phase of an operation, or of a whole step (operation -1, tasks: the step's tokens).
struct TraceEvent {
  int64_t thread, operation, phase;
  int64_t tasks;  // that this thread ran
  int64_t begin, end;  // from its arrival to the end of its last task
  int64_t released;    // when the tasks of all threads had ended
};

// Threads write to lists of their own, and so never wait for each other.
class Trace {
 public:
  void make_room(int threads) {
    if (static_cast<int>(of_threads_.size()) < threads) of_threads_.resize(threads);
  }
  void add(const TraceEvent& event) { of_threads_[event.thread].events.push_back(event); }

  std::vector<TraceEvent> all() const {
    std::vector<TraceEvent> joined;
    for (const OfThread& list : of_threads_) joined.insert(joined.end(), list.events.begin(), list.events.end());
    return joined;
  }

 private:
  struct alignas(64) OfThread {
    std::vector<TraceEvent> events;
  };
  std::vector<OfThread> of_threads_;
};

}  // namespace lutmac
