// A tile's products with pages of int8 keys and values.
//
// Queries and weights become 16-bit integers under a scale for each row and block of dimensions, finer by 2^8 than the
// codes that they meet; the sums of their products are exact: at most 64 x 32767 x 127 < 2^28. So what a row gets does
// not depend on the order of sums, and a weight of zero takes a position out for good.
#pragma once

#include "ops/byte_rows.h"
#include "ops/integers.h"
#include "ops/tile_rows.h"

namespace lutmac::LUTMAC_TARGET {

inline constexpr float kWordLimit = 32767.0f;

class BytePages {
 public:
  explicit BytePages(TileRows& rows) : rows_(rows), key_blocks_(ceil_divide(rows.head_dim, kKeyBlock)) {
    for (int row = 0; row < rows.count; ++row) {
      for (int block = 0; block < key_blocks_; ++block) {
        const int first = row * rows.width + block * kKeyBlock;
        query_scale_[row * key_blocks_ + block] =
            to_words(rows.q + first, smaller(kKeyBlock, rows.width - block * kKeyBlock), kWordLimit, query_ + first);
      }
    }
  }

  // Scores of tokens [begin, end) at positions [from, to) of a page, multiples of 16. next: what is read after it.
  void score(int page, int begin, int end, int from, int to, const uint8_t* next) {
    const HeadPage head = rows_.page(page);
    const auto* codes = reinterpret_cast<const int8_t*>(head.keys);
    const uint16_t* scales = page_scales(head.keys, rows_.head_dim);
    const int row = begin * rows_.heads;
    for (int block = 0; block < key_blocks_; ++block) {
      const int first = block * kKeyBlock;
      const RowProduct<ByteElements> product = {
          .out = rows_.page_score(row, page),
          .out_stride = kSpanTokens,
          .a = query_ + row * rows_.width + first,
          .a_stride = rows_.width,
          .b = codes + first * kPageTokens,
          .b_stride = 2 * kPageTokens,
          .count = smaller(kKeyBlock, rows_.head_dim - first) / 2,
          .row_scale = query_scale_ + row * key_blocks_ + block,
          .row_scale_stride = key_blocks_,
          .column_scale = scales + block * kPageTokens,
          .next = next == nullptr ? nullptr : reinterpret_cast<const int8_t*>(next) + first * kPageTokens,
      };
      multiply_byte_rows(product, (end - begin) * rows_.heads, from, to, block > 0);
    }
  }

  // Adds the weighted values of a page.
  void add_values(int page, int begin, int end, const uint8_t* next) {
    const HeadPage head = rows_.page(page);
    const auto* codes = reinterpret_cast<const int8_t*>(head.values);
    const uint16_t* scales = page_scales(head.values, rows_.value_width);
    const int width = rows_.value_width, row = begin * rows_.heads;
    const int from = rows_.visible(begin, page).begin / 16 * 16, to = (rows_.visible(end - 1, page).end + 15) / 16 * 16;
    for (int first = 0; first < width; first += kValueBlock) {
      for (int token = begin; token < end; ++token)
        scale_weights(page, token, from, to, scales + first / kValueBlock * kPageTokens);
      const RowProduct<ByteElements> product = {
          .out = rows_.weighted + row * width,
          .out_stride = width,
          .a = weight_ + row * kPageTokens + from,
          .a_stride = kPageTokens,
          .b = codes + from * width,
          .b_stride = 2 * width,
          .count = (to - from) / 2,
          .row_scale = weight_scale_ + row,
          .row_scale_stride = 1,
          .column_scale = nullptr,
          .next = reinterpret_cast<const int8_t*>(next),
      };
      multiply_byte_rows(product, (end - begin) * rows_.heads, first, smaller(first + kValueBlock, width), true);
    }
  }

 private:
  // A token's weights at positions [from, to) times the scales of a block of values, as words; zero out of range.
  void scale_weights(int page, int token, int from, int to, const uint16_t* scales) {
    const Range range = rows_.visible(token, page);
    alignas(64) float scaled[kPageTokens];
    for (int row = token * rows_.heads; row < (token + 1) * rows_.heads; ++row) {
      const float* weight = rows_.page_score(row, page);
      for (int i = from; i < to; i += kLanes) {
        const Ints position = i + Lanes::kIndex;
        const Ints seen = (position >= range.begin) & (position < range.end);
        store(scaled + i, select(seen, load(weight + i) * load_half(scales + i), Floats{}));
      }
      weight_scale_[row] = to_words(scaled + from, to - from, kWordLimit, weight_ + row * kPageTokens + from);
    }
  }

  TileRows& rows_;
  int key_blocks_;
  float query_scale_[kTileFloats / 16];                     // [rows, key blocks]
  float weight_scale_[kTaskRows];                           // of one block of values
  alignas(64) int16_t query_[kTileFloats];                 // [rows, width]
  alignas(64) int16_t weight_[kTaskRows * kPageTokens];    // of one page and block of values
};

}  // namespace lutmac::LUTMAC_TARGET
