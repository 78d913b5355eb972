// A tile's products with pages of f16 or f32 keys and values.
#pragma once

#include "ops/row_product.h"
#include "ops/tile_rows.h"

namespace lutmac::LUTMAC_TARGET {

// Stored: uint16_t with f16's bits, or float.
template <typename Stored>
class FloatPages {
 public:
  explicit FloatPages(TileRows& rows) : rows_(rows) {}

  // Scores of tokens [begin, end) at positions [from, to) of a page, multiples of 16. next: what is read after it.
  void score(int page, int begin, int end, int from, int to, const uint8_t* next) {
    const HeadPage head = rows_.page(page);
    const int row = begin * rows_.heads;
    const RowProduct<FloatElements<Stored>> product = {
        .out = rows_.page_score(row, page),
        .out_stride = kSpanTokens,
        .a = rows_.q + row * rows_.width,
        .a_stride = rows_.width,
        .b = reinterpret_cast<const Stored*>(head.keys),
        .b_stride = kPageTokens,
        .count = rows_.head_dim,
        .next = reinterpret_cast<const Stored*>(next),
    };
    multiply_rows(product, (end - begin) * rows_.heads, from, to, false);
  }

  // Adds the weighted values of a page: what all tokens see in one product, what only some see token by token; for each
  // row in the order of positions.
  void add_values(int page, int begin, int end, const uint8_t* next) {
    const Range shared = {rows_.visible(end - 1, page).begin, rows_.visible(begin, page).end};
    if (shared.begin >= shared.end) {
      for (int token = begin; token < end; ++token) add_range(page, token, token + 1, rows_.visible(token, page), next);
      return;
    }
    for (int token = begin; token < end; ++token)
      add_range(page, token, token + 1, {rows_.visible(token, page).begin, shared.begin}, nullptr);
    add_range(page, begin, end, shared, next);
    for (int token = begin; token < end; ++token)
      add_range(page, token, token + 1, {shared.end, rows_.visible(token, page).end}, nullptr);
  }

 private:
  void add_range(int page, int begin, int end, Range range, const uint8_t* next) {
    if (range.begin >= range.end) return;
    const int row = begin * rows_.heads;
    const RowProduct<FloatElements<Stored>> product = {
        .out = rows_.weighted + row * rows_.value_width,
        .out_stride = rows_.value_width,
        .a = rows_.page_score(row, page) + range.begin,
        .a_stride = kSpanTokens,
        .b = reinterpret_cast<const Stored*>(rows_.page(page).values) + range.begin * rows_.value_width,
        .b_stride = rows_.value_width,
        .count = range.end - range.begin,
        .next = reinterpret_cast<const Stored*>(next),
    };
    multiply_rows(product, (end - begin) * rows_.heads, 0, rows_.value_width, true);
  }

  TileRows& rows_;
};

}  // namespace lutmac::LUTMAC_TARGET
