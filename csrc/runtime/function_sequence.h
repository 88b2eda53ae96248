// Functions that are called one after the other for each batch: a user's step, compiled in several parts.
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
    size_t array = 0;       // kBatch: index of one of `Data::arrays`, whose rows of the batch are the argument
    size_t function = 0;    // kResult: index of an earlier function of the sequence ...
    size_t result = 0;      // ... and of one of its results
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
  /// What the calls of one function get beside their arguments, and where its results go.
  struct Calls {
    const int64_t* steps = nullptr;          // by batch: the `step` of Program::call
    const double* learning_rates = nullptr;  // by batch
    std::vector<float*> kept;                // by result: (batches, numbers of the result), or null
  };

  /// Throws std::invalid_argument where an argument is no result of an earlier function, or one of another size.
  explicit FunctionSequence(std::vector<Function> functions);

  const std::vector<Function>& functions() const { return functions_; }

  /// Calls all functions for each of `batches` batches. `calls` has an entry for each function.
  void run(const Data& data, const std::vector<Calls>& calls, int64_t batches) const;

  /// Numbers in a result of a function.
  int64_t result_numbers(size_t function, size_t result) const;

 private:
  struct Frame;

  bool may_read_in_place(size_t function, const Data& data) const;
  Frame make_frame(size_t function, const Data& data, const Calls& calls) const;

  std::vector<Function> functions_;
};

}  // namespace engine
