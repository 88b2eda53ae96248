// Normalization of rows.
#include "graph/operations/row_normalization.h"

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

template <class Op>
StandardizeRowsArgs row_normalization(const Op& op, const ThreadContext& thread, ValueId x, ValueId saved, ValueId y) {
  const Placement& shape = thread.placement(y);
  return {thread.data(x),
          thread.data(saved),
          thread.data(y),
          shape.ld,
          shape.columns,
          thread.data(op.factors),
          thread.placement(op.factors).ld,
          op.epsilon,
          op.centred,
          op.unit,
          thread.own_rows(y)};
}

void normalize_rows(const graph::NormalizeRows& op, const ThreadContext& thread) {
  thread.kernels.standardize_rows(row_normalization(op, thread, op.x, kNoValue, op.y));
}

void normalize_rows_gradient(const graph::NormalizeRowsGradient& op, const ThreadContext& thread) {
  thread.kernels.standardize_rows_backward(row_normalization(op, thread, op.dy, op.y, op.dx));
}

}  // namespace

void add_row_normalization(OperationRegistry& all) {
  all.add<graph::NormalizeRows>(normalize_rows, by_samples);
  all.add<graph::NormalizeRowsGradient>(normalize_rows_gradient, by_samples);
}

}  // namespace engine::cpu
