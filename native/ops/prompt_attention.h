// Attention of prompts' rows on a target with a matrix unit: tasks of the same plan as ops/attention.cpp's, by bf16 tiles.
#pragma once

#include "ops/attention_tile.h"
#include "ops/matrix_pages.h"

namespace lutmac::LUTMAC_TARGET {

inline void attend_prompt(const AttentionArgs& args, int task) {
  const TaskPlan plan(args, task);
  args.cache_type == CacheType::f16 ? AttentionTile<MatrixPages<CacheType::f16>>::run(args, plan)
                                    : AttentionTile<MatrixPages<CacheType::int8>>::run(args, plan);
}

}  // namespace lutmac::LUTMAC_TARGET
