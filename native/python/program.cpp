#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <optional>

#include "python/bindings.h"
#include "runtime/program.h"

namespace lutmac {
namespace {

CacheType parse_cache_type(const std::string& type) {
  if (type == "f16") return CacheType::f16;
  if (type == "f32") return CacheType::f32;
  if (type == "int8") return CacheType::int8;
  throw std::invalid_argument("cache type must be 'f16', 'f32' or 'int8'");
}

void check_sequences(const Program& program, const IntArray& starts, const IntArray& positions, int num_tokens) {
  const int sequences = static_cast<int>(positions.shape(0));
  require(sequences >= 1 && sequences <= program.max_sequences(), "too few or too many sequences");
  require(static_cast<int>(starts.shape(0)) == sequences + 1 && starts.data()[0] == 0 &&
              starts.data()[sequences] == num_tokens,
          "sequence_start must run from 0 to the number of tokens");
  for (int s = 0; s < sequences; ++s) {
    const int64_t count = int64_t{starts.data()[s + 1]} - starts.data()[s];
    require(count >= 1, "every sequence needs a token");
    require(positions.data()[s] >= 0 && positions.data()[s] + count <= program.max_context(),
            "a position lies outside the context");
  }
}

void check_page_table(const IntMatrix& table, const Cache& cache, int group, bool slots, const IntArray& starts,
                       const IntArray& positions) {
  require(table.shape(0) == positions.shape(0), "a page table needs a line per sequence");
  for (size_t s = 0; s < positions.shape(0); ++s) {
    const int64_t end = int64_t{positions.data()[s]} + starts.data()[s + 1] - starts.data()[s];
    const int64_t pages = slots ? 1 : (end + kPageTokens - 1) / kPageTokens;
    require(pages <= static_cast<int64_t>(table.shape(1)), "a page table is too short for its sequence");
    for (int64_t i = 0; i < pages; ++i) {
      const int32_t page = table.data()[s * table.shape(1) + i];
      require(page >= 0 && page < cache.num_pages(group), "a page table names a page that does not exist");
    }
  }
}

void check_ids(const IntArray& ids, int64_t limit, const char* message) {
  for (size_t i = 0; i < ids.shape(0); ++i) require(ids.data()[i] >= 0 && ids.data()[i] < limit, message);
}

void check_generated(int generated, int num_tokens, const IntArray& output_rows) {
  require(generated >= 0 && generated <= num_tokens, "generated rows must be rows of the batch");
  bool prompt = false;
  for (size_t i = 0; i < output_rows.shape(0); ++i) {
    require(!prompt || output_rows.data()[i] >= generated, "output rows of generated tokens must come first");
    prompt = output_rows.data()[i] >= generated;
  }
}

// Runs the handlers of signals that came, in Python. Whether one of them raised: the error waits for the step's end.
bool signal_raised() {
  const nb::gil_scoped_acquire acquire;
  return PyErr_CheckSignals() != 0;
}

void step(Program& program, const Cache& cache, const IntArray& tokens, const IntArray& sequence_start,
          const IntArray& first_position, const std::vector<IntMatrix>& page_tables, const IntArray& output_rows,
          const std::optional<MutableFloatMatrix>& logits_out, const std::optional<MutableFloatMatrix>& hidden_out,
          int threads, bool interruptible, std::optional<int> generated_rows,
          const std::optional<IntArray>& token_types) {
  const int num_tokens = static_cast<int>(tokens.shape(0)), outputs = static_cast<int>(output_rows.shape(0));
  require(num_tokens >= 1 && num_tokens <= program.max_tokens(), "too few or too many tokens for one step");
  require(outputs <= program.max_tokens(), "too many output rows");
  require(threads >= 1 && threads <= 1024, "threads must be 1 to 1024");
  check_sequences(program, sequence_start, first_position, num_tokens);
  check_ids(tokens, program.vocab_size(), "a token id is outside the vocabulary");
  check_ids(output_rows, num_tokens, "an output row is outside the batch");
  const int generated = generated_rows.value_or(num_tokens);
  check_generated(generated, num_tokens, output_rows);
  program.check_cache(cache);
  require(static_cast<int>(page_tables.size()) == cache.num_groups(), "one page table per cache group is needed");
  Program::Input input{num_tokens, static_cast<int>(first_position.shape(0)), outputs, tokens.data(),
                       sequence_start.data(), first_position.data(), output_rows.data(), {}, nullptr, nullptr, 0};
  if (token_types) {
    require(static_cast<int>(token_types->shape(0)) == num_tokens, "every token needs a type");
    check_ids(*token_types, 1 << 16, "a token's type is out of range");
    input.token_types = token_types->data();
  }
  for (size_t group = 0; group < page_tables.size(); ++group) {
    check_page_table(page_tables[group], cache, static_cast<int>(group), program.group_has_slots(static_cast<int>(group)),
                      sequence_start, first_position);
    input.page_tables.emplace_back(page_tables[group].data(), static_cast<int>(page_tables[group].shape(1)));
  }
  input.prompt_rows = num_tokens - generated;
  require(outputs == 0 || logits_out || hidden_out, "output rows need an array for logits or for hidden states");
  if (outputs > 0 && logits_out) {
    require(static_cast<int>(logits_out->shape(0)) <= outputs &&
                static_cast<int64_t>(logits_out->shape(1)) == program.logits_size(),
            "logits must be an array of output rows, or of the first of them, by vocabulary");
    input.logits = logits_out->data();
    input.num_logits_rows = static_cast<int>(logits_out->shape(0));
  }
  if (outputs > 0 && hidden_out) {
    require(static_cast<int>(hidden_out->shape(0)) == outputs && program.hidden_size() > 0 &&
                static_cast<int64_t>(hidden_out->shape(1)) == program.hidden_size(),
            "hidden states must be an array of output rows by hidden size");
    input.hidden = hidden_out->data();
  }
  if (interruptible) input.is_interrupted = signal_raised;
  bool whole;
  {
    const nb::gil_scoped_release release;
    whole = program.step(cache, input, threads);
  }
  if (!whole) throw nb::python_error();
}

// [events, 7] int64: thread, operation, phase, tasks, begin, end, released.
nb::ndarray<nb::numpy, int64_t, nb::ndim<2>> take_trace(Program& program) {
  static_assert(sizeof(TraceEvent) == 7 * sizeof(int64_t), "an event is a row");
  const std::vector<TraceEvent> events = program.take_trace();
  auto* data = new int64_t[events.size() * 7];
  const nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<int64_t*>(p); });
  if (!events.empty()) std::memcpy(data, events.data(), events.size() * sizeof(TraceEvent));
  return nb::ndarray<nb::numpy, int64_t, nb::ndim<2>>(data, {events.size(), 7}, owner);
}

}  // namespace

void bind_program(nb::module_& module) {
  bind_fields(module);
  module.def(
      "page_bytes",
      [](const std::string& cache_type, int num_kv_heads, int head_dim, int value_dim, bool latent) {
        const CacheType type = parse_cache_type(cache_type);
        return latent ? num_kv_heads * latent_page_bytes(type, head_dim) : page_bytes(type, num_kv_heads, head_dim, value_dim);
      },
      nb::kw_only(), nb::arg("cache_type"), nb::arg("num_kv_heads"), nb::arg("head_dim"), nb::arg("value_dim"),
      nb::arg("latent") = false);
  nb::class_<Cache>(module, "Cache")
      .def(
          "__init__",
          [](Cache* self, std::vector<int> num_pages, std::vector<int> state_groups,
             std::vector<int64_t> state_page_bytes) {
            require(state_groups.size() == state_page_bytes.size(), "one group and one page size per state are needed");
            for (int pages : num_pages) require(pages >= 1, "a cache group needs a page");
            for (int64_t bytes : state_page_bytes) require(bytes >= 1, "page bytes must be positive");
            for (int group : state_groups) {
              require(group >= 0 && group < static_cast<int>(num_pages.size()), "a state names a group out of range");
            }
            new (self) Cache(std::move(num_pages), std::move(state_groups), std::move(state_page_bytes));
          },
          nb::kw_only(), nb::arg("num_pages"), nb::arg("state_groups"), nb::arg("state_page_bytes"))
      .def(
          "copy_page",
          [](Cache& self, int group, int source, int target) {
            require(group >= 0 && group < self.num_groups() && source >= 0 && source < self.num_pages(group) &&
                        target >= 0 && target < self.num_pages(group),
                    "no such page");
            self.copy_page(group, source, target);
          },
          // A slot may have 150 MB: other threads are not to wait for that.
          nb::arg("group"), nb::arg("source"), nb::arg("target"), nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("nbytes", &Cache::bytes);
  nb::class_<Program>(module, "Program")
      .def(
          "__init__",
          [](Program* self, const std::string& target, int max_tokens, int max_sequences, int max_context,
             int64_t arena_bytes) {
            new (self) Program(find_target(target), max_tokens, max_sequences, max_context, arena_bytes);
          },
          nb::kw_only(), nb::arg("target"), nb::arg("max_tokens"), nb::arg("max_sequences"), nb::arg("max_context"),
          nb::arg("arena_bytes"))
      .def(
          "add_pages",
          [](Program& self, int group, const std::string& cache_type, int num_kv_heads, int head_dim, int value_dim,
             int window, bool latent) {
            ProgramState state;
            state.group = group;
            state.type = parse_cache_type(cache_type);
            state.num_kv_heads = num_kv_heads;
            state.head_dim = head_dim;
            state.value_dim = value_dim;
            state.window = window;
            state.latent = latent;
            self.add_state(state);
          },
          nb::kw_only(), nb::arg("group"), nb::arg("cache_type"), nb::arg("num_kv_heads"), nb::arg("head_dim"),
          nb::arg("value_dim"), nb::arg("window"), nb::arg("latent") = false)
      .def(
          "add_slot",
          [](Program& self, int group, int64_t bytes) {
            ProgramState state;
            state.group = group;
            state.slot = true;
            state.bytes = bytes;
            self.add_state(state);
          },
          nb::kw_only(), nb::arg("group"), nb::arg("bytes"))
      .def(
          "add",
          [](Program& self, const std::string& name, const nb::dict& fields, bool together) {
            self.add(name, to_fields(fields), together);
          },
          nb::arg("name"), nb::arg("fields"), nb::kw_only(), nb::arg("together"))
      .def("step", &step, nb::arg("cache"), nb::kw_only(), nb::arg("tokens"), nb::arg("sequence_start"),
           nb::arg("first_position"), nb::arg("page_tables"), nb::arg("output_rows"), nb::arg("logits").none(),
           nb::arg("hidden") = nb::none(), nb::arg("threads"), nb::arg("interruptible") = false,
           nb::arg("generated_rows") = nb::none(), nb::arg("token_types") = nb::none())
      .def("start_trace", &Program::start_trace)
      .def("take_trace", &take_trace);
}

}  // namespace lutmac
