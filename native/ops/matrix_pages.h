// A tile's products with pages of keys and values by the matrix unit: all factors rounded to bf16, sums in f32.
//
// A page's keys, or its values, are made bf16 once for all rows of a task. A score is a sum over the dimensions of a head, 32 of them
// at a time; a weighted value is one over positions, 32 of a page at a time: each by the even and the odd chain of their pairs (see
// simd/tiles.h). What is lacking to 32 is zeros. Weights of positions that a row does not see are zeros too, which change
// no sum. So a row's result depends neither on the rows beside it nor on where a prompt is cut.
#pragma once

#include "ops/tile_rows.h"
#include "simd/bfloat16.h"
#include "simd/tile_block.h"

namespace lutmac::LUTMAC_TARGET {

// A matrix [k][columns]: keys are [dimensions][positions], values [positions][dimensions]. Rows k and k + 1, 16 columns of each; k is even.
struct RowPair {
  Floats first, second;
};

struct HalfMatrix {
  const uint16_t* f16;
  int stride;

  RowPair pair(int k, int column) const { return {load_half(f16 + k * stride + column), load_half(f16 + (k + 1) * stride + column)}; }
};

// Codes of the int8 cache: two rows lie interleaved.
inline RowPair load_codes(const int8_t* codes) {
  const Ints both = (Ints)load_widened(codes);
  return {to_floats(both << 16 >> 16), to_floats(both >> 16)};
}

struct ByteKeys {
  const int8_t* codes;
  const uint16_t* scales;  // [blocks of dimensions][positions]

  RowPair pair(int k, int column) const {
    const RowPair pair = load_codes(codes + k * kPageTokens + 2 * column);
    const Floats scale = load_half(scales + k / kKeyBlock * kPageTokens + column);
    return {pair.first * scale, pair.second * scale};
  }
};

struct ByteValues {
  const int8_t* codes;
  const uint16_t* scales;  // [blocks of dimensions][positions]
  int width;

  RowPair pair(int k, int column) const {
    const RowPair pair = load_codes(codes + k * width + 2 * column);
    const uint16_t* scale = scales + column / kValueBlock * kPageTokens + k;
    return {pair.first * half_to_float(scale[0]), pair.second * half_to_float(scale[1])};
  }
};

// How a cache of this type holds keys and values.
template <CacheType type>
struct PageMatrices;

template <>
struct PageMatrices<CacheType::f16> {
  static HalfMatrix keys(HeadPage page, int) { return {reinterpret_cast<const uint16_t*>(page.keys), kPageTokens}; }
  static HalfMatrix values(HeadPage page, int width) { return {reinterpret_cast<const uint16_t*>(page.values), width}; }
};

template <>
struct PageMatrices<CacheType::int8> {
  static ByteKeys keys(HeadPage page, int head_dim) {
    return {reinterpret_cast<const int8_t*>(page.keys), page_scales(page.keys, head_dim)};
  }
  static ByteValues values(HeadPage page, int width) {
    return {reinterpret_cast<const int8_t*>(page.values), page_scales(page.values, width), width};
  }
};

template <CacheType type>
class MatrixPages {
 public:
  explicit MatrixPages(TileRows& rows)
      : rows_(rows), key_steps_(ceil_divide(rows.head_dim, kTileStep)), tiles_(smaller(rows.count, kMatrixTileRows)) {
    for (int row = 0; row < whole_tiles(rows.count); ++row) {
      for (int k = 0; k < key_width(); k += kTileStep) {
        const auto from = [&](int at) { return row < rows.count && at < rows.width ? load(rows.q + row * rows.width + at) : Floats{}; };
        store_bfloat16(query_ + row * key_width() + k, from(k), from(k + kLanes));
      }
    }
    for (int i = rows.count * rows.value_width; i < whole_tiles(rows.count) * rows.value_width; ++i) rows.weighted[i] = 0.0f;
  }

  // Scores of tokens [begin, end) at positions [from, to) of a page, multiples of 16. Rows that share a tile of the matrix unit with
  // them get scores, too: of positions that they do not see.
  void score(int page, int begin, int end, int from, int to, const uint8_t*) {
    fill<false>(PageMatrices<type>::keys(rows_.page(page), rows_.head_dim), {0, rows_.head_dim}, key_steps_, from, to);
    const Range rows = tile_rows(begin, end);
    multiply({query_, key_width()}, rows, key_steps_, {rows_.page_score(0, page) + from, kSpanTokens}, to - from, false);
  }

  // Adds the weighted values of a page.
  void add_values(int page, int begin, int end, const uint8_t*) {
    const Range seen = {rows_.visible(begin, page).begin, rows_.visible(end - 1, page).end}, rows = tile_rows(begin, end);
    const bool finite = fill<true>(PageMatrices<type>::values(rows_.page(page), rows_.value_width), seen, kPageSteps, 0, rows_.value_width);
    for (int row = rows.begin; row < rows.end; ++row) {
      const int token = row / rows_.heads;
      const bool takes_part = token >= begin && token < end;
      round_weights(row, page, takes_part ? rows_.visible(token, page) : Range{0, 0});
    }
    if (finite) {
      multiply({weight_, kPageTokens}, rows, kPageSteps, {rows_.weighted, rows_.value_width}, rows_.value_width, true);
    } else {
      add_seen_values(page, begin, end);
    }
  }

 private:
  static constexpr int kPageSteps = kPageTokens / kTileStep;
  static_assert(kLanes == kMatrixTileRows && kMatrixRows == kMatrixTileRows && kTileStep == 2 * kLanes);

  // Rows of bf16, or of sums.
  struct BfloatRows {
    const uint16_t* rows;
    int stride;
  };
  struct Sums {
    float* rows;
    int stride;
  };

  static int whole_tiles(int rows) { return ceil_divide(rows, kMatrixTileRows) * kMatrixTileRows; }
  int key_width() const { return key_steps_ * kTileStep; }
  // The rows of tokens [begin, end), in whole tiles of the matrix unit.
  Range tile_rows(int begin, int end) const {
    return {begin * rows_.heads / kMatrixTileRows * kMatrixTileRows, whole_tiles(end * rows_.heads)};
  }
  static void store_bfloat16(uint16_t* to, Floats low, Floats high) {
    store(reinterpret_cast<int32_t*>(to), (Ints)concatenate_bfloat16(low, high));
  }

  // 16 columns and 32 k of block_, whose columns begin at 0.
  uint8_t* tile(int column, int steps, int step) {
    const int tile = column / kMatrixTileRows;
    return block_ + ((tile / 2 * steps + step) * 2 + tile % 2) * kWholeTileBytes;
  }

  // Makes rows `depth` of the matrix, columns [from, to), bf16: zeros before and behind them. Returns whether all are finite, if that
  // is wanted.
  template <bool kChecked, class Matrix>
  bool fill(const Matrix& matrix, Range depth, int steps, int from, int to) {
    Bits found{};
    for (int column = from; column < to; column += kMatrixTileRows) {
      for (int step = 0; step < steps; ++step) {
        auto* out = reinterpret_cast<int32_t*>(tile(column - from, steps, step));
        for (int k = step * kTileStep; k < (step + 1) * kTileStep; k += 2, out += kLanes) {
          Bits both{};
          if (k >= depth.begin && k + 1 < depth.end) {
            const RowPair pair = matrix.pair(k, column);
            both = join_bfloat16(pair.first, pair.second);
          } else if (k + 1 >= depth.begin && k < depth.end) {
            const RowPair pair = matrix.pair(k, column);
            both = join_bfloat16(k >= depth.begin ? pair.first : Floats{}, k + 1 < depth.end ? pair.second : Floats{});
          }
          store(out, (Ints)both);
          if constexpr (kChecked) found |= (both & 0x7f807f80u) + 0x00800080u;  // a carry where an exponent is all ones
        }
      }
    }
    found &= 0x80008000u;
    return reduce(found, [](Bits a, Bits b) { return a | b; })[0] == 0;
  }

  // out (+)= a by the block's columns, of whole tiles of rows.
  void multiply(BfloatRows a, Range rows, int steps, Sums out, int columns, bool add) {
    for (int column = 0; column < columns; column += 2 * kMatrixTileRows) {
      for (int row = rows.begin; row < rows.end; row += 2 * kMatrixTileRows) {
        TileBlock block;
        block.activation_stride = a.stride * static_cast<int64_t>(sizeof(uint16_t));
        block.weights = tile(column, steps, 0);
        block.steps = steps;
        block.sum_stride = out.stride * static_cast<int64_t>(sizeof(float));
        const bool two_tiles = row + kMatrixTileRows < rows.end;
        for (int i = 0; i < (two_tiles ? 2 : 1); ++i) {
          block.activations[i] = reinterpret_cast<const uint8_t*>(a.rows + (row + i * kMatrixTileRows) * a.stride);
          block.sums[i] = out.rows + (row + i * kMatrixTileRows) * out.stride + column;
        }
        if (column + kMatrixTileRows < columns) {
          two_tiles ? multiply_tiles<2, 2>(tiles_, block, add) : multiply_tiles<1, 2>(tiles_, block, add);
        } else {
          two_tiles ? multiply_tiles<2, 1>(tiles_, block, add) : multiply_tiles<1, 1>(tiles_, block, add);
        }
      }
    }
  }

  // A row's weights of a page in bf16; zeros at positions that it does not see.
  void round_weights(int row, int page, Range seen) {
    const float* from = rows_.page_score(row, page);
    uint16_t* to = weight_ + row * kPageTokens;
    const auto weights = [&](int at) {
      if (at >= seen.begin && at + kLanes <= seen.end) return load(from + at);
      if (at >= seen.end || at + kLanes <= seen.begin) return Floats{};
      const Ints position = at + Lanes::kIndex;
      return select((position >= seen.begin) & (position < seen.end), load(from + at), Floats{});
    };
    for (int at = 0; at < kPageTokens; at += kTileStep) store_bfloat16(to + at, weights(at), weights(at + kLanes));
  }

  // The same sums for a page on which not all values are finite: zero times infinity would reach rows that do not see it.
  void add_seen_values(int page, int begin, int end) {
    const FlushDenormals flush;
    for (int token = begin; token < end; ++token) {
      for (int row = token * rows_.heads; row < (token + 1) * rows_.heads; ++row) add_seen_row(row, rows_.visible(token, page));
    }
  }
  [[gnu::noinline]] void add_seen_row(int row, Range seen) {
    const auto weight = [&](int k) { return lower_bfloat16(Bits{} + weight_[row * kPageTokens + k]); };
    for (int column = 0; column < rows_.value_width; column += kLanes) {
      float* sums = rows_.weighted + row * rows_.value_width + column;
      for (int step = 0; step < kPageSteps; ++step) {
        const auto* values = reinterpret_cast<const int32_t*>(tile(column, kPageSteps, step));
        Floats even{}, odd{};
        for (int k = step * kTileStep; k < (step + 1) * kTileStep; k += 2, values += kLanes) {
          const Bits both = (Bits)load(values);
          if (k >= seen.begin && k < seen.end) even = chain_multiply_add(weight(k), lower_bfloat16(both), even);
          if (k + 1 >= seen.begin && k + 1 < seen.end) odd = chain_multiply_add(weight(k + 1), upper_bfloat16(both), odd);
        }
        store(sums, chain_add(load(sums), chain_add(even, odd)));
      }
    }
  }

  TileRows& rows_;
  int key_steps_;
  MatrixTiles tiles_;
  alignas(64) uint16_t query_[kMatrixFloats + kTaskRows * kLanes];  // [rows, key_width]
  alignas(64) uint16_t weight_[kTaskRows * kPageTokens];            // of one page
  // Keys or values of one page: [pairs of tiles of 16 columns][steps][2 tiles][16 pairs][16 columns][2].
  alignas(64) uint8_t block_[kPageTokens * kMaxHeadDim * 2];
};

}  // namespace lutmac::LUTMAC_TARGET
