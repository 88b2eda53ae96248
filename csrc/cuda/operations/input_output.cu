// From the rows of the data set to the first layer, and from the last one to predictions.
#include "cuda/elements.h"
#include "cuda/schedule.h"
#include "graph/operations/input_output.h"

namespace engine::cuda {
namespace {

struct Read {
  const void* rows;
  RowType type;
  int64_t stride, first_column, columns;
  float* x;
  float scale, offset;
  int* nonfinite;

  __device__ float element(int64_t at) const {
    switch (type) {
      case RowType::kUint8:
        return static_cast<float>(static_cast<const uint8_t*>(rows)[at]);
      case RowType::kFloat32:
        return static_cast<const float*>(rows)[at];
      case RowType::kFloat64:
        break;
    }
    return static_cast<float>(static_cast<const double*>(rows)[at]);
  }

  __device__ void operator()(int64_t i, const Batch& batch) const {
    const int64_t b = i / columns, k = i % columns;
    const float value = element(data_row(batch, b) * stride + first_column + k);
    if (nonfinite && !(value - value == 0.0f)) atomicExch(nonfinite, 1);
    const bool as_it_is = scale == 1.0f && offset == 0.0f;
    x[i] = as_it_is ? value : formulas::fma(value, scale, offset);
  }
};

void schedule_read_input(Schedule& schedule, const graph::ReadInput& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    // A sample is one row of the data set, however many rows the value has for it.
    const Placement& x = memory.schedule.placement(op.x);
    const int64_t columns = x.groups * x.columns;
    return for_samples(memory.schedule, columns,
                       Read{memory.data.x, memory.data.type, memory.data.stride, op.first_column, columns,
                            memory.scratch(op.x), op.scale, op.offset, memory.nonfinite});
  });
}

struct Write {
  const float* y;
  float* output;
  int64_t columns, width, first_column;
  __device__ void operator()(int64_t i, const Batch&) const {
    output[i / columns * width + first_column + i % columns] = y[i];
  }
};

void schedule_write_output(Schedule& schedule, const graph::WriteOutput& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& y = memory.schedule.placement(op.y);
    const int64_t columns = y.groups * y.columns;
    return for_samples(memory.schedule, columns,
                       Write{memory.scratch(op.y), memory.output, columns, memory.output_size, op.first_column});
  });
}

}  // namespace

void add_input_output(OperationRegistry& all) {
  all.add<graph::ReadInput>(schedule_read_input);
  all.add<graph::WriteOutput>(schedule_write_output);
}

}  // namespace engine::cuda
