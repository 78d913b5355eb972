// The thread pool and the shares of tasks: every task once, whoever runs; asleep when idle; a forked child has its own pool. And how
// many threads.
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "check.h"
#include "runtime/cores.h"
#include "runtime/task_shares.h"
#include "runtime/thread_pool.h"

using namespace lutmac;

namespace {

bool every_task_runs_once(int threads, int64_t tasks) {
  std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
  ThreadPool::instance().for_each(threads, tasks, [&](int64_t i) { runs[static_cast<size_t>(i)].fetch_add(1); });
  for (const auto& count : runs) {
    if (count != 1) return false;
  }
  return true;
}

void test_tasks() {
  for (int round = 0; round < 300; ++round) {
    for (int threads : {1, 2, 3, 16}) {
      check(every_task_runs_once(threads, round % 40), "%d threads, %d tasks: not each once", threads, round % 40);
    }
  }
}

// Jobs of several callers queue, and each gets all its own tasks done.
void test_callers() {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int round = 0; round < 200; ++round) wrong += !every_task_runs_once(2 + caller, 17);
    });
  }
  for (auto& caller : callers) caller.join();
  check(wrong == 0, "%d of the jobs of four callers went wrong", wrong.load());
}

// Of how many tasks a phase consists: none for most of the threads, a few, or many.
uint32_t tasks_of(int phase) { return phase % 4 == 0 ? 1 : static_cast<uint32_t>(phase * 37 % 90 + 1); }

// Walks phases as a program's threads do. Thread 0 is late in some, and threads beyond `present` never come. In each phase
// every task has to run once, behind all tasks of the phase before.
void test_shares(int threads, int present) {
  constexpr int kPhases = 200;
  TaskShares shares;
  std::atomic<int> wrong{0};
  for (int step = 0; step < 3; ++step) {
    std::vector<std::vector<std::atomic<int>>> runs;
    for (int phase = 0; phase < kPhases; ++phase) runs.emplace_back(tasks_of(phase));
    shares.begin_step(threads);
    const auto walk = [&](int thread) {
      TaskShares::Place place{.thread = thread};
      for (int phase = 0; phase < kPhases; ++phase) {
        place.enter_phase(tasks_of(phase));
        uint32_t own = 0;
        if (thread == 0 && phase % 20 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
        for (TaskShares::TaskRange range; (range = shares.claim(place)).begin < range.end; own += range.end - range.begin) {
          for (uint32_t task = range.begin; task < range.end; ++task) {
            for (const auto& before : runs[static_cast<size_t>(phase > 0 ? phase - 1 : 0)]) wrong += phase > 0 && before != 1;
            runs[static_cast<size_t>(phase)][task].fetch_add(1);
          }
        }
        shares.finish_phase(place, own);
      }
    };
    std::vector<std::thread> others;
    for (int thread = 1; thread < present; ++thread) others.emplace_back(walk, thread);
    walk(0);
    for (auto& other : others) other.join();
    for (const auto& phase : runs) {
      for (const auto& count : phase) wrong += count != 1;
    }
  }
  check(wrong == 0, "%d of %d threads: %d tasks ran too early or not once", present, threads, wrong.load());
}

// A thread's share is one run of neighbours, and those of all threads are about equal.
void test_order_of_shares() {
  TaskShares shares;
  shares.begin_step(3);
  TaskShares::Place places[3] = {{.thread = 0}, {.thread = 1}, {.thread = 2}};
  const uint32_t begins[4] = {0, 3, 6, 10};
  for (TaskShares::Place& place : places) {
    place.enter_phase(10);
    for (uint32_t task = begins[place.thread]; task < begins[place.thread + 1]; ++task) {
      const TaskShares::TaskRange range = shares.claim(place);
      check(range.begin == task && range.end == task + 1, "thread %d got %u to %u, expected task %u", place.thread, range.begin,
            range.end, task);
    }
  }
  for (const TaskShares::Place& place : places) {
    const TaskShares::TaskRange range = shares.claim(place);
    check(range.begin == range.end, "a task is claimed twice");
  }
}

double process_seconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Eight workers that spun on would take 8 * 200 ms; those that sleep take 50 us each, once.
void test_idle() {
  every_task_runs_once(9, 100);
  const double before = process_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const double used = process_seconds() - before;
  check(used < 0.02, "an idle pool took %.1f ms of CPU in 200 ms", used * 1e3);
}

// The thread sanitizer refuses threads in a child that is forked from a process with threads.
#ifndef __SANITIZE_THREAD__
void test_fork() {
  every_task_runs_once(4, 100);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a child that waits for its parent's threads must not wait for ever
    _exit(every_task_runs_once(4, 1000) ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child cannot use the pool (status %d)", status);
  check(every_task_runs_once(4, 100), "the parent cannot use the pool after a fork");
}
#endif

// A file system of its own, in a folder that is removed at the end.
struct Root {
  std::string path = (std::filesystem::temp_directory_path() / ("lutmac-threads-" + std::to_string(getpid()))).string();
  ~Root() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path + name).parent_path());
    std::ofstream(path + name) << text << "\n";
  }
};

void check_quota(int expected, const char* what, const Root& root) {
  const int found = quota_cores(root.path);
  check(found == expected, "%s: %d cores, expected %d", what, found, expected);
}

void test_quota() {
  {
    const Root root;
    root.write("/proc/self/cgroup", "0::/outer/inner");
    check_quota(0, "no quota files", root);
    root.write("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000");
    check_quota(0, "v2 without a quota", root);
    root.write("/sys/fs/cgroup/outer/cpu.max", "350000 100000");
    check_quota(3, "v2, the outer group's quota", root);
    root.write("/sys/fs/cgroup/outer/inner/cpu.max", "50000 100000");
    check_quota(1, "v2, half a core", root);
  }
  {
    const Root root;  // in a container: the path is the host's, the mount is the container's group
    root.write("/proc/self/cgroup", "5:cpuset:/\n4:cpu,cpuacct:/docker/abc");
    root.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
    root.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
    check_quota(0, "v1 without a quota", root);
    root.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000");
    check_quota(2, "v1", root);
  }
}

void test_cores() {
  const Root root;
  for (int cpu = 0; cpu < 4; ++cpu) {
    root.write("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
               cpu % 2 == 0 ? "0,2" : "1,3");
  }
  check(physical_cores({0, 1, 2, 3}, root.path) == 2, "four hyperthreads of two cores are not two");
  check(physical_cores({2}, root.path) == 1, "the second hyperthread alone is not a core");
  check(physical_cores({1, 2, 3}, root.path) == 2, "affinity is not honoured");
  check(physical_cores({7, 8}, root.path) == 2, "without topology each logical core counts");
  check(default_threads() >= 1, "no threads by default");
}

}  // namespace

int main() {
  test_cores();
  test_quota();
  test_tasks();
  test_callers();
  test_order_of_shares();
  for (const int threads : {1, 2, 3, 7}) {
    for (const int present : {1, threads}) test_shares(threads, present);
  }
  test_idle();
#ifndef __SANITIZE_THREAD__
  test_fork();
#endif
  return report("threads_test");
}
