// The order within a page of one layer's keys and values, f16.
//
// Keys: [kv head][head_dim][64 positions], so that the lanes of a vector are positions and scores need no sum over lanes.
// Values, behind all keys: [kv head][64 positions][head_dim], so that the lanes are outputs. Either way a product with a
// page is a row of floats times a matrix of f16 whose rows lie next to each other.
#pragma once

#include "ops/ops.h"

namespace lutmac::LUTMAC_TARGET {

inline uint16_t* page_keys(const LayerCache& cache, int sequence, int page, int num_kv_heads, int head_dim, int kv_head) {
  const int32_t id = cache.block_table[int64_t{sequence} * cache.table_stride + page];
  uint8_t* base = cache.base + id * page_bytes(num_kv_heads, head_dim);
  return reinterpret_cast<uint16_t*>(base) + int64_t{kv_head} * head_dim * kPageTokens;
}

inline uint16_t* page_values(const LayerCache& cache, int sequence, int page, int num_kv_heads, int head_dim,
                             int kv_head) {
  return page_keys(cache, sequence, page, num_kv_heads, head_dim, num_kv_heads + kv_head);
}

}  // namespace lutmac::LUTMAC_TARGET
