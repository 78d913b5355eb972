// The integers that stand for a codebook's values.
#pragma once

#include "kernels/lut.h"

namespace lutmac {

// values: 16 finite floats.
Codebook make_codebook(const float* values);

}  // namespace lutmac
