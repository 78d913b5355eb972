// What attention over the paged cache is given.
#pragma once

#include "ops/ops.h"

namespace lutmac {

struct AttentionArgs {
  const Batch* batch = nullptr;
  const float* q = nullptr;  // [num_tokens, num_heads * head_dim], rotated
  float* out = nullptr;      // [num_tokens, num_heads * value_dim]
  int64_t q_stride = 0, out_stride = 0;
  int num_heads = 0, num_kv_heads = 0, head_dim = 0, value_dim = 0;  // head_dim: of queries and keys
  float scale = 1.0f;
  float softcap = 0.0f;  // 0: none; else scores become softcap * tanh(score / softcap)
  int window = 0;        // 0: none; else a token sees positions p - window + 1 .. p
  const float* sinks = nullptr;  // [num_heads] scores that take a share of the softmax and have no value; null: none
  CacheType cache_type = CacheType::f16;
  bool latent = false;  // a value is the first value_dim floats of its key
  LayerCache cache;
  void (*attend_prompt)(const AttentionArgs& args, int task) = nullptr;  // of prompts' rows, see Kernels; null: as all others
  uint8_t* scratch = nullptr;  // scratch_bytes, 64-byte aligned, shared by all threads of the step
  int64_t scratch_bytes = 0;
};

// Attention runs in two phases, one after the other: partial results over fixed spans of absolute position, then their
// combination in order. Where spans need not be spread over threads, phase one does it all and phase two has no tasks; the
// result is the same bit for bit.
struct AttentionLoops {
  int64_t (*scratch_bytes)(int max_tokens, int max_context, int num_heads, int value_dim);
  int (*tasks)(const AttentionArgs&);
  void (*attend)(const AttentionArgs&, int task);
  int (*combine_tasks)(const AttentionArgs&);
  void (*combine)(const AttentionArgs&, int task);
};

}  // namespace lutmac
