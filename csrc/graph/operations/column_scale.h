// A learned gain and shift, or slope, for each column.
#pragma once
#include "formulas/kinds.h"
#include "graph/layer.h"
#include "graph/operation.h"

namespace engine::graph {

/// Numbers, one for each column, that take the place of variables; null where there are none.
using Constants = std::shared_ptr<const std::vector<float>>;

/// y[b,n] = gain[n] x[b,n] + shift[n] (kScaled), or x[b,n] times gain[n] where it is negative (kLeaky). Gain and shift
/// are variables, constants or left out; or they are the first rows of `corrections`.
struct ColumnScale final : Operation {
  ValueId x = kNoValue, gain = kNoValue, shift = kNoValue, y = kNoValue;
  ValueId corrections = kNoValue;  // (3, n): gain and shift in its first rows, through which no gradient goes
  ColumnRule rule = ColumnRule::kScaled;
  bool trainable = false;

  const char* name() const override { return "column_scale"; }
  std::vector<Operand> operands() const override {
    return {writes(y, kSamples, 'n'), reads(x, kSamples, 'n'), reads(gain, kWhole, 'n'), reads(shift, kWhole, 'n'),
            reads(corrections, kWhole, 'n')};
  }
  std::string attributes() const override { return rule == ColumnRule::kLeaky ? "leaky" : ""; }
  bool learns() const override { return trainable; }
  void differentiate(Differentiation& gradients) const override;
};

/// dx[b,n] = gain[n] dy[b,n], or its part of the leaky rule
struct ColumnScaleInputGradient final : Operation {
  ValueId dy = kNoValue, x = kNoValue, gain = kNoValue, corrections = kNoValue, dx = kNoValue;
  ColumnRule rule = ColumnRule::kScaled;
  bool trainable = false;  // of the gain

  const char* name() const override { return "column_scale_input_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dx, kSamples, 'n'), reads(dy, kSamples, 'n'), reads(x, kSamples, 'n'), reads(gain, kWhole, 'n'),
            reads(corrections, kWhole, 'n')};
  }
  InPlace in_place() const override { return {dy, dx}; }
  void differentiate(Differentiation& gradients) const override;
};

/// dgain[n] = sum over b of dy[b,n] x[b,n], dshift[n] = sum over b of dy[b,n]
struct ColumnScaleWeightGradient final : Operation {
  ValueId dy = kNoValue, x = kNoValue, dgain = kNoValue, dshift = kNoValue;
  ColumnRule rule = ColumnRule::kScaled;

  const char* name() const override { return "column_scale_weight_gradient"; }
  std::vector<Operand> operands() const override {
    return {writes(dgain, kWhole, 'n'), writes(dshift, kWhole, 'n'), reads(dy, kSamples, 'n'), reads(x, kSamples, 'n')};
  }
  void differentiate(Differentiation& gradients) const override;
};

/// Reads the constants `key`.
Constants read_column_constants(const Attributes& attributes, const char* key);
/// Throws std::invalid_argument unless the constants have as many numbers as a row.
void require_row(const Constants& constants, int64_t row);

/// The fields of a gain and a shift for each column.
struct ColumnScaleAttributes {
  ColumnRule rule = ColumnRule::kScaled;
  bool use_gain = true, use_shift = true, trainable = true;
  VariableSpec gain, shift;
  Constants gains, shifts;  // in place of variables
  bool has_shape = false;   // whether the user sees the variables in `shape` instead of as a vector
  std::vector<int64_t> shape;

  bool learns() const { return trainable && !gains && (use_gain || use_shift); }
  void add_variables(VariableList& list, int64_t columns) const;
  /// The shape in which the user sees a row of so many columns.
  std::vector<int64_t> row_shape(int64_t columns) const;
};

ColumnScaleAttributes read_column_scale(const Attributes& attributes);
/// `x` with gain and shift, which are constants or the first variables of the node; `x` itself where it has neither.
ValueId add_column_scale(Builder& builder, ValueId x, const ColumnScaleAttributes& attributes);

std::shared_ptr<Layer> read_column_scale_layer(const Attributes& attributes);

}  // namespace engine::graph
