#include "cpu/steps.h"

#include <cstring>

namespace engine {

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
      return penalty(step, batch);
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
    case Step::Kind::kAddGradient:
      return add_gradient(step);
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

void StepRunner::store_output(const Step& step, const Batch& batch) const {
  const Buffer& y = shape(step.in);
  const Range own = rows(step, batch, y);
  for (int64_t b = own.begin; b < own.end; ++b) {
    std::memcpy(frame_.output + (batch.first * y.groups + b) * y.columns, data(step.in) + b * y.ld,
                static_cast<size_t>(y.columns) * sizeof(float));
  }
}

}  // namespace engine
