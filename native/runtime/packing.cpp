// A packing by itself, compiled for any processor: CMake compiles this once for each folder of native/kernels/, with
// LUTMAC_PACKING_FILE and a namespace. So a file of any target's packing is read on every machine.
#include LUTMAC_PACKING_FILE

namespace lutmac::LUTMAC_TARGET {

extern const Packing kPacking;
const Packing kPacking = Codes::table();

}  // namespace lutmac::LUTMAC_TARGET
