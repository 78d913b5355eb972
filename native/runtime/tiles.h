// Values of rows to the order of tiles and back: what scales, offsets and dense matrices take.
#pragma once

#include <cstdint>

namespace lutmac {

// The shape of a table [rows, groups] of items of 1, 2 or 4 bytes that is kept as [tile][group][tile_rows].
struct TileTable {
  int64_t rows, groups;
  int item_bytes, tile_rows;
};

// rows: the whole table; of tiles, which are zeros before, one is filled.
void fill_table_tile(const TileTable& table, int64_t tile, const void* rows, uint8_t* tiles);

// The way back.
void read_table_tile(const TileTable& table, int64_t tile, const uint8_t* tiles, void* rows);

}  // namespace lutmac
