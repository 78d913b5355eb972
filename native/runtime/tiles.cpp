#include "runtime/tiles.h"

#include <algorithm>
#include <cstring>

namespace lutmac {
namespace {

// Calls copy(item of its row, item of its tile) for a tile. In pieces that stay in the L1 cache: an item's neighbours in a
// tile come from other rows. Bytes of what is read are const.
template <size_t kBytes, typename RowBytes, typename TileBytes, typename Copy>
void each_item(const TileTable& table, int64_t tile, RowBytes* rows, TileBytes* tiles, Copy copy) {
  constexpr int64_t kPiece = 64;
  const int64_t row_bytes = table.groups * kBytes, first = tile * table.tile_rows;
  const int64_t count = std::min<int64_t>(table.tile_rows, table.rows - first);
  TileBytes* in_tile = tiles + first * row_bytes;
  for (int64_t piece = 0; piece < table.groups; piece += kPiece) {
    const int64_t end = std::min(table.groups, piece + kPiece);
    for (int64_t r = 0; r < count; ++r) {
      RowBytes* row = rows + (first + r) * row_bytes;
      for (int64_t group = piece; group < end; ++group) {
        copy(row + group * kBytes, in_tile + (group * table.tile_rows + r) * kBytes);
      }
    }
  }
}

template <size_t kBytes>
void fill_items(const TileTable& table, int64_t tile, const uint8_t* rows, uint8_t* tiles) {
  each_item<kBytes>(table, tile, rows, tiles,
                    [](const uint8_t* row, uint8_t* in_tile) { std::memcpy(in_tile, row, kBytes); });
}

template <size_t kBytes>
void read_items(const TileTable& table, int64_t tile, const uint8_t* tiles, uint8_t* rows) {
  each_item<kBytes>(table, tile, rows, tiles,
                    [](uint8_t* row, const uint8_t* in_tile) { std::memcpy(row, in_tile, kBytes); });
}

}  // namespace

void fill_table_tile(const TileTable& table, int64_t tile, const void* rows, uint8_t* tiles) {
  const auto fill = table.item_bytes == 1 ? fill_items<1> : table.item_bytes == 2 ? fill_items<2> : fill_items<4>;
  fill(table, tile, static_cast<const uint8_t*>(rows), tiles);
}

void read_table_tile(const TileTable& table, int64_t tile, const uint8_t* tiles, void* rows) {
  const auto read = table.item_bytes == 1 ? read_items<1> : table.item_bytes == 2 ? read_items<2> : read_items<4>;
  read(table, tile, tiles, static_cast<uint8_t*>(rows));
}

}  // namespace lutmac
