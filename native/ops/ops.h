// What operations share: the tokens of a step, and the pages of keys and values.
//
// An operation is split into tasks 0..count-1 that any thread may run in any order; a token's result depends bit for bit
// only on its own input and its cached keys and values, never on how many tokens are in the step or on which thread ran the
// task. f32 rows are `stride` floats apart.
#pragma once

#include <cstdint>

#include "target.h"

namespace lutmac {

// Tokens of one sequence that share one page of keys and values; also the unit in which attention reduces.
inline constexpr int kPageTokens = 64;

// The tokens of a step, and where their sequences keep their keys and values.
struct Batch {
  int num_tokens = 0;
  int num_sequences = 0;
  const int32_t* tokens = nullptr;          // [num_tokens] ids
  const int32_t* sequence_start = nullptr;  // [num_sequences + 1] first row of each sequence; the last is num_tokens
  const int32_t* first_position = nullptr;  // [num_sequences] position in the sequence of its first row
  const int32_t* token_sequence = nullptr;  // [num_tokens] sequence of a row
  const int32_t* token_position = nullptr;  // [num_tokens] position of a row
  const int32_t* token_types = nullptr;     // [num_tokens] of a pair of texts, which one a row is of; null: all 0
  int num_output_rows = 0;
  const int32_t* output_rows = nullptr;     // [num_output_rows] rows that want logits or final hidden states
  int generated_rows = 0;                   // the first rows are of generated tokens, the others of prompts: their products
                                            // have another arithmetic on targets that have two
  int generated_outputs = 0;                // of the output rows the first so many are generated rows
};

// The type of cached keys and values. f32 is the reference. int8: codes -127..127, with an f16 scale for each position, kv head
// and block of kKeyBlock or kValueBlock dimensions.
enum class CacheType { f16, f32, int8 };

// Keys and values of one layer: `base + page * page_stride` for a page id out of the group's page table; the first
// page_bytes of it are the layer's. The order within is known only to page.h.
struct LayerCache {
  uint8_t* base = nullptr;
  const int32_t* page_table = nullptr;  // [num_sequences, table_stride] page of positions 64 i .. 64 i + 63
  int table_stride = 0;
  int64_t page_stride = 0;  // bytes
};

// Of a key or a value; latents have 576.
inline constexpr int kMaxHeadDim = 576;

// Dimensions of a head that share a scale in an int8 cache.
inline constexpr int kKeyBlock = 32;
inline constexpr int kValueBlock = 64;

// Dimensions that a row takes where they are the lanes of vectors: those behind head_dim are zero.
inline constexpr int padded_head_dim(int head_dim) { return (head_dim + 15) / 16 * 16; }

// Bytes of kPageTokens positions of one kv head, each `width` wide: codes, and behind them their scales.
inline constexpr int64_t head_page_bytes(CacheType type, int width, int block) {
  if (type == CacheType::f16) return int64_t{2} * kPageTokens * width;
  if (type == CacheType::f32) return int64_t{4} * kPageTokens * width;
  return int64_t{kPageTokens} * (width + 2 * ((width + block - 1) / block));
}
inline constexpr int64_t key_page_bytes(CacheType type, int head_dim) {
  return head_page_bytes(type, head_dim, kKeyBlock);
}
inline constexpr int64_t value_page_bytes(CacheType type, int value_dim) {
  return head_page_bytes(type, padded_head_dim(value_dim), kValueBlock);
}

// Latents: one row for a position, which is its key, and whose first dimensions are its value.
inline constexpr int64_t latent_page_bytes(CacheType type, int head_dim) {
  return head_page_bytes(type, padded_head_dim(head_dim), kKeyBlock);
}

// Bytes of one page of one layer: keys and values of kPageTokens positions.
inline constexpr int64_t page_bytes(CacheType type, int num_kv_heads, int head_dim, int value_dim) {
  return num_kv_heads * (key_page_bytes(type, head_dim) + value_page_bytes(type, value_dim));
}

}  // namespace lutmac
