// Rows of 16-bit integers times bytes of the cache: RowProduct<ByteElements>, by the target's products of four bytes where it has no
// instruction for pairs of words (neon), else as row_product.h does it. The sums are exact, so they are the same.
//
// On neon a word is 256 * high + low + 128 with high and low s8. Two rows of the matrix, which holds pairs of k, are zipped into
// 4 columns x 4 k, for all rows together; each row takes an sdot for its high and one for its low halves, and one for all rows sums
// the columns for the 128. Instructions for 16 columns x 8 k: executed, of a product of 64 columns x 64 k, and those of pairs of words
// (smull, smull2, addp, add) beside them; and without addresses and loops, beside smmla and usmmla of i8mm:
//
//   rows   sdot   words        sdot   smmla
//   1      68     115          43     43
//   2      107    208          62     44
//   4      158    397          116    72
//   6      265    590          178    116
//
// neon_i8mm runs neon's operations. For smmla it would need all of them once more, compiled for itself.
#pragma once

#include "ops/row_product.h"

namespace lutmac::LUTMAC_TARGET {

#if defined(__ARM_FEATURE_DOTPROD)
// A block of rows and columns, 8 k at a time. vectors: of 4 columns, an even number.
template <int rows, int vectors>
void multiply_split_block(const RowProduct<ByteElements>& p, int row, int column, bool add, int prefetch_columns) {
  Ints high[rows][vectors] = {}, low[rows][vectors] = {}, column_sums[vectors] = {};
  const Bytes ones = Bytes{} + 1;
  const int16_t* a = p.a + row * p.a_stride;
  const auto* b = reinterpret_cast<const uint8_t*>(p.b) + column * 2;
  for (int i = 0; i < p.count; i += 4, b += 4 * p.b_stride) {
    for (int k = i; k < i + 4 && prefetch_columns > 0; ++k) prefetch_bytes(p.next + k * p.b_stride + column * 2, prefetch_columns * 2);
    Bytes codes[2][vectors];  // of the first and the last 4 k
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const uint8_t* at = b + 2 * half * p.b_stride;
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v += 2) {
        const Bytes first = load(at + v * 8), second = load(at + p.b_stride + v * 8);
        codes[half][v] = low_words(first, second);
        codes[half][v + 1] = high_words(first, second);
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      column_sums[v] = dot_signed_at<0>(codes[1][v], ones, dot_signed_at<0>(codes[0][v], ones, column_sums[v]));
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      const Bytes x = split_words(a + r * p.a_stride + i * 2);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        high[r][v] = dot_signed_at<1>(codes[1][v], x, dot_signed_at<0>(codes[0][v], x, high[r][v]));
        low[r][v] = dot_signed_at<3>(codes[1][v], x, dot_signed_at<2>(codes[0][v], x, low[r][v]));
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    float* out = p.out + (row + r) * p.out_stride + column;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const Ints sum = (high[r][v] << 8) + low[r][v] + (column_sums[v] << 7);
      ByteElements::finish(p, row + r, column + v * kLanes, out + v * kLanes, sum, add);
    }
  }
}

// Rows that share the zipping, with as many columns as the registers have room for.
template <int rows>
void multiply_split_columns(const RowProduct<ByteElements>& p, int row, int column, int column_end, bool add) {
  constexpr int vectors = rows > 2 ? 2 : 4, columns = vectors * kLanes;
  const bool prefetch = p.next != nullptr && row == 0;
  for (; column < column_end; column += columns) {
    multiply_split_block<rows, vectors>(p, row, column, add, prefetch ? columns : 0);
  }
}

inline void multiply_byte_rows(const RowProduct<ByteElements>& p, int rows, int column, int column_end, bool add) {
  if (p.count % 4 != 0) return multiply_rows(p, rows, column, column_end, add);
  int row = 0;
  for (; row + 4 <= rows; row += 4) multiply_split_columns<4>(p, row, column, column_end, add);
  switch (rows - row) {
    case 3: return multiply_split_columns<3>(p, row, column, column_end, add);
    case 2: return multiply_split_columns<2>(p, row, column, column_end, add);
    case 1: return multiply_split_columns<1>(p, row, column, column_end, add);
    default: return;
  }
}
#else
inline void multiply_byte_rows(const RowProduct<ByteElements>& p, int rows, int column, int column_end, bool add) {
  multiply_rows(p, rows, column, column_end, add);
}
#endif

}  // namespace lutmac::LUTMAC_TARGET
