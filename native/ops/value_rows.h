// A tile's sums of weighted values that lie in rows, one for each position of a page.
#pragma once

#include "ops/row_product.h"
#include "ops/tile_rows.h"

namespace lutmac::LUTMAC_TARGET {

// Adds the weighted values of some positions of a page, which are all that tokens [begin, end) see, in the order of positions.
template <typename Stored>
void add_value_range(TileRows& rows, int page, int begin, int end, Range range, const Stored* values, int stride,
                     const Stored* next) {
  if (range.begin >= range.end) return;
  const int row = begin * rows.heads;
  const RowProduct<FloatElements<Stored>> product = {
      .out = rows.weighted + row * rows.value_width,
      .out_stride = rows.value_width,
      .a = rows.page_score(row, page) + range.begin,
      .a_stride = kSpanTokens,
      .b = values + range.begin * stride,
      .b_stride = stride,
      .count = range.end - range.begin,
      .next = next,
  };
  multiply_rows(product, (end - begin) * rows.heads, 0, rows.value_width, true);
}

// Adds the weighted values of a page: what all tokens see in one product, what only some see token by token; for each row in
// the order of positions. values: of the page's first position; stride: from one to the next. next: what is read after it.
template <typename Stored>
void add_value_rows(TileRows& rows, int page, int begin, int end, const Stored* values, int stride, const Stored* next) {
  const Range shared = {rows.visible(end - 1, page).begin, rows.visible(begin, page).end};
  const auto add = [&](int first, int last, Range range, const Stored* after) {
    add_value_range(rows, page, first, last, range, values, stride, after);
  };
  if (shared.begin >= shared.end) {
    for (int token = begin; token < end; ++token) add(token, token + 1, rows.visible(token, page), next);
    return;
  }
  for (int token = begin; token < end; ++token)
    add(token, token + 1, {rows.visible(token, page).begin, shared.begin}, nullptr);
  add(begin, end, shared, next);
  for (int token = begin; token < end; ++token)
    add(token, token + 1, {shared.end, rows.visible(token, page).end}, nullptr);
}

}  // namespace lutmac::LUTMAC_TARGET
