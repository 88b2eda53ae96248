// Images that are changed at random.
#include "graph/operations/image_augmentation.h"

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

/// The taps of the filter as the kernel reads them: 16-bit integers, two in each word, that of a pixel in the lower
/// half and that of the pixel before in the upper half. Zeros follow at both ends, since vectors read beyond the
/// filter.
std::vector<int32_t> pack_taps(const std::vector<float>& taps) {
  if (taps.empty()) return {};
  constexpr auto kBeyond = static_cast<size_t>(2 * kLineFloats);
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
    WarpArgs arguments{};
    static_cast<ImageChanges&>(arguments) = *own_.changes;
    arguments.x = thread.data(own_.x);
    arguments.y = thread.data(own_.y);
    arguments.ld = thread.placement(own_.y).ld;
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

void add_image_augmentation(OperationRegistry& all) { all.add<graph::AugmentImages>(schedule_augmentation); }

}  // namespace engine::cpu
