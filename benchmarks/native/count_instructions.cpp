// The instructions that a product executes, one by one, without counters of the processor: a child makes the product, and
// its parent steps through it. benchmarks/kernel_counts.py sums them up.
//
//   count_instructions TARGET KIND ROWS COLUMNS GROUP TOKENS [prepare]
//
// KIND is an index into kProductKinds. Prints a line for each instruction: its address in the file, and how often it ran.
#include <elf.h>
#include <link.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "product.h"

using namespace lutmac;

namespace {

// Where the system has loaded this program: what its addresses are above those of the file.
uintptr_t load_bias() {
  uintptr_t bias = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        *static_cast<uintptr_t*>(out) = info->dlpi_addr;
        return 1;  // the program is the first
      },
      &bias);
  return bias;
}

void run_child(const TargetEntry& entry, char** argv) {
  const ProductKind& kind = kProductKinds[std::atoi(argv[2])];
  const ProductShape shape{std::atoi(argv[3]), std::atoi(argv[4]), std::atoi(argv[5]), std::atoi(argv[6])};
  Product product(entry, kind, shape, false);
  const bool prepare = argv[7] != nullptr;
  product.run();  // what is made on first use is there
  ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  raise(SIGSTOP);
  prepare ? product.prepare(0) : product.run();
  raise(SIGSTOP);
  _exit(0);
}

std::unordered_map<uintptr_t, int64_t> step_through(pid_t child) {
  std::unordered_map<uintptr_t, int64_t> counts;
  int status = 0;
  waitpid(child, &status, 0);  // the first stop
  while (ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0) {
    if (waitpid(child, &status, 0) < 0 || WIFEXITED(status)) break;
    if (WSTOPSIG(status) == SIGSTOP) break;  // the second
    user_regs_struct registers;
    ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    ++counts[registers.rip];
  }
  kill(child, SIGKILL);
  return counts;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7) return 2;
  for (const TargetEntry& entry : targets()) {
    if (std::string_view(entry.name) != argv[1] || !entry.runs_here()) continue;
    const pid_t child = fork();
    if (child == 0) run_child(entry, argv);
    const uintptr_t bias = load_bias();
    for (const auto& [address, count] : step_through(child)) std::printf("%" PRIxPTR " %" PRId64 "\n", address - bias, count);
    return 0;
  }
  std::fprintf(stderr, "the target %s does not run here\n", argv[1]);
  return 1;
}
