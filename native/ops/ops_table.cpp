// The operations of this target.
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/ops.h"
#include "ops/rope.h"
#include "ops/routing.h"

namespace lutmac::LUTMAC_TARGET {

extern const Ops kOps;
const Ops kOps = {
    .rms_norm = rms_norm,
    .gated_activation = gated_activation,
    .add_scaled = add_scaled,
    .multiply = multiply,
    .round_to_int8 = round_to_int8,
    .choose_experts = choose_experts,
    .rope_angles = rope_angles,
    .rope_store_tasks = rope_store_tasks,
    .rope_store = rope_store,
    .attention_scratch_bytes = attention_scratch_bytes,
    .attention_tasks = attention_tasks,
    .attention = attention,
    .attention_combine_tasks = attention_combine_tasks,
    .attention_combine = attention_combine,
};

}  // namespace lutmac::LUTMAC_TARGET
