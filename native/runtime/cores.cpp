#include "runtime/cores.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace lutmac {
namespace {

// microseconds of quota in each period, as whole cores; 0 for "no quota", which v2 writes as "max" and v1 as -1.
int whole_cores(const std::string& quota, long long period) {
  std::istringstream text(quota);
  long long microseconds = 0;
  if (!(text >> microseconds) || microseconds <= 0 || period <= 0) return 0;
  return static_cast<int>(std::max(1LL, microseconds / period));
}

int quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  long long period = 0;
  return file >> quota >> period ? whole_cores(quota, period) : 0;
}

int quota_v1(const std::string& folder) {
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
  std::string quota;
  long long period = 0;
  return quota_file >> quota && period_file >> period ? whole_cores(quota, period) : 0;
}

// The least quota of a cgroup and all those that it lies in. Inside a container the path may be the host's and name
// nothing here: the mount itself is then the container's group, and the last to be asked.
int least_quota(const std::string& mount, std::string path, int (*quota)(const std::string&)) {
  int least = 0;
  for (;;) {
    const int cores = quota(mount + path);
    if (cores && (!least || cores < least)) least = cores;
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

bool lists_cpu(const std::string& controllers) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

}  // namespace

int physical_cores(const std::vector<int>& cpus, const std::string& root) {
  std::set<int> cores;
  for (int cpu : cpus) {
    std::ifstream file(root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list");
    int first = cpu;  // "0,4" or "0-1": the first sibling stands for the core, whether we may run on it or not
    if (!(file >> first)) first = cpu;
    cores.insert(first);
  }
  return static_cast<int>(cores.size());
}

int quota_cores(const std::string& root) {
  // Lines "id:controllers:path"; cgroup v2 is the one with id 0 and no controllers.
  std::ifstream file(root + "/proc/self/cgroup");
  int least = 0;
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    int cores = 0;
    if (controllers.empty()) {
      cores = least_quota(root + "/sys/fs/cgroup", path, quota_v2);
    } else if (lists_cpu(controllers)) {
      cores = least_quota(root + "/sys/fs/cgroup/cpu", path, quota_v1);  // a link to cpu,cpuacct where they are one
      if (!cores) cores = least_quota(root + "/sys/fs/cgroup/" + controllers, path, quota_v1);
    }
    if (cores && (!least || cores < least)) least = cores;
  }
  return least;
}

int default_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
  }
  int count = cpus.empty() ? static_cast<int>(std::thread::hardware_concurrency()) : physical_cores(cpus);
  if (const int quota = quota_cores()) count = std::min(count, quota);
  return std::max(count, 1);
}

}  // namespace lutmac
