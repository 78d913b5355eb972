// What the machine's memory gives to plain reads: the wall that decoding runs into.
#pragma once

namespace lutmac {

// Bytes per second, the best of several passes over a buffer of that size; all arguments at least 1.
double memory_read_rate(int threads, int megabytes, int passes);

}  // namespace lutmac
