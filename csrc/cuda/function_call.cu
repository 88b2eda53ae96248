#include <algorithm>

#include "cuda/function_call.h"
#include "graph/array.h"
#include "graph/operations/function.h"

namespace engine::cuda {
namespace {

/// Appends `count` numbers of an argument, from number `first` on, as floats.
void append_numbers(const ArgumentView& argument, int64_t first, int64_t count, std::vector<float>& to) {
  const auto append = [&](const auto* from) {
    std::transform(from + first, from + first + count, std::back_inserter(to),
                   [](auto number) { return static_cast<float>(number); });
  };
  switch (argument.type) {
    case RowType::kUint8:
      return append(static_cast<const uint8_t*>(argument.data));
    case RowType::kFloat32:
      return append(static_cast<const float*>(argument.data));
    case RowType::kFloat64:
      return append(static_cast<const double*>(argument.data));
  }
}

std::vector<float> numbers_of(const ArgumentView& argument, const graph::Shape& shape, int64_t samples) {
  const int64_t count = graph::element_count(shape, samples);
  std::vector<float> numbers;
  numbers.reserve(static_cast<size_t>(count));
  if (!argument.rows) {
    append_numbers(argument, 0, count, numbers);
    return numbers;
  }
  const int64_t rows = shape.empty() ? 1 : shape[0].at(samples);
  for (int64_t row = 0; row < rows; ++row) {
    append_numbers(argument, argument.rows[row] * (count / rows), count / rows, numbers);
  }
  return numbers;
}

}  // namespace

FunctionCall::FunctionCall(const Schedule& schedule, const RunArguments& arguments) {
  for (const auto& operation : schedule.graph().operations()) {
    const auto* read = dynamic_cast<const graph::ReadArgument*>(operation.get());
    if (!read) continue;
    const ArgumentView& argument = arguments.arguments[read->index];
    arguments_.push_back({read->y.value, numbers_of(argument, read->y.shape, arguments.batch_size)});
  }
}

void FunctionCall::upload(const RunMemory& memory, const Stream& stream) const {
  for (const Argument& argument : arguments_) {
    const auto bytes = static_cast<int64_t>(argument.numbers.size() * sizeof(float));
    if (bytes > 0) stream.copy(memory.scratch(argument.value), argument.numbers.data(), bytes);
  }
}

void FunctionCall::download(const RunMemory& memory, const Stream& stream) const {
  for (const auto& operation : memory.schedule.graph().operations()) {
    const auto* write = dynamic_cast<const graph::WriteResult*>(operation.get());
    if (!write) continue;
    const int64_t numbers = graph::element_count(write->x.shape, memory.arguments.batch_size);
    const int64_t bytes = numbers * static_cast<int64_t>(sizeof(float));
    if (bytes > 0) stream.copy(memory.arguments.results[write->index], memory.scratch(write->x.value), bytes);
  }
}

}  // namespace engine::cuda
