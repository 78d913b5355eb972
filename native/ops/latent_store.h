// What the store of latents is given.
#pragma once

#include "ops/ops.h"
#include "ops/rotation.h"

namespace lutmac {

// A token's row of a head: queries as they meet latents, and what they are made of. The last `rope_dim` floats are rotated.
struct LatentStoreArgs {
  RopeStyle style = RopeStyle::half_split;
  const float* cos_sin = nullptr;  // [rope_dim] of the token; null: nothing is rotated
  int rank = 0, rope_dim = 0;      // of a latent
  int num_heads = 0, head_dim = 0;
  float* q = nullptr;             // [num_heads, rank + rope_dim]: the last rope_dim of each are written
  const float* heads = nullptr;   // [num_heads, head_dim]: the last rope_dim of each are read
  const float* normed = nullptr;  // [rank]
  const float* key = nullptr;     // [rank + rope_dim]: the last rope_dim are read
  CacheType cache_type = CacheType::f16;
  uint8_t* page = nullptr;        // of latents, see page.h
  int position = 0;               // on the page
};

struct LatentStoreLoops {
  void (*store)(const LatentStoreArgs&);
};

}  // namespace lutmac
