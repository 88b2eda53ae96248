#include "runtime/function_sequence.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

namespace engine {
namespace {

/// The rows of an array from sample `first` of the pass on.
ArgumentView rows_of(const FunctionSequence::BatchArray& array, const int32_t* order, int64_t first) {
  if (order) return {array.data, array.type, order + first};
  const auto* const begin = static_cast<const char*>(array.data);
  return {begin + first * array.stride * bytes_of(array.type), array.type, nullptr};
}

}  // namespace

/// What a function of the sequence works with during one run.
struct FunctionSequence::Frame {
  std::shared_ptr<Workspace> workspace;
  std::vector<ArgumentView> arguments;
  std::vector<float*> results;    // of the present batch
  std::vector<int64_t> advances;  // by result: from the numbers of one batch to those of the next; 0 if none are kept
  std::vector<Arena> scratch;     // of the results that are not kept
};

FunctionSequence::FunctionSequence(std::vector<Function> functions) : functions_(std::move(functions)) {
  for (size_t f = 0; f < functions_.size(); ++f) {
    const std::vector<Source>& arguments = functions_[f].arguments;
    for (size_t i = 0; i < arguments.size(); ++i) {
      const Source& source = arguments[i];
      if (source.kind != Source::Kind::kResult) continue;
      if (source.function >= f || source.result >= functions_[source.function].program->model().spec().results.size()) {
        throw std::invalid_argument("an argument must be a result of an earlier function");
      }
      const int64_t given = result_numbers(source.function, source.result);
      const int64_t wanted = graph::element_count(functions_[f].program->model().arguments()[i], 1);
      if (given != wanted) {
        throw std::invalid_argument("argument " + std::to_string(i) + " must have " + std::to_string(wanted) +
                                    " numbers, got a result of " + std::to_string(given));
      }
    }
  }
}

int64_t FunctionSequence::result_numbers(size_t function, size_t result) const {
  const graph::Model& model = functions_[function].program->model();
  return graph::element_count(model.shape_of(model.spec().results[result]), 1);
}

/// Whether all arguments of a function are float32 numbers that lie side by side.
bool FunctionSequence::may_read_in_place(size_t function, const Data& data) const {
  const std::vector<Source>& sources = functions_[function].arguments;
  return std::all_of(sources.begin(), sources.end(), [&](const Source& source) {
    if (source.kind == Source::Kind::kResult) return true;
    if (source.kind == Source::Kind::kConstant) return source.constant.type == RowType::kFloat32;
    return !data.order && data.arrays[source.array].type == RowType::kFloat32;
  });
}

FunctionSequence::Frame FunctionSequence::make_frame(size_t function, const Data& data, const Calls& calls) const {
  Program& program = *functions_[function].program;
  const graph::ModelSpec& spec = program.model().spec();
  Frame frame;
  frame.workspace = program.lease_function(may_read_in_place(function, data));
  frame.arguments.resize(functions_[function].arguments.size());
  for (size_t r = 0; r < spec.results.size(); ++r) {
    const int64_t numbers = result_numbers(function, r);
    float* const kept = calls.kept[r];
    if (!kept) frame.scratch.emplace_back(numbers);
    frame.results.push_back(kept ? kept : frame.scratch.back().data());
    frame.advances.push_back(kept ? numbers : 0);
  }
  return frame;
}

void FunctionSequence::run(const Data& data, const std::vector<Calls>& calls, int64_t batches) const {
  std::vector<Frame> frames;
  for (size_t f = 0; f < functions_.size(); ++f) frames.push_back(make_frame(f, data, calls[f]));
  const auto view_of = [&](const Source& source, int64_t first) -> ArgumentView {
    switch (source.kind) {
      case Source::Kind::kBatch:
        return rows_of(data.arrays[source.array], data.order, first);
      case Source::Kind::kResult:
        return {frames[source.function].results[source.result], RowType::kFloat32, nullptr};
      case Source::Kind::kConstant:
        break;
    }
    return source.constant;
  };
  for (int64_t batch = 0; batch < batches; ++batch) {
    for (size_t f = 0; f < functions_.size(); ++f) {
      const std::vector<Source>& sources = functions_[f].arguments;
      Frame& frame = frames[f];
      for (size_t i = 0; i < sources.size(); ++i) {
        frame.arguments[i] = view_of(sources[i], data.first + batch * data.rows);
      }
      functions_[f].program->call(frame.workspace, frame.arguments.data(), frame.results.data(), calls[f].steps[batch],
                                  calls[f].learning_rates[batch]);
    }
    for (Frame& frame : frames) {
      for (size_t r = 0; r < frame.results.size(); ++r) frame.results[r] += frame.advances[r];
    }
  }
}

}  // namespace engine
