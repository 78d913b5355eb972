// The operations of a program that only some models have.
#include "python/program_arguments.h"
#include "runtime/elementwise_operations.h"
#include "runtime/expert_operations.h"

namespace lutmac {
namespace {

void combine(Program& program, Combine::Kind kind, const std::string& rows_name, int64_t a, int64_t b, float scale,
             int64_t width, int64_t out, const Forms& forms) {
  const Rows rows = parse_rows(rows_name);
  program.add(std::make_unique<Combine>(program.target(), rows, kind,
                                        buffer(program, a, Form::plain, width, rows.per_token),
                                        buffer(program, b, Form::plain, width, rows.per_token), scale,
                                        row_output(program, rows, width, out, forms)));
}

void add(Program& program, const std::string& rows, int64_t a, int64_t b, float scale, int64_t width, int64_t out,
         const Forms& forms) {
  combine(program, Combine::Kind::sum, rows, a, b, scale, width, out, forms);
}

void multiply(Program& program, const std::string& rows, int64_t a, int64_t b, int64_t width, int64_t out) {
  combine(program, Combine::Kind::product, rows, a, b, 1.0f, width, out, {});
}

void round_to_int8(Program& program, const std::string& rows_name, int64_t x, int64_t width, int64_t out) {
  const Rows rows = parse_rows(rows_name);
  program.add(std::make_unique<RoundToInt8>(program.target(), rows,
                                            buffer(program, x, Form::plain, width, rows.per_token),
                                            row_output(program, rows, width, out, {})));
}

void check_experts(int64_t num_experts, int per_token) {
  require(num_experts >= 1 && num_experts <= 65536 && per_token >= 1 && per_token <= 1024 && per_token <= num_experts,
          "a token must go to at least one expert, and to no more than there are");
}

void route(Program& program, int64_t logits, int num_experts, int per_token, bool normalize, int64_t choices,
           int64_t starts) {
  check_experts(num_experts, per_token);
  program.add(std::make_unique<Route>(program.target(), buffer(program, logits, Form::plain, num_experts), num_experts,
                                      per_token, normalize, buffer(program, choices, Form::plain, 3 * per_token),
                                      buffer(program, starts, Form::plain, num_experts + 1)));
}

void expert_gather(Program& program, const std::string& form_name, int64_t x, int64_t width, int64_t choices,
                   int per_token, int64_t out) {
  check_experts(per_token, per_token);
  const FormBuffer from{parse_form(form_name), buffer(program, x, parse_form(form_name), width), {}};
  program.add(std::make_unique<ExpertGather>(from, width, buffer(program, choices, Form::plain, 3 * per_token),
                                             per_token, buffer(program, out, from.form, width, per_token)));
}

void expert_matmul(Program& program, std::vector<std::shared_ptr<PackedMatrix>> matrices, int64_t x, int64_t starts,
                   int per_token, int64_t y, bool exact) {
  check_experts(static_cast<int64_t>(matrices.size()), per_token);
  const PackedMatrix& first = *matrices.front();
  for (const auto& matrix : matrices) {
    check_target(program, *matrix);
    require(matrix->rows() == first.rows() && matrix->columns() == first.columns(),
            "the experts' matrices differ in shape");
    require(exact || matrix->form() == first.form(), "the experts' matrices want different forms of their input");
  }
  const int64_t num_experts = static_cast<int64_t>(matrices.size());
  x = buffer(program, x, exact ? Form::plain : first.form(), first.columns(), per_token);
  y = buffer(program, y, Form::plain, first.rows(), per_token);
  program.add(std::make_unique<ExpertMatmul>(std::move(matrices), x, buffer(program, starts, Form::plain, num_experts + 1),
                                             per_token, y, exact));
}

void expert_sum(Program& program, int64_t x, int64_t width, int64_t choices, int per_token, bool accumulate,
                int64_t out) {
  check_experts(per_token, per_token);
  program.add(std::make_unique<ExpertSum>(program.target(), buffer(program, x, Form::plain, width, per_token), width,
                                          buffer(program, choices, Form::plain, 3 * per_token), per_token, accumulate,
                                          buffer(program, out, Form::plain, width)));
}

}  // namespace

void bind_more_operations(nb::class_<Program>& program) {
  program
      .def("add", &add, nb::kw_only(), nb::arg("rows"), nb::arg("a"), nb::arg("b"), nb::arg("scale"), nb::arg("width"),
           nb::arg("out"), nb::arg("forms"))
      .def("multiply", &multiply, nb::kw_only(), nb::arg("rows"), nb::arg("a"), nb::arg("b"), nb::arg("width"),
           nb::arg("out"))
      .def("round_to_int8", &round_to_int8, nb::kw_only(), nb::arg("rows"), nb::arg("x"), nb::arg("width"),
           nb::arg("out"))
      .def("route", &route, nb::kw_only(), nb::arg("logits"), nb::arg("num_experts"), nb::arg("per_token"),
           nb::arg("normalize"), nb::arg("choices"), nb::arg("starts"))
      .def("expert_gather", &expert_gather, nb::kw_only(), nb::arg("form"), nb::arg("x"), nb::arg("width"),
           nb::arg("choices"), nb::arg("per_token"), nb::arg("out"))
      .def("expert_matmul", &expert_matmul, nb::kw_only(), nb::arg("matrices"), nb::arg("x"), nb::arg("starts"),
           nb::arg("per_token"), nb::arg("y"), nb::arg("exact"))
      .def("expert_sum", &expert_sum, nb::kw_only(), nb::arg("x"), nb::arg("width"), nb::arg("choices"),
           nb::arg("per_token"), nb::arg("accumulate"), nb::arg("out"));
}

}  // namespace lutmac
