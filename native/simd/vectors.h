// The vectors of an ISA target, as wide as its registers, and what the language does with them by itself.
//
// They are vectors of the compiler (GCC, Clang): + - * / and comparisons work on them as on a number, and a cast from one
// to another keeps the bits. What the language cannot say is in one file for each family of registers, under the same names.
#pragma once

#include <cstdint>

#include "target.h"

// LUTMAC_TWIN_OF_AVX512: for tests, the lanes and roundings of avx512 on any processor.
#if defined(LUTMAC_TWIN_OF_AVX512)
#define LUTMAC_LANES 16
#define LUTMAC_REGISTERS 32
#define LUTMAC_FAMILY "simd/scalar.h"
#elif defined(__AVX512F__)
#define LUTMAC_LANES 16
#define LUTMAC_REGISTERS 32
#define LUTMAC_FAMILY "simd/avx512.h"
#elif defined(__AVX2__)
#define LUTMAC_LANES 8
#define LUTMAC_REGISTERS 16
#define LUTMAC_FAMILY "simd/avx2.h"
#elif defined(__ARM_FEATURE_DOTPROD)
#define LUTMAC_LANES 4
#define LUTMAC_REGISTERS 32
#define LUTMAC_FAMILY "simd/neon.h"
#else
#define LUTMAC_LANES 4
#define LUTMAC_REGISTERS 16
#define LUTMAC_FAMILY "simd/scalar.h"
#endif

namespace lutmac::LUTMAC_TARGET {

inline constexpr int kLanes = LUTMAC_LANES;  // of 32 bits
inline constexpr int kRegisters = LUTMAC_REGISTERS;

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));  // also what a comparison gives
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
typedef int16_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t UnsignedWords __attribute__((vector_size(4 * kLanes)));
typedef uint8_t Bytes __attribute__((vector_size(4 * kLanes)));

// Largest finite f16. Keys and values beyond it are stored as it, so that no infinity enters the cache.
inline constexpr float kHalfMax = 65504.0f;

template <typename Vector>
inline Vector load_as(const void* from) {
  Vector x;
  __builtin_memcpy(&x, from, sizeof(x));
  return x;
}
inline Floats load(const float* from) { return load_as<Floats>(from); }
inline Ints load(const int32_t* from) { return load_as<Ints>(from); }
inline Bytes load(const uint8_t* from) { return load_as<Bytes>(from); }
inline void store(float* to, Floats x) { __builtin_memcpy(to, &x, sizeof(x)); }
inline void store(int32_t* to, Ints x) { __builtin_memcpy(to, &x, sizeof(x)); }

// The first `count` lanes; the others are zero.
inline Floats load_first(const float* from, int count) {
  Floats x{};
  __builtin_memcpy(&x, from, sizeof(float) * count);
  return x;
}
inline void store_first(float* to, int count, Floats x) { __builtin_memcpy(to, &x, sizeof(float) * count); }

inline Floats broadcast(float x) { return x - Floats{}; }
inline Ints broadcast(int32_t x) { return x - Ints{}; }
// Each lane becomes the 4 bytes at `from`, whatever they are.
inline Ints broadcast_dword(const void* from) {
  int32_t dword;
  __builtin_memcpy(&dword, from, sizeof(dword));
  return broadcast(dword);
}

inline Floats select(Ints mask, Floats where_set, Floats elsewhere) { return mask ? where_set : elsewhere; }
inline Floats magnitude(Floats x) { return (Floats)((Bits)x & 0x7fffffffu); }
inline Floats to_floats(Ints x) { return __builtin_convertvector(x, Floats); }
// To nearest, ties to even; |x| < 2^22.
inline Ints nearest_integers(Floats x) { return (Ints)(x + 0x1.8p23f) - 0x4b400000; }
inline void store_words(int16_t* to, Ints x) {
  typedef int16_t Halved __attribute__((vector_size(2 * kLanes)));
  const Halved words = __builtin_convertvector(x, Halved);
  __builtin_memcpy(to, &words, sizeof(words));
}

// Of each byte its low or its high nibble; of each word its upper byte, or what is one when the lower byte moves up.
inline Bytes low_nibbles(Bytes x) { return x & 15; }
inline Bytes high_nibbles(Bytes x) { return x >> 4; }
inline Words upper_bytes(Words x) { return (Words)((UnsignedWords)x >> 8); }
inline Words to_upper_bytes(Words x) { return x << 8; }
// Modulo 2^16.
inline Words subtract_words(Words a, Words b) { return (Words)((UnsignedWords)a - (UnsignedWords)b); }

// Into the first cache and into the second. Always inline: GCC takes a function that only prefetches for one that does nothing,
// and leaves its calls out.
[[gnu::always_inline]] inline void prefetch(const void* at) { __builtin_prefetch(at); }
[[gnu::always_inline]] inline void prefetch_far(const void* at) { __builtin_prefetch(at, 0, 2); }
// The same pointer, of which the compiler knows nothing: what is loaded through it is not kept in registers for later rounds.
template <typename Value>
inline const Value* again(const Value* at) {
  asm("" : "+r"(at));
  return at;
}
// Loads and stores are not moved over this line, into registers that there are not.
inline void keep_apart() { asm volatile("" ::: "memory"); }

// The lanes' numbers: as a vector, and as a pack for what wants constants.
template <int... i>
struct LaneNumbers {
  static constexpr Ints kIndex = {i...};
  // Lane l becomes lane l ^ distance.
  template <int distance, typename Vector>
  static Vector swap(Vector x) {
    return __builtin_shufflevector(x, x, (i ^ distance)...);
  }
};
#if LUTMAC_LANES == 16
using Lanes = LaneNumbers<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>;
#elif LUTMAC_LANES == 8
using Lanes = LaneNumbers<0, 1, 2, 3, 4, 5, 6, 7>;
#else
using Lanes = LaneNumbers<0, 1, 2, 3>;
#endif

// Joins the two halves with `join` until every lane holds the result.
template <int distance = kLanes / 2, typename Vector, typename Join>
inline Vector reduce(Vector x, Join join) {
  if constexpr (distance == 0) {
    return x;
  } else {
    return reduce<distance / 2>(join(x, Lanes::swap<distance>(x)), join);
  }
}
inline float reduce_add(Floats x) {
  return reduce(x, [](Floats a, Floats b) { return a + b; })[0];
}
inline Ints larger_of(Ints a, Ints b) { return a > b ? a : b; }

}  // namespace lutmac::LUTMAC_TARGET
