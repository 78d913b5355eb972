// A tile's products with pages of f16 or f32 keys and values.
#pragma once

#include "ops/value_rows.h"

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

  void add_values(int page, int begin, int end, const uint8_t* next) {
    const auto* values = reinterpret_cast<const Stored*>(rows_.page(page).values);
    add_value_rows(rows_, page, begin, end, values, rows_.value_width, reinterpret_cast<const Stored*>(next));
  }

 private:
  TileRows& rows_;
};

}  // namespace lutmac::LUTMAC_TARGET
