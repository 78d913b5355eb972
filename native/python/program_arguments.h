// How the arguments of a program's operations come from Python, and are checked.
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "python/bindings.h"
#include "runtime/operations.h"

namespace lutmac {

// Form, buffer, and the order in which the floats are put before, if any.
using Forms = std::vector<std::tuple<std::string, int64_t, std::optional<IntArray>>>;

// "tokens" or "outputs"; "tokens*8": eight rows for each token.
Rows parse_rows(const std::string& rows);
Form parse_form(const std::string& form);
// Every buffer an operation names must lie in the arena, whatever the step.
int64_t buffer(const Program& program, int64_t offset, Form form, int64_t width, int per_token = 1);
RowOutput row_output(const Program& program, Rows rows, int64_t width, std::optional<int64_t> out, const Forms& forms);
void check_target(const Program& program, const PackedMatrix& matrix);

void bind_more_operations(nb::class_<Program>& program);

}  // namespace lutmac
