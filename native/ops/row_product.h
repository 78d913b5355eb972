// The product at the heart of attention: rows times a matrix that lies in the cache.
//
// Elements say what is multiplied: floats with f16 or f32 (FloatElements), or pairs of 16-bit integers with pairs of
// bytes (ByteElements), whose sums of integers become floats at the end. Either way a column of the matrix is a lane.
#pragma once

#include "simd.h"

namespace lutmac::LUTMAC_TARGET {

// Rows that one call holds in registers: with 4 vectors of columns 24 sums of avx512's 32 registers, with 2 vectors 12
// sums of the 16 that the others have. Enough to use each converted vector 6 times.
inline constexpr int kBlockRows = 6;
inline constexpr int kWideVectors = kRegisters == 32 ? 4 : 2;

template <class Elements>
struct RowProduct {
  using Row = typename Elements::Row;
  using Stored = typename Elements::Stored;
  float* out = nullptr;  // [rows, columns]
  int out_stride = 0;
  const Row* a = nullptr;  // [rows, count x kDepth]
  int a_stride = 0;
  const Stored* b = nullptr;  // [count, columns x kDepth]
  int b_stride = 0;
  int count = 0;
  // Integers only: the scale of each row, and where not null an f16 scale for each column.
  const float* row_scale = nullptr;
  int row_scale_stride = 0;
  const uint16_t* column_scale = nullptr;
  // What is read next, laid out as b is: fetched into the cache on the way. Null: nothing.
  const Stored* next = nullptr;
};

inline Floats load_stored(const float* from) { return load(from); }
inline Floats load_stored(const uint16_t* f16) { return load_half(f16); }

template <typename StoredFloat>
struct FloatElements {
  using Row = float;
  using Stored = StoredFloat;
  using Column = Floats;
  using Sum = Floats;
  static constexpr int kDepth = 1;  // values of k that one multiply takes

  static Column load_column(const Stored* from) { return load_stored(from); }
  static Column load_row(const Row* from) { return broadcast(*from); }
  static Sum multiply(Column row, Column column, Sum sum) { return multiply_add(row, column, sum); }
  static Sum begin(const float* out, bool add) { return add ? load(out) : Floats{}; }
  static void finish(const RowProduct<FloatElements>&, int, int, float* out, Sum sum, bool) { store(out, sum); }
};

struct ByteElements {
  using Row = int16_t;
  using Stored = int8_t;
  using Column = Words;
  using Sum = Ints;
  static constexpr int kDepth = 2;

  static Column load_column(const Stored* from) { return load_widened(from); }
  static Column load_row(const Row* from) { return (Words)broadcast_dword(from); }
  static Sum multiply(Column row, Column column, Sum sum) { return dot_pairs(row, column, sum); }
  static Sum begin(const float*, bool) { return Ints{}; }
  static void finish(const RowProduct<ByteElements>& p, int row, int column, float* out, Sum sum, bool add) {
    Floats factor = broadcast(p.row_scale[row * p.row_scale_stride]);
    if (p.column_scale != nullptr) factor *= load_half(p.column_scale + column);
    store(out, multiply_add(to_floats(sum), factor, add ? load(out) : Floats{}));
  }
};

inline void prefetch_bytes(const void* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i, 0, 3);
}

// out (+)= a b for `rows` rows and `vectors` vectors of columns from `column` on. An element is one chain of sums in the
// order of k, whatever shares the call with it: batch invariance rests on this.
template <class Elements, int rows, int vectors>
inline void multiply_block(const RowProduct<Elements>& p, int row, int column, bool add, int prefetch_columns) {
  constexpr int kDepth = Elements::kDepth;
  typename Elements::Sum sum[rows][vectors];
  float* out = p.out + row * p.out_stride + column;
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = Elements::begin(out + r * p.out_stride + v * kLanes, add);

  const auto* a = p.a + row * p.a_stride;
  const auto* b = p.b + column * kDepth;
  for (int i = 0; i < p.count; ++i, b += p.b_stride) {
    if (prefetch_columns > 0)
      prefetch_bytes(p.next + i * p.b_stride + column * kDepth,
                     int64_t{prefetch_columns} * kDepth * static_cast<int64_t>(sizeof(typename Elements::Stored)));
    typename Elements::Column values[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) values[v] = Elements::load_column(b + v * kLanes * kDepth);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const typename Elements::Column x = Elements::load_row(a + r * p.a_stride + i * kDepth);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = Elements::multiply(x, values[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v)
      Elements::finish(p, row + r, column + v * kLanes, out + r * p.out_stride + v * kLanes, sum[r][v], add);
}

// Columns are a multiple of 16; the widest block that fits comes first.
template <class Elements, int rows>
void multiply_columns(const RowProduct<Elements>& p, int row, int column, int column_end, bool add) {
  // Few rows leave registers for more columns, whose independent sums hide the latency of a product.
  constexpr int wide = rows <= 2 && kWideVectors == 2 ? 4 : kWideVectors;
  const bool prefetch = p.next != nullptr && row == 0;
  for (; column + wide * kLanes <= column_end; column += wide * kLanes)
    multiply_block<Elements, rows, wide>(p, row, column, add, prefetch ? wide * kLanes : 0);
  for (; column + 2 * kLanes <= column_end; column += 2 * kLanes)
    multiply_block<Elements, rows, 2>(p, row, column, add, prefetch ? 2 * kLanes : 0);
  for (; column < column_end; column += kLanes)
    multiply_block<Elements, rows, 1>(p, row, column, add, prefetch ? kLanes : 0);
}

// Rows [0, rows), columns [column, column_end).
template <class Elements>
void multiply_rows(const RowProduct<Elements>& p, int rows, int column, int column_end, bool add) {
  int row = 0;
  for (; row + kBlockRows <= rows; row += kBlockRows)
    multiply_columns<Elements, kBlockRows>(p, row, column, column_end, add);
  switch (rows - row) {
    case 5: return multiply_columns<Elements, 5>(p, row, column, column_end, add);
    case 4: return multiply_columns<Elements, 4>(p, row, column, column_end, add);
    case 3: return multiply_columns<Elements, 3>(p, row, column, column_end, add);
    case 2: return multiply_columns<Elements, 2>(p, row, column, column_end, add);
    case 1: return multiply_columns<Elements, 1>(p, row, column, column_end, add);
    default: return;
  }
}

}  // namespace lutmac::LUTMAC_TARGET
