// Ternary codes of 16 rows and up to 256 k, one to a byte.
#pragma once

#include "kernels/amx/columns.h"
#include "kernels/amx/packing.h"
#include "kernels/fetch.h"

namespace lutmac::LUTMAC_TARGET {

// By the lower 7 bits of a byte (see DwordTrits): trit i, from -1 to 1, if the sign is not set.
struct TritTables {
  alignas(64) uint8_t trits[kTritsPerByte][128];
  constexpr TritTables() : trits{} {
    for (int byte = 0; byte < 128; ++byte) {
      const int triple = byte / 9 + 13, pair = byte % 9;
      const int digits[kTritsPerByte] = {triple % 3, triple / 3 % 3, triple / 9 % 3, pair % 3, pair / 3};
      for (int i = 0; i < kTritsPerByte; ++i) trits[i][byte] = static_cast<uint8_t>(digits[i] - 1);
    }
  }
};
inline constexpr TritTables kTritTables;

// From bytes [row][LUT group] to [LUT group][place].
struct TritOrder {
  alignas(64) uint8_t from[64];
  constexpr TritOrder() : from{} {
    for (int i = 0; i < 64; ++i) from[i] = static_cast<uint8_t>(kRowAtPlace[i % 16] * 4 + i / 16);
  }
};
inline constexpr TritOrder kTritOrder;

class TritBlock {
 public:
  static constexpr int kColumns = 2 * TernaryForm::kBlock;  // of them 52 LUT groups are 13 dwords

  // codes: the dwords of the first row.
  void read(const uint8_t* codes, int columns) {
    const int dwords = static_cast<int>(TernaryForm::lut_groups(columns) + 3) / 4;
    const Bytes order = load(kTritOrder.from);
    for (int dword = 0; dword < dwords; ++dword, codes += Codes::kTileRows * 4) {
      const Bytes bytes = look_up_four(load(codes), order);
      prefetch(codes + kWeightPrefetch);
      const Signs signs = signs_of(bytes);
#pragma GCC unroll 5
      for (int i = 0; i < kTritsPerByte; ++i) {
        const Bytes trits = look_up_eight(load(kTritTables.trits[i]), load(kTritTables.trits[i] + 64), bytes);
        const Bytes out = with_signs(trits, signs) + 1;
        __builtin_memcpy(codes_[i][dword * 4], &out, 64);
      }
    }
  }

  // Codes 0 to 2 of column k, by place.
  const uint8_t* column(int k) const {
    const int within = k % TernaryForm::kBlock;
    return codes_[within % kTritsPerByte][k / TernaryForm::kBlock * TernaryForm::kBlockLutGroups + within / kTritsPerByte];
  }

 private:
  alignas(64) uint8_t codes_[kTritsPerByte][2 * TernaryForm::kBlockLutGroups][16];
};

}  // namespace lutmac::LUTMAC_TARGET
