#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>

#include "python/program_arguments.h"

namespace lutmac {

Rows parse_rows(const std::string& rows) {
  if (rows == "tokens") return Rows::tokens;
  if (rows == "outputs") return Rows::outputs;
  Rows several = Rows::tokens;
  const char* end = rows.data() + rows.size();
  if (rows.starts_with("tokens*") && std::from_chars(rows.data() + 7, end, several.per_token).ptr == end &&
      several.per_token >= 1 && several.per_token <= 1024) {
    return several;
  }
  throw std::invalid_argument("rows must be 'tokens', 'outputs' or 'tokens*' and a count up to 1024");
}

Form parse_form(const std::string& form) {
  if (form == "plain") return Form::plain;
  if (form == "tables") return Form::tables;
  if (form == "integers") return Form::integers;
  if (form == "ternary") return Form::ternary;
  throw std::invalid_argument("unknown form '" + form + "'");
}

int64_t buffer(const Program& program, int64_t offset, Form form, int64_t width, int per_token) {
  const int64_t bytes = form_stride(form, width) * program.max_tokens() * per_token;
  require(offset >= 0 && offset % 64 == 0 && offset + bytes <= program.arena_bytes(),
          "a buffer lies outside the arena or is not aligned to 64 bytes");
  return offset;
}

namespace {

using Order = std::vector<int32_t>;

Order permutation(const IntArray& order, int64_t width) {
  require(static_cast<int64_t>(order.shape(0)) == width && width <= 65536,
          "an order must have one element per float of a row, at most 65536");
  for (size_t i = 0; i < order.shape(0); ++i) {
    require(order.data()[i] >= 0 && order.data()[i] < width, "an order names an element outside of its row");
  }
  return {order.data(), order.data() + order.shape(0)};
}

}  // namespace

RowOutput row_output(const Program& program, Rows rows, int64_t width, std::optional<int64_t> out, const Forms& forms) {
  require(width > 0, "width must be positive");
  require(forms.empty() || width % kTableGroup == 0, "the width of a form must be a multiple of 32");
  std::vector<FormBuffer> buffers;
  for (const auto& [name, offset, order] : forms) {
    const Form form = parse_form(name);
    buffers.push_back(
        {form, buffer(program, offset, form, width, rows.per_token), order ? permutation(*order, width) : Order{}});
  }
  const int64_t at = out ? buffer(program, *out, Form::plain, width, rows.per_token) : -1;
  return {program.target().kernels, width, at, std::move(buffers)};
}

void check_target(const Program& program, const PackedMatrix& matrix) {
  require(&matrix.target() == &program.target(), "the matrix is packed for another ISA target");
}

namespace {

using ProductTuple = std::tuple<std::shared_ptr<PackedMatrix>, int64_t, int64_t, std::optional<FloatArray>, bool>;

Activation parse_activation(const std::string& kind) {
  if (kind == "silu") return Activation::silu;
  if (kind == "gelu_tanh") return Activation::gelu_tanh;
  if (kind == "gelu") return Activation::gelu;
  if (kind == "relu_squared") return Activation::relu_squared;
  throw std::invalid_argument("unknown activation '" + kind + "'");
}

std::vector<float> copy(const FloatArray& array, int64_t expected, const char* what) {
  require(static_cast<int64_t>(array.shape(0)) == expected,
          std::string(what) + " must have " + std::to_string(expected) + " values");
  return {array.data(), array.data() + array.shape(0)};
}

void embed(Program& program, std::shared_ptr<PackedMatrix> matrix, int64_t out, float scale) {
  check_target(program, *matrix);
  program.set_vocab_size(matrix->rows());
  out = buffer(program, out, Form::plain, matrix->columns());
  program.add(std::make_unique<Embed>(std::move(matrix), out, scale));
}

void gather_outputs(Program& program, int64_t x, int64_t width, int64_t out) {
  program.add(std::make_unique<GatherOutputs>(buffer(program, x, Form::plain, width), width,
                                              buffer(program, out, Form::plain, width)));
}

void hidden_states(Program& program, int64_t x, int64_t width) {
  program.set_hidden_size(width);
  program.add(std::make_unique<HiddenStates>(buffer(program, x, Form::plain, width), width));
}

void norm(Program& program, const std::string& rows_name, int64_t x, int64_t width, const FloatArray& weight,
          float weight_bias, float eps, bool accumulate, std::optional<int64_t> out, const Forms& forms) {
  const Rows rows = parse_rows(rows_name);
  const int64_t run = static_cast<int64_t>(weight.shape(0));
  require(run > 0 && width > 0 && width % run == 0, "a norm's weight must divide the width of its rows");
  require(!accumulate || (out && width <= 65536), "what a norm adds onto must be named, and at most 65536 wide");
  program.add(std::make_unique<Norm>(program.target(), rows, buffer(program, x, Form::plain, width, rows.per_token),
                                     copy(weight, run, "a norm's weight"), weight_bias, eps, accumulate,
                                     row_output(program, rows, width, out, forms)));
}

void prepare(Program& program, const std::string& rows_name, int64_t x, int64_t width, const Forms& forms) {
  const Rows rows = parse_rows(rows_name);
  program.add(std::make_unique<Prepare>(rows, buffer(program, x, Form::plain, width, rows.per_token),
                                        row_output(program, rows, width, std::nullopt, forms)));
}

void gated_activation(Program& program, const std::string& rows_name, const std::string& kind, int64_t gate, int64_t up,
                      int64_t width, std::optional<int64_t> out, const Forms& forms) {
  const Rows rows = parse_rows(rows_name);
  program.add(std::make_unique<GatedActivation>(program.target(), rows, parse_activation(kind),
                                                buffer(program, gate, Form::plain, width, rows.per_token),
                                                buffer(program, up, Form::plain, width, rows.per_token),
                                                row_output(program, rows, width, out, forms)));
}

Product product(const Program& program, std::shared_ptr<PackedMatrix> matrix, int64_t x, bool exact) {
  check_target(program, *matrix);
  Product result;
  result.x = buffer(program, x, exact ? Form::plain : matrix->form(), matrix->columns());
  result.matrix = std::move(matrix);
  return result;
}

void matmul(Program& program, const std::string& rows, const std::vector<ProductTuple>& products, bool exact) {
  require(!products.empty(), "a matmul needs a product");
  std::vector<Product> list;
  for (const auto& [matrix, x, y, bias, accumulate] : products) {
    Product item = product(program, matrix, x, exact);
    item.y = buffer(program, y, Form::plain, matrix->rows());
    item.accumulate = accumulate;
    if (bias) item.bias = copy(*bias, matrix->rows(), "a bias");
    list.push_back(std::move(item));
  }
  program.add(std::make_unique<Matmul>(parse_rows(rows), std::move(list), exact));
}

void logits(Program& program, std::shared_ptr<PackedMatrix> matrix, int64_t x, bool exact, float scale,
            float softcap) {
  program.set_logits_size(matrix->rows());
  Product item = product(program, std::move(matrix), x, exact);
  item.to_logits = true;
  std::vector<Product> list;
  list.push_back(std::move(item));
  program.add(std::make_unique<Matmul>(Rows::outputs, std::move(list), exact, scale, softcap));
}

CacheType parse_cache_type(const std::string& type) {
  if (type == "f16") return CacheType::f16;
  if (type == "f32") return CacheType::f32;
  if (type == "int8") return CacheType::int8;
  throw std::invalid_argument("cache type must be 'f16', 'f32' or 'int8'");
}

void check_heads(int num_heads, int num_kv_heads, int head_dim) {
  require(num_heads > 0 && num_kv_heads > 0 && num_heads % num_kv_heads == 0,
          "the number of heads must be a multiple of the number of key-value heads");
  require(head_dim > 0 && head_dim % 2 == 0 && head_dim <= 256, "head_dim must be even, at most 256");
}

// The angles of a rope are computed once a step, by the first layer that has it.
const float* rope_table(Program& program, const RopeArgs& rope, std::vector<float> inverse_frequency) {
  if (rope.rotary_dim == 0) return nullptr;
  for (const auto& operation : program.operations()) {
    const auto* angles = dynamic_cast<const RopeAngles*>(operation.get());
    if (angles && angles->serves(rope, inverse_frequency)) return angles->table();
  }
  auto angles =
      std::make_unique<RopeAngles>(program.target(), rope, std::move(inverse_frequency), program.max_tokens());
  const float* table = angles->table();
  program.add(std::move(angles));
  return table;
}

void rope_store(Program& program, int layer, int cache_group, int64_t q, int64_t k, int64_t v, int num_heads,
                int num_kv_heads, int head_dim, const std::string& cache_type, const std::string& style,
                int rotary_dim, const FloatArray& inverse_frequency, float attention_factor) {
  check_heads(num_heads, num_kv_heads, head_dim);
  require(style == "half_split" || style == "interleaved", "rope style must be 'half_split' or 'interleaved'");
  require(rotary_dim >= 0 && rotary_dim <= head_dim && rotary_dim % 2 == 0,
          "rotary_dim must be even and at most head_dim");
  RopeStoreArgs args;
  args.rope.style = style == "interleaved" ? RopeStyle::interleaved : RopeStyle::half_split;
  args.rope.rotary_dim = rotary_dim;
  args.rope.attention_factor = attention_factor;
  args.num_heads = num_heads;
  args.num_kv_heads = num_kv_heads;
  args.head_dim = head_dim;
  args.cache_type = parse_cache_type(cache_type);
  args.rope.cos_sin = rope_table(program, args.rope, copy(inverse_frequency, rotary_dim / 2, "inverse_frequency"));
  const int64_t q_width = int64_t{num_heads} * head_dim, kv_width = int64_t{num_kv_heads} * head_dim;
  program.add(std::make_unique<RopeStore>(program.target(), args, layer, cache_group,
                                          buffer(program, q, Form::plain, q_width),
                                          buffer(program, k, Form::plain, kv_width),
                                          buffer(program, v, Form::plain, kv_width)));
  program.add_cached_layer(layer, cache_group, page_bytes(args.cache_type, num_kv_heads, head_dim));
}

void attention(Program& program, int layer, int cache_group, int64_t q, int64_t out, int num_heads, int num_kv_heads,
               int head_dim, const std::string& cache_type, float scale, float softcap, int window) {
  check_heads(num_heads, num_kv_heads, head_dim);
  require(window >= 0, "window must not be negative");
  AttentionArgs args;
  args.num_heads = num_heads;
  args.num_kv_heads = num_kv_heads;
  args.head_dim = head_dim;
  args.cache_type = parse_cache_type(cache_type);
  args.scale = scale;
  args.softcap = softcap;
  args.window = window;
  const int64_t width = int64_t{num_heads} * head_dim;
  program.add(std::make_unique<Attention>(program.target(), args, layer, cache_group,
                                          buffer(program, q, Form::plain, width),
                                          buffer(program, out, Form::plain, width)));
  program.add_cached_layer(layer, cache_group, page_bytes(args.cache_type, num_kv_heads, head_dim));
  program.reserve_scratch(program.target().ops->attention_scratch_bytes(program.max_tokens(), program.max_context(),
                                                                        num_heads, head_dim));
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

void check_block_table(const IntMatrix& table, const Cache& cache, int group, const IntArray& starts,
                       const IntArray& positions) {
  require(table.shape(0) == positions.shape(0), "a block table needs a line per sequence");
  for (size_t s = 0; s < positions.shape(0); ++s) {
    const int64_t end = int64_t{positions.data()[s]} + starts.data()[s + 1] - starts.data()[s];
    const int64_t pages = (end + kPageTokens - 1) / kPageTokens;
    require(pages <= static_cast<int64_t>(table.shape(1)), "a block table is too short for its sequence");
    for (int64_t i = 0; i < pages; ++i) {
      const int32_t page = table.data()[s * table.shape(1) + i];
      require(page >= 0 && page < cache.num_pages(group), "a block table names a page that does not exist");
    }
  }
}

void check_ids(const IntArray& ids, int64_t limit, const char* message) {
  for (size_t i = 0; i < ids.shape(0); ++i) require(ids.data()[i] >= 0 && ids.data()[i] < limit, message);
}

void step(Program& program, const Cache& cache, const IntArray& tokens, const IntArray& sequence_start,
          const IntArray& first_position, const std::vector<IntMatrix>& block_tables, const IntArray& output_rows,
          const std::optional<MutableFloatMatrix>& logits_out, const std::optional<MutableFloatMatrix>& hidden_out,
          int threads) {
  const int num_tokens = static_cast<int>(tokens.shape(0)), outputs = static_cast<int>(output_rows.shape(0));
  require(num_tokens >= 1 && num_tokens <= program.max_tokens(), "too few or too many tokens for one step");
  require(outputs <= program.max_tokens(), "too many output rows");
  require(threads >= 1 && threads <= 1024, "threads must be 1 to 1024");
  check_sequences(program, sequence_start, first_position, num_tokens);
  check_ids(tokens, program.vocab_size(), "a token id is outside the vocabulary");
  check_ids(output_rows, num_tokens, "an output row is outside the batch");
  program.check_cache(cache);
  require(static_cast<int>(block_tables.size()) == cache.num_groups(), "one block table per cache group is needed");
  Program::Input input{num_tokens, static_cast<int>(first_position.shape(0)), outputs, tokens.data(),
                       sequence_start.data(), first_position.data(), output_rows.data(), {}, nullptr, nullptr, 0};
  for (size_t group = 0; group < block_tables.size(); ++group) {
    check_block_table(block_tables[group], cache, static_cast<int>(group), sequence_start, first_position);
    input.block_tables.emplace_back(block_tables[group].data(), static_cast<int>(block_tables[group].shape(1)));
  }
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
  const nb::gil_scoped_release release;
  program.step(cache, input, threads);
}

}  // namespace

void bind_program(nb::module_& module) {
  module.def(
      "page_bytes",
      [](const std::string& cache_type, int num_kv_heads, int head_dim) {
        return page_bytes(parse_cache_type(cache_type), num_kv_heads, head_dim);
      },
      nb::kw_only(), nb::arg("cache_type"), nb::arg("num_kv_heads"), nb::arg("head_dim"));
  nb::class_<Cache>(module, "Cache")
      .def(
          "__init__",
          [](Cache* self, std::vector<int> num_pages, std::vector<int> layer_groups,
             std::vector<int64_t> layer_page_bytes) {
            require(layer_groups.size() == layer_page_bytes.size(), "one group and one page size per layer are needed");
            for (int pages : num_pages) require(pages >= 1, "a cache group needs a page");
            for (int64_t bytes : layer_page_bytes) require(bytes >= 1, "page bytes must be positive");
            for (int group : layer_groups) {
              require(group >= 0 && group < static_cast<int>(num_pages.size()), "a layer names a group out of range");
            }
            new (self) Cache(std::move(num_pages), std::move(layer_groups), std::move(layer_page_bytes));
          },
          nb::kw_only(), nb::arg("num_pages"), nb::arg("layer_groups"), nb::arg("layer_page_bytes"))
      .def(
          "copy_page",
          [](Cache& self, int source, int target) {
            for (int group = 0; group < self.num_groups(); ++group) {
              require(source >= 0 && source < self.num_pages(group) && target >= 0 && target < self.num_pages(group),
                      "no such page");
            }
            self.copy_page(source, target);
          },
          nb::arg("source"), nb::arg("target"))
      .def_prop_ro("nbytes", &Cache::bytes);
  nb::class_<Program> program(module, "Program");
  program
      .def(
          "__init__",
          [](Program* self, const std::string& target, int max_tokens, int max_sequences, int max_context,
             int64_t arena_bytes, int num_layers, int num_cache_groups) {
            require(max_tokens >= 1 && max_sequences >= 1 && max_context >= 1 && arena_bytes >= 1 && num_layers >= 0 &&
                        num_cache_groups >= 0,
                    "a program's limits must be positive");
            new (self)
                Program(find_target(target), max_tokens, max_sequences, max_context, arena_bytes, num_layers,
                        num_cache_groups);
          },
          nb::kw_only(), nb::arg("target"), nb::arg("max_tokens"), nb::arg("max_sequences"), nb::arg("max_context"),
          nb::arg("arena_bytes"), nb::arg("num_layers"), nb::arg("num_cache_groups"))
      .def("embed", &embed, nb::kw_only(), nb::arg("matrix"), nb::arg("out"), nb::arg("scale"))
      .def("gather_outputs", &gather_outputs, nb::kw_only(), nb::arg("x"), nb::arg("width"), nb::arg("out"))
      .def("hidden_states", &hidden_states, nb::kw_only(), nb::arg("x"), nb::arg("width"))
      .def("norm", &norm, nb::kw_only(), nb::arg("rows"), nb::arg("x"), nb::arg("width"), nb::arg("weight"),
           nb::arg("weight_bias"), nb::arg("eps"), nb::arg("accumulate"), nb::arg("out").none(), nb::arg("forms"))
      .def("prepare", &prepare, nb::kw_only(), nb::arg("rows"), nb::arg("x"), nb::arg("width"), nb::arg("forms"))
      .def("gated_activation", &gated_activation, nb::kw_only(), nb::arg("rows"), nb::arg("kind"), nb::arg("gate"),
           nb::arg("up"), nb::arg("width"), nb::arg("out").none(), nb::arg("forms"))
      .def("matmul", &matmul, nb::kw_only(), nb::arg("rows"), nb::arg("products"), nb::arg("exact"))
      .def("logits", &logits, nb::kw_only(), nb::arg("matrix"), nb::arg("x"), nb::arg("exact"), nb::arg("scale"),
           nb::arg("softcap"))
      .def("rope_store", &rope_store, nb::kw_only(), nb::arg("layer"), nb::arg("cache_group"), nb::arg("q"),
           nb::arg("k"), nb::arg("v"), nb::arg("num_heads"), nb::arg("num_kv_heads"), nb::arg("head_dim"),
           nb::arg("cache_type"), nb::arg("style"), nb::arg("rotary_dim"), nb::arg("inverse_frequency"), nb::arg("attention_factor"))
      .def("attention", &attention, nb::kw_only(), nb::arg("layer"), nb::arg("cache_group"), nb::arg("q"),
           nb::arg("out"), nb::arg("num_heads"), nb::arg("num_kv_heads"), nb::arg("head_dim"), nb::arg("cache_type"),
           nb::arg("scale"), nb::arg("softcap"), nb::arg("window"))
      .def("step", &step, nb::arg("cache"), nb::kw_only(), nb::arg("tokens"), nb::arg("sequence_start"),
           nb::arg("first_position"), nb::arg("block_tables"), nb::arg("output_rows"), nb::arg("logits").none(),
           nb::arg("hidden") = nb::none(), nb::arg("threads"));
  bind_more_operations(program);
}

}  // namespace lutmac
