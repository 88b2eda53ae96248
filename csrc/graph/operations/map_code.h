// The code of a map: instructions for single numbers, and their derivatives.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <tuple>
#include <vector>

#include "formulas/map_operations.h"

namespace engine::graph {

/// What a map computes for each element of its output, as a list of instructions. The result is the last register,
/// where there is one alone.
struct MapCode {
  int inputs = 0;
  std::vector<MapInstruction> instructions;

  friend bool operator==(const MapCode& x, const MapCode& y) {
    return x.inputs == y.inputs && x.instructions == y.instructions;
  }

  int registers() const { return inputs + static_cast<int>(instructions.size()); }
  /// Appends an instruction, and returns the number of its register.
  int add(MapOp op, int a = -1, int b = -1, int c = -1) {
    instructions.push_back({op, a, b, c, 0, 0.0f});
    return registers() - 1;
  }
  /// Appends a copy of a register; `identity_of` and `Simplified` know it.
  int add_copy(int of) { return add(MapOp::kMultiply, of, add_constant(1.0f)); }
  int add_constant(float number) {
    instructions.push_back({MapOp::kConstant, -1, -1, -1, 0, number});
    return registers() - 1;
  }
};

/// Copies the instructions that some results need, each once: equal instructions share a register.
class Simplified {
 public:
  /// `results` are registers of the code; by default its last one.
  explicit Simplified(const MapCode& code) : Simplified(code, {code.registers() - 1}) {}
  Simplified(const MapCode& code, const std::vector<int>& results);

  const MapCode& code() const { return simple_; }
  /// The register of the simplified code that holds what register `of` of the other one held; -1 for unneeded ones.
  int place_of(int of) const { return registers_[static_cast<size_t>(of)]; }
  /// The code with its result in its last register.
  MapCode ending_with_result() const;

 private:
  using Key = std::tuple<int, int, int, int, int, uint32_t>;

  int copy(const MapInstruction& from);
  bool is_constant(int of, float number) const;

  MapCode simple_;
  std::vector<int> registers_;  // of the simplified code, by register of the other one
  std::map<Key, int> known_;
};

/// The input that a code passes on as it is; -1 for none.
int identity_of(const MapCode& code);

/// Whether the result is the constant 0.
bool is_zero(const MapCode& code);

/// Whether a code has functions such as `exp`, which take longer than to store their results and to read them again.
bool takes_long(const MapCode& code);

/// The code of the derivative of `code` by input `input`, times a further input: the gradient by the result.
MapCode derivative(const MapCode& code, int input);

/// The code of the derivative alone.
MapCode slope(const MapCode& code, int input);

}  // namespace engine::graph
