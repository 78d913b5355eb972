// Plain C++: for portable, and for tests as the twin of avx512.
#pragma once

#include "simd/vectors.h"

namespace lutmac::LUTMAC_TARGET {

// ---- floats ----

#if defined(LUTMAC_TWIN_OF_AVX512)
inline Floats multiply_add(Floats a, Floats b, Floats c) {
  for (int i = 0; i < kLanes; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
}
#else
inline Floats multiply_add(Floats a, Floats b, Floats c) { return a * b + c; }
#endif
inline Floats maximum(Floats a, Floats b) { return a > b ? a : b; }
inline Floats minimum(Floats a, Floats b) { return a < b ? a : b; }

typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

// The exponent is rebiased by a product with 2^112, which is right for subnormals too; all ones stay all ones.
inline Floats widen(Halves half) {
  const Bits bits = __builtin_convertvector(half, Bits);
  const Bits scaled = (Bits)((Floats)((bits & 0x7fff) << 13) * 0x1p112f);
  const Bits special = (Bits)((bits & 0x7c00) == 0x7c00) & 0x7f800000u;
  return (Floats)(scaled | special | (bits & 0x8000) << 16);
}
inline float half_to_float(uint16_t half) { return widen(Halves{half})[0]; }
inline Floats load_half(const uint16_t* from) { return widen(load_as<Halves>(from)); }
inline void store_half(uint16_t* to, Floats x) {
  x = maximum(broadcast(-kHalfMax), minimum(broadcast(kHalfMax), x));
  const Bits bits = (Bits)x & 0x7fffffffu;
  const Bits normal = (bits + 0xfff + (bits >> 13 & 1)) >> 13;  // to nearest, ties to even
  // Below 2^-14 the unit is 2^-24, which is the last place of 0.5.
  const Bits subnormal = (Bits)((Floats)bits + 0.5f) - 0x3f000000u;
  Bits half = bits < 0x38800000u ? subnormal : normal - (112u << 10);
  half = bits > 0x7f800000u ? Bits{} + 0x7e00u : half;
  half |= (Bits)x >> 16 & 0x8000;
  const Halves out = __builtin_convertvector(half, Halves);
  __builtin_memcpy(to, &out, sizeof(out));
}
inline Floats load_signed(const uint8_t* from) {
  Floats x;
  for (int i = 0; i < kLanes; ++i) x[i] = static_cast<int8_t>(from[i]);
  return x;
}
inline Bits load_unsigned(const uint8_t* from) {
  Bits x;
  for (int i = 0; i < kLanes; ++i) x[i] = from[i];
  return x;
}
inline void store_rounded(uint8_t* to, const Floats* values, int flip) {
  for (int i = 0; i < 16; ++i) to[i] = static_cast<uint8_t>(nearest_integers(values[i / kLanes])[i % kLanes] ^ flip);
}

// ---- integers ----

inline Words load_widened(const int8_t* from) {
  typedef int8_t Signed __attribute__((vector_size(2 * kLanes)));
  return __builtin_convertvector(load_as<Signed>(from), Words);
}
inline Ints dot_pairs(Words a, Words b, Ints sum) {
  const Ints even = (((Ints)a << 16) >> 16) * (((Ints)b << 16) >> 16);
  const Ints odd = ((Ints)a >> 16) * ((Ints)b >> 16);
  return sum + even + odd;
}
inline void add_dot_bytes(Ints& sum, Bytes a, Bytes b) {
  for (int i = 0; i < 4 * kLanes; ++i) sum[i / 4] += a[i] * static_cast<int8_t>(b[i]);
}
inline Bytes load_once(const uint8_t* from) { return load(from); }
inline Bytes masked_or(Bytes x, Bytes mask, Bytes rest) { return (x & mask) | rest; }
using Signs = Bytes;
inline Signs signs_of(Bytes x) { return x & 0x80; }
inline Bytes with_signs(Bytes x, Signs signs) {
  for (int i = 0; i < 4 * kLanes; ++i) x[i] = static_cast<uint8_t>(signs[i] ? -x[i] : x[i]);
  return x;
}

template <int kBytes>
inline Bytes interleave_from(Bytes a, Bytes b, int first) {
  Bytes x;
  for (int i = 0; i < 4 * kLanes; ++i) {
    const int item = i % 16 / kBytes, from = i / 16 * 16 + first + item / 2 * kBytes + i % kBytes;
    x[i] = item % 2 == 0 ? a[from] : b[from];
  }
  return x;
}
template <int kBytes>
inline Bytes interleave_low(Bytes a, Bytes b) {
  return interleave_from<kBytes>(a, b, 0);
}
template <int kBytes>
inline Bytes interleave_high(Bytes a, Bytes b) {
  return interleave_from<kBytes>(a, b, 8);
}
inline Ints interleave_widened(const uint8_t* a, const uint8_t* b) {
  Ints x;
  for (int i = 0; i < kLanes; ++i) x[i] = i % 2 == 0 ? a[i / 2] : b[i / 2];
  return x;
}
inline Bytes transpose_bits_of_8(Bytes x) {
  Bytes out{};
  for (int i = 0; i < 4 * kLanes; ++i) {
    for (int j = 0; j < 8; ++j) out[i] = static_cast<uint8_t>(out[i] | (x[i / 8 * 8 + 7 - j] >> (i % 8) & 1) << j);
  }
  return out;
}

// ---- lookups ----

inline Floats look_up_floats(Floats table, Ints indices) {
  Floats x;
  for (int i = 0; i < kLanes; ++i) x[i] = table[indices[i] & 15];
  return x;
}

inline Bytes load_table_first(const void* from, int count) {
  Bytes x{};
  for (int i = 0; i < 4 * kLanes; ++i) {
    if (i % 16 < count) x[i] = static_cast<const uint8_t*>(from)[i % 16];
  }
  return x;
}
inline Bytes look_up(Bytes table, Bytes indices) {
  for (int i = 0; i < 4 * kLanes; ++i) indices[i] = table[i / 16 * 16 + indices[i] % 16];
  return indices;
}
inline Bytes look_up_four(Bytes tables, Bytes indices) {
  for (int i = 0; i < 4 * kLanes; ++i) indices[i] = tables[indices[i] & 63];
  return indices;
}
inline Bytes look_up_eight(Bytes low, Bytes high, Bytes indices) {
  for (int i = 0; i < 4 * kLanes; ++i) {
    const uint8_t index = indices[i];
    indices[i] = index & 64 ? high[index & 63] : low[index & 63];
  }
  return indices;
}

}  // namespace lutmac::LUTMAC_TARGET
