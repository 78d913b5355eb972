#include "runtime/operation_list.h"

#include <iterator>
#include <stdexcept>

#include "ops/list.h"

namespace lutmac {

#define LUTMAC_DECLARE(name) std::unique_ptr<Operation> make_##name(Fields& fields);
LUTMAC_OPERATIONS(LUTMAC_DECLARE)
#undef LUTMAC_DECLARE

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Operation> (*make)(Fields& fields);
};

constexpr Entry kEntries[] = {
#define LUTMAC_ENTRY(name) {#name, make_##name},
    LUTMAC_OPERATIONS(LUTMAC_ENTRY)
#undef LUTMAC_ENTRY
};

}  // namespace

int operation_number(const std::string& name) {
  for (const Entry& entry : kEntries) {
    if (name == entry.name) return static_cast<int>(&entry - std::begin(kEntries));
  }
  throw std::invalid_argument("there is no operation '" + name + "'");
}

std::unique_ptr<Operation> make_operation(const std::string& name, Fields& fields) {
  return kEntries[operation_number(name)].make(fields);
}

}  // namespace lutmac
