// What products of this target share: they go tile by tile, and for each tile through some tokens at a time.
#pragma once

#include "kernels/avx512vbmi/packing.h"
#include "kernels/float_product.h"

namespace lutmac::LUTMAC_TARGET {

// Product(w, args, tile, token, count) holds the sums of a tile and of count tokens, at most Product::kTokens; run() computes them.
template <typename Product>
void tile_products(const LowBit& w, const MatmulArgs& args, int64_t tile_begin, int64_t tile_end, int64_t token_begin,
                   int64_t token_end) {
  constexpr int64_t kTileRows = Codes::kTileRows;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    const int64_t rows = w.rows - tile * kTileRows;
    const int valid = static_cast<int>(rows < kTileRows ? rows : kTileRows);
    for (int64_t token = token_begin; token < token_end; token += Product::kTokens) {
      const int64_t left = token_end - token;
      const int count = static_cast<int>(left < Product::kTokens ? left : Product::kTokens);
      Product product(w, args, tile, token, count);
      product.run();
      for (int n = 0; n < count; ++n) store_rows(args, token + n, tile * kTileRows, valid, product.totals(n));
    }
  }
}

}  // namespace lutmac::LUTMAC_TARGET
