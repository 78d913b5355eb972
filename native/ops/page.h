// The order within a page of one layer's keys and values: for each kv head its keys, then its values.
//
// f16. Keys: [head_dim][64 positions], so that the lanes of a vector are positions and scores need no sum over lanes.
// Values: [64 positions][head_dim], so that the lanes are outputs. Either way a product with a page is a row of floats
// times a matrix of f16 whose rows lie next to each other.
//
// int8. The same with two rows interleaved, since instructions that multiply integers add the products of neighbours.
// Keys: [head_dim / 2][64 positions][2], values: [32 pairs of positions][head_dim][2]; behind either their scales,
// [blocks of dimensions][64 positions] f16.
#pragma once

#include "ops/ops.h"

namespace lutmac::LUTMAC_TARGET {

// One kv head's keys and values of one page.
struct HeadPage {
  uint8_t* keys;
  uint8_t* values;
};

inline HeadPage head_page(const LayerCache& cache, CacheType type, int sequence, int page, int head_dim, int kv_head) {
  const int64_t key_bytes = head_page_bytes(type, head_dim, kKeyBlock);
  const int64_t value_bytes = head_page_bytes(type, head_dim, kValueBlock);
  const int32_t id = cache.block_table[int64_t{sequence} * cache.table_stride + page];
  uint8_t* keys = cache.base + id * cache.page_stride + kv_head * (key_bytes + value_bytes);
  return {keys, keys + key_bytes};
}

// Scales of an int8 page's keys or values, [blocks][kPageTokens] f16.
inline uint16_t* page_scales(uint8_t* codes, int head_dim) {
  return reinterpret_cast<uint16_t*>(codes + int64_t{kPageTokens} * head_dim);
}

}  // namespace lutmac::LUTMAC_TARGET
