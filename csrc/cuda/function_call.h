// Arguments and results of a function that is called on its own, between memory of the host and of the card.
#pragma once
#include <vector>

#include "cuda/schedule.h"

namespace engine::cuda {

class FunctionCall {
 public:
  /// Reads the arguments of a call.
  FunctionCall(const Schedule& schedule, const RunArguments& arguments);

  /// Starts copying them to where the schedule keeps them. This object must live until the stream has done so.
  void upload(const RunMemory& memory, const Stream& stream) const;
  /// Starts copying the results, once they have been computed, to where the caller wants them.
  void download(const RunMemory& memory, const Stream& stream) const;

 private:
  struct Argument {
    ValueId value;
    std::vector<float> numbers;
  };
  std::vector<Argument> arguments_;
};

}  // namespace engine::cuda
