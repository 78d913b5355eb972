// The order within a page of one layer's keys and values: for each kv head its keys, then its values.
//
// f16 and f32. Keys: [head_dim][64 positions], so that the lanes of a vector are positions and scores need no sum over lanes.
// Values: [64 positions][width], so that the lanes are outputs; width is value_dim padded with zeros to whole vectors.
// Either way a product with a page is a row of floats times a matrix whose rows lie next to each other.
//
// int8. The same with two rows interleaved, since instructions that multiply integers add the products of neighbours.
// Keys: [head_dim / 2][64 positions][2], values: [32 pairs of positions][width][2]; behind either their scales,
// [blocks of dimensions][64 positions] f16.
//
// Latents are held once, and serve as keys and as values: for each kv head [64 positions][width], width being head_dim padded
// with zeros; for int8 codes in that order, and behind them scales, [64 positions][blocks of dimensions] f16.
#pragma once

#include "ops/ops.h"

namespace lutmac::LUTMAC_TARGET {

// One kv head's keys and values of one page.
struct HeadPage {
  uint8_t* keys;
  uint8_t* values;
};

inline HeadPage head_page(const LayerCache& cache, CacheType type, int sequence, int page, int head_dim, int value_dim,
                          int kv_head) {
  const int64_t key_bytes = key_page_bytes(type, head_dim), value_bytes = value_page_bytes(type, value_dim);
  const int32_t id = cache.page_table[int64_t{sequence} * cache.table_stride + page];
  uint8_t* keys = cache.base + id * cache.page_stride + kv_head * (key_bytes + value_bytes);
  return {keys, keys + key_bytes};
}

// One kv head's latents of one page.
inline uint8_t* latent_page(const LayerCache& cache, CacheType type, int sequence, int page, int head_dim, int kv_head) {
  const int32_t id = cache.page_table[int64_t{sequence} * cache.table_stride + page];
  return cache.base + id * cache.page_stride + kv_head * latent_page_bytes(type, head_dim);
}

// Scales of an int8 page's keys or values, `width` to a position: [blocks][kPageTokens] f16.
inline uint16_t* page_scales(uint8_t* codes, int width) {
  return reinterpret_cast<uint16_t*>(codes + int64_t{kPageTokens} * width);
}

}  // namespace lutmac::LUTMAC_TARGET
