// Descriptions of blocks, as Python hands them over.
#pragma once

#include <memory>

#include "runtime/low_bit_source.h"

namespace lutmac {

// A description of parameters and the kind that they are.
struct BlockParams {
  std::shared_ptr<const InBlocks> in_blocks;
  ParamKind kind;
};

}  // namespace lutmac
