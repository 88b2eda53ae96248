// The scalar instructions of a map: what a traced function computes for each element of its output.
#pragma once
#include <cstdint>

namespace engine {

enum class MapOp : uint8_t {
  // Without operands.
  kConstant,    // `number`
  kSamples,     // the number of samples in the batch
  kCoordinate,  // the index of the element along axis `axis` of the output
  // Of a.
  kNegate,
  kAbs,
  kSign,  // -1, 0 or 1
  kExp,
  kExpm1,
  kLog,
  kLog1p,
  kSqrt,
  kSin,
  kCos,
  kTanh,
  kSigmoid,
  kSoftplus,
  kGaussian,  // exp(-a^2)
  kErfinv,
  kFloor,
  kRound,  // to the nearest integer, halves to the even one
  // Of a and b.
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kPower,
  kErf,        // of a, where b = exp(-a^2)
  kRemainder,  // a - b floor(a / b), as Python's %
  kMinimum,    // NaN if either is
  kMaximum,
  kAtan2,
  kEqual,  // 1 or 0, as all comparisons
  kLess,
  kLessEqual,
  kBitwiseAnd,  // of integers, as numbers in two's complement
  // Of a, b and c.
  kSelect,           // b where a is not 0, else c
  kMultiplyAdd,      // a b + c, rounded once
  kMaximumGradient,  // c where a > b, half of it where they are equal, else 0: the gradient of maximum(a, b) by a
};

inline constexpr const char* kMapOpNames[] = {"constant",
                                              "samples",
                                              "coordinate",
                                              "negate",
                                              "abs",
                                              "sign",
                                              "exp",
                                              "expm1",
                                              "log",
                                              "log1p",
                                              "sqrt",
                                              "sin",
                                              "cos",
                                              "tanh",
                                              "sigmoid",
                                              "softplus",
                                              "gaussian",
                                              "erfinv",
                                              "floor",
                                              "round",
                                              "add",
                                              "subtract",
                                              "multiply",
                                              "divide",
                                              "power",
                                              "erf",
                                              "remainder",
                                              "minimum",
                                              "maximum",
                                              "atan2",
                                              "equal",
                                              "less",
                                              "less_equal",
                                              "bitwise_and",
                                              "select",
                                              "multiply_add",
                                              "maximum_gradient"};
inline constexpr int kMapOps = sizeof kMapOpNames / sizeof *kMapOpNames;

/// How many of a, b and c an instruction reads.
inline constexpr int operand_count(MapOp op) {
  return op < MapOp::kNegate ? 0 : op < MapOp::kAdd ? 1 : op < MapOp::kSelect ? 2 : 3;
}

/// Whether an instruction is a function that takes many times as long as arithmetic.
inline constexpr bool is_function(MapOp op) {
  const bool of_one = op >= MapOp::kExp && op <= MapOp::kErfinv && op != MapOp::kSqrt;
  return of_one || op == MapOp::kPower || op == MapOp::kErf || op == MapOp::kAtan2;
}

/// The operands are numbers of registers. The first registers hold the inputs of the map, and each instruction fills
/// the next one.
struct MapInstruction {
  MapOp op = MapOp::kConstant;
  int a = -1, b = -1, c = -1;
  int axis = 0;         // of kCoordinate
  float number = 0.0f;  // of kConstant

  friend bool operator==(const MapInstruction& x, const MapInstruction& y) {
    return x.op == y.op && x.a == y.a && x.b == y.b && x.c == y.c && x.axis == y.axis && x.number == y.number;
  }
};

}  // namespace engine
