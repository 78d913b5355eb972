// What the file of an operation includes. It has two parts: the loops, compiled once per ISA target under LUTMAC_TARGET
// (see target.h), and the operation's class, compiled once. Its name is the operation's.
#pragma once

#ifdef LUTMAC_TARGET

#include <cstdint>

#include "target.h"

// The table of an operation's loops: a struct of function pointers, which the class finds by Fields::loops.
#define LUTMAC_LOOPS(name, Type, ...)                \
  namespace {                                        \
  constexpr Type name##_table = __VA_ARGS__;         \
  }                                                  \
  extern const void* const name##_loops;             \
  const void* const name##_loops = &name##_table

#else

#include "runtime/fields.h"
#include "runtime/operation.h"

#define LUTMAC_OPERATION(name, Class) \
  std::unique_ptr<Operation> make_##name(Fields& fields) { return std::make_unique<Class>(fields); }

#endif

namespace lutmac {

// Of an operation whose work is done by kernels, or is copying.
struct NoLoops {};

}  // namespace lutmac
