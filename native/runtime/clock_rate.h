// The clock at which this thread's core runs now.
#pragma once

namespace lutmac {

// Cycles per second, the best of some rounds of a third of a millisecond: a chain of additions, of which each waits for the one
// before and takes a cycle.
double clock_rate();

}  // namespace lutmac
