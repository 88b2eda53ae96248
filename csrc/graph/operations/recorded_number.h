// A number type that records the arithmetic done with it as the code of a map, so that a formula in C++ becomes one.
#pragma once
#include <tuple>

#include "graph/operations/map.h"

namespace engine::graph {

/// A register of the code that is recorded.
class RecordedNumber {
 public:
  RecordedNumber(MapCode& code, int at) : code_(&code), at_(at) {}

  int at() const { return at_; }
  RecordedNumber of(MapOp op) const { return {*code_, code_->add(op, at_)}; }
  RecordedNumber of(MapOp op, const RecordedNumber& b) const { return {*code_, code_->add(op, at_, b.at_)}; }
  RecordedNumber constant(double number) const { return {*code_, code_->add_constant(static_cast<float>(number))}; }

 private:
  MapCode* code_;
  int at_;
};

inline RecordedNumber operator+(RecordedNumber a, RecordedNumber b) { return a.of(MapOp::kAdd, b); }
inline RecordedNumber operator-(RecordedNumber a, RecordedNumber b) { return a.of(MapOp::kSubtract, b); }
inline RecordedNumber operator*(RecordedNumber a, RecordedNumber b) { return a.of(MapOp::kMultiply, b); }
inline RecordedNumber operator/(RecordedNumber a, RecordedNumber b) { return a.of(MapOp::kDivide, b); }
inline RecordedNumber operator+(RecordedNumber a, double b) { return a + a.constant(b); }
inline RecordedNumber operator-(RecordedNumber a, double b) { return a - a.constant(b); }
inline RecordedNumber operator*(RecordedNumber a, double b) { return a * a.constant(b); }
inline RecordedNumber operator/(RecordedNumber a, double b) { return a / a.constant(b); }
inline RecordedNumber operator-(double a, RecordedNumber b) { return b.constant(a) - b; }
inline RecordedNumber operator*(double a, RecordedNumber b) { return b.constant(a) * b; }
inline RecordedNumber operator/(double a, RecordedNumber b) { return b.constant(a) / b; }
inline RecordedNumber sqrt(RecordedNumber a) { return a.of(MapOp::kSqrt); }
inline RecordedNumber power(RecordedNumber a, double b) { return a.of(MapOp::kPower, a.constant(b)); }
inline RecordedNumber minimum(RecordedNumber a, RecordedNumber b) { return a.of(MapOp::kMinimum, b); }
inline RecordedNumber maximum(double a, RecordedNumber b) { return b.constant(a).of(MapOp::kMaximum, b); }

/// Appends the map that `formula` computes from a number of each of the inputs, and returns its output.
template <class Formula, class... Inputs>
Array add_recorded_map(Graph& graph, const Shape& shape, Formula&& formula, const Inputs&... inputs) {
  MapCode code;
  code.inputs = static_cast<int>(sizeof...(Inputs));
  int at = 0;
  const auto next = [&](const Array&) { return RecordedNumber(code, at++); };
  // Braces, unlike parentheses, call `next` in the order of the inputs.
  std::apply(formula, std::tuple{next(inputs)...});
  return add_map(graph, {inputs...}, shape, code);
}

}  // namespace engine::graph
