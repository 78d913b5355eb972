// A LowBitMatrix of lutmac.lowbit.matrix as packing reads it.
#pragma once

#include <vector>

#include "python/bindings.h"
#include "runtime/low_bit_source.h"

namespace lutmac {

// The arrays that it points to are added to `keep`. Throws std::invalid_argument for what packing cannot read.
LowBitSource read_matrix(nb::handle matrix, std::vector<AnyArray>& keep);

// An array of two dimensions, copied where it is not contiguous, and added to `keep`.
AnyArray read_array(nb::handle array, const char* what, std::vector<AnyArray>& keep);

bool is_type(const AnyArray& array, nb::dlpack::dtype_code code, int bits);

}  // namespace lutmac
