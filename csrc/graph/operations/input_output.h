// Where a batch enters a graph, and where predictions leave it.
#pragma once
#include "graph/operation.h"

namespace engine::graph {

/// x[b,k] = scale * rows[b, first_column + k] + offset, for the rows of the data set that make the batch
struct ReadInput final : Operation {
  ValueId x = kNoValue;
  int64_t first_column = 0;
  float scale = 1.0f, offset = 0.0f;

  const char* name() const override { return "read_input"; }
  std::vector<Operand> operands() const override { return {writes(x, kSamples, 'k')}; }
  std::string attributes() const override;
};

/// predictions[b, first_column + n] = y[b,n]
struct WriteOutput final : Operation {
  ValueId y = kNoValue;
  int64_t first_column = 0;

  const char* name() const override { return "write_output"; }
  std::vector<Operand> operands() const override { return {reads(y, kSamples, 'n')}; }
};

}  // namespace engine::graph
