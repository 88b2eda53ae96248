// A compiled step of a user on one batch: the call of a function that was compiled by `engine.function`.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <utility>
#include <vector>

#include "bindings/functions.h"
#include "runtime/function_sequence.h"

namespace engine::bindings {

/// What the call of a step consists of, prepared once, so that a call only fills in pointers.
class StepCall {
 public:
  /// `read` are the numbers of the arguments that the functions read. `optimizers` has for each function of the
  /// sequence the optimizer that steps weights in it, or None, and `draws` whether it draws random numbers; `next_draw`
  /// returns the number of the next draw. `checks` are pairs of the number of an argument and a function that raises
  /// for wrong numbers in it. `results` are the results, a leaf (function, result, shape, dtype) or None for float32,
  /// or lists, tuples and dicts of them; they become arrays of the class `tensor`.
  StepCall(std::shared_ptr<const HeldSequence> sequence, std::vector<size_t> read, const py::sequence& optimizers,
           const std::vector<bool>& draws, py::object next_draw, std::vector<std::pair<size_t, py::object>> checks,
           py::object results, py::object tensor);

  /// Runs the step. ValueError or what a check raises for wrong arguments; no weight has changed then.
  py::object run(const std::vector<py::object>& arrays) const;

  /// For the garbage collector: visits all objects that a call refers to. `clear` has nothing to do, as whoever refers
  /// to a call can be cleared.
  int visit(visitproc visit, void* arg) const;
  void clear() {}

 private:
  struct Result {
    size_t function, result;
    std::vector<py::ssize_t> shape;
    py::object dtype;  // None: float32
  };
  /// An optimizer, and the functions in which it steps.
  struct Stepping {
    py::object optimizer;
    std::vector<size_t> functions;
  };

  py::object read_results(const py::object& given);
  py::object new_result(const Result& result, FunctionSequence::Calls& calls) const;
  py::object filled(const py::object& form, const std::vector<py::object>& arrays) const;

  std::shared_ptr<const HeldSequence> held_;
  std::vector<size_t> read_;
  std::vector<int64_t> sizes_;  // of the arrays that are read, in numbers
  std::vector<Stepping> steppings_;
  std::vector<size_t> drawing_;
  py::object next_draw_;
  std::vector<std::pair<size_t, py::object>> checks_;
  std::vector<Result> results_;
  py::object form_;  // the structure of the results, with their numbers as leaves
  py::object tensor_;
};

}  // namespace engine::bindings
