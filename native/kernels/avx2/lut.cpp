// AVX2: byte shuffles of two 128-bit parts. Compiled twice: as avx2, and as avxvnni for processors with AVX-VNNI, whose dot
// products take one instruction. Both have one packing, called avx2, and give the same bits.
//
// Instructions for 32 bytes of weights and one token, after the load: 9 for four planes (and, shift, and, 2 shuffles, 2
// vpmaddubsw, 2 vpaddw), 9 for two, 11 for one: 64 weights of 4 bits, 128 of 2, 256 of 1. avxvnni saves 2 for four planes, 2 of 6
// at 8 bits and 4 of 19 with a codebook, none for one or two planes, whose sums are words of a row each. Intel's cores of this
// kind start 3 vector instructions per cycle, of them one shuffle: 3, 3 and 3.7 cycles, or at 3 GHz 64, 128 and 210 GMAC/s, and
// 80 at 3 bits, which are two planes and one. Cores that start four, as AMD's of late, do a third more and clock higher.
//
// 8-bit codes: [tile][2 k][32 rows][2 bytes], signed (code - 128); widened to 16 bits and multiplied with the
// activations' integers by vpmaddwd.
// Codebooks: [tile][8 k][32 rows][4 bytes], the low nibbles codes 0, 2, 1, 3 and the high nibbles 4, 6, 5, 7.
#include <immintrin.h>

#include "kernels/avx2/packing.h"
#include "kernels/bytewise.h"
#include "vnni.h"

namespace lutmac::LUTMAC_TARGET {
namespace {

struct Simd {
  using Codes = LUTMAC_TARGET::Codes;
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kLanes = 8;
  // 8 tokens x 1 sub-tile = 8 sums, 2 vectors of indices, 2 tables and 2 constants in 16 registers.
  static constexpr int kSubTiles = 1;

  static Int load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0); }
  static Int table(const uint8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Int load_int(const int32_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_int(int32_t* p, Int v) { _mm256_store_si256(reinterpret_cast<__m256i*>(p), v); }
  static Int zero() { return _mm256_setzero_si256(); }
  static Int set32(int value) { return _mm256_set1_epi32(value); }
  static Int low_nibbles(Int v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
  static Int high_nibbles(Int v) { return low_nibbles(_mm256_srli_epi16(v, 4)); }
  static Int lookup(Int table, Int index) { return _mm256_shuffle_epi8(table, index); }

#if LUTMAC_HAS_VNNI
  template <bool kTriple>
  static Int quad_add(Int acc, Int looked) {
    return dot_bytes(acc, looked, set32(kTriple ? 0x00040201 : 0x08040201));
  }
  static Int quad_start(int start) { return set32(start); }
  static Int quad_total(Int acc, int) { return acc; }
  // A block's sum of a quad stays below 30,601: it is a word.
  static Int quad_multiple(int multiple) { return set32(multiple); }
#else
  // Words of planes 0 + 2 * 1 and planes 2 + 2 * 3; 8 lookups of a block stay below 6,121.
  template <bool kTriple>
  static Int quad_add(Int acc, Int looked) {
    return add16(acc, _mm256_maddubs_epi16(looked, set32(kTriple ? 0x00010201 : 0x02010201)));
  }
  static Int quad_start(int) { return zero(); }
  static Int quad_total(Int acc, int start) { return multiply_words(set32(start), acc, quad_multiple(1)); }
  static Int quad_multiple(int multiple) { return set32(multiple * 0x00040001); }
#endif
  static Int gather_spare(Int a, Int b, Int c) {
    // Bytes 3 of a, b, c become bytes 0, 1, 2; byte 3 is anything.
    b = _mm256_and_si256(_mm256_srli_epi32(b, 16), set32(0xff00));
    c = _mm256_and_si256(_mm256_srli_epi32(c, 8), set32(0xff0000));
    return _mm256_or_si256(_mm256_srli_epi32(a, 24), _mm256_or_si256(b, c));
  }
  static Int pair_sum(Int looked) { return _mm256_maddubs_epi16(looked, _mm256_set1_epi16(0x0201)); }
  // sum + the products of each lane's two words.
  static Int multiply_words(Int sum, Int words, Int multiple) {
    return dot_words(sum, words, multiple);
  }
  static Int upper_bytes(Int v) { return _mm256_srli_epi16(v, 8); }
  static Int to_upper_bytes(Int v) { return _mm256_slli_epi16(v, 8); }
  // Opaque to the compiler: GCC puts additions off until the registers are full of what is to be added.
  static Int add16(Int a, Int b) {
    asm("vpaddw %1, %0, %0" : "+x"(a) : "x"(b));
    return a;
  }
  static Int subtract16(Int a, Int b) { return _mm256_sub_epi16(a, b); }
  static Float to_float(Int v) { return _mm256_cvtepi32_ps(v); }
  static Float set_float(float value) { return _mm256_set1_ps(value); }
  static Float broadcast(const float* p) { return _mm256_set1_ps(*p); }
  static Float load_half(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Float load_float(const float* p) { return _mm256_load_ps(p); }
  static void store_float(float* p, Float v) { _mm256_store_ps(p, v); }
  static Float multiply_float(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float multiply_add(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }

  // The three trits of every byte as a number from -13 to 13, in magnitude and sign, and the index of the other two.
  struct Trits {
    Int triple, pair, sign;
  };

  static Trits trits(Int bytes) {
    const Int even = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(9));  // 9 * byte: its upper byte is the pair
    const Int odd = _mm256_maddubs_epi16(bytes, _mm256_set1_epi16(9 << 8));
    const Int pair = _mm256_or_si256(_mm256_and_si256(odd, _mm256_set1_epi16(-256)), upper_bytes(even));
    const Int triple = _mm256_sub_epi8(bytes, lookup(table(Codes::Trits::kMiddle), pair));
    return {_mm256_abs_epi8(triple), pair, triple};
  }

  // sign * A[triple] + C[pair], u8.
  static Int look_up_trits(const uint8_t* tables, const Trits& trits) {
    const Int triples = _mm256_sign_epi8(lookup(table(tables), trits.triple), trits.sign);
    return _mm256_add_epi8(lookup(table(tables + 64), trits.pair), triples);
  }

  // Adds multiple times the even or the odd words, which are below 2^15.
  static Int add_even_words(Int acc, Int words, int multiple) {
    return dot_words(acc, words, _mm256_set1_epi32(multiple));
  }
  static Int add_odd_words(Int acc, Int words, int multiple) {
    return dot_words(acc, words, _mm256_set1_epi32(multiple << 16));
  }

  // Weights as words, a vector for 8 rows x 2 k: 8-bit codes widened.
  struct ByteReader {
    static constexpr int kUnits = 1;
    void load(const uint8_t* p, Int* weights) const {
      weights[0] = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
  };
  // And 4-bit codes by lookup of a codebook's values, 8 rows x 8 k.
  struct CodebookReader {
    static constexpr int kUnits = 4;
    Int values;
    explicit CodebookReader(const int8_t* book) { values = table(reinterpret_cast<const uint8_t*>(book)); }
    void load(const uint8_t* p, Int* weights) const {
      const Int codes = Simd::load(p);
      widen(lookup(values, low_nibbles(codes)), weights);
      widen(lookup(values, high_nibbles(codes)), weights + 2);
    }
    // Even bytes are the first two of 4 codes, odd bytes the last two.
    static void widen(Int bytes, Int* words) {
      words[0] = _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
      words[1] = _mm256_srai_epi16(bytes, 8);
    }
  };

  // sums[n, row] = sum of weight * integer over `count` activations.
  template <int kTokens, typename Reader>
  [[gnu::noinline]] static void multiply(const Reader& reader, const uint8_t* codes, const uint8_t* x, int64_t stride,
                                         int count, const int32_t*, int32_t* sums) {
    constexpr int kUnits = Reader::kUnits, kBytes = kUnits == 1 ? 16 : 32;
    constexpr int kTogether = kTokens == 1 ? 4 / (kUnits == 1 ? 1 : 2) : kTokens == 8 || kUnits > 1 ? 1 : 2;
    for (int t0 = 0; t0 < 4; t0 += kTogether) {
      Int acc[kTokens][kTogether];
      #pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        #pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) acc[n][t] = zero();
      }
      for (int piece = 0; piece < count / (2 * kUnits); ++piece) {
        Int weights[kTogether][kUnits];
        #pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) reader.load(codes + (piece * 4 + t0 + t) * kBytes, weights[t]);
        if (kTokens == 1) {
          for (int t = 0; t < kTogether; t += 64 / kBytes) prefetch(codes + (piece * 4 + t0 + t) * kBytes + 4096);
        }
        #pragma GCC unroll 8
        for (int n = 0; n < kTokens; ++n) {
          #pragma GCC unroll 8
          for (int unit = 0; unit < kUnits; ++unit) {
            const Int integers = set_word(x + n * stride + (piece * kUnits + unit) * 4);
            #pragma GCC unroll 8
            for (int t = 0; t < kTogether; ++t) {
              acc[n][t] = dot_words(acc[n][t], weights[t][unit], integers);
            }
          }
        }
      }
      #pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
        #pragma GCC unroll 8
        for (int t = 0; t < kTogether; ++t) store_int(sums + n * 32 + (t0 + t) * 8, acc[n][t]);
      }
    }
  }

  static Int set_word(const uint8_t* p) {
    int32_t word;
    std::memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
  }

  static float sum8(Float v) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
  }

  static float sum16(const float* x) { return sum8(_mm256_add_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8))); }

  // Every lane holds the sum of the magnitudes of its 4 neighbours.
  static Float group_sums(const float* x) {
    Float v = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(x));
    v = _mm256_add_ps(v, _mm256_permute_ps(v, 0xb1));
    return _mm256_add_ps(v, _mm256_permute_ps(v, 0x4e));
  }

  static float largest_entry(const float* x) {
    const Float v = _mm256_max_ps(_mm256_max_ps(group_sums(x), group_sums(x + 8)),
                                  _mm256_max_ps(group_sums(x + 16), group_sums(x + 24)));
    return _mm_cvtss_f32(_mm_max_ss(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
  }

  static void store_table(const float* x, float inverse, uint8_t* table) {
    const Float scaled = _mm256_mul_ps(_mm256_broadcast_ps(reinterpret_cast<const __m128*>(x)), set_float(inverse));
    Float sum = _mm256_fmadd_ps(_mm256_permute_ps(scaled, 0x00), _mm256_load_ps(kSigns[0]), set_float(128.0f));
    sum = _mm256_fmadd_ps(_mm256_permute_ps(scaled, 0x55), _mm256_load_ps(kSigns[1]), sum);
    sum = _mm256_fmadd_ps(_mm256_permute_ps(scaled, 0xaa), _mm256_load_ps(kSigns[2]), sum);
    const Float last = _mm256_permute_ps(scaled, 0xff);
    // The first 8 entries have -x3, the others +x3.
    const Float entries[] = {_mm256_sub_ps(sum, last), _mm256_add_ps(sum, last)};
    store_bytes(entries, 0, table);
  }

  // 16 values, rounded to words.
  static Int rounded(const Float* values) {
    const Int words = _mm256_packs_epi32(_mm256_cvtps_epi32(values[0]), _mm256_cvtps_epi32(values[1]));
    return _mm256_permute4x64_epi64(words, 0xd8);
  }
  // 16 values from -127 to 127, rounded; flip: bits to change in each.
  static void store_signed(const Float* values, int flip, uint8_t* out) {
    const Int words = rounded(values);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_xor_si128(bytes, _mm_set1_epi8(static_cast<char>(flip))));
  }
  // 16 values from 0 to 255, the same way.
  static void store_bytes(const Float* values, int flip, uint8_t* out) {
    const Int words = rounded(values);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_store_si128(reinterpret_cast<__m128i*>(out), _mm_xor_si128(bytes, _mm_set1_epi8(static_cast<char>(flip))));
  }
};

}  // namespace

const Kernels kKernels = bytewise_kernels<Simd>();

}  // namespace lutmac::LUTMAC_TARGET
