// The rate at which memory delivers plain reads: the upper limit of decoding.
#pragma once

namespace lutmac {

// Bytes per second, the best of several passes over a buffer of that size; all arguments at least 1.
double memory_read_rate(int threads, int megabytes, int passes);

}  // namespace lutmac
