// A learned gain and shift, or slope, for each column.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "graph/array.h"
#include "graph/layer.h"

namespace engine::graph {

/// Numbers, one for each column, that take the place of variables; null where there are none.
using Constants = std::shared_ptr<const std::vector<float>>;

/// Reads the constants `key`.
Constants read_column_constants(const Attributes& attributes, const char* key);
/// Throws std::invalid_argument unless the constants have as many numbers as a row.
void require_row(const Constants& constants, int64_t row);

/// y[b,n] = gain[n] x[b,n] + shift[n], or x[b,n] times gain[n] where it is negative (PReLU).
enum class ColumnRule { kScaled, kLeaky };

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

/// Appends gain * x + shift, a map; both have a number for each column of x.
ValueId add_scaled(Graph& graph, ValueId x, const Array& gain, const Array& shift);

ColumnScaleAttributes read_column_scale(const Attributes& attributes);
/// `x` with gain and shift, which are constants or the first variables of the node; `x` itself where it has neither.
ValueId add_column_scale(Builder& builder, ValueId x, const ColumnScaleAttributes& attributes);

std::shared_ptr<Layer> read_column_scale_layer(const Attributes& attributes);

}  // namespace engine::graph
