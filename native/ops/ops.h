// What runs per token besides the matrix products: norms, rope, attention, activations.
//
// Plain loops, compiled once per ISA target. An operation is split into tasks 0..count-1 that any thread may run in any
// order; a token's result depends bit for bit only on its own input and its cached keys and values, never on how many
// tokens are in the step or on which thread ran the task. f32 rows are `stride` floats apart.
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
  int num_output_rows = 0;
  const int32_t* output_rows = nullptr;     // [num_output_rows] rows that want logits or final hidden states
};

// What keys and values are kept as. f32: as they are, the reference. int8: codes -127..127 under an f16 scale for each position, kv head and block of
// kKeyBlock or kValueBlock dimensions.
enum class CacheType { f16, f32, int8 };

// Keys and values of one layer: `base + page * page_stride` for a page id out of the group's block table; the first
// page_bytes of it are the layer's. The order within is known only to page.h.
struct LayerCache {
  uint8_t* base = nullptr;
  const int32_t* block_table = nullptr;  // [num_sequences, table_stride] page of positions 64 i .. 64 i + 63
  int table_stride = 0;
  int64_t page_stride = 0;  // bytes
};

enum class RopeStyle { half_split, interleaved };  // pairs (i, i + d/2), or (2i, 2i + 1)

struct RopeArgs {
  RopeStyle style = RopeStyle::half_split;
  int rotary_dim = 0;                         // 0: no rotation; the first rotary_dim of each head are rotated
  const float* inverse_frequency = nullptr;   // [rotary_dim / 2], scaling included
  float attention_factor = 1.0f;              // multiplies cos and sin (yarn, longrope)
  // [num_tokens, rotary_dim] what rope_angles wrote for each token of the step, shared by all layers of equal rope; null:
  // rope_store computes the same on the spot, once per token and kv head.
  const float* cos_sin = nullptr;
};

// Rotates q in place, rotates k, and stores k and v in the cache.
struct RopeStoreArgs {
  const Batch* batch = nullptr;
  RopeArgs rope;
  float* q = nullptr;        // [num_tokens, num_heads * head_dim]
  const float* k = nullptr;  // [num_tokens, num_kv_heads * head_dim]
  const float* v = nullptr;  // [num_tokens, num_kv_heads * head_dim]
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0;  // head_dim: even, at most 256
  CacheType cache_type = CacheType::f16;
  LayerCache cache;
};

struct AttentionArgs {
  const Batch* batch = nullptr;
  const float* q = nullptr;  // [num_tokens, num_heads * head_dim], rotated
  float* out = nullptr;      // [num_tokens, num_heads * head_dim]
  int64_t q_stride = 0, out_stride = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0;
  float scale = 1.0f;
  float softcap = 0.0f;  // 0: none; else scores become softcap * tanh(score / softcap)
  int window = 0;        // 0: none; else a token sees positions p - window + 1 .. p
  CacheType cache_type = CacheType::f16;
  LayerCache cache;
  uint8_t* scratch = nullptr;  // scratch_bytes, 64-byte aligned, shared by all threads of the step
  int64_t scratch_bytes = 0;
};

enum class Activation { silu, gelu_tanh, gelu, relu_squared };

// The operations of one ISA target.
struct Ops {
  // out[i] = x[i] / rms(x) * (weight[i] + weight_bias), one row of `width`. The sum is taken in float in a fixed order.
  void (*rms_norm)(const float* x, const float* weight, float weight_bias, float eps, int width, float* out);

  // out[i] = activation(gate[i]) * up[i], one row of `width`.
  void (*gated_activation)(Activation kind, const float* gate, const float* up, int width, float* out);

  // out[i] = a[i] + scale * b[i], and out[i] = a[i] * b[i], one row of `width`; out may be a or b.
  void (*add_scaled)(const float* a, const float* b, float scale, int width, float* out);
  void (*multiply)(const float* a, const float* b, int width, float* out);

  // out[i] = round(x[i] * s) / s with s = 127 / max |x|, one row of `width`: what is left of x as int8 with one scale per
  // token (BitNet b1.58, https://arxiv.org/abs/2402.17764). The maximum counts as 1e-5 where it is less.
  void (*round_to_int8)(const float* x, int width, float* out);

  // The `count` largest of a token's logits, the largest first, of equal ones that with the lower number, and their
  // softmax: over all experts, or with `normalize` over those chosen. Computed in double.
  void (*choose_experts)(const float* logits, int num_experts, int count, bool normalize, int32_t* experts,
                         float* weights);

  // out[rotary_dim]: the cosines, then the sines, of one token's angles, times attention_factor. The angle is the product
  // of position and inverse frequency in float, as Hugging Face has it; its cosine and sine are rounded from double.
  void (*rope_angles)(const Batch& batch, const RopeArgs& rope, int token, float* out);

  // One task = one kv head, and the q heads that read it, of up to 64 tokens that share a page: so no two threads write
  // to the same cache line of a page.
  int (*rope_store_tasks)(const RopeStoreArgs&);
  void (*rope_store)(const RopeStoreArgs&, int task);

  // Attention runs in two phases, one after the other: partial results over fixed spans of absolute position, then
  // their combination in order. Where spans need not be spread over threads, phase one does it all and phase two has
  // no tasks; the result is the same bit for bit.
  int64_t (*attention_scratch_bytes)(int max_tokens, int max_context, int num_heads, int head_dim);
  int (*attention_tasks)(const AttentionArgs&);
  void (*attention)(const AttentionArgs&, int task);
  int (*attention_combine_tasks)(const AttentionArgs&);
  void (*attention_combine)(const AttentionArgs&, int task);
};

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
inline constexpr int64_t value_page_bytes(CacheType type, int head_dim) {
  return head_page_bytes(type, padded_head_dim(head_dim), kValueBlock);
}

// Bytes of one page of one layer: keys and values of kPageTokens positions.
inline constexpr int64_t page_bytes(CacheType type, int num_kv_heads, int head_dim) {
  return num_kv_heads * (key_page_bytes(type, head_dim) + value_page_bytes(type, head_dim));
}

namespace portable { extern const Ops kOps; }
namespace avx2 { extern const Ops kOps; }
namespace avxvnni { extern const Ops kOps; }
namespace avx512 { extern const Ops kOps; }
namespace neon { extern const Ops kOps; }

}  // namespace lutmac
