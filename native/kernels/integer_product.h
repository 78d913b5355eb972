// The integers of 8-bit codes and of codebooks: weights as bytes or words, times the activations' integers.
//
// A target says in FOLDER/integers.h how it makes weights of packed codes (ByteReader, CodebookReader), how one token's are fetched
// (kFetch), and how their products are summed (IntegerSum): as 256 * high + low, or as words. A piece of a tile has four vectors of
// rows, and each of them kUnits vectors of weights, of IntegerSum::kColumns k each. Here are products of several tokens; those of
// one are in one_token_integers.h.
#pragma once

#include "kernels/fetch.h"
#include "kernels/lut.h"
#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// sums[n, row] = sum of weight * integer over `columns` k. x: the integers of the first token, stride bytes from one token to
// the next. activations[n]: the sum of its integers.
template <int kTokens, typename IntegerSum, typename Reader>
[[gnu::noinline]] void multiply_integers(const Reader& reader, const uint8_t* codes, const uint8_t* x, int64_t stride,
                                         int columns, const int32_t* activations, int32_t* sums) {
  constexpr int kUnits = Reader::kUnits, kTogether = IntegerSum::template together<Reader>(kTokens);
  constexpr int kTileRows = 4 * kLanes, kVectorBytes = Reader::kVectorBytes, kUnitBytes = IntegerSum::kColumns * 2;
  for (int t0 = 0; t0 < 4; t0 += kTogether) {
    IntegerSum sum[kTokens][kTogether];
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) sum[n][t].start(activations[n]);
    }
    for (int piece = 0; piece < columns / (IntegerSum::kColumns * kUnits); ++piece) {
      const uint8_t* at = codes + piece * Reader::kPieceBytes + t0 * kVectorBytes;
      typename IntegerSum::Weight weights[kTogether][kUnits];
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) reader.load(at + t * kVectorBytes, weights[t]);
      if constexpr (kVectorBytes == 64) {
#pragma GCC unroll 4
        for (int t = 0; t < kTogether; ++t) prefetch(at + t * 64 + kWeightPrefetch);
      }
#pragma GCC unroll 8
      for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
        for (int unit = 0; unit < kUnits; ++unit) {
          const auto integers = IntegerSum::template load<kTogether>(x + n * stride + (piece * kUnits + unit) * kUnitBytes);
#pragma GCC unroll 8
          for (int t = 0; t < kTogether; ++t) sum[n][t].add(weights[t][unit], integers);
        }
      }
    }
#pragma GCC unroll 8
    for (int n = 0; n < kTokens; ++n) {
#pragma GCC unroll 8
      for (int t = 0; t < kTogether; ++t) store(sums + n * kTileRows + (t0 + t) * kLanes, sum[n][t].total());
    }
  }
}

}  // namespace lutmac::LUTMAC_TARGET
