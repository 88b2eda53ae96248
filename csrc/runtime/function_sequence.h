// A step that a user wrote, for many batches: functions that are called one after the other for each batch.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/program.h"

namespace engine {

class FunctionSequence {
 public:
  /// Where an argument of a function comes from.
  struct Source {
    enum class Kind { kConstant, kBatch, kResult };
    Kind kind = Kind::kConstant;
    ArgumentView constant;  // the same for all batches
    size_t array = 0;       // kBatch: the number of an array, of which the argument is some rows
    size_t function = 0;    // kResult: an earlier function of the sequence ...
    size_t result = 0;      // ... and the number of its result
  };
  struct Function {
    std::shared_ptr<Program> program;
    std::vector<Source> arguments;
  };
  /// An array whose rows are divided into batches.
  struct BatchArray {
    const void* data = nullptr;
    RowType type = RowType::kFloat32;
    int64_t stride = 0;  // numbers in a row
  };
  struct Data {
    std::vector<BatchArray> arrays;
    const int32_t* order = nullptr;  // the row of each sample of the pass; null: in their order
    int64_t first = 0;               // sample of the pass with which the first batch begins
    int64_t rows = 0;                // samples in a batch
  };
  /// How the calls of a function differ from batch to batch.
  struct Calls {
    const int64_t* steps = nullptr;          // of each batch, as `Program::call` takes them
    const double* learning_rates = nullptr;  // of each batch
    std::vector<float*> kept;                // of each result: an array for the numbers of all batches, or null
  };

  explicit FunctionSequence(std::vector<Function> functions);

  const std::vector<Function>& functions() const { return functions_; }
  /// Numbers in a result of a function.
  int64_t result_numbers(size_t function, size_t result) const;

  /// Calls all functions for each of `batches` batches. `calls` has an entry for each function.
  void run(const Data& data, const std::vector<Calls>& calls, int64_t batches) const;

 private:
  std::vector<Function> functions_;
};

}  // namespace engine
