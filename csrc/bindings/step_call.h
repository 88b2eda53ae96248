// A compiled step of a user on one batch: the call of a function that was compiled by `engine.function`.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/functions.h"
#include "kernels/table.h"
#include "runtime/function_sequence.h"

namespace engine::bindings {

/// A value that is known after a step has run: an array, or lists, tuples and dicts of such values.
struct LateValue {
  enum class Kind {
    kResult,    // result `number` of those that the step keeps
    kArgument,  // argument `number`
    kRead,      // what the function `object` returns
    kConstant,  // `object`
    kMade,      // what the function `object` makes of the part
    kMasked,    // an array, the first part, with a mask, the second
    kList,
    kTuple,
    kDict,  // with a key for each part
  };
  Kind kind;
  size_t number = 0;
  std::vector<py::ssize_t> shape;  // of a result
  py::object object;               // beside what the kinds say: the dtype of a result, None for float32
  std::vector<py::object> keys;
  std::vector<LateValue> parts;
};

/// What the call of a step consists of, prepared once, so that a call only fills in pointers.
class StepCall {
 public:
  /// `read` are the numbers of the arguments that the functions read. `optimizers` has for each function of the
  /// sequence the optimizer that steps weights in it, or None, and `draws` whether it draws random numbers; `next_draw`
  /// returns the number of the next draw. `checks` are pairs of the number of an argument and a function that raises
  /// for wrong numbers in it. `integers` is None, or a tuple that says how large integers may be (`read_integers`).
  /// `after` are calls of methods that follow the step: (object, method, args, options). Their arguments, and
  /// `results`, are values as `_core.pyi` has them. Arrays in results have the class `tensor`.
  StepCall(std::shared_ptr<const HeldSequence> sequence, std::vector<size_t> read, const py::sequence& optimizers,
           const std::vector<bool>& draws, py::object next_draw, std::vector<std::pair<size_t, py::object>> checks,
           const py::object& integers, const py::sequence& after, const py::tuple& results, py::object tensor);

  /// Runs the step. ValueError or what a check raises for wrong arguments; no weight has changed then, unless there are
  /// magnitudes of integers in the functions. No method has been called.
  py::object run(const std::vector<py::object>& arrays) const;

  /// For the garbage collector: visits all objects that a call refers to. `clear` has nothing to do, as whoever refers
  /// to a call can be cleared.
  int visit(visitproc visit, void* arg) const;
  void clear() {}

 private:
  /// A result of a function that a call keeps.
  struct Kept {
    size_t function, result;
    std::vector<py::ssize_t> shape;
    bool is_tensor;  // whether the caller gets it; what methods get is a plain array
    bool is_int32;   // whether all that get it want int32: then its array is one of int32 from the start
  };
  /// An optimizer, and the functions in which it steps.
  struct Stepping {
    py::object optimizer;
    std::vector<size_t> functions;
  };
  /// A call of a method that follows the step.
  struct MethodCall {
    py::object object, method;  // the method is looked up each time, as an object may get another one
    LateValue args, options;
  };
  /// A result of one number, the magnitude of integers.
  struct Magnitude {
    size_t function, result;
    float most;
  };
  /// What a call knows when the functions have run.
  struct Known {
    const std::vector<py::object>& arguments;
    std::vector<py::object> results;
  };

  /// Keeps how large integers may be. `given` has for each argument that is read the least and the largest, or None;
  /// results of one number, (function, result, most), which are magnitudes of integers within the functions; and a
  /// function that raises if the functions may round integers. It is called with the ranges that came and with the
  /// magnitudes, or None before the step has run, where one of them is beyond its limit.
  void read_integers(const py::tuple& given);
  void require_integers(const std::vector<IntegerRange>& ranges, const std::vector<float>* magnitudes) const;
  void require_result(size_t function, size_t result, int64_t numbers) const;
  LateValue read_value(const py::tuple& given, bool is_result);
  size_t place_of(const Kept& result);
  py::object new_result(const Kept& result, FunctionSequence::Calls& calls) const;
  py::object as_tensor(const py::object& array) const;
  py::object filled(const LateValue& value, const Known& known, bool is_result) const;
  py::object filled_sequence(const LateValue& value, const Known& known, bool is_result) const;

  std::shared_ptr<const HeldSequence> held_;
  std::vector<size_t> read_;
  std::vector<int64_t> sizes_;  // of the arrays that are read, in numbers
  std::vector<Stepping> steppings_;
  std::vector<size_t> drawing_;
  py::object next_draw_;
  std::vector<std::pair<size_t, py::object>> checks_;
  std::vector<std::optional<IntegerRange>> limits_;  // for each array that is read
  std::vector<Magnitude> magnitudes_;
  py::object require_exact_;  // null without limits
  std::vector<Kept> kept_;
  std::vector<MethodCall> after_;
  LateValue results_;
  py::object tensor_;
};

}  // namespace engine::bindings
