// What the rotation and the store into the cache are given.
#pragma once

#include "ops/ops.h"
#include "ops/rotation.h"

namespace lutmac {

// Rotates q in place, rotates k, and stores k and v in the cache.
struct RopeStoreArgs {
  const Batch* batch = nullptr;
  RopeStyle style = RopeStyle::half_split;
  int rotary_dim = 0;              // 0: no rotation; the first rotary_dim of each head are rotated
  const float* cos_sin = nullptr;  // [num_tokens, rotary_dim] what rope_angles wrote for each token of the step
  int64_t cos_sin_stride = 0;
  float* q = nullptr;        // [num_tokens, num_heads * head_dim]
  const float* k = nullptr;  // [num_tokens, num_kv_heads * head_dim]
  const float* v = nullptr;  // [num_tokens, num_kv_heads * value_dim]
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;
  CacheType cache_type = CacheType::f16;
  LayerCache cache;
};

// One task = one kv head, and the q heads that read it, of up to 64 tokens that share a page: so no two threads write to
// the same cache line of a page.
struct RopeStoreLoops {
  int (*tasks)(const RopeStoreArgs&);
  void (*store)(const RopeStoreArgs&, int task);
};

}  // namespace lutmac
