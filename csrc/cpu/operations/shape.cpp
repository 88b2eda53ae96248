// Operations that move numbers, and images that are changed at random.
#include "graph/operations/shape.h"

#include <algorithm>
#include <cstring>

#include "cpu/scheduler.h"
#include "graph/operations/image_augmentation.h"

namespace engine {
namespace {

void copy_floats(float* to, const float* from, int64_t count) {
  std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

void reshape(const graph::Reshape& op, const ThreadContext& thread) {
  const Placement &in = thread.shape(op.x), &out = thread.shape(op.y);
  const int64_t size = in.groups * in.columns;
  const Range own = thread.samples();
  for (int64_t b = own.begin; b < own.end; ++b) {
    const float* from = thread.data(op.x) + b * in.groups * in.ld;
    float* to = thread.data(op.y) + b * out.groups * out.ld;
    for (int64_t at = 0, count = 0; at < size; at += count) {
      const int64_t i = at % in.columns, o = at % out.columns;
      count = std::min(in.columns - i, out.columns - o);
      copy_floats(to + at / out.columns * out.ld + o, from + at / in.columns * in.ld + i, count);
    }
  }
}

void select_columns(const graph::SelectColumns& op, const ThreadContext& thread) {
  thread.kernels.select_columns({thread.data(op.x), thread.shape(op.x).ld, thread.data(op.y), thread.shape(op.y).ld,
                                 op.indices->data(), static_cast<int64_t>(op.indices->size()),
                                 thread.shape(op.y).columns, thread.samples()});
}

void select_columns_gradient(const graph::SelectColumnsGradient& op, const ThreadContext& thread) {
  thread.kernels.select_columns_backward(
      {thread.data(op.dy), thread.shape(op.dy).ld, thread.data(op.dx), thread.shape(op.dx).ld, op.indices->data(),
       static_cast<int64_t>(op.indices->size()), thread.shape(op.dx).columns, thread.samples()});
}

void concatenate(const graph::Concatenate& op, const ThreadContext& thread) {
  const Range own = thread.rows(op.y);
  float* to = thread.data(op.y);
  for (const ValueId part : op.parts) {
    const Placement& from = thread.shape(part);
    for (int64_t b = own.begin; b < own.end; ++b) {
      copy_floats(to + b * thread.shape(op.y).ld, thread.data(part) + b * from.ld, from.columns);
    }
    to += from.columns;
  }
}

void slice_columns(const graph::SliceColumns& op, const ThreadContext& thread) {
  const Placement &x = thread.shape(op.x), &y = thread.shape(op.y);
  const Range own = thread.rows(op.y);
  for (int64_t b = own.begin; b < own.end; ++b) {
    copy_floats(thread.data(op.y) + b * y.ld, thread.data(op.x) + b * x.ld + op.first, y.columns);
  }
}

/// The taps of the filter as the kernel reads them: 16-bit integers, two in each word, that of a pixel in the lower
/// half and that of the pixel before in the upper half. Zeros follow at both ends, since vectors read beyond the
/// filter.
std::vector<int32_t> pack_taps(const std::vector<float>& taps) {
  if (taps.empty()) return {};
  constexpr auto kBeyond = static_cast<size_t>(2 * kLane);
  std::vector<int32_t> packed(2 * (taps.size() / 2 + kBeyond) + 1);
  for (size_t i = 0; i < taps.size(); ++i) {
    const auto tap = static_cast<int32_t>(taps[i] * kFilterSum + 0.5f);
    packed[kBeyond + i] |= tap;
    packed[kBeyond + i + 1] |= tap << 16;
  }
  return packed;
}

class AugmentImagesStep final : public Step {
 public:
  AugmentImagesStep(const graph::AugmentImages& operation, ValueId scratch)
      : Step(&operation, Split::over(kSamples)),
        own_(operation),
        scratch_(scratch),
        taps_(pack_taps(*operation.taps)) {}

  void run(const ThreadContext& thread) const override {
    const ThreadContext::Draw draw = thread.draw(1);
    Warp arguments{};
    static_cast<ImageChanges&>(arguments) = *own_.changes;
    arguments.x = thread.data(own_.x);
    arguments.y = thread.data(own_.y);
    arguments.ld = thread.shape(own_.y).ld;
    arguments.scratch = thread.data(scratch_);
    arguments.filter = taps_.data() + taps_.size() / 2;
    arguments.step = draw.step;
    arguments.first = draw.first;
    arguments.rows = thread.samples();
    thread.kernels.warp(arguments);
  }

 private:
  const graph::AugmentImages& own_;
  ValueId scratch_;
  std::vector<int32_t> taps_;
};

void schedule_augmentation(Scheduler& scheduler, const graph::AugmentImages& op) {
  const ImageChanges& changes = *op.changes;
  const ValueId scratch = scheduler.add_thread_scratch(
      1, warp_scratch(changes.height, changes.width, changes.channels, changes.radius >= 0));
  scheduler.add<AugmentImagesStep>(op, scratch);
  scheduler.set_augmented(op.y);
}

}  // namespace

void add_shape(Implementations& all) {
  all.add<graph::Reshape>(reshape, by_samples);
  all.add<graph::SelectColumns>(select_columns, by_samples);
  all.add<graph::SelectColumnsGradient>(select_columns_gradient, by_samples);
  all.add<graph::Concatenate>(concatenate, by_samples);
  all.add<graph::SliceColumns>(slice_columns, by_samples);
  all.add<graph::AugmentImages>(schedule_augmentation);
}

}  // namespace engine
