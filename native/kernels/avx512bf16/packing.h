// The packing of avx512bf16: that of avx512vbmi, which multiplies all low-bit matrices.
#pragma once

#include "kernels/avx512vbmi/packing.h"
