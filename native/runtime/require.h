// Checks of what a caller must keep to.
#pragma once

#include <stdexcept>

namespace lutmac {

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace lutmac
