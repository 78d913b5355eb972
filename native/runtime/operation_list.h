// The operations by name. CMake finds the files of native/ops/ and writes ops/list.h: LUTMAC_OPERATIONS(X) is X(name) of each.
#pragma once

#include <memory>
#include <string>

#include "runtime/fields.h"

namespace lutmac {

// Its place in the list, and in every target's table of loops. Throws std::invalid_argument for a name that is unknown.
int operation_number(const std::string& name);

// Throws std::invalid_argument, as the operation's constructor does.
std::unique_ptr<Operation> make_operation(const std::string& name, Fields& fields);

}  // namespace lutmac
