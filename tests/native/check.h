// What the native test programs share: checks with messages, and random numbers.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

inline int failures = 0;

[[gnu::format(printf, 2, 3)]] inline void check(bool holds, const char* format, ...) {
  if (holds) return;
  ++failures;
  va_list arguments;
  va_start(arguments, format);
  std::fputs("FAILED: ", stderr);
  std::vfprintf(stderr, format, arguments);
  std::fputc('\n', stderr);
  va_end(arguments);
}

inline int report(const char* name) {
  std::printf("%s: %s\n", name, failures == 0 ? "passed" : "FAILED");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

class TestRandom {
 public:
  explicit TestRandom(uint64_t seed) : state_(seed) {}
  // Uniform in [-1, 1).
  float signed_unit() { return static_cast<float>(static_cast<int32_t>(next() >> 32)) * 0x1p-31f; }
  int below(int limit) { return static_cast<int>((next() >> 33) % static_cast<uint64_t>(limit)); }
  std::vector<float> floats(size_t count, float scale = 1.0f) {
    std::vector<float> out(count);
    for (float& x : out) x = signed_unit() * scale;
    return out;
  }

 private:
  uint64_t next() { return (state_ = state_ * 6364136223846793005u + 1442695040888963407u) * 0x9e3779b97f4a7c15u; }
  uint64_t state_;
};
