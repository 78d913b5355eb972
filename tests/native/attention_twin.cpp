#include "attention_twin.h"

#define LUTMAC_TARGET attention_twin
#define LUTMAC_TWIN_OF_AVX512
#include "ops/attention.cpp"
#include "ops/prompt_attention.h"

const lutmac::AttentionLoops& kAttentionTwin = lutmac::attention_twin::attention_table;
void attend_prompt_twin(const lutmac::AttentionArgs& args, int task) { lutmac::attention_twin::attend_prompt(args, task); }
