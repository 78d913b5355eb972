// Mixtures of experts: which experts each token goes to, and the experts' products over the rows that each one gets.
//
// A token that goes to k experts has k rows, and those of one expert lie together. Two buffers say which is which:
// choices, a row for each token: [k experts s32][their k weights f32][their k rows s32];
// starts, one row: [2 * number of experts + 1] the first row of each expert that is of a generated token; then the first of each that is
// of a prompt; and the end of the last.
#pragma once

#include "runtime/fields.h"
#include "runtime/operation.h"

namespace lutmac {

// A token's line in the buffer of choices.
struct Choices {
  int32_t* experts;
  float* weights;
  int32_t* rows;

  static Choices of(const Step& step, const Buffer& buffer, int64_t token) {
    const int64_t per_token = buffer.width / 3;
    float* line = buffer.floats(step, token);
    int32_t* integers = reinterpret_cast<int32_t*>(line);
    return {integers, line + per_token, integers + 2 * per_token};
  }
};

}  // namespace lutmac
