#include "vbmi_twin.h"

#define LUTMAC_TARGET vbmi_twin
#include "kernels/avx512vbmi/product.h"
#include "kernels/kernel_table.h"

namespace lutmac::vbmi_twin {
namespace {

void prepare(Form form, const float* x, int64_t k, uint8_t* out) { portable::kKernels.prepare(form, x, k, out); }

const Kernels kKernels = kernel_table<Codes>(prepare, lookup_products);

}  // namespace
}  // namespace lutmac::vbmi_twin

const lutmac::TargetEntry kVbmiTwin = {{"the twin of avx512vbmi", "", ""}, &lutmac::vbmi_twin::kKernels, nullptr};
