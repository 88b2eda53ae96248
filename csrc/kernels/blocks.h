// Blocks of padded rows, a vector at a time, and activations on their own.
#pragma once
#include <type_traits>

#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Calls f(offset) for every vector of a block of padded rows.
template <class F>
ENGINE_INLINE void for_block(Range rows, Range columns, int64_t ld, F&& f) {
  for (int64_t b = rows.begin; b < rows.end; ++b) {
    for (int64_t j = columns.begin; j < columns.end; j += kWidth) f(b * ld + j);
  }
}

/// The formula with its constants, if it has any.
template <class Act>
ENGINE_INLINE Act with_parameters(const Elementwise& op) {
  if constexpr (std::is_constructible_v<Act, const float*>) {
    return Act(op.parameters);
  } else {
    return Act{};
  }
}

template <class Act>
void activation_forward(const Elementwise& op) {
  const Act act = with_parameters<Act>(op);
  for_block(op.rows, op.columns, op.ld, [&](int64_t at) { store(op.y + at, act.forward(load(op.x + at))); });
}

template <class Act>
void activation_backward(const Elementwise& op) {
  const Act act = with_parameters<Act>(op);
  for_block(op.rows, op.columns, op.ld,
            [&](int64_t at) { store(op.y + at, act.backward(load(op.x + at), load(op.saved + at))); });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
