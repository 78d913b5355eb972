// The end of a process that does not come to its end by itself.
#pragma once

namespace lutmac {

// From the next of the signals on, the process has so many seconds left; then it exits with status 1, whatever its threads
// do. What handled the signal before still does. A signal that is given a handler later is not watched any more. Uses
// alarm(2). Throws std::invalid_argument for a number that is no signal.
void end_after_signal(const int* signals, int count, unsigned seconds);

}  // namespace lutmac
