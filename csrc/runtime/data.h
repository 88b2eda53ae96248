// What a run reads and what it adds up: a data set, and the sums over a pass.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/compressed_rows.h"
#include "kernels/table.h"

namespace engine {

/// Bytes of one number.
inline constexpr int64_t bytes_of(RowType type) {
  return type == RowType::kUint8 ? sizeof(uint8_t) : type == RowType::kFloat32 ? sizeof(float) : sizeof(double);
}

/// The targets of one output. Each sample has one target for each of the output's `groups` rows.
struct TargetView {
  const int32_t* labels = nullptr;       // (rows, groups) class indices, or null
  const float* dense = nullptr;          // (rows, groups, outputs), or null
  const float* sample_weight = nullptr;  // (rows, groups), or null
  bool binary = false;                   // whether all of `dense` are 0 or 1
};

/// Numbers per sample of what belongs to one output of the model.
struct TargetSizes {
  int64_t outputs = 0;  // dense targets
  int64_t labels = 0;   // class indices
  int64_t weights = 1;
};

/// The arrays of a data set, which somebody else owns.
struct DatasetView {
  const void* x = nullptr;  // (rows, stride) of `type`
  RowType type = RowType::kFloat32;
  int64_t rows = 0;
  int64_t stride = 0;
  CompressedRows compressed = {};   // in place of `x`: rows as lists of their non-zero numbers; null: none
  std::vector<TargetView> targets;  // one for each output of the model; empty for predictions

  bool is_compressed() const { return compressed.begins != nullptr; }
};

/// An argument of a function: numbers side by side, or rows of a larger array.
struct ArgumentView {
  const void* data = nullptr;
  RowType type = RowType::kFloat32;
  const int32_t* rows = nullptr;  // which rows of `data` make up the argument; null: those that `data` begins with
};

/// Running sums over a pass, in double and in the order of the samples.
struct Totals {
  double loss = 0.0;  // of all outputs with their weights, and penalties
  double samples = 0.0;
  std::vector<double> output_losses;         // of each output, without its weight
  std::vector<std::vector<double>> metrics;  // the state of each
};

}  // namespace engine
