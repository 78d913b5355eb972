// Which ISA targets this build holds and this CPU runs.
#pragma once

#include <string>
#include <vector>

#include "kernels/lut.h"
#include "target.h"

namespace lutmac {

// A row of native/targets.def.
struct TargetRow {
  const char* name;
  const char* packing;
  const char* features;
};

struct TargetEntry : TargetRow {
  const Kernels* kernels;
  const void* const* const* loops;  // of each operation, by its number; see runtime/operation_list.h
  bool runs_here() const;
};

// All rows of the table, also of other architectures.
const std::vector<TargetRow>& target_table();

// Those of this build, best first; the last is portable.
const std::vector<TargetEntry>& targets();

// By the name that files have for it, of any architecture. Throws std::invalid_argument for one that is unknown.
const Packing& find_packing(const std::string& name);

// Throws std::invalid_argument for a name that is unknown or cannot run here.
const TargetEntry& find_target(const std::string& name);

}  // namespace lutmac
