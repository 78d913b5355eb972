// The instructions of this target, under names that say what they do. wide_twin.h has the same in plain C++.
#pragma once

#if defined(__AVX512VBMI__)

#include <immintrin.h>

#include "target.h"

namespace lutmac::LUTMAC_TARGET {

// A dword is a row in all of them. Loads and stores of sums and parameters are aligned to 64 bytes.
struct Wide {
  using Int = __m512i;
  using Float = __m512;

  // Opaque to the compiler, which would load twice what is read twice.
  static Int load(const uint8_t* p) {
    Int v;
    asm("vmovdqu64 %1, %0" : "=v"(v) : "m"(*reinterpret_cast<const __m512i_u*>(p)));
    return v;
  }
  // A pointer that the compiler knows nothing of, so that what is loaded through it is not kept in registers for later rounds.
  static const uint8_t* again(const uint8_t* p) {
    asm("" : "+r"(p));
    return p;
  }
  static void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
  static Int set32(int32_t value) { return _mm512_set1_epi32(value); }
  static Int add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  static Int times_16(Int v) { return _mm512_slli_epi32(v, 4); }

  // Of every byte its low or its high nibble, as the index of an entry: byte j of a dword reads table j of four.
  static Int low_indices(Int v) { return nibble_indices(v); }
  static Int high_indices(Int v) { return nibble_indices(_mm512_srli_epi32(v, 4)); }

  // The entries of four tables of 16 at 64 indices.
  static Int look_up(Int tables, Int indices) { return _mm512_permutexvar_epi8(indices, tables); }

  // The bytes of `low` and, behind them, of `high` at the low 7 bits of the indices.
  static Int look_up_128(Int low, Int high, Int indices) { return _mm512_permutex2var_epi8(low, indices, high); }
  static Int xor_bytes(Int v, int value) { return _mm512_xor_si512(v, _mm512_set1_epi8(static_cast<char>(value))); }
  // Bytes' highest bits; and the sum of two bytes, with the other sign where such a bit is set.
  using Signs = __mmask64;
  static Signs signs(Int v) { return _mm512_movepi8_mask(v); }
  static Int signed_sum(Int a, Int b, Signs signs) {
    const Int sum = _mm512_add_epi8(a, b);
    return _mm512_mask_sub_epi8(sum, signs, _mm512_setzero_si512(), sum);
  }

  // sum += in every dword, its four u8 of `first` and of `second` times the four s8 of `weights`. Opaque to the compiler: GCC 12
  // would copy sums in every round.
  static void add_weighted(Int& sum, Int first, Int second, Int weights) {
    asm("vpdpbusd %3, %1, %0\n\tvpdpbusd %3, %2, %0" : "+&v"(sum) : "v"(first), "v"(second), "v"(weights));
  }
  static void add_weighted(Int& sum, Int entries, Int weights) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(entries), "v"(weights));
  }

  // [multiple][plane 0 to 3]: the multiple, at most 15, times 1, 2, 4 and 8, each of them four times. count: of the multiples,
  // 1 to 4; what lies behind them is not read.
  static void store_weights(const int32_t* multiples, int count, uint32_t* out) {
    const __m128i some = _mm_maskz_loadu_epi32(static_cast<__mmask8>((1 << count) - 1), multiples);
    const Int each = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(some), _mm512_set_epi64(0x0c0c0c0c0c0c0c0c, 0x0c0c0c0c0c0c0c0c, 0x0808080808080808, 0x0808080808080808,
                                                                              0x0404040404040404, 0x0404040404040404, 0, 0));
    const Int planes = _mm512_broadcast_i32x4(_mm_set_epi32(3, 2, 1, 0));
    _mm512_store_si512(out, _mm512_sllv_epi32(each, planes));
  }

  static Float set_float(float value) { return _mm512_set1_ps(value); }
  static Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
  static Float load_float(const float* p) { return _mm512_load_ps(p); }
  static void store_float(float* p, Float v) { _mm512_store_ps(p, v); }
  static Float multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  // 16 halves, and 16 s8, as floats.
  static Float load_halves(const uint8_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Float load_bytes(const uint8_t* p) {
    return to_float(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }

 private:
  // (v & 15) | the table's place
  static Int nibble_indices(Int v) {
    return _mm512_ternarylogic_epi32(v, set32(0x0f0f0f0f), set32(0x30201000), 0xea);
  }
};

}  // namespace lutmac::LUTMAC_TARGET

#else
#include "kernels/avx512vbmi/wide_twin.h"
#endif
