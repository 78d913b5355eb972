#include "runtime/last_resort.h"

#include <csignal>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace lutmac {
namespace {

// Python runs a handler only between two bytecodes of its main thread. These run at once.
constexpr int kSignals = 65;  // as Linux counts them
struct sigaction handlers_before[kSignals];
volatile sig_atomic_t seconds_left = 0;  // 0: the alarm is set, or not asked for

void on_alarm(int) {
  static const char kMessage[] = "lutmac: something did not end in time: the process is stopped\n";
  if (write(STDERR_FILENO, kMessage, sizeof kMessage - 1) < 0) {
  }
  _exit(1);
}

void on_signal(int number, siginfo_t* info, void* context) {
  if (seconds_left > 0) {
    alarm(static_cast<unsigned>(seconds_left));
    seconds_left = 0;
  }
  const struct sigaction& before = handlers_before[number];
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(number, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  }
}

void check(int result, int number) {
  if (result != 0) throw std::invalid_argument("no signal that can be handled: " + std::to_string(number));
}

}  // namespace

void end_after_signal(const int* signals, int count, unsigned seconds) {
  struct sigaction action = {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_alarm;
  check(sigaction(SIGALRM, &action, nullptr), SIGALRM);
  seconds_left = static_cast<sig_atomic_t>(seconds);
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < count; ++i) {
    const int number = signals[i];
    if (number <= 0 || number >= kSignals) throw std::invalid_argument("no signal: " + std::to_string(number));
    check(sigaction(number, nullptr, &handlers_before[number]), number);
    check(sigaction(number, &action, nullptr), number);
  }
}

}  // namespace lutmac
