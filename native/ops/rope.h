// Rotary position embedding and the store into the cache; see ops.h.
#pragma once

#include "ops/ops.h"

namespace lutmac::LUTMAC_TARGET {

void rope_angles(const Batch& batch, const RopeArgs& rope, int token, float* out);
int rope_store_tasks(const RopeStoreArgs& args);
void rope_store(const RopeStoreArgs& args, int task);

}  // namespace lutmac::LUTMAC_TARGET
