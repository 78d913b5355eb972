// The loops of all operations as they are compiled for this target. Compiled once per target, as the loops are.
#include "ops/list.h"
#include "target.h"

namespace lutmac::LUTMAC_TARGET {

#define LUTMAC_DECLARE(name) extern const void* const name##_loops;
LUTMAC_OPERATIONS(LUTMAC_DECLARE)
#undef LUTMAC_DECLARE

extern const void* const* const kLoops[];
// Addresses of pointers, not the pointers: nothing is left to be computed when the module is loaded, by code for a target
// that this CPU may not run.
const void* const* const kLoops[] = {
#define LUTMAC_ADDRESS(name) &name##_loops,
    LUTMAC_OPERATIONS(LUTMAC_ADDRESS)
#undef LUTMAC_ADDRESS
};

}  // namespace lutmac::LUTMAC_TARGET
