// A random attention problem: sequences with pages in shuffled order, NaN wherever nothing was stored.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "ops/attention.h"
#include "ops/latent_store.h"
#include "ops/rope_store.h"
#include "runtime/operation_list.h"
#include "runtime/targets.h"

// The loops of an operation as they are compiled for a target.
template <typename Loops>
const Loops* loops_of(const lutmac::TargetEntry& target, const char* operation) {
  return static_cast<const Loops*>(*target.loops[lutmac::operation_number(operation)]);
}

struct TestTarget {
  const char* name;
  const lutmac::TargetEntry* entry;
  const lutmac::AttentionLoops* attention;
  const lutmac::RopeStoreLoops* rope_store;
  const lutmac::LatentStoreLoops* latent_store;
  void (*attend_prompt)(const lutmac::AttentionArgs&, int) = nullptr;  // null: rows of prompts are as those of generated tokens
};

inline std::vector<TestTarget> runnable_targets() {
  std::vector<TestTarget> targets;
  for (const lutmac::TargetEntry& target : lutmac::targets()) {
    if (!target.runs_here()) continue;
    targets.push_back({target.name, &target, loops_of<lutmac::AttentionLoops>(target, "attention"),
                       loops_of<lutmac::RopeStoreLoops>(target, "rope_store"),
                       loops_of<lutmac::LatentStoreLoops>(target, "latent_store")});
  }
  return targets;
}

enum class Splitting { off, on };  // without scratch no sequence can be split

struct CaseShape {
  int num_heads = 1, num_kv_heads = 1, head_dim = 64;
  int context = 1;
  int window = 0;
  float softcap = 0.0f;
  lutmac::CacheType cache_type = lutmac::CacheType::f16;
  int value_dim = 0;  // 0: head_dim
  bool latent = false;  // values are the beginnings of keys, and not kept apart

  int values() const { return value_dim > 0 ? value_dim : head_dim; }
};

inline const char* cache_name(lutmac::CacheType type) {
  switch (type) {
    case lutmac::CacheType::f16: return "f16";
    case lutmac::CacheType::f32: return "f32";
    case lutmac::CacheType::int8: return "int8";
  }
  return "";
}

// f16 as the cache rounds it, by way of double: nearest, ties to even.
inline double round_to_half(float x) {
  if (x == 0.0f) return 0.0;
  int exponent;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, std::max(exponent - 11, -24));
  return std::clamp(std::nearbyint(x / unit) * unit, -65504.0, 65504.0);
}

// What an int8 cache keeps of a row: codes under the f16 scale max |x| / 127 of each block.
inline std::vector<double> round_to_int8(const float* x, int head_dim, int block) {
  std::vector<double> out(head_dim);
  for (int first = 0; first < head_dim; first += block) {
    const int end = std::min(first + block, head_dim);
    float max = 0.0f;
    for (int i = first; i < end; ++i) max = std::max(max, std::abs(x[i]));
    const double scale = round_to_half(max / 127.0f);
    for (int i = first; i < end && scale > 0.0; ++i)
      out[i] = scale * std::clamp(std::nearbyint(double(x[i] / static_cast<float>(scale))), -127.0, 127.0);
  }
  return out;
}

class AttentionCase {
 public:
  CaseShape shape;
  std::vector<float> q, k, v;  // before rotation
  lutmac::RopeStyle style = lutmac::RopeStyle::half_split;
  int rotary_dim = 0;
  std::vector<float> angles;  // [context, rotary_dim] cosines, then sines
  std::vector<uint8_t> memory;
  std::vector<int32_t> pages;

  AttentionCase(TestRandom& random, CaseShape case_shape) : shape(case_shape) {
    const int64_t tokens = shape.context, heads = shape.num_heads, kv_heads = shape.num_kv_heads, dim = shape.head_dim;
    q = random.floats(tokens * heads * dim, 3.0f);
    k = random.floats(tokens * kv_heads * dim);
    v = random.floats(tokens * kv_heads * shape.values());
    const int used = (shape.context + lutmac::kPageTokens - 1) / lutmac::kPageTokens;
    pages.resize(used + 2);
    std::iota(pages.begin(), pages.end(), 0);
    for (int i = used + 1; i > 0; --i) std::swap(pages[i], pages[random.below(i + 1)]);
    clear();
  }
  AttentionCase(const AttentionCase&) = delete;
  AttentionCase(AttentionCase&&) = default;

  int64_t page_size() const {
    return shape.latent ? lutmac::latent_page_bytes(shape.cache_type, shape.head_dim)
                        : lutmac::page_bytes(shape.cache_type, shape.num_kv_heads, shape.head_dim, shape.values());
  }
  void clear() { memory.assign(pages.size() * page_size(), 0xff); }

  std::string describe() const {
    char text[128];
    std::snprintf(text, sizeof(text), "%s%s heads %d/%d dim %d/%d context %d window %d softcap %g",
                  cache_name(shape.cache_type), shape.latent ? " latents" : "", shape.num_heads, shape.num_kv_heads,
                  shape.head_dim, shape.values(), shape.context, shape.window, static_cast<double>(shape.softcap));
    return text;
  }

  lutmac::LayerCache cache() { return {memory.data(), pages.data(), static_cast<int>(pages.size()), page_size()}; }

  // Stores all tokens, chunks[i % size] at a time; rotates `rotated`.
  void store(const TestTarget& target, const std::vector<int>& chunks, std::vector<float>& rotated) {
    clear();
    for_chunks(chunks, [&](const lutmac::Batch& batch, int first) { store_chunk(target, batch, first, rotated); });
  }

  // Stores and attends, chunk by chunk.
  std::vector<float> run(const TestTarget& target, const std::vector<int>& chunks, Splitting splitting) {
    std::vector<float> rotated = q, out(int64_t{shape.context} * shape.num_heads * shape.values());
    clear();
    for_chunks(chunks, [&](const lutmac::Batch& batch, int first) {
      store_chunk(target, batch, first, rotated);
      const int64_t heads = int64_t{first} * shape.num_heads;
      attend(target, batch, rotated.data() + heads * shape.head_dim, out.data() + heads * shape.values(), cache(), splitting);
    });
    return out;
  }

  void attend(const TestTarget& target, const lutmac::Batch& batch, const float* from, float* out,
              lutmac::LayerCache layer, Splitting splitting) const {
    lutmac::AttentionArgs args;
    args.batch = &batch;
    args.q = from;
    args.out = out;
    args.q_stride = int64_t{shape.num_heads} * shape.head_dim;
    args.out_stride = int64_t{shape.num_heads} * shape.values();
    args.num_heads = shape.num_heads;
    args.num_kv_heads = shape.num_kv_heads;
    args.head_dim = shape.head_dim;
    args.value_dim = shape.values();
    args.scale = scale();
    args.softcap = shape.softcap;
    args.window = shape.window;
    args.cache_type = shape.cache_type;
    args.latent = shape.latent;
    args.cache = layer;
    args.attend_prompt = target.attend_prompt;
    std::vector<float> scratch;
    if (splitting == Splitting::on) {
      args.scratch_bytes = target.attention->scratch_bytes(batch.num_tokens, 2048, shape.num_heads, shape.values());
      scratch.assign(args.scratch_bytes / sizeof(float), NAN);
      args.scratch = reinterpret_cast<uint8_t*>(scratch.data());
    }
    for (int task = target.attention->tasks(args); task-- > 0;) target.attention->attend(args, task);
    for (int task = target.attention->combine_tasks(args); task-- > 0;) target.attention->combine(args, task);
  }

  void store_chunk(const TestTarget& target, const lutmac::Batch& batch, int first, std::vector<float>& rotated) {
    if (shape.latent) return store_latents(target, batch, first, rotated);
    const int64_t kv_width = int64_t{shape.num_kv_heads} * shape.head_dim, width = int64_t{shape.num_heads} * shape.head_dim;
    lutmac::RopeStoreArgs args;
    args.batch = &batch;
    args.style = style;
    args.rotary_dim = rotary_dim;
    args.cos_sin = angles.data() + int64_t{first} * rotary_dim;
    args.cos_sin_stride = rotary_dim;
    args.q = rotated.data() + first * width;
    args.k = k.data() + first * kv_width;
    args.v = v.data() + int64_t{first} * shape.num_kv_heads * shape.values();
    args.q_stride = width;
    args.k_stride = kv_width;
    args.v_stride = int64_t{shape.num_kv_heads} * shape.values();
    args.num_heads = shape.num_heads;
    args.num_kv_heads = shape.num_kv_heads;
    args.head_dim = shape.head_dim;
    args.value_dim = shape.values();
    args.cache_type = shape.cache_type;
    args.cache = cache();
    for (int task = target.rope_store->tasks(args); task-- > 0;) target.rope_store->store(args, task);
  }

  // Without rotation. Queries come back as they were: what is written of them is what is read of `q`.
  void store_latents(const TestTarget& target, const lutmac::Batch& batch, int first, std::vector<float>& queries) {
    for (int token = first; token < first + batch.num_tokens; ++token) {
      const int64_t width = int64_t{shape.num_heads} * shape.head_dim;
      lutmac::LatentStoreArgs args;
      args.rank = shape.values();
      args.rope_dim = shape.head_dim - shape.values();
      args.num_heads = shape.num_heads;
      args.head_dim = shape.head_dim;
      args.q = queries.data() + token * width;
      args.heads = q.data() + token * width;
      args.normed = args.key = k.data() + int64_t{token} * shape.head_dim;
      args.cache_type = shape.cache_type;
      args.page = memory.data() + pages[token / lutmac::kPageTokens] * page_size();
      args.position = token % lutmac::kPageTokens;
      target.latent_store->store(args);
    }
  }

  // A cached row, as the cache has rounded it.
  std::vector<double> cached(const std::vector<float>& rows, int position, int kv_head, int block) const {
    const int dim = block == lutmac::kKeyBlock ? shape.head_dim : shape.values();
    const float* row = rows.data() + (int64_t{position} * shape.num_kv_heads + kv_head) * dim;
    if (shape.cache_type == lutmac::CacheType::int8) return round_to_int8(row, dim, block);
    std::vector<double> out(row, row + dim);
    if (shape.cache_type == lutmac::CacheType::f16) std::transform(row, row + dim, out.begin(), round_to_half);
    return out;
  }

  // Softmax attention of one token and head in double, without rotation.
  std::vector<double> reference(const TestTarget&, int token, int head) const {
    const int dim = shape.head_dim, kv_head = head / (shape.num_heads / shape.num_kv_heads);
    const int first = shape.window > 0 ? std::max(0, token - shape.window + 1) : 0;
    std::vector<double> weight, out(shape.values());
    double total = 0.0;
    for (int position = first; position <= token; ++position) {
      const std::vector<double> key = cached(k, position, kv_head, lutmac::kKeyBlock);
      double score = 0.0;
      for (int i = 0; i < dim; ++i) score += double(q[(int64_t{token} * shape.num_heads + head) * dim + i]) * key[i];
      score *= double(scale());
      if (shape.softcap != 0.0f) score = shape.softcap * std::tanh(score / shape.softcap);
      weight.push_back(std::exp(score));
      total += weight.back();
    }
    for (int position = first; position <= token; ++position) {
      const std::vector<double> value =
          shape.latent ? cached(k, position, 0, lutmac::kKeyBlock) : cached(v, position, kv_head, lutmac::kValueBlock);
      for (int i = 0; i < shape.values(); ++i) out[i] += weight[position - first] / total * value[i];
    }
    return out;
  }

 private:
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape.head_dim)); }

  template <typename Body>
  void for_chunks(const std::vector<int>& chunks, Body body) {
    for (int first = 0, i = 0; first < shape.context; first += chunks[i++ % chunks.size()]) {
      const int count = std::min(chunks[i % chunks.size()], shape.context - first);
      const std::vector<int32_t> start = {0, count}, sequence(count, 0);
      std::vector<int32_t> position(count);
      std::iota(position.begin(), position.end(), first);
      lutmac::Batch batch;
      batch.num_tokens = count;
      batch.num_sequences = 1;
      batch.sequence_start = start.data();
      batch.first_position = &first;
      batch.token_sequence = sequence.data();
      batch.token_position = position.data();
      body(batch, first);
    }
  }
};

// The last token of each case (all of the first half of them) in one step; the other tokens are in the cache already. generated: so
// many cases, the first, are of generated tokens.
inline std::vector<std::vector<float>> run_together(const TestTarget& target, std::vector<AttentionCase>& cases,
                                                    Splitting splitting, size_t generated = 0) {
  const CaseShape& shape = cases[0].shape;
  const int64_t width = int64_t{shape.num_heads} * shape.head_dim;
  const int64_t page_size = cases[0].page_size();
  std::vector<std::vector<float>> results;
  std::vector<float> q;
  std::vector<uint8_t> memory;
  std::vector<int32_t> start = {0}, first, sequence, position;
  size_t stride = 0;
  for (AttentionCase& test : cases) stride = std::max(stride, test.pages.size());
  std::vector<int32_t> table(stride * cases.size(), -1);
  for (size_t i = 0; i < cases.size(); ++i) {
    AttentionCase& test = cases[i];
    results.push_back(test.run(target, {64}, Splitting::off));
    const int begin = i % 2 == 0 ? 0 : std::max(0, test.shape.context - 1);
    for (size_t page = 0; page < test.pages.size(); ++page)
      table[i * stride + page] = test.pages[page] + static_cast<int32_t>(memory.size() / page_size);
    memory.insert(memory.end(), test.memory.begin(), test.memory.end());
    q.insert(q.end(), test.q.begin() + begin * width, test.q.end());
    first.push_back(begin);
    for (int token = begin; token < test.shape.context; ++token) {
      sequence.push_back(static_cast<int32_t>(i));
      position.push_back(token);
    }
    start.push_back(static_cast<int32_t>(position.size()));
  }
  lutmac::Batch batch;
  batch.num_tokens = static_cast<int>(position.size());
  batch.num_sequences = static_cast<int>(cases.size());
  batch.sequence_start = start.data();
  batch.first_position = first.data();
  batch.token_sequence = sequence.data();
  batch.token_position = position.data();
  batch.generated_rows = start[generated];
  std::vector<float> out(q.size());
  const lutmac::LayerCache cache = {memory.data(), table.data(), static_cast<int>(stride), page_size};
  cases[0].attend(target, batch, q.data(), out.data(), cache, splitting);
  for (size_t i = 0; i < cases.size(); ++i)
    std::copy(out.begin() + start[i] * width, out.begin() + start[i + 1] * width,
              results[i].begin() + first[i] * width);
  return results;
}
