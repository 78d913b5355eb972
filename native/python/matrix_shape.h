// What a matrix is, apart from its bytes: as Python, and the native format's JSON, have it.
#pragma once

#include <string>
#include <variant>

#include "python/bindings.h"
#include "runtime/low_bit_shape.h"
#include "runtime/packed_matrix.h"

namespace lutmac {

struct MatrixShape {
  std::variant<LowBitShape, DenseShape> value;
};

MatrixShape shape_of(const PackedMatrix& matrix);

const char* name_of(CodeKind kind);

// The kind of that name in scales.def. Throws std::invalid_argument.
ParamKind param_kind(const std::string& name);

}  // namespace lutmac
