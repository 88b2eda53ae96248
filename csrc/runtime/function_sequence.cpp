#include "runtime/function_sequence.h"

#include <stdexcept>
#include <utility>

namespace engine {
namespace {

int64_t bytes_of(RowType type) {
  constexpr int64_t kBytes[] = {1, 4, 8};
  static_assert(sizeof kBytes / sizeof *kBytes == kRowTypes);
  return kBytes[static_cast<size_t>(type)];
}

}  // namespace

FunctionSequence::FunctionSequence(std::vector<Function> functions) : functions_(std::move(functions)) {
  for (size_t f = 0; f < functions_.size(); ++f) {
    for (const Source& source : functions_[f].arguments) {
      if (source.kind != Source::Kind::kResult) continue;
      if (source.function >= f || source.result >= functions_[source.function].program->model().spec().results.size()) {
        throw std::invalid_argument("an argument must be a result of an earlier function");
      }
    }
  }
}

int64_t FunctionSequence::result_numbers(size_t function, size_t result) const {
  const graph::Model& model = functions_[function].program->model();
  return graph::numbers_in(model.shape_of(model.spec().results[result]), 1);
}

void FunctionSequence::run(const Data& data, const std::vector<Calls>& calls, int64_t batches) const {
  struct Frame {
    std::shared_ptr<Workspace> workspace;
    std::vector<Arena> storage;  // for results that nobody keeps
    std::vector<float*> results;
    std::vector<int64_t> steps;  // from the results of one batch to those of the next
    std::vector<ArgumentView> arguments;
  };
  std::vector<Frame> frames;
  for (size_t f = 0; f < functions_.size(); ++f) {
    Program& program = *functions_[f].program;
    Frame frame;
    const int threads = program.device().threads();
    frame.workspace = program.lease(graph::Mode::kFunction, false, program.model().spec().batch, threads);
    for (size_t r = 0; r < program.model().spec().results.size(); ++r) {
      const int64_t numbers = result_numbers(f, r);
      float* const kept = calls[f].kept[r];
      if (!kept) frame.storage.emplace_back(numbers);
      frame.results.push_back(kept ? kept : frame.storage.back().data());
      frame.steps.push_back(kept ? numbers : 0);
    }
    frame.arguments.resize(functions_[f].arguments.size());
    frames.push_back(std::move(frame));
  }
  for (int64_t batch = 0; batch < batches; ++batch) {
    const int64_t first = data.first + batch * data.rows;
    for (size_t f = 0; f < functions_.size(); ++f) {
      Frame& frame = frames[f];
      for (size_t i = 0; i < frame.arguments.size(); ++i) {
        const Source& source = functions_[f].arguments[i];
        ArgumentView& argument = frame.arguments[i];
        switch (source.kind) {
          case Source::Kind::kConstant:
            argument = source.constant;
            break;
          case Source::Kind::kResult:
            argument = {frames[source.function].results[source.result], RowType::kFloat32, nullptr};
            break;
          case Source::Kind::kBatch: {
            const BatchArray& array = data.arrays[source.array];
            const auto* const from = static_cast<const char*>(array.data);
            argument = data.order
                           ? ArgumentView{from, array.type, data.order + first}
                           : ArgumentView{from + first * array.stride * bytes_of(array.type), array.type, nullptr};
          }
        }
      }
      functions_[f].program->call(*frame.workspace, frame.arguments.data(), frame.results.data(), calls[f].steps[batch],
                                  calls[f].learning_rates[batch]);
    }
    for (Frame& frame : frames) {
      for (size_t r = 0; r < frame.results.size(); ++r) frame.results[r] += frame.steps[r];
    }
  }
}

}  // namespace engine
