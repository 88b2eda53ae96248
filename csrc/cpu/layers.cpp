// The steps of layers that are no products.
#include <algorithm>
#include <cstring>

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
  const LayerSpec& layer = frame_.model->layers[static_cast<size_t>(step.index)];
  const Buffer &in = shape(step.in), &out = shape(step.out);
  (step.kind == Step::Kind::kTake ? kernels_.layers->take : kernels_.layers->take_backward)(
      {data(step.in), in.ld, data(step.out), out.ld, layer.take.data(), static_cast<int64_t>(layer.take.size()),
       out.columns, samples(step, batch)});
}

}  // namespace engine
