// What this processor can do.
#pragma once

#include <string_view>

namespace lutmac {

// Whether the processor has every one of these features, separated by spaces: the names of native/targets.def. The system
// must save the registers that they need. Throws std::logic_error for a name that no function here knows.
bool cpu_has(std::string_view features);

}  // namespace lutmac
