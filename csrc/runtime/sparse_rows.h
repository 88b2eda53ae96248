// The sparse records of a data set. They are made once and used in all epochs of a training.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/nonzeros.h"
#include "runtime/arena.h"

namespace engine {

/// For each row of a data set, its non-zero numbers and their positions.
struct SparseRows {
  RecordValues values = RecordValues::kNone;  // how the numbers are stored; kNone: there are no records
  float scale = 1.0f;                         // factor that the numbers were multiplied by
  float codes[kCodes] = {};                   // the number that each code stands for
  int64_t bytes_per_row = 0;                  // on average
  std::vector<const uint8_t*> records;        // the record of each row, within `storage`
  std::vector<std::unique_ptr<void, FreeStorage>> storage;
};

/// Sets the number that each code stands for if the codes are the values of uint8 rows.
inline void fill_codes(float scale, float* codes) {
  for (int64_t code = 0; code < kCodes; ++code) codes[code] = static_cast<float>(code) * scale;
}

}  // namespace engine
