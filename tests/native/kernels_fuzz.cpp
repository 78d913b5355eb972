// Holds every ISA target against portable on the same random input: any shape, kind and bits, activations at the ends of
// float's range and past them.
//
//   kernels_fuzz            the corpus, then 10 seconds of new seeds
//   kernels_fuzz SECONDS    the corpus, then so many seconds
//   kernels_fuzz 0 SEED     that seed alone: what a failure asks for
//
// A target's tables may differ from portable's where a sum is halfway between two entries, so each target computes from
// portable's tables too: the same integers then, and only the float arithmetic around them differs. kernel_case.h derives
// how far from exact either may be.
#include <chrono>
#include <cinttypes>
#include <cstring>
#include <limits>

#include "kernel_case.h"

using namespace lutmac;

namespace {

// Seeds that are always run: one for each class of activations and each bit width (Mix says which), and those that have
// found something: 24 and 40 (reciprocals of denormals that overflowed), 5 and 13 (NaN became a table of numbers), the long
// one (this check's own: a partial sum of a finite result that overflows).
constexpr uint64_t kCorpus[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                                24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
                                1795267070904015021};

enum class Mix { plain, zeros, spread, huge, denormal, not_finite, count };

// The seed's class, and its bits in the quotient: the corpus holds every pair.
Mix mix_of(uint64_t seed) { return static_cast<Mix>(seed % static_cast<uint64_t>(Mix::count)); }

KernelShape random_shape(TestRandom& random, uint64_t seed) {
  constexpr ParamKind kKinds[] = {ParamKind::f16,  ParamKind::f32,  ParamKind::two_level_f16, ParamKind::two_level_f32,
                                  ParamKind::bf16, ParamKind::e8m0, ParamKind::e4m3,          ParamKind::none};
  constexpr int64_t kGroupSizes[] = {16, 32, 64, 96, 128, 256, 0};
  KernelShape shape;
  shape.bits = 1 + static_cast<int>(seed / static_cast<uint64_t>(Mix::count) % 8);
  shape.rows = 1 + random.below(random.below(4) == 0 ? 300 : 70);
  shape.columns = 32 * (1 + random.below(40));
  shape.tokens = 1 + random.below(20);
  shape.group_size = kGroupSizes[random.below(7)];
  if (shape.group_size == 0) shape.group_size = shape.columns;
  shape.scale_kind = kKinds[random.below(7)];
  shape.offset_kind = kKinds[random.below(8)];
  shape.zero_point = static_cast<float>(random.below(2 << shape.bits)) * 0.5f;
  if (shape.bits == 4 && random.below(2)) {
    shape.kind = CodeKind::codebook;
    shape.zero_point = 0.0f;
    shape.book = random.below(3);
    shape.second_book = shape.offset_kind == ParamKind::none ? -1 : random.below(4) - 1;
  } else if (shape.bits == 2 && random.below(2)) {
    shape.kind = CodeKind::ternary;
    if (shape.group_size % 128 != 0) shape.group_size = shape.columns;
    shape.zero_point = 1.0f;
    shape.offset_kind = ParamKind::none;
  } else if (shape.bits == 8 && random.below(2)) {
    shape.kind = CodeKind::float8;
    shape.zero_point = 0.0f;
    shape.offset_kind = ParamKind::none;
  }
  return shape;
}

std::vector<float> random_activations(TestRandom& random, const KernelShape& shape, Mix mix) {
  if (mix == Mix::spread) return make_activations(random, shape, -25.0f, 25.0f);
  if (mix == Mix::huge) return make_activations(random, shape, 30.0f, 38.4f);
  if (mix == Mix::denormal) return make_activations(random, shape, -44.5f, -28.0f);
  std::vector<float> x = make_activations(random, shape);
  if (mix == Mix::zeros) {
    for (size_t i = 0; i < x.size(); i += 32) {
      if (random.below(2)) std::fill(x.begin() + i, x.begin() + i + 32, random.below(2) ? 0.0f : -0.0f);
    }
  }
  if (mix == Mix::not_finite) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    x[random.below(static_cast<int>(x.size()))] = random.below(2) ? std::nanf("") : random.below(2) ? kInfinity : -kInfinity;
  }
  return x;
}

struct Compared {
  const char *what, *name;
  bool with_form, exact;
};

// Partial sums may be larger than the result (what is allowed is 2^-24 of them, and more), and overflow, in one target's
// order of additions and not in another's.
bool may_overflow(const KernelCase::Expected& expected, double allowed) { return allowed > 1e30 || expected.unscaled > 1e37; }

// Each token and row within its bound of the exact product; what is not finite, or too large for float, must not be a
// number that looks right.
void check_products(const KernelCase& test, uint64_t seed, const Compared& compared, const std::vector<float>& y) {
  for (size_t i = 0; i < y.size(); ++i) {
    const KernelCase::Expected& expected = test.expected[i];
    const double allowed = compared.exact ? expected.exact_rounding : expected.rounding + (compared.with_form ? expected.form : 0.0);
    if (std::isfinite(expected.value) && may_overflow(expected, allowed)) continue;
    const bool holds = std::isfinite(expected.value) ? std::abs(y[i] - expected.value) <= allowed : !std::isfinite(y[i]);
    check(holds, "seed %" PRIu64 ": %s: %s: %s: [%zu] is %.9g, expected %.9g +- %.3g", seed, compared.name, compared.what,
          test.shape.describe().c_str(), i, static_cast<double>(y[i]), expected.value, allowed);
  }
}

void run_seed(const std::vector<TargetEntry>& targets, uint64_t seed) {
  TestRandom random(seed * 2654435761u + 12345);
  const KernelShape shape = random_shape(random, seed);
  std::vector<float> x = random_activations(random, shape, mix_of(seed));
  const KernelCase test(random, shape, std::move(x));
  const TargetEntry& portable = targets.back();
  const Form form = shape.kind == CodeKind::float8                             ? Form::plain
                    : shape.kind == CodeKind::ternary                     ? Form::ternary
                    : shape.bits == 8 || shape.kind == CodeKind::codebook ? Form::integers
                                                                          : Form::tables;
  FormRows portable_forms(*portable.kernels, form, test.x, shape.columns);
  const std::vector<float> reference = multiply(pack(portable, test.source()), portable_forms, false);
  check_products(test, seed, {"product", portable.name, true, false}, reference);
  for (const TargetEntry& target : targets) {
    const PackedMatrix matrix = pack(target, test.source());
    FormRows forms(*target.kernels, form, test.x, shape.columns), plain(*target.kernels, Form::plain, test.x, shape.columns);
    check_products(test, seed, {"product", target.name, true, false}, multiply(matrix, forms, false));
    check_products(test, seed, {"exact product", target.name, false, true}, multiply(matrix, plain, true));
    // The order of integers is the target's own; tables are the same everywhere.
    FormRows& same = form == Form::integers ? forms : portable_forms;
    const std::vector<float> y = multiply(matrix, same, false);
    for (size_t i = 0; i < y.size(); ++i) {
      const double allowed = 2 * test.expected[i].rounding;
      if (!std::isfinite(reference[i]) || may_overflow(test.expected[i], allowed)) continue;
      check(std::abs(double{y[i]} - reference[i]) <= allowed, "seed %" PRIu64 ": %s: %s: [%zu] is %.9g, portable %.9g +- %.3g",
            seed, target.name, shape.describe().c_str(), i, static_cast<double>(y[i]), static_cast<double>(reference[i]), allowed);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<TargetEntry> targets = runnable_kernels();
  if (argc > 2) {
    run_seed(targets, std::strtoull(argv[2], nullptr, 10));
    return report("kernels_fuzz");
  }
  const auto seconds = std::chrono::duration<double>(argc > 1 ? std::atof(argv[1]) : 10.0);
  for (const uint64_t seed : kCorpus) run_seed(targets, seed);
  const auto start = std::chrono::steady_clock::now();
  uint64_t seed = static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  int runs = 0;
  for (; std::chrono::steady_clock::now() - start < seconds && failures == 0; ++runs) run_seed(targets, ++seed);
  std::printf("%zu seeds of the corpus, %d others\n", std::size(kCorpus), runs);
  return report("kernels_fuzz");
}
