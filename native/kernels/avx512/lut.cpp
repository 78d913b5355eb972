// AVX-512 without VBMI: byte shuffles of four 128-bit parts, VNNI dot products.
//
// 8-bit codes: [tile][4 k][64 rows][4 bytes], unsigned; the activations' high and low halves take one vpdpbusd each.
// Codebooks: [tile][8 k][64 rows][4 bytes], the first 4 codes in the low nibbles.
#include <immintrin.h>

#include "kernels/avx512/packing.h"
#include "kernels/bytewise.h"

namespace lutmac::avx512 {
namespace {

struct Simd {
  using Codes = LUTMAC_TARGET::Codes;
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kLanes = 16;
  // 2 sub-tiles x 8 tokens = 16 sums, 4 vectors of indices, 2 tables and 2 constants in 32 registers.
  static constexpr int kSubTiles = 2;

  static Int load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  static void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
  static Int table(const uint8_t* p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Int load_int(const int32_t* p) { return _mm512_load_si512(p); }
  static void store_int(int32_t* p, Int v) { _mm512_store_si512(p, v); }
  static Int zero() { return _mm512_setzero_si512(); }
  static Int set32(int value) { return _mm512_set1_epi32(value); }
  static Int low_nibbles(Int v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
  static Int high_nibbles(Int v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }
  static Int lookup(Int table, Int index) { return _mm512_shuffle_epi8(table, index); }

  template <bool kTriple>
  static Int quad_add(Int acc, Int looked) {
    return _mm512_dpbusd_epi32(acc, looked, _mm512_set1_epi32(kTriple ? 0x00040201 : 0x08040201));
  }
  static Int quad_start(int start) { return set32(start); }
  static Int quad_total(Int acc, int) { return acc; }
  // A block's sum of a quad stays below 30,601: it is a word.
  static Int quad_multiple(int multiple) { return set32(multiple); }
  static Int gather_spare(Int a, Int b, Int c) {
    // Bytes 3 of a, b, c become bytes 0, 1, 2; byte 3 is anything.
    b = _mm512_and_si512(_mm512_srli_epi32(b, 16), set32(0xff00));
    c = _mm512_and_si512(_mm512_srli_epi32(c, 8), set32(0xff0000));
    return _mm512_or_si512(_mm512_srli_epi32(a, 24), _mm512_or_si512(b, c));
  }
  static Int pair_sum(Int looked) { return _mm512_maddubs_epi16(looked, _mm512_set1_epi16(0x0201)); }
  // sum + the products of each lane's two words.
  static Int multiply_words(Int sum, Int words, Int multiple) { return _mm512_dpwssd_epi32(sum, words, multiple); }
  static Int upper_bytes(Int v) { return _mm512_srli_epi16(v, 8); }
  static Int to_upper_bytes(Int v) { return _mm512_slli_epi16(v, 8); }
  // Opaque to the compiler: GCC puts additions off until the registers are full of what is to be added.
  static Int add16(Int a, Int b) {
    asm("vpaddw %1, %0, %0" : "+v"(a) : "v"(b));
    return a;
  }
  static Int subtract16(Int a, Int b) { return _mm512_sub_epi16(a, b); }
  static Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
  static Float set_float(float value) { return _mm512_set1_ps(value); }
  static Float broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Float load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Float load_float(const float* p) { return _mm512_load_ps(p); }
  static void store_float(float* p, Float v) { _mm512_store_ps(p, v); }
  static Float multiply_float(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }

  // 4 bytes, wherever they lie and whatever they are.
  struct [[gnu::packed, gnu::may_alias]] Word {
    int32_t value;
  };
  static Int set_word(const uint8_t* p) { return _mm512_set1_epi32(reinterpret_cast<const Word*>(p)->value); }

  // The three trits of every byte as a number from -13 to 13, in magnitude and sign, and the index of the other two.
  struct Trits {
    Int triple, pair;
    __mmask64 negative;
  };

  static Trits trits(Int bytes) {
    const Int even = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(9));  // 9 * byte: its upper byte is the pair
    const Int odd = _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(9 << 8));
    // (odd & 0xff00) | upper byte of even
    const Int pair = _mm512_ternarylogic_epi32(odd, upper_bytes(even), _mm512_set1_epi16(-256), 0xec);
    const Int triple = _mm512_sub_epi8(bytes, lookup(table(Codes::Trits::kMiddle), pair));
    return {_mm512_abs_epi8(triple), pair, _mm512_movepi8_mask(triple)};
  }

  // sign * A[triple] + C[pair], u8.
  static Int look_up_trits(const uint8_t* tables, const Trits& trits) {
    const Int triples = lookup(table(tables), trits.triple), pairs = lookup(table(tables + 64), trits.pair);
    return _mm512_mask_sub_epi8(_mm512_add_epi8(pairs, triples), trits.negative, pairs, triples);
  }

  // Adds multiple times the even or the odd words, which are below 2^15.
  static Int add_even_words(Int acc, Int words, int multiple) {
    return _mm512_dpwssd_epi32(acc, words, _mm512_set1_epi32(multiple));
  }
  static Int add_odd_words(Int acc, Int words, int multiple) {
    return _mm512_dpwssd_epi32(acc, words, _mm512_set1_epi32(multiple << 16));
  }

  // Weights as bytes around 128, a vector for 16 rows x 4 k: 8-bit codes as they are.
  struct ByteReader {
    static constexpr int kUnits = 1;
    void load(const uint8_t* p, Int* weights) const { weights[0] = Simd::load(p); }
  };
  // And 4-bit codes by lookup of a codebook's values, 16 rows x 8 k.
  struct CodebookReader {
    static constexpr int kUnits = 2;
    Int values;
    explicit CodebookReader(const int8_t* book) {
      values = _mm512_xor_si512(table(reinterpret_cast<const uint8_t*>(book)), _mm512_set1_epi8(-128));
    }
    void load(const uint8_t* p, Int* weights) const {
      const Int codes = Simd::load(p);
      weights[0] = lookup(values, low_nibbles(codes));
      weights[1] = lookup(values, high_nibbles(codes));
    }
  };

  // sum += weights * integers, 4 to a lane. Opaque to the compiler: GCC 12 would copy every sum in every round.
  static void add_bytes(Int& sum, Int weights, Int integers) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(integers));
  }
  // The same 4 integers for every lane.
  static void add_bytes(Int& sum, Int weights, const uint8_t* integers) {
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(weights), "m"(*reinterpret_cast<const Word*>(integers)));
  }

  // sums[n, row] = sum of weight * integer over `count` activations, whose own sum is activations[n]. vpdpbusd wants
  // unsigned weights; what the 128 in them adds is taken off at the start.
  template <int kTokens, typename Reader>
  [[gnu::noinline]] static void multiply(const Reader& reader, const uint8_t* codes, const uint8_t* x, int64_t stride,
                                         int count, const int32_t* activations, int32_t* sums) {
    constexpr int kTogether = kTokens == 1 ? 4 : kTokens == 8 ? 1 : 2, kUnits = Reader::kUnits;
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      Int high[kTokens][kTogether], low[kTokens][kTogether];
      #pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        #pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          high[n][t] = zero();
          low[n][t] = set32(-128 * activations[n]);
        }
      }
      for (int piece = 0; piece < count / (4 * kUnits); ++piece) {
        Int weights[kTogether][kUnits];
        #pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          reader.load(codes + (piece * 4 + t0 + t) * 64, weights[t]);
          prefetch(codes + (piece * 4 + t0 + t) * 64 + 4096);
        }
        #pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          #pragma GCC unroll 8
          for (int unit = 0; unit < kUnits; ++unit) {
            const uint8_t* at = x + n * stride + (piece * kUnits + unit) * 8;
            if constexpr (kTogether == 1) {
              add_bytes(high[n][0], weights[0][unit], at);
              add_bytes(low[n][0], weights[0][unit], at + 4);
            } else {
              const Int upper = set_word(at), lower = set_word(at + 4);
              #pragma GCC unroll 8
              for (int t = 0; t < kTogether; ++t) {
                add_bytes(high[n][t], weights[t][unit], upper);
                add_bytes(low[n][t], weights[t][unit], lower);
              }
            }
          }
        }
      }
      #pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        #pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) {
          store_int(sums + n * 64 + (t0 + t) * 16, _mm512_add_epi32(_mm512_slli_epi32(high[n][t], 8), low[n][t]));
        }
      }
    }
  }

  static float sum16(const float* x) { return _mm512_reduce_add_ps(_mm512_loadu_ps(x)); }

  static float largest_entry(const float* x) {
    const Float a = group_sums(_mm512_abs_ps(_mm512_loadu_ps(x)));
    const Float b = group_sums(_mm512_abs_ps(_mm512_loadu_ps(x + 16)));
    return _mm512_reduce_max_ps(_mm512_max_ps(a, b));
  }

  // Every lane holds the sum of its 4 neighbours.
  static Float group_sums(Float v) {
    v = _mm512_add_ps(v, _mm512_permute_ps(v, 0xb1));
    return _mm512_add_ps(v, _mm512_permute_ps(v, 0x4e));
  }

  static void store_table(const float* x, float inverse, uint8_t* table) {
    const Float scaled = _mm512_mul_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(x)), set_float(inverse));
    Float sum = _mm512_fmadd_ps(_mm512_permute_ps(scaled, 0x00), _mm512_load_ps(kSigns[0]), set_float(128.0f));
    sum = _mm512_fmadd_ps(_mm512_permute_ps(scaled, 0x55), _mm512_load_ps(kSigns[1]), sum);
    sum = _mm512_fmadd_ps(_mm512_permute_ps(scaled, 0xaa), _mm512_load_ps(kSigns[2]), sum);
    sum = _mm512_fmadd_ps(_mm512_permute_ps(scaled, 0xff), _mm512_load_ps(kSigns[3]), sum);
    store_bytes(&sum, 0, table);
  }

  // 16 values from -127 to 127, the same way.
  static void store_signed(const Float* values, int flip, uint8_t* out) { store_bytes(values, flip, out); }

  // 16 values from 0 to 255, rounded; flip: bits to change in each.
  static void store_bytes(const Float* values, int flip, uint8_t* out) {
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(values[0]));
    _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_xor_si128(bytes, _mm_set1_epi8(static_cast<char>(flip))));
  }
};

}  // namespace

const Kernels kKernels = bytewise_kernels<Simd>();

}  // namespace lutmac::avx512
