// Ends a process that does not end by itself.
#pragma once

namespace lutmac {

// So many seconds after one of the signals the process exits with status 1, whatever its threads do. The handlers that the
// signals had before are still called. A signal that gets another handler later is no longer watched. Uses alarm(2). Throws
// std::invalid_argument for a number that is no signal.
void end_after_signal(const int* signals, int count, unsigned seconds);

}  // namespace lutmac
