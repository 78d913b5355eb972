// A tile's products with pages of latents (DeepSeek-V2, https://arxiv.org/abs/2405.04434): the row of a position is its key,
// and the first value_dim floats of it are its value.
#pragma once

#include "ops/value_rows.h"

namespace lutmac::LUTMAC_TARGET {

// Sums that are held at once: as many as leave registers for what they are made of.
inline constexpr int kScoreRows = kRegisters == 32 ? 4 : 2, kScorePositions = 4;

// Rows of queries, and latents.
template <typename Stored>
struct ScoreProduct {
  const float* q;         // [rows, width]
  const Stored* latents;  // [positions, width]
  int width;              // a multiple of 16
  float* out;             // [rows, kSpanTokens]
};

// Scores of `rows` rows at kScorePositions positions. Each is one chain of sums, whatever shares the call with it.
template <int rows, typename Stored>
inline void score_block(const ScoreProduct<Stored>& p, int row, int position) {
  Floats sum[rows][kScorePositions] = {};
  const float* q = p.q + row * p.width;
  const Stored* latents = p.latents + position * p.width;
  for (int i = 0; i < p.width; i += kLanes) {
    Floats latent[kScorePositions];
#pragma GCC unroll 8
    for (int j = 0; j < kScorePositions; ++j) latent[j] = load_stored(latents + j * p.width + i);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Floats x = load(q + r * p.width + i);
#pragma GCC unroll 8
      for (int j = 0; j < kScorePositions; ++j) sum[r][j] = multiply_add(x, latent[j], sum[r][j]);
    }
  }
  float* out = p.out + row * kSpanTokens + position;
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < kScorePositions; ++j) out[r * kSpanTokens + j] = reduce_add(sum[r][j]);
}

template <int rows, typename Stored>
void score_positions(const ScoreProduct<Stored>& p, int row, int from, int to) {
  for (int position = from; position < to; position += kScorePositions) score_block<rows>(p, row, position);
}

// Rows [0, rows), positions [from, to), multiples of 16.
template <typename Stored>
void score_rows(const ScoreProduct<Stored>& p, int rows, int from, int to) {
  int row = 0;
  for (; row + kScoreRows <= rows; row += kScoreRows) score_positions<kScoreRows>(p, row, from, to);
  switch (rows - row) {
    case 3: return score_positions<3>(p, row, from, to);
    case 2: return score_positions<2>(p, row, from, to);
    case 1: return score_positions<1>(p, row, from, to);
    default: return;
  }
}

// A page's rows as products read them.
template <typename Kept>
class LatentRows {
 public:
  using Stored = Kept;
  const Stored* read(const uint8_t* page, int, int, int) { return reinterpret_cast<const Stored*>(page); }
};

// Codes under scales become floats: that takes little beside the products of several rows with them.
template <>
class LatentRows<int8_t> {
 public:
  using Stored = float;
  const float* read(const uint8_t* page, int width, int from, int to) {
    const int blocks = ceil_divide(width, kKeyBlock);
    const auto* codes = reinterpret_cast<const int8_t*>(page);
    const auto* scales = reinterpret_cast<const uint16_t*>(page + kPageTokens * width);
    for (int position = from; position < to; ++position) {
      for (int block = 0; block < blocks; ++block) {
        const int begin = position * width + block * kKeyBlock;
        const int count = smaller(kKeyBlock, width - block * kKeyBlock);
        const float scale = half_to_float(scales[position * blocks + block]);
        for (int i = begin; i < begin + count; ++i) floats_[i] = static_cast<float>(codes[i]) * scale;
      }
    }
    return floats_;
  }

 private:
  alignas(64) float floats_[kPageTokens * kMaxHeadDim];
};

// Kept: uint16_t with f16's bits, float, or int8_t.
template <typename Kept>
class LatentPages {
 public:
  explicit LatentPages(TileRows& rows) : rows_(rows) {}

  // Scores of tokens [begin, end) at positions [from, to) of a page, multiples of 16.
  void score(int page, int begin, int end, int from, int to, const uint8_t*) {
    const int row = begin * rows_.heads;
    const ScoreProduct<typename LatentRows<Kept>::Stored> product = {
        .q = rows_.q + row * rows_.width,
        .latents = latents_.read(rows_.page(page).keys, rows_.width, from, to),
        .width = rows_.width,
        .out = rows_.page_score(row, page),
    };
    score_rows(product, (end - begin) * rows_.heads, from, to);
  }

  // Adds the weighted values of a page.
  void add_values(int page, int begin, int end, const uint8_t*) {
    const int from = rows_.visible(begin, page).begin, to = rows_.visible(end - 1, page).end;
    const auto* latents = latents_.read(rows_.page(page).values, rows_.width, from, to);
    add_value_rows(rows_, page, begin, end, latents, rows_.width, decltype(latents){nullptr});
  }

 private:
  TileRows& rows_;
  LatentRows<Kept> latents_;
};

}  // namespace lutmac::LUTMAC_TARGET
