// Dropout and noise.
#include "graph/operations/random_noise.h"

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void dropout(const graph::Dropout& op, const ThreadContext& thread) {
  const Placement& y = thread.placement(op.y);
  const ThreadContext::Draw draw = thread.draw(y.groups);
  thread.kernels.dropout_forward({thread.data(op.x), thread.data(op.y), thread.data(op.mask), y.ld,
                                  thread.own_rows(op.y), thread.columns(op.y), op.rate, op.seed, draw.step,
                                  draw.first});
}

void random_noise(const graph::RandomNoise& op, const ThreadContext& thread) {
  const Placement& noise = thread.placement(op.noise);
  const ThreadContext::Draw draw = thread.draw(noise.groups);
  const bool mask = op.distribution == graph::RandomNoise::Distribution::kMask;
  (mask ? thread.kernels.mask_noise : thread.kernels.normal_noise)(
      {thread.data(op.noise), noise.ld, thread.own_rows(op.noise), thread.columns(op.noise), op.seed, draw.step,
       draw.first, op.shared, op.rate, op.mean, op.scale});
}

}  // namespace

void add_random_noise(OperationRegistry& all) {
  all.add<graph::Dropout>(dropout, like<&graph::Dropout::x>);
  all.add<graph::RandomNoise>(random_noise, by_samples);
}

}  // namespace engine::cpu
