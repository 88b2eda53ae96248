#include "cpu/steps.h"

#include <algorithm>
#include <cstring>

#include "plan/panels.h"

namespace engine {
namespace {

/// What a kernel may take from a range: nothing, if it is empty.
bool empty(Range range) { return range.begin >= range.end; }

/// Rows of a large batch that go through a product together: they stay in a cache near by while the columns of the
/// kernel go past. All of them at once would come from main memory for every panel.
constexpr int64_t kRowsTogether = 128;

/// Inputs of a large batch (4 MiB) that stay in the L3 cache while the gradients of all columns are summed from them.
constexpr int64_t kMostInputs = 1 << 20;

template <class F>
void for_blocks(Range range, int64_t size, F&& f) {
  for (int64_t i = range.begin; i < range.end; i += size) f(Range{i, std::min(i + size, range.end)});
}

}  // namespace

void StepRunner::run(const Step& step, const Batch& batch) const {
  switch (step.kind) {
    case Step::Kind::kGather:
      return gather(step, batch);
    case Step::Kind::kRecord:
      return record(step, batch);
    case Step::Kind::kDenseForward:
      return dense_forward(step, batch);
    case Step::Kind::kPartialProducts:
      return partial_products(step, batch);
    case Step::Kind::kSumPartials:
      return sum_partials(step, batch);
    case Step::Kind::kActivationForward:
    case Step::Kind::kActivationBackward:
      return activation(step, batch);
    case Step::Kind::kAffine:
      return kernels_.affine(elementwise(step, batch), step.scale, step.offset);
    case Step::Kind::kMultiply:
      return kernels_.multiply(elementwise(step, batch));
    case Step::Kind::kRowActivationForward:
    case Step::Kind::kRowActivationBackward:
      return row_activation(step, batch);
    case Step::Kind::kDropoutForward:
      return dropout(step, batch);
    case Step::Kind::kAdd:
      return kernels_.layers->add(elementwise(step, batch));
    case Step::Kind::kAlpha:
      return kernels_.layers->alpha_dropout(elementwise(step, batch), step.offset, step.scale);
    case Step::Kind::kNoise:
      return noise(step, batch);
    case Step::Kind::kColumnStatistics:
      return column_statistics(step, batch);
    case Step::Kind::kCorrections:
      return corrections(step);
    case Step::Kind::kMovingAverage:
      return moving_average(step);
    case Step::Kind::kStandardizeColumns:
    case Step::Kind::kStandardizeColumnsBackward:
      return standardize_columns(step, batch);
    case Step::Kind::kStandardizeRows:
    case Step::Kind::kStandardizeRowsBackward:
      return standardize_rows(step, batch);
    case Step::Kind::kLearnedForward:
    case Step::Kind::kLearnedBackward:
    case Step::Kind::kLearnedGradients:
      return learned_columns(step, batch);
    case Step::Kind::kEmbed:
      return embed(step, batch);
    case Step::Kind::kEmbedBackward:
      return embed_backward(step, batch);
    case Step::Kind::kEncode:
      return encode(step, batch);
    case Step::Kind::kMask:
      return mask(step, batch);
    case Step::Kind::kMeanRows:
    case Step::Kind::kWeighRows:
      return weigh_rows(step, batch);
    case Step::Kind::kMaxRows:
    case Step::Kind::kMaxRowsBackward:
      return max_rows(step, batch);
    case Step::Kind::kWarp:
      return warp(step, batch);
    case Step::Kind::kReshape:
      return reshape(step, batch);
    case Step::Kind::kTake:
    case Step::Kind::kTakeBackward:
      return take(step, batch);
    case Step::Kind::kLoss:
      return loss(step, batch);
    case Step::Kind::kMetric:
      return metric(step, batch);
    case Step::Kind::kTally:
      return tally(step, batch);
    case Step::Kind::kPenalty:
      return penalty(step);
    case Step::Kind::kActivityPenalty:
      return activity_penalty(step, batch);
    case Step::Kind::kActivityGradient:
      return activity_gradient(step, batch);
    case Step::Kind::kUnitRows:
      return unit_rows(step);
    case Step::Kind::kOrthogonal:
      return orthogonal(step);
    case Step::Kind::kSlopeGradient:
      return slope_gradient(step, batch);
    case Step::Kind::kReduce:
      return reduce(batch);
    case Step::Kind::kTranspose:
      return transpose(step, batch);
    case Step::Kind::kDenseBackwardInput:
      return dense_backward_input(step, batch);
    case Step::Kind::kDenseBackwardWeights:
      return dense_backward_weights(step, batch);
    case Step::Kind::kPenaltyGradient:
      return penalty_gradient(step, batch);
    case Step::Kind::kAccumulate:
      return accumulate(step, batch);
    case Step::Kind::kSquares:
    case Step::Kind::kWeightSquares:
      return squares(step, batch);
    case Step::Kind::kScale:
      return scale(step, batch);
    case Step::Kind::kStepWeights:
      return step_weights(step, batch);
    case Step::Kind::kFactoredRows:
    case Step::Kind::kFactoredColumns:
      return factored_means(step, batch);
    case Step::Kind::kFactoredDirection:
      return factored_direction(step, batch);
    case Step::Kind::kFactoredFlat:
      return factored_flat(step, batch);
    case Step::Kind::kMove:
      return move(step, batch);
    case Step::Kind::kLoadDirection:
      return load_direction(step, batch);
    case Step::Kind::kGram:
      return gram(step, batch);
    case Step::Kind::kQuintic:
      return quintic(step, batch);
    case Step::Kind::kTurnDirection:
      return turn_direction(step, batch);
    case Step::Kind::kStoreDirection:
      return store_direction(step, batch);
    case Step::Kind::kAverage:
      return average(step, batch);
    case Step::Kind::kConstrain:
      return constrain(step);
    case Step::Kind::kStoreOutput:
      return store_output(step, batch);
    case Step::Kind::kCustomForward:
    case Step::Kind::kCustomBackward:
    case Step::Kind::kHost:
      return;
  }
}

Range StepRunner::samples(const Step& step, const Batch& batch) const {
  return step.split == Split::kSamples ? worker_.slice(batch.rows) : Range{0, batch.rows};
}

Range StepRunner::rows(const Step& step, const Batch& batch, const Buffer& buffer) const {
  const Range own = samples(step, batch);
  return {own.begin * buffer.groups, own.end * buffer.groups};
}

Range StepRunner::columns(const Step& step, int64_t columns) const {
  const Range range = step.split == Split::kUnits ? worker_.slice(columns) : Range{0, columns};
  return {range.begin, empty(range) ? range.begin : round_up(range.end, kLane)};
}

Weights StepRunner::weights(int v) const {
  Weights w;
  if (v < 0) return w;
  w.values = frame_.weights[v];
  for (int s = 0; s < kMaxSlots; ++s) w.slots[s] = frame_.slots[s] ? frame_.slots[s] + variable(v).offset : nullptr;
  w.l2 = variable(v).asked.l2;
  w.decay = frame_.training ? frame_.training->optimizer.decay(v) : 0.0;
  return w;
}

Targets StepRunner::targets(const Batch& batch) const {
  return {frame_.data.labels, frame_.data.dense, frame_.order, batch.first, frame_.model->output_groups};
}

Elementwise StepRunner::elementwise(const Step& step, const Batch& batch) const {
  const Buffer& out = shape(step.out);
  return {data(step.in), data(step.out), data(step.saved), out.ld, rows(step, batch, out), columns(step, out.columns)};
}

void StepRunner::dense_forward(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const Weights values = weights(step.kernel), bias = weights(step.bias);
  const Range own = rows(step, batch, shape(step.out));
  if (empty(own)) return;
  float* y = data(step.out);
  const Input x = input(step, batch);
  const auto zeros = nonzeros(step);
  for_blocks(own, kRowsTogether, [&](Range together) {
    bool transposes = plan_.mode == Plan::Mode::kTrain;
    for_panels(kernel.rows, kernel.columns, columns(step, kernel.columns), [&](const Panel& panel) {
      kernels_.dense_forward[index(step.activation)](
          {x.floats, x.ld, values.values + panel.offset, panel.width, bias.values ? bias.values + panel.first : nullptr,
           y + panel.first, shape(step.out).ld, kernel.rows, together, panel.columns, zeros ? &*zeros : nullptr,
           transposes, x.rows, sums_in_slices(kernel.columns)});
      transposes = false;
    });
  });
}

void StepRunner::activation(const Step& step, const Batch& batch) const {
  Elementwise op = elementwise(step, batch);
  if (step.index >= 0) op.parameters = frame_.model->layers[static_cast<size_t>(step.index)].parameters;
  const bool forward = step.kind == Step::Kind::kActivationForward;
  (forward ? kernels_.activation_forward : kernels_.activation_backward)[index(step.activation)](op);
}

void StepRunner::row_activation(const Step& step, const Batch& batch) const {
  const Buffer& out = shape(step.out);
  const RowActivation op{data(step.in), data(step.saved), data(step.out), out.ld, out.columns, rows(step, batch, out)};
  const bool forward = step.kind == Step::Kind::kRowActivationForward;
  const auto& kernels = forward ? kernels_.row_activation_forward : kernels_.row_activation_backward;
  kernels[index(step.activation) - kElementwiseActivations](op);
}

void StepRunner::dropout(const Step& step, const Batch& batch) const {
  const LayerSpec& layer = frame_.model->layers[static_cast<size_t>(step.index)];
  const Buffer& out = shape(step.out);
  // How a prediction is cut into batches depends on the threads: its masks follow the samples of the whole call.
  const bool sampling = plan_.mode == Plan::Mode::kSample;
  kernels_.dropout_forward({data(step.in), data(step.out), data(step.saved), out.ld, rows(step, batch, out),
                            columns(step, out.columns), layer.rate, layer.seed,
                            static_cast<uint64_t>(sampling ? frame_.first_iteration : iteration(batch)),
                            sampling ? batch.first * out.groups : 0});
}

/// A few rows, whose gradients by the input want them as they are, are copied.
void StepRunner::transpose(const Step& step, const Batch& batch) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  const Range own = rows(step, batch, in);
  const Range columns = step.split == Split::kUnits ? worker_.slice(in.columns) : Range{0, in.columns};
  if (!sums_in_lanes(batch.rows * in.groups, in.columns)) {
    return kernels_.transpose({data(step.in), in.ld, data(step.out), out.ld, own, columns});
  }
  const int64_t ld = round_up(in.columns, kLane);
  const auto bytes = static_cast<size_t>(round_up(columns.end, kLane) - columns.begin) * sizeof(float);
  for (int64_t b = own.begin; b < own.end && !empty(columns); ++b) {
    std::memcpy(data(step.out) + b * ld + columns.begin, data(step.in) + b * in.ld + columns.begin, bytes);
  }
}

void StepRunner::dense_backward_input(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const Range units = worker_.slice(kernel.rows);
  if (empty(units)) return;
  const Buffer &dz = shape(step.in), &dx = shape(step.out);
  const bool in_lanes = sums_in_lanes(batch.rows * dx.groups, kernel.columns);
  const bool copied = !sums_in_lanes(plan_.max_rows * dx.groups, kernel.columns);
  const int64_t lddz = in_lanes && copied ? round_up(kernel.columns, kLane) : dz.ld;
  const float* saved = data(step.saved);
  for_blocks({0, batch.rows * dx.groups}, kRowsTogether, [&](Range together) {
    const int64_t first = together.begin, at = first * dx.ld;
    kernels_.dense_backward_input[index(step.activation)]({data(step.in) + (in_lanes ? first * lddz : first), lddz,
                                                           weights(step.kernel).values, kernel.rows,
                                                           saved ? saved + at : nullptr, data(step.out) + at, dx.ld,
                                                           kernel.columns, together.end - first, units, in_lanes});
  });
}

void StepRunner::dense_backward_weights(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const Range units = step.split == Split::kInputs ? worker_.slice(kernel.rows) : Range{0, kernel.rows};
  if (empty(units)) return;
  Weights values = weights(step.kernel), bias = weights(step.bias);
  auto run = kernels_.dense_gradient;
  if (step.stores) {
    values = {gradient(step.kernel)};
    bias = {gradient(step.bias)};
  } else {
    const Optimizer kind = frame_.training->optimizer.kind;
    const double factor = penalty_factor(batch);
    values.l2 *= factor;
    bias.l2 *= factor;
    run = kernels_.dense_backward_weights[index(kind)][index(shrinkage(values, bias))];
  }
  const OptimizerStep at = optimizer_step(batch);
  const auto zeros = nonzeros(step);
  const Input x = input(step, batch);
  Ahead ahead = next_rows(step, batch);
  const Range mine = columns(step, kernel.columns);
  const int64_t rows = batch.rows * shape(step.saved).groups;
  for_blocks(units, std::max(kMostInputs / rows, kLane), [&](Range together) {
    for_panels(kernel.rows, kernel.columns, mine, [&](const Panel& panel) {
      run({x.floats, x.ld, data(step.saved) + panel.first, shape(step.saved).ld, shifted(values, panel.offset),
           panel.width, shifted(bias, panel.first), rows, together, panel.columns, at, zeros ? &*zeros : nullptr,
           panel.first + panel.columns.end == mine.end, x.rows, ahead});
      ahead = {};
    });
  });
}

void StepRunner::store_output(const Step& step, const Batch& batch) const {
  const Buffer& y = shape(step.in);
  const Range own = rows(step, batch, y);
  for (int64_t b = own.begin; b < own.end; ++b) {
    std::memcpy(frame_.output + (batch.first * y.groups + b) * y.columns, data(step.in) + b * y.ld,
                static_cast<size_t>(y.columns) * sizeof(float));
  }
}

}  // namespace engine
