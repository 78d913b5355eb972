// Attention over the paged cache; see ops.h.
#pragma once

#include "ops/ops.h"

namespace lutmac::LUTMAC_TARGET {

int64_t attention_scratch_bytes(int max_tokens, int max_context, int num_heads, int head_dim);
int attention_tasks(const AttentionArgs& args);
void attention(const AttentionArgs& args, int task);
int attention_combine_tasks(const AttentionArgs& args);
void attention_combine(const AttentionArgs& args, int task);

}  // namespace lutmac::LUTMAC_TARGET
