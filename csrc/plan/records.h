// The records of a whole data set, made once for all the epochs of a training.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/nonzeros.h"
#include "plan/arena.h"

namespace engine {

struct SparseRows {
  RecordValues values = RecordValues::kNone;  // kNone: too few zeros
  float scale = 1.0f;                         // that the numbers have been multiplied by
  float codes[kCodes] = {};                   // the number that each code stands for
  int64_t bytes_per_row = 0;                  // on average
  std::vector<const uint8_t*> records;        // of each row
  std::vector<std::unique_ptr<void, FreeStorage>> storage;
};

/// The numbers that the codes of uint8 rows stand for.
inline void fill_codes(float scale, float* codes) {
  for (int64_t code = 0; code < kCodes; ++code) codes[code] = static_cast<float>(code) * scale;
}

}  // namespace engine
