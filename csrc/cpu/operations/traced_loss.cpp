// Losses, penalties and metrics that traced functions compute.
#include "graph/operations/traced_loss.h"

#include <algorithm>

#include "cpu/strides.h"

namespace engine::cpu {
namespace {

/// A loss for each row, of which threads share the samples.
void traced_loss_of_rows(const graph::TracedLoss& op, const ThreadContext& thread, double scale) {
  const int64_t groups = thread.placement(op.losses).groups;
  Strided values = strided(op.values, thread), gradient = values;
  const bool trains = op.gradient.value != kNoValue;
  if (trains) gradient = strided(op.gradient, thread);
  Range own{0, values.length[0]};
  if (op.rows != kWhole) own = own_rows(thread, op.values, op.rows);
  int64_t row = own.begin * values.numbers(1);
  for (Strided* each : {&values, &gradient}) each->restrict_to(0, own);
  for (Walk<2> walk({&values, &gradient}, values.axes); !walk.done(); walk.next(), ++row) {
    thread.data(op.losses)[row] = *walk.data(0);
    if (trains) {
      *walk.data(1) = static_cast<float>(scale * thread.row_weight(op.output, groups, op.row_mask, row));
    }
  }
}

/// One number for the batch. With weights, or as the mean, it is that of each row. A sum without weights has it once.
void traced_loss_of_batch(const graph::TracedLoss& op, const ThreadContext& thread, double scale) {
  const int64_t groups = thread.placement(op.losses).groups, rows = thread.batch_rows(op.losses);
  const bool weighs = op.row_mask != kNoValue || thread.target_view(op.output).sample_weight != nullptr;
  const bool once = !weighs && thread.loss(op.output).reduction == LossReduction::kSum;
  const float value = *strided(op.values, thread).data;
  double weights = once ? 1.0 : static_cast<double>(rows);
  if (weighs) {
    weights = 0.0;
    for (int64_t row = 0; row < rows; ++row) weights += thread.row_weight(op.output, groups, op.row_mask, row);
  }
  std::fill_n(thread.data(op.losses), rows, once ? 0.0f : value);
  if (once && rows > 0) *thread.data(op.losses) = value;
  if (op.gradient.value != kNoValue) *strided(op.gradient, thread).data = static_cast<float>(scale * weights);
}

void traced_loss(const graph::TracedLoss& op, const ThreadContext& thread) {
  const double divisor = thread.loss_divisor(op.output, thread.placement(op.losses).groups, op.row_mask);
  const double scale = divisor == 0.0 ? 0.0 : static_cast<double>(thread.loss(op.output).weight) / divisor;
  return graph::is_single(op.values.shape) ? traced_loss_of_batch(op, thread, scale)
                                           : traced_loss_of_rows(op, thread, scale);
}

Split split_traced_loss(const Scheduler&, const graph::TracedLoss& op) {
  return op.rows == kWhole || graph::is_single(op.values.shape) ? Split::one_thread() : Split::over(op.rows);
}

void traced_penalty(const graph::TracedPenalty& op, const ThreadContext& thread) {
  std::fill_n(thread.data(op.losses), thread.batch_rows(op.losses), *strided(op.value, thread).data);
}

void traced_values(const graph::TracedValues& op, const ThreadContext& thread) {
  const Strided x = strided(op.x, thread);
  float* const values = thread.data(op.values);
  if (graph::is_single(op.x.shape)) {
    std::fill_n(values, thread.batch_rows(op.values), *x.data);
    return;
  }
  int64_t row = 0;
  for (Walk<1> walk({&x}, x.axes); !walk.done(); walk.next()) values[row++] = *walk.data(0);
}

}  // namespace

void add_traced_losses(OperationRegistry& all) {
  all.add<graph::TracedLoss>(traced_loss, split_traced_loss);
  all.add<graph::TracedPenalty>(traced_penalty, by_first_thread);
  all.add<graph::TracedValues>(traced_values, by_first_thread);
}

}  // namespace engine::cpu
