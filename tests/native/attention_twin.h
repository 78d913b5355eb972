// The attention of amx, that of generated tokens and that of prompts, over simd/scalar.h and plain tiles, which every processor runs.
#pragma once

#include "ops/attention.h"

extern const lutmac::AttentionLoops& kAttentionTwin;
void attend_prompt_twin(const lutmac::AttentionArgs& args, int task);
