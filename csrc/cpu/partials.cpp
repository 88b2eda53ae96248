// The last layer where it is narrow: each thread multiplies its own inputs, and after a barrier what all have found is
// added up.
#include <algorithm>
#include <array>

#include "cpu/steps.h"
#include "kernels/partial_sums.h"

namespace engine {
namespace {

/// Calls f(group) for the largest groups that slices [begin, end) are made of.
template <class F>
void for_groups(int64_t begin, int64_t end, F&& f) {
  while (begin < end) {
    int level = 0;
    while ((begin >> level) % 2 == 0 && begin + (int64_t{2} << level) <= end) ++level;
    f(SliceGroup{begin, level});
    begin += int64_t{1} << level;
  }
}

/// The same for those of a worker's inputs.
template <class F>
void for_groups(const Worker& worker, int64_t inputs, F&& f) {
  const Range own = worker.slice(inputs);
  for_groups(own.begin / kSlice, divide_up(own.end, kSlice), f);
}

}  // namespace

void StepRunner::partial_products(const Step& step, const Batch& batch) const {
  const Variable& kernel = variable(step.kernel);
  const float *x = data(step.in), *w = weights(step.kernel).values, *bias = weights(step.bias).values;
  float* out = data(step.out, batch);
  for_groups(worker_, kernel.rows, [&](const SliceGroup& group) {
    const int64_t begin = group.first * kSlice, most = kSlice << group.level;
    DenseForward op{};
    op.x = x + begin;
    op.ldx = shape(step.in).ld;
    op.ldw = kLane;
    op.kernel = w + begin * op.ldw;
    op.bias = begin == 0 ? bias : nullptr;
    op.y = out + group.first * shape(step.out).ld;
    op.ldy = kLane;
    op.k = std::min(kernel.rows - begin, most);
    op.rows = {0, batch.rows};
    op.columns = {0, kLane};
    op.in_slices = true;
    kernels_.dense_forward[static_cast<size_t>(Activation::kLinear)](op);
  });
}

void StepRunner::sum_partials(const Step& step, const Batch& batch) const {
  std::array<SliceGroup, kMostSlices> groups;
  size_t count = 0;
  for (int i = 0; i < worker_.threads; ++i) {
    for_groups({i, worker_.threads, nullptr}, variable(step.kernel).rows,
               [&](const SliceGroup& group) { groups[count++] = group; });
  }
  kernels_.sum_partials({data(step.in, batch), shape(step.in).ld, groups.data(), static_cast<int64_t>(count),
                         data(step.out), shape(step.out).ld, rows(step, batch, shape(step.out))});
}

}  // namespace engine
