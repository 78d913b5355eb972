// The packing of amx: that of avx512vbmi, which multiplies the rows of generated tokens.
#pragma once

#include "kernels/avx512vbmi/packing.h"
