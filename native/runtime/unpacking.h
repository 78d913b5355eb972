// Matrices out of a packing, for packing them anew.
#pragma once

#include <cstdint>

#include "kernels/lut.h"
#include "runtime/tiles.h"

namespace lutmac {

// codes: [rows, columns], one code per byte.
void unpack_codes(const LowBit& w, const Packing& packing, int threads, uint8_t* codes);

// rows: the table's items, row by row.
void unpack_table(const TileTable& table, const uint8_t* tiles, int threads, void* rows);

}  // namespace lutmac
