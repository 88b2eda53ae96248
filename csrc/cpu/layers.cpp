// The steps of layers that are no products.
#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/steps.h"
#include "kernels/layer_table.h"

namespace engine {

/// Samples as rows of another width: both sides hold the same numbers in the same order.
void StepRunner::reshape(const Step& step, const Batch& batch) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  const int64_t size = in.groups * in.columns;
  const Range own = samples(step, batch);
  for (int64_t b = own.begin; b < own.end; ++b) {
    const float* from = data(step.in) + b * in.groups * in.ld;
    float* to = data(step.out) + b * out.groups * out.ld;
    for (int64_t at = 0, count = 0; at < size; at += count) {
      const int64_t i = at % in.columns, o = at % out.columns;
      count = std::min(in.columns - i, out.columns - o);
      std::memcpy(to + at / out.columns * out.ld + o, from + at / in.columns * in.ld + i,
                  static_cast<size_t>(count) * sizeof(float));
    }
  }
}

void StepRunner::take(const Step& step, const Batch& batch) const {
  const std::vector<int32_t>& from = layer(step).take;
  const Buffer &in = shape(step.in), &out = shape(step.out);
  (step.kind == Step::Kind::kTake ? kernels_.layers->take : kernels_.layers->take_backward)(
      {data(step.in), in.ld, data(step.out), out.ld, from.data(), static_cast<int64_t>(from.size()), out.columns,
       samples(step, batch)});
}

void StepRunner::noise(const Step& step, const Batch& batch) const {
  const LayerSpec& spec = layer(step);
  const Buffer& out = shape(step.out);
  // How a prediction is cut into batches depends on the threads: its noise follows the samples of the whole call.
  const bool sampling = plan_.mode == Plan::Mode::kSample;
  const bool mask = spec.distribution == LayerSpec::Distribution::kMask;
  (mask ? kernels_.layers->mask_noise : kernels_.layers->normal_noise)(
      {data(step.out), out.ld, rows(step, batch, out), columns(step, out.columns), spec.seed,
       static_cast<uint64_t>(sampling ? frame_.first_iteration : iteration(batch)),
       sampling ? batch.first * out.groups : 0, spec.shared, spec.rate, spec.mean, spec.scale});
}

const float* StepRunner::vector(int v, const std::vector<float>& constants) const {
  if (v >= 0) return weights(v).values;
  return constants.empty() ? nullptr : constants.data();
}

CountedRows StepRunner::counted_rows(int buffer) const {
  if (buffer < 0) return {};
  return {data(buffer), shape(buffer).ld, shape(buffer).columns};
}

void StepRunner::column_statistics(const Step& step, const Batch& batch) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  kernels_.layers->column_statistics({data(step.in), in.ld, counted_rows(step.counted), data(step.out),
                                      data(step.out) + out.ld, rows(step, batch, in), columns(step, in.columns)});
}

void StepRunner::moving_average(const Step& step) const {
  const Buffer& in = shape(step.in);
  const double momentum = layer(step).momentum;
  const Range own = columns(step, in.columns);
  const auto follow = [&](int variable, const float* value, double kept) {
    kernels_.layers->moving_average({weights(variable).values, value, kept, own});
  };
  follow(step.mean, data(step.in), momentum);
  if (step.saved < 0) return follow(step.variance, data(step.in) + in.ld, momentum);
  const float* deviation = data(step.saved) + 2 * shape(step.saved).ld;
  follow(step.kernel, deviation, momentum);
  follow(step.kernel + 1, data(step.in), layer(step).renorm_momentum);
  follow(step.kernel + 2, deviation, layer(step).renorm_momentum);
  kernels_.layers->variance_of({weights(step.variance).values, weights(step.kernel).values, layer(step).epsilon, own});
}

void StepRunner::corrections(const Step& step) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  float* r = data(step.out);
  kernels_.layers->corrections({data(step.in), data(step.in) + in.ld, weights(step.mean).values,
                                weights(step.variance).values, layer(step).epsilon, layer(step).limits, r, r + out.ld,
                                r + 2 * out.ld, columns(step, in.columns)});
}

void StepRunner::standardize_columns(const Step& step, const Batch& batch) const {
  const LayerSpec& spec = layer(step);
  const Buffer& out = shape(step.out);
  const float* own = step.statistics >= 0 ? data(step.statistics) : nullptr;
  const float* mean = own ? own : vector(step.mean, spec.constants[0]);
  const float* variance = own ? own + shape(step.statistics).ld : vector(step.variance, spec.constants[1]);
  const bool forward = step.kind == Step::Kind::kStandardizeColumns;
  (forward ? kernels_.layers->standardize_columns : kernels_.layers->standardize_columns_backward)(
      {data(step.in), data(step.saved), data(step.out), out.ld, counted_rows(step.counted), mean, variance,
       spec.epsilon, spec.spread, rows(step, batch, out), columns(step, out.columns)});
}

void StepRunner::standardize_rows(const Step& step, const Batch& batch) const {
  const LayerSpec& spec = layer(step);
  const Buffer& out = shape(step.out);
  const bool forward = step.kind == Step::Kind::kStandardizeRows;
  (forward ? kernels_.layers->standardize_rows : kernels_.layers->standardize_rows_backward)(
      {data(step.in), data(step.saved), data(step.out), out.ld, out.columns, data(step.statistics),
       shape(step.statistics).ld, spec.epsilon, spec.centred, spec.unit, rows(step, batch, out)});
}

void StepRunner::learned_columns(const Step& step, const Batch& batch) const {
  const LayerSpec& spec = layer(step);
  const Buffer& in = shape(step.in);
  LearnedColumns op{};
  op.x = data(step.in);
  op.y = data(step.out);
  op.ld = in.ld;
  const float* corrections = step.statistics < 0 ? nullptr : data(step.statistics);
  op.gain = corrections ? corrections : vector(step.kernel, spec.constants[0]);
  op.shift = corrections ? corrections + shape(step.statistics).ld : vector(step.bias, spec.constants[1]);
  op.rows = rows(step, batch, in);
  op.columns = columns(step, in.columns);
  const auto rule = static_cast<size_t>(spec.learned);
  if (step.kind == Step::Kind::kLearnedForward) return kernels_.layers->learned_columns[rule](op);
  op.x = data(step.saved);
  op.dy = data(step.in);
  if (step.kind == Step::Kind::kLearnedBackward) return kernels_.layers->learned_columns_backward[rule](op);
  op.dgain = gradient(step.kernel, step.apart);
  op.dshift = gradient(step.bias, step.apart);
  kernels_.layers->learned_columns_gradients[rule](op);
}

void StepRunner::embed(const Step& step, const Batch& batch) const {
  const Variable& table = variable(step.kernel);
  const Buffer &in = shape(step.in), &out = shape(step.out);
  kernels_.layers->embed({data(step.in), in.ld, in.columns, weights(step.kernel).values, table.rows, table.columns,
                          data(step.out), out.ld, samples(step, batch)});
}

void StepRunner::embed_backward(const Step& step, const Batch& batch) const {
  const Variable& table = variable(step.kernel);
  const Buffer &dy = shape(step.in), &x = shape(step.saved);
  kernels_.layers->embed_backward({data(step.saved), x.ld, x.columns, data(step.in), dy.ld,
                                   gradient(step.kernel, step.apart), table.rows, table.columns, batch.rows,
                                   columns(step, table.columns)});
}

void StepRunner::encode(const Step& step, const Batch& batch) const {
  const LayerSpec& spec = layer(step);
  const Buffer &in = shape(step.in), &out = shape(step.out);
  kernels_.layers->encode(
      {data(step.in), in.ld, in.columns, data(step.out), out.ld, spec.tokens, spec.counts, rows(step, batch, out)});
}

void StepRunner::mask(const Step& step, const Batch& batch) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  const int64_t n = in.groups * in.columns / out.columns;
  kernels_.layers->mask({data(step.in), in.groups * in.ld, in.groups == out.columns ? in.ld : n, n, data(step.out),
                         out.ld, out.columns, step.offset, layer(step).kind == LayerSpec::Kind::kMean,
                         samples(step, batch)});
}

void StepRunner::weigh_rows(const Step& step, const Batch& batch) const {
  const Buffer &in = shape(step.in), &out = shape(step.out);
  const bool sums = step.kind == Step::Kind::kMeanRows, spreads = in.groups < out.groups;
  (sums ? kernels_.layers->mean_rows : kernels_.layers->weigh_rows)(
      {data(step.in), in.groups * in.ld, spreads ? 0 : in.ld, step.saved < 0 ? nullptr : data(step.saved),
       step.saved < 0 ? 0 : shape(step.saved).ld, step.scale, data(step.out), out.groups * out.ld, out.ld,
       sums ? in.groups : out.groups, out.columns, samples(step, batch)});
}

void StepRunner::max_rows(const Step& step, const Batch& batch) const {
  const bool forward = step.kind == Step::Kind::kMaxRows;
  const int x = forward ? step.in : step.saved, y = forward ? step.out : step.statistics;
  MaxRows op{};
  op.x = data(x);
  op.ldx = shape(x).ld;
  op.y = data(y);
  op.ldy = shape(y).ld;
  op.count = shape(x).groups;
  op.n = shape(y).columns;
  op.rows = samples(step, batch);
  if (forward) return kernels_.layers->max_rows(op);
  op.dy = data(step.in);
  op.dx = data(step.out);
  kernels_.layers->max_rows_backward(op);
}

void StepRunner::warp(const Step& step, const Batch& batch) const {
  const LayerSpec& spec = layer(step);
  const bool sampling = plan_.mode == Plan::Mode::kSample;
  Warp op = spec.warp;
  op.x = data(step.in);
  op.y = data(step.out);
  op.ld = shape(step.out).ld;
  op.scratch = data(step.statistics);
  op.taps = spec.taps.data() + spec.taps.size() / 2;
  op.seed = spec.seed;
  op.step = static_cast<uint64_t>(sampling ? frame_.first_iteration : iteration(batch));
  op.first = sampling ? batch.first : 0;
  op.rows = samples(step, batch);
  kernels_.layers->warp(op);
}

}  // namespace engine
