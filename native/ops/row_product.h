// The product at the heart of attention: rows of floats times f16 rows of the cache.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Rows that one call holds in registers: with 4 vectors of columns 24 sums of avx512's 32 registers, with 2 vectors 12
// sums of the 16 that the others have. Enough to use each converted f16 vector 6 times.
inline constexpr int kBlockRows = 6;
inline constexpr int kWideVectors = kRegisters == 32 ? 4 : 2;

struct RowProduct {
  float* out = nullptr;  // [rows, columns]
  int out_stride = 0;
  const float* a = nullptr;  // [rows, count]
  int a_stride = 0;
  const uint16_t* b = nullptr;  // [count, columns] f16
  int b_stride = 0;
  int count = 0;
  // What is read next, as large as b: fetched into the cache on the way, row by row. Null: nothing.
  const uint16_t* next = nullptr;
};

inline void prefetch_row(const uint16_t* row, int width) {
  for (int i = 0; i < width; i += 32) __builtin_prefetch(row + i, 0, 3);
}

// out (+)= a b for `rows` rows and `vectors` vectors of columns from `column` on. An element is one chain of multiply_add
// in the order of i, whatever shares the call with it: batch invariance rests on this.
template <int rows, int vectors>
inline void multiply_block(const RowProduct& p, int row, int column, bool add) {
  Floats sum[rows][vectors];
  float* out = p.out + row * p.out_stride + column;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = add ? load(out + r * p.out_stride + v * kLanes) : Floats{};

  const float* a = p.a + row * p.a_stride;
  const uint16_t* b = p.b + column;
  const bool prefetch = p.next != nullptr && row == 0 && column == 0;
  for (int i = 0; i < p.count; ++i, b += p.b_stride) {
    if (prefetch) prefetch_row(p.next + i * p.b_stride, p.b_stride);
    Floats values[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) values[v] = load_half(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Floats x = broadcast(a[r * p.a_stride + i]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = multiply_add(x, values[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(out + r * p.out_stride + v * kLanes, sum[r][v]);
}

// Columns are a multiple of 16; the widest block that fits comes first.
template <int rows>
void multiply_columns(const RowProduct& p, int row, int column, int column_end, bool add) {
  // Few rows leave registers for more columns, whose independent sums hide the latency of multiply_add.
  constexpr int wide = rows <= 2 && kWideVectors == 2 ? 4 : kWideVectors;
  for (; column + wide * kLanes <= column_end; column += wide * kLanes)
    multiply_block<rows, wide>(p, row, column, add);
  for (; column + 2 * kLanes <= column_end; column += 2 * kLanes) multiply_block<rows, 2>(p, row, column, add);
  for (; column < column_end; column += kLanes) multiply_block<rows, 1>(p, row, column, add);
}

// Rows [0, rows), columns [column, column_end).
inline void multiply_rows(const RowProduct& p, int rows, int column, int column_end, bool add) {
  int row = 0;
  for (; row + kBlockRows <= rows; row += kBlockRows) multiply_columns<kBlockRows>(p, row, column, column_end, add);
  switch (rows - row) {
    case 5: return multiply_columns<5>(p, row, column, column_end, add);
    case 4: return multiply_columns<4>(p, row, column, column_end, add);
    case 3: return multiply_columns<3>(p, row, column, column_end, add);
    case 2: return multiply_columns<2>(p, row, column, column_end, add);
    case 1: return multiply_columns<1>(p, row, column, column_end, add);
    default: return;
  }
}

}  // namespace lutmac::LUTMAC_TARGET
