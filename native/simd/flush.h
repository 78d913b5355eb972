// Arithmetic of the matrix unit: denormals are zero, in what is read and in what comes out. Rounding is to nearest, ties to even.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

inline constexpr float kSmallestNormal = 0x1p-126f;

inline float flush(float x) { return __builtin_fabsf(x) < kSmallestNormal ? __builtin_copysignf(0.0f, x) : x; }

// a * b + c for bf16 a and b. What rounds up to the smallest normal number from below it is tiny, and zero, where it would be below
// after rounding with a larger range of exponents. The product has 16 bits and the sum is small here, so a double holds it.
inline float flushed_multiply_add(float a, float b, float c) {
  const float result = __builtin_fmaf(flush(a), flush(b), flush(c));
  if (__builtin_fabsf(result) != kSmallestNormal) return flush(result);
  const double exact = double{flush(a)} * flush(b) + flush(c);
  return __builtin_fabs(exact) < 0x1p-126 * (1.0 - 0x1p-25) ? __builtin_copysignf(0.0f, result) : result;
}
inline float flushed_add(float a, float b) { return flush(flush(a) + flush(b)); }

#if defined(__AVX512F__) && !defined(LUTMAC_TWIN_OF_AVX512)
// While it lives, all arithmetic of the thread is of this kind. What computes is to be in functions that are not inlined: the
// compiler moves arithmetic over the change of mode.
class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON | kDenormalsAreZero); }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kDenormalsAreZero = 0x40;
  unsigned before_;
};
inline Floats chain_multiply_add(Floats a, Floats b, Floats c) { return multiply_add(a, b, c); }
inline Floats chain_add(Floats a, Floats b) { return a + b; }
#else
class FlushDenormals {
 public:
  FlushDenormals() {}
  ~FlushDenormals() {}
};
inline Floats chain_multiply_add(Floats a, Floats b, Floats c) {
  for (int i = 0; i < kLanes; ++i) c[i] = flushed_multiply_add(a[i], b[i], c[i]);
  return c;
}
inline Floats chain_add(Floats a, Floats b) {
  for (int i = 0; i < kLanes; ++i) a[i] = flushed_add(a[i], b[i]);
  return a;
}
#endif

}  // namespace lutmac::LUTMAC_TARGET
