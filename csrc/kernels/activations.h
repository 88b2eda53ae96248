// Activations on their own, over the elements of a block or over whole rows, and those that products end with.
#pragma once
#include <type_traits>

#include "formulas/activations.h"
#include "formulas/row_activations.h"
#include "kernels/blocks.h"
#include "kernels/rows.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

using Linear = formulas::Linear<vf>;
using Relu = formulas::Relu<vf>;

/// The formula with its constants, if it has any.
template <class Act>
ENGINE_INLINE Act with_parameters(const ElementwiseArgs& op) {
  if constexpr (std::is_constructible_v<Act, const float*>) {
    return Act(op.parameters);
  } else {
    return Act{};
  }
}

template <class Act>
void activation_forward(const ElementwiseArgs& op) {
  const Act act = with_parameters<Act>(op);
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) { store(op.y + at, act.forward(load(op.x + at))); });
}

template <class Act>
void activation_backward(const ElementwiseArgs& op) {
  const Act act = with_parameters<Act>(op);
  for_block(op.rows, op.columns, op.ld,
            [&](int64_t at) { store(op.y + at, act.backward(load(op.x + at), load(op.saved + at))); });
}

/// One row of an activation of rows: reads x (n,) and, backward, dy (n,); writes y (n,), whose pads become zero.
struct ActivationRow : Row {
  const float* x;
  const float* dy;
  float* y;

  ActivationRow(int64_t columns, const float* in, const float* slope, float* out)
      : Row{columns}, x(in), dy(slope), y(out) {}

  ENGINE_INLINE vf at(int64_t j) const { return load(x + j); }
  ENGINE_INLINE vf gradient(int64_t j) const { return load(dy + j); }
  ENGINE_INLINE void keep(int64_t j, vf v) { store(y + j, v); }
  ENGINE_INLINE vf kept(int64_t j) const { return load(y + j); }
};

template <class Act>
void row_activation_forward(const RowActivationArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    ActivationRow row(op.n, op.x + b * op.ld, nullptr, op.y + b * op.ld);
    Act::forward(row);
  }
}

template <class Act>
void row_activation_backward(const RowActivationArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    ActivationRow row(op.n, op.saved + b * op.ld, op.x + b * op.ld, op.y + b * op.ld);
    Act::backward(row);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
