#include "graph/operations/map_code.h"

#include <algorithm>

namespace engine::graph {
namespace {

const MapInstruction& instruction_of(const MapCode& code, int of) {
  return code.instructions[static_cast<size_t>(of - code.inputs)];
}

/// Whether each register is needed for the results.
std::vector<bool> needed_for(const MapCode& code, const std::vector<int>& results) {
  std::vector<bool> needed(static_cast<size_t>(code.registers()));
  for (const int result : results) needed[static_cast<size_t>(result)] = true;
  for (int i = code.registers() - 1; i >= code.inputs; --i) {
    if (!needed[static_cast<size_t>(i)]) continue;
    const MapInstruction& at = instruction_of(code, i);
    for (const int operand : {at.a, at.b, at.c}) {
      if (operand >= 0) needed[static_cast<size_t>(operand)] = true;
    }
  }
  return needed;
}

}  // namespace

Simplified::Simplified(const MapCode& code, const std::vector<int>& results)
    : registers_(static_cast<size_t>(code.registers()), -1) {
  const std::vector<bool> needed = needed_for(code, results);
  simple_.inputs = code.inputs;
  for (int i = 0; i < code.registers(); ++i) {
    int& to = registers_[static_cast<size_t>(i)];
    if (i < code.inputs) {
      to = i;
    } else if (needed[static_cast<size_t>(i)]) {
      to = copy(instruction_of(code, i));
    }
  }
}

MapCode Simplified::ending_with_result() const {
  MapCode code = simple_;
  const int last = registers_.back();
  if (last < code.inputs) {
    code.instructions.clear();
    code.add_copy(last);
    return code;
  }
  // The last instruction of the original may have been a copy, so that the result is an earlier register: what follows
  // was read by that copy alone.
  code.instructions.resize(static_cast<size_t>(last - code.inputs) + 1);
  return code;
}

bool Simplified::is_constant(int of, float number) const {
  if (of < simple_.inputs) return false;
  const MapInstruction& at = instruction_of(simple_, of);
  return at.op == MapOp::kConstant && at.number == number;
}

int Simplified::copy(const MapInstruction& from) {
  const auto place = [&](int of) { return of < 0 ? -1 : registers_[static_cast<size_t>(of)]; };
  MapInstruction to = from;
  to.a = place(from.a);
  to.b = place(from.b);
  to.c = place(from.c);
  // Derivatives have many products with 1 and sums with 0, which are their other operand.
  if (to.op == MapOp::kMultiply && is_constant(to.b, 1.0f)) return to.a;
  if (to.op == MapOp::kMultiply && is_constant(to.a, 1.0f)) return to.b;
  if (to.op == MapOp::kAdd && is_constant(to.b, 0.0f)) return to.a;
  uint32_t bits;
  static_assert(sizeof bits == sizeof to.number);
  __builtin_memcpy(&bits, &to.number, sizeof bits);
  const Key key{static_cast<int>(to.op), to.a, to.b, to.c, to.axis, bits};
  const auto known = known_.find(key);
  if (known != known_.end()) return known->second;
  simple_.instructions.push_back(to);
  return known_[key] = simple_.registers() - 1;
}

namespace {

/// Appends the instructions that propagate a gradient from the result of a code to one of its inputs.
class Derivative {
 public:
  /// The gradient by the result is a further input, behind the others; or it is 1.
  Derivative(const MapCode& code, int input, bool is_one) : input_(input) {
    code_.inputs = code.inputs + 1;
    const auto shifted = [&](int of) { return of >= code.inputs ? of + 1 : of; };
    for (MapInstruction each : code.instructions) {
      each.a = shifted(each.a);
      each.b = shifted(each.b);
      each.c = shifted(each.c);
      code_.instructions.push_back(each);
    }
    gradients_.assign(static_cast<size_t>(code_.registers()), -1);
    gradients_.back() = is_one ? constant(1.0f) : code.inputs;
    depends_.assign(gradients_.size(), false);
    depends_[static_cast<size_t>(input)] = true;
    for (int i = code_.inputs; i < static_cast<int>(depends_.size()); ++i) {
      const MapInstruction& at = instruction(i);
      for (const int operand : {at.a, at.b, at.c}) {
        if (operand >= 0 && depends_[static_cast<size_t>(operand)]) depends_[static_cast<size_t>(i)] = true;
      }
    }
  }

  MapCode run() {
    for (int i = static_cast<int>(gradients_.size()) - 1; i >= code_.inputs; --i) {
      const int dy = gradients_[static_cast<size_t>(i)];
      if (dy >= 0 && depends_[static_cast<size_t>(i)]) propagate(instruction(i), i, dy);
    }
    int result = gradients_[static_cast<size_t>(input_)];
    if (result < 0) result = code_.add_constant(0.0f);
    if (result != code_.registers() - 1) code_.add_copy(result);
    return Simplified(code_).ending_with_result();
  }

 private:
  MapInstruction instruction(int of) const { return instruction_of(code_, of); }
  int constant(float number) { return code_.add_constant(number); }
  int times(int a, int b) { return code_.add(MapOp::kMultiply, a, b); }
  int plus(int a, int b) { return code_.add(MapOp::kAdd, a, b); }
  int minus(int a, int b) { return code_.add(MapOp::kSubtract, a, b); }
  int over(int a, int b) { return code_.add(MapOp::kDivide, a, b); }
  int negative(int a) { return code_.add(MapOp::kNegate, a); }
  int square(int a) { return times(a, a); }
  int select(int condition, int a, int b) { return code_.add(MapOp::kSelect, condition, a, b); }
  int gradient_of_maximum(int a, int b, int dy) { return code_.add(MapOp::kMaximumGradient, a, b, dy); }
  bool wanted(int of) const { return of >= 0 && depends_[static_cast<size_t>(of)]; }

  void contribute(int to, int gradient) {
    int& sum = gradients_[static_cast<size_t>(to)];
    sum = sum < 0 ? gradient : plus(sum, gradient);
  }

  /// `y` is the register of the result of `at`, and `dy` that of the gradient by it.
  void propagate(const MapInstruction& at, int y, int dy) {
    const int a = at.a, b = at.b;
    switch (at.op) {
      case MapOp::kConstant:
      case MapOp::kSamples:
      case MapOp::kCoordinate:
      case MapOp::kSign:
      case MapOp::kFloor:
      case MapOp::kRound:
      case MapOp::kEqual:
      case MapOp::kLess:
      case MapOp::kLessEqual:
      case MapOp::kBitwiseAnd:
        return;
      case MapOp::kNegate:
        return contribute(a, negative(dy));
      case MapOp::kAbs:
        return contribute(a, select(code_.add(MapOp::kLess, a, constant(0.0f)), negative(dy), dy));
      case MapOp::kExp:
        return contribute(a, times(dy, y));
      case MapOp::kExpm1:
        return contribute(a, times(dy, plus(y, constant(1.0f))));
      case MapOp::kLog:
        return contribute(a, over(dy, a));
      case MapOp::kLog1p:
        return contribute(a, over(dy, plus(a, constant(1.0f))));
      case MapOp::kSqrt:
        return contribute(a, over(times(dy, constant(0.5f)), y));
      case MapOp::kSin:
        return contribute(a, times(dy, code_.add(MapOp::kCos, a)));
      case MapOp::kCos:
        return contribute(a, negative(times(dy, code_.add(MapOp::kSin, a))));
      case MapOp::kTanh:
        return contribute(a, times(dy, minus(constant(1.0f), square(y))));
      case MapOp::kSigmoid:
        return contribute(a, times(dy, times(y, minus(constant(1.0f), y))));
      case MapOp::kSoftplus:
        return contribute(a, times(dy, code_.add(MapOp::kSigmoid, a)));
      case MapOp::kGaussian:
        return contribute(a, times(dy, times(times(constant(-2.0f), a), y)));
      case MapOp::kErf:  // b is a function of a
        return contribute(a, times(dy, times(constant(1.12837917f), b)));
      case MapOp::kErfinv:
        return contribute(a, times(dy, times(constant(0.886226925f), code_.add(MapOp::kExp, square(y)))));
      case MapOp::kAdd:
        if (wanted(a)) contribute(a, dy);
        if (wanted(b)) contribute(b, dy);
        return;
      case MapOp::kSubtract:
        if (wanted(a)) contribute(a, dy);
        if (wanted(b)) contribute(b, negative(dy));
        return;
      case MapOp::kMultiply:
        if (wanted(a)) contribute(a, times(dy, b));
        if (wanted(b)) contribute(b, times(dy, a));
        return;
      case MapOp::kDivide: {  // one division for both: it takes as long as ten products
        const int by_a = over(dy, b);
        if (wanted(a)) contribute(a, by_a);
        if (wanted(b)) contribute(b, negative(times(by_a, y)));
        return;
      }
      case MapOp::kPower:
        return propagate_power(a, b, y, dy);
      case MapOp::kRemainder:
        if (wanted(a)) contribute(a, dy);
        if (wanted(b)) contribute(b, negative(times(dy, code_.add(MapOp::kFloor, over(a, b)))));
        return;
      case MapOp::kMinimum:
        if (wanted(a)) contribute(a, gradient_of_maximum(b, a, dy));
        if (wanted(b)) contribute(b, gradient_of_maximum(a, b, dy));
        return;
      case MapOp::kMaximum:
        if (wanted(a)) contribute(a, gradient_of_maximum(a, b, dy));
        if (wanted(b)) contribute(b, gradient_of_maximum(b, a, dy));
        return;
      case MapOp::kMaximumGradient:
        if (wanted(at.c)) contribute(at.c, gradient_of_maximum(a, b, dy));
        return;
      case MapOp::kAtan2: {
        const int scaled = over(dy, plus(square(a), square(b)));
        if (wanted(a)) contribute(a, times(scaled, b));
        if (wanted(b)) contribute(b, negative(times(scaled, a)));
        return;
      }
      case MapOp::kSelect: {
        const int zero = constant(0.0f);
        if (wanted(b)) contribute(b, select(a, dy, zero));
        if (wanted(at.c)) contribute(at.c, select(a, zero, dy));
        return;
      }
      case MapOp::kMultiplyAdd:
        if (wanted(a)) contribute(a, times(dy, b));
        if (wanted(b)) contribute(b, times(dy, a));
        if (wanted(at.c)) contribute(at.c, dy);
        return;
    }
  }

  /// b a^(b - 1) by a, and a^b log(a) by b. Where b is 0 the first is 0, and where a is 0 the second, as in JAX.
  void propagate_power(int a, int b, int y, int dy) {
    const int zero = constant(0.0f);
    if (wanted(a)) {
      const int slope = times(b, code_.add(MapOp::kPower, a, minus(b, constant(1.0f))));
      contribute(a, times(dy, select(b, slope, zero)));
    }
    if (wanted(b)) {
      const int positive = code_.add(MapOp::kLess, zero, a);
      const int safe = select(positive, a, constant(1.0f));
      contribute(b, times(dy, select(a, times(y, code_.add(MapOp::kLog, safe)), zero)));
    }
  }

  MapCode code_;
  int input_;
  std::vector<int> gradients_;  // by register of the original code: the register of the gradient by it, or -1
  std::vector<bool> depends_;   // whether it depends on the input
};

}  // namespace

int identity_of(const MapCode& code) {
  const auto& all = code.instructions;
  const bool times_one = all.size() == 2 && all[0].op == MapOp::kConstant && all[0].number == 1.0f &&
                         all[1].op == MapOp::kMultiply && all[1].b == code.inputs;
  return times_one && all[1].a < code.inputs ? all[1].a : -1;
}

MapCode derivative(const MapCode& code, int input) { return Derivative(code, input, false).run(); }

MapCode slope(const MapCode& code, int input) { return Derivative(code, input, true).run(); }

bool is_zero(const MapCode& code) {
  return code.instructions.size() == 1 && code.instructions[0].op == MapOp::kConstant &&
         code.instructions[0].number == 0.0f;
}

bool takes_long(const MapCode& code) {
  return std::any_of(code.instructions.begin(), code.instructions.end(),
                     [](const MapInstruction& each) { return is_function(each.op); });
}

}  // namespace engine::graph
