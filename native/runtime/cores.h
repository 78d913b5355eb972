// How many threads the process should use.
#pragma once

#include <string>
#include <vector>

namespace lutmac {

// Physical cores among these logical ones: hyperthreads of one core share its execution units and its caches, and a
// product gains nothing from the second. root: of the file system, for tests.
int physical_cores(const std::vector<int>& cpus, const std::string& root = "");

// Whole cores, at least 1, that the CPU quota of the process's cgroup and of those around it grants; 0 where there is no
// quota. Reads cgroup v2 (cpu.max) and v1 (cpu.cfs_quota_us).
int quota_cores(const std::string& root = "");

// One thread per physical core that affinity and the cgroup's quota allow.
int default_threads();

}  // namespace lutmac
