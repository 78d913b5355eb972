#include "python/blocks.h"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "python/bindings.h"

namespace lutmac {
namespace {

using Runs = nb::ndarray<const int32_t, nb::shape<-1, 8>, nb::c_contig, nb::device::cpu>;
using Tables = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vectors = nb::ndarray<const uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

// runs: first, count, byte, shift, width, dest, stride, and where in tables the run's own begins (-1: it has none).
BlockNumbers block_numbers(const Runs& runs, const Tables& tables) {
  std::vector<BitRun> all;
  for (size_t i = 0; i < runs.shape(0); ++i) {
    const int32_t* r = runs.data() + i * 8;
    BitRun run{r[0], r[1], r[2], r[3], r[4], r[5], r[6], {}};
    if (r[7] >= 0) {
      require(r[4] >= 1 && r[4] <= 16 && (size_t{1} << r[4]) <= tables.shape(0) - std::min<size_t>(tables.shape(0), r[7]),
              "a table has an entry for each value");
      for (int j = 0; j < 1 << r[4]; ++j) run.table.push_back(static_cast<uint16_t>(tables.data()[r[7] + j]));
    }
    all.push_back(std::move(run));
  }
  return BlockNumbers(std::move(all));
}

std::shared_ptr<Grid> make_grid(const Vectors& vectors, const BlockNumbers& index, const BlockNumbers& flips, int flip) {
  auto grid = std::make_shared<Grid>();
  grid->length = static_cast<int>(vectors.shape(1));
  require(grid->length == 4 || grid->length == 8, "a grid's vectors have 4 or 8 codes");
  for (size_t i = 0; i < vectors.shape(0); ++i) {
    uint64_t codes = 0;
    std::memcpy(&codes, vectors.data() + i * vectors.shape(1), vectors.shape(1));
    grid->vectors.push_back(codes);
  }
  grid->index = index;
  grid->flips = flips;
  grid->flip = static_cast<uint8_t>(flip);
  return grid;
}

BlockParams make_in_blocks(const BlockNumbers& floats, const BlockNumbers& integers, int bias, bool negative,
                           const std::string& format) {
  require(format == "f16" || format == "e8m0" || format == "e4m3", "a float in blocks is f16, e8m0 or e4m3");
  require(format == "f16" || (integers.empty() && !negative), "only a float16 takes a sign or integers under it");
  const ParamKind kind = format == "e8m0"   ? ParamKind::e8m0
                         : format == "e4m3" ? ParamKind::e4m3
                         : integers.empty() ? ParamKind::f16
                                            : ParamKind::two_level_f16;
  return {std::make_shared<InBlocks>(InBlocks{floats, integers, bias, negative, format == "f16" ? 2 : 1}), kind};
}

}  // namespace

void bind_blocks(nb::module_& module) {
  nb::class_<BlockNumbers>(module, "BlockNumbers")
      .def(nb::new_(&block_numbers), nb::arg("runs"), nb::arg("tables"));
  nb::class_<Grid>(module, "Grid")
      .def(nb::new_(&make_grid), nb::kw_only(), nb::arg("vectors"), nb::arg("index"), nb::arg("flips"), nb::arg("flip"));
  nb::class_<BlockParams>(module, "InBlocks")
      .def(nb::new_(&make_in_blocks), nb::kw_only(), nb::arg("floats"), nb::arg("integers"), nb::arg("bias"),
           nb::arg("negative"), nb::arg("format"));
}

}  // namespace lutmac
