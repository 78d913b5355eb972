#include "runtime/unpacking.h"

#include "runtime/thread_pool.h"

namespace lutmac {

void unpack_codes(const LowBit& w, const Packing& packing, int threads, uint8_t* codes) {
  const int64_t tile_bytes = packing.packed_tile_bytes(w.kind, w.bits, w.columns);
  ThreadPool::instance().for_each(threads, w.rows, [&](int64_t row) {
    const uint8_t* tile = w.codes + row / packing.tile_rows * tile_bytes;
    for (int64_t block = 0; block < w.columns / 32; ++block) {
      packing.unpack_row_block(w.kind, w.bits, tile, block, static_cast<int>(row % packing.tile_rows),
                               codes + row * w.columns + block * 32);
    }
  });
}

void unpack_table(const TileTable& table, const uint8_t* tiles, int threads, void* rows) {
  ThreadPool::instance().for_each(threads, (table.rows + table.tile_rows - 1) / table.tile_rows,
                                  [&](int64_t tile) { read_table_tile(table, tile, tiles, rows); });
}

}  // namespace lutmac
