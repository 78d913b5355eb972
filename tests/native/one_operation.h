// A program of one operation over rows of plain floats.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "attention_case.h"
#include "runtime/program.h"

// What the operation writes as `out`: [tokens, width]. Each input is [tokens, width], too. Checked: it writes nothing beside
// its rows, and works in place where its first input is its result.
inline std::vector<float> run_operation(const TestTarget& target, const char* name, int tokens, int64_t width,
                                        const std::vector<std::pair<std::string, std::vector<float>>>& inputs,
                                        const lutmac::FieldMap& fields) {
  using namespace lutmac;
  const int64_t stride = form_stride(Form::plain, width), bytes = stride * tokens;
  const std::vector<int32_t> ids(tokens, 0), start = {0, tokens}, first = {0};
  std::vector<float> results[2];
  for (const bool in_place : {false, true}) {
    Program program(*target.entry, tokens, 1, tokens, bytes * static_cast<int64_t>(inputs.size() + 2));
    FieldMap given = fields;
    int64_t next = bytes;
    for (const auto& [input, values] : inputs) {
      given[input] = Buffer{next, Form::plain, width, {}, {}};
      for (int token = 0; token < tokens; ++token)
        std::memcpy(program.arena() + next + token * stride, values.data() + token * width, sizeof(float) * width);
      next += bytes;
    }
    const int64_t out = in_place && !inputs.empty() ? bytes : 0;
    given["out"] = Buffer{out, Form::plain, width, {}, {}};
    std::memset(program.arena() + next, 0x55, bytes);
    program.add(name, given, false);
    const Cache cache({}, {}, {});
    program.step(cache, {tokens, 1, 0, ids.data(), start.data(), first.data(), nullptr, {}, nullptr, nullptr, 0}, 1);
    for (int64_t i = 0; i < bytes; ++i) {
      if (program.arena()[next + i] != 0x55) check(false, "%s: %s wrote past its rows, width %d", target.name, name, static_cast<int>(width));
    }
    for (int token = 0; token < tokens; ++token) {
      const float* row = reinterpret_cast<const float*>(program.arena() + out + token * stride);
      results[in_place].insert(results[in_place].end(), row, row + width);
    }
  }
  check(std::memcmp(results[0].data(), results[1].data(), results[0].size() * sizeof(float)) == 0,
        "%s: %s in place differs, width %d", target.name, name, static_cast<int>(width));
  return results[0];
}
