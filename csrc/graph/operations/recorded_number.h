// A number type that records the arithmetic done with it as the code of a map, so that a formula in C++ becomes one.
#pragma once
#include <utility>
#include <vector>

#include "formulas/elementary.h"
#include "graph/operations/map.h"

namespace engine::graph {

/// A register of the code that is recorded, or a constant that is no part of it yet.
class RecordedNumber {
 public:
  RecordedNumber() = default;
  // Constants become numbers by themselves, so that a formula may write `1 - x`.
  RecordedNumber(float constant) : constant_(constant) {}  // NOLINT(google-explicit-constructor)
  RecordedNumber(double constant)
      : RecordedNumber(static_cast<float>(constant)) {}  // NOLINT(google-explicit-constructor)
  RecordedNumber(MapCode& code, int at) : code_(&code), at_(at) {}

  static RecordedNumber of(MapOp op, RecordedNumber a) { return {*a.code_, a.code_->add(op, a.at_)}; }
  static RecordedNumber of(MapOp op, RecordedNumber a, RecordedNumber b) {
    MapCode* const code = a.code_ ? a.code_ : b.code_;
    const int first = a.register_in(*code);
    return {*code, code->add(op, first, b.register_in(*code))};
  }
  static RecordedNumber select(RecordedNumber condition, RecordedNumber a, RecordedNumber b) {
    MapCode& code = *condition.code_;
    const int first = a.register_in(code);
    return {code, code.add(MapOp::kSelect, condition.at_, first, b.register_in(code))};
  }

  bool is_constant() const { return code_ == nullptr; }
  float constant() const { return constant_; }
  bool is(float number) const { return is_constant() && constant_ == number; }
  /// The register of a code that holds the number.
  int register_in(MapCode& code) const { return is_constant() ? code.add_constant(constant_) : at_; }

 private:
  MapCode* code_ = nullptr;
  int at_ = -1;
  float constant_ = 0.0f;
};

/// Applies an instruction, or `f` where both operands are constants.
template <class F>
RecordedNumber record(MapOp op, RecordedNumber a, RecordedNumber b, F&& f) {
  if (a.is_constant() && b.is_constant()) return f(a.constant(), b.constant());
  return RecordedNumber::of(op, a, b);
}

// Sums begin with 0, and shares and scales are often 1.
inline RecordedNumber operator+(RecordedNumber a, RecordedNumber b) {
  if (a.is(0.0f)) return b;
  if (b.is(0.0f)) return a;
  return record(MapOp::kAdd, a, b, [](float x, float y) { return x + y; });
}
inline RecordedNumber operator-(RecordedNumber a, RecordedNumber b) {
  return record(MapOp::kSubtract, a, b, [](float x, float y) { return x - y; });
}
inline RecordedNumber operator*(RecordedNumber a, RecordedNumber b) {
  if (a.is(1.0f)) return b;
  if (b.is(1.0f)) return a;
  return record(MapOp::kMultiply, a, b, [](float x, float y) { return x * y; });
}
inline RecordedNumber operator/(RecordedNumber a, RecordedNumber b) {
  return record(MapOp::kDivide, a, b, [](float x, float y) { return x / y; });
}
inline RecordedNumber operator-(RecordedNumber a) {
  return a.is_constant() ? RecordedNumber(-a.constant()) : RecordedNumber::of(MapOp::kNegate, a);
}
// Conditions are 1 or 0. At least one operand is no constant.
inline RecordedNumber operator<(RecordedNumber a, RecordedNumber b) { return RecordedNumber::of(MapOp::kLess, a, b); }
inline RecordedNumber operator>(RecordedNumber a, RecordedNumber b) { return b < a; }
inline RecordedNumber operator<=(RecordedNumber a, RecordedNumber b) {
  return RecordedNumber::of(MapOp::kLessEqual, a, b);
}
inline RecordedNumber operator>=(RecordedNumber a, RecordedNumber b) { return b <= a; }
inline RecordedNumber operator==(RecordedNumber a, RecordedNumber b) { return RecordedNumber::of(MapOp::kEqual, a, b); }
inline RecordedNumber operator&(RecordedNumber a, RecordedNumber b) { return a * b; }
inline RecordedNumber select(RecordedNumber condition, RecordedNumber a, RecordedNumber b) {
  return RecordedNumber::select(condition, a, b);
}

// The functions that formulas call (formulas/elementary.h), as instructions.
inline RecordedNumber fma(RecordedNumber a, RecordedNumber b, RecordedNumber c) { return a * b + c; }
inline RecordedNumber abs(RecordedNumber x) { return RecordedNumber::of(MapOp::kAbs, x); }
inline RecordedNumber sqrt(RecordedNumber x) { return RecordedNumber::of(MapOp::kSqrt, x); }
inline RecordedNumber exp(RecordedNumber x) { return RecordedNumber::of(MapOp::kExp, x); }
inline RecordedNumber log(RecordedNumber x) { return RecordedNumber::of(MapOp::kLog, x); }
inline RecordedNumber tanh(RecordedNumber x) { return RecordedNumber::of(MapOp::kTanh, x); }
inline RecordedNumber sigmoid(RecordedNumber x) { return RecordedNumber::of(MapOp::kSigmoid, x); }
inline RecordedNumber softplus(RecordedNumber x) { return RecordedNumber::of(MapOp::kSoftplus, x); }
inline RecordedNumber power(RecordedNumber x, float y) { return RecordedNumber::of(MapOp::kPower, x, y); }
inline RecordedNumber minimum(RecordedNumber a, RecordedNumber b) { return RecordedNumber::of(MapOp::kMinimum, a, b); }
inline RecordedNumber maximum(RecordedNumber a, RecordedNumber b) { return RecordedNumber::of(MapOp::kMaximum, a, b); }
// An infinite limit is none, at which a derivative would have a corner.
inline RecordedNumber at_most(RecordedNumber x, float most) {
  return most == formulas::kInfinity ? x : minimum(x, most);
}
inline RecordedNumber at_least(RecordedNumber x, float least) {
  return least == -formulas::kInfinity ? x : maximum(x, least);
}
inline RecordedNumber at_most_open(RecordedNumber x, float most) { return select(x >= most, most, x); }
inline RecordedNumber clamp(RecordedNumber x, float low, float high) {
  return select(x < low, low, select(x > high, high, x));
}
inline RecordedNumber clamp_open(RecordedNumber x, float low, float high) {
  return select(x <= low, low, select(x >= high, high, x));
}
inline RecordedNumber positive_part(RecordedNumber x) { return select(x <= 0.0f, 0.0f, x); }
inline RecordedNumber tanh_shrink(RecordedNumber x) { return x - tanh(x); }
// Without |x|, whose derivative has a corner.
inline RecordedNumber softplus_less(RecordedNumber x, RecordedNumber y) { return softplus(x) - y; }
inline RecordedNumber log_cosh(RecordedNumber x) {
  constexpr float kLn2 = 0.693147181f;
  return x + softplus(-2.0f * x) - kLn2;
}
// Of positive x, whose exponential may be infinite, no use is made; 0 times infinity would be a NaN in a derivative.
inline RecordedNumber exp_negative(RecordedNumber x) { return exp(select(x > 0.0f, 0.0f, x)); }
inline RecordedNumber expm1_negative(RecordedNumber x) {
  return RecordedNumber::of(MapOp::kExpm1, select(x > 0.0f, 0.0f, x));
}
inline formulas::Normal<RecordedNumber> normal(RecordedNumber x) {
  constexpr float kRootOfHalf = 0.70710678f, kScale = 0.39894228f;  // 1 / sqrt(2 pi)
  const RecordedNumber scaled = x * kRootOfHalf, gaussian = RecordedNumber::of(MapOp::kGaussian, scaled);
  return {0.5f * (1.0f + RecordedNumber::of(MapOp::kErf, scaled, gaussian)), kScale * gaussian};
}

/// The code of the map that `formula` computes from `inputs` numbers, which it gets as an array.
template <class Formula>
MapCode recorded_code(int inputs, Formula&& formula) {
  MapCode code;
  code.inputs = inputs;
  std::vector<RecordedNumber> numbers;
  for (int i = 0; i < inputs; ++i) numbers.emplace_back(code, i);
  const int result = RecordedNumber(formula(numbers)).register_in(code);
  if (result != code.registers() - 1) code.add_copy(result);
  return Simplified(code).ending_with_result();
}

template <class Formula, size_t... I>
RecordedNumber call_with_numbers(Formula&& formula, const std::vector<RecordedNumber>& numbers,
                                 std::index_sequence<I...>) {
  return formula(numbers[I]...);
}

/// Appends the map that `formula` computes from a number of each of the inputs, and returns its output.
template <class Formula, class... Inputs>
Array add_recorded_map(Graph& graph, const Shape& shape, Formula&& formula, const Inputs&... inputs) {
  const MapCode code = recorded_code(sizeof...(Inputs), [&](const std::vector<RecordedNumber>& numbers) {
    return call_with_numbers(formula, numbers, std::index_sequence_for<Inputs...>{});
  });
  return add_map(graph, {inputs...}, shape, code);
}

}  // namespace engine::graph

namespace engine::formulas {
namespace {

template <>
struct Number<graph::RecordedNumber> {
  static graph::RecordedNumber broadcast(float s) { return s; }
};

}  // namespace
}  // namespace engine::formulas
