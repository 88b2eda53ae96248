// What the operations of all kinds share while they turn into steps: the plan so far, buffers, how work is split.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "plan/learning.h"
#include "plan/operations.h"
#include "plan/plan.h"

namespace engine {

/// Of the loss by an operation's output, while the operations are walked backwards.
struct Gradient {
  int buffer;
  Split split;
  bool by_result = false;  // by the result before the fused activation, where the operation has one
};

class Emitter {
 public:
  Emitter(const Parameters& parameters, const OptimizerSpec& optimizer, Plan::Mode mode, int64_t max_rows, int threads);

  bool training() const { return plan.mode == Plan::Mode::kTrain; }
  bool predicts() const { return plan.mode == Plan::Mode::kPredict || plan.mode == Plan::Mode::kSample; }
  bool drops_out() const { return training() || plan.mode == Plan::Mode::kSample; }

  void emit(const Step& step) { plan.steps.push_back(step); }

  /// After everything else of a batch: what changes state that is no weight to learn.
  void emit_last(const Step& step) { last_.push_back(step); }
  void finish() { plan.steps.insert(plan.steps.end(), last_.begin(), last_.end()); }

  /// Scratch for what steps split like `split` compute: where everybody computes all of it, everybody has a copy.
  int add_buffer(int64_t rows, int64_t columns, Split split);
  /// The same for `groups` rows of each sample; returns its index.
  int add_batch_buffer(int64_t groups, int64_t columns, Split split = Split::kSamples);
  const Buffer& buffer(int index) const { return plan.buffers[static_cast<size_t>(index)]; }

  /// Samples are independent: with enough of them, inference needs no barrier between layers.
  Split forward_split(int64_t units) const;

  /// Scratch for what a step adds to the loss of each of `groups` rows of a sample; -1 where there is no loss.
  int add_activity(int64_t groups);

  /// What a product of the gathered rows, or of changed images, may use in their place.
  void reads_input(Step& step) const;

  /// Where a product of `rows` with a kernel (inputs, units) finds room for packed blocks; -1 where it does without.
  int room_for(int64_t rows, int64_t inputs, int64_t units);

  /// Has the team record the images for a product with so many units, if that pays.
  void record_images(int64_t units);

  /// Whether a product may step `variable` (-1: no variable, which is fine) instead of storing its gradient.
  bool fuses(int variable) const { return !stores_all && can_fuse(optimizer_, parameters_, variable); }
  /// A step that stores gradients by `variables` (-1: none), which are stepped after the backward pass.
  void emit_gradients(const Step& step, const std::vector<int>& variables) {
    engine::emit_gradients(plan, parameters_, step, variables);
  }

  const Parameters::Layer& variables_of(const Operation& op) const {
    return parameters_.layers[static_cast<size_t>(op.layer)];
  }

  Plan plan;
  bool stores_all = false;  // where Python may fail in the middle of a batch, which must then leave no weight changed
  bool one_team = false;    // whether those who start a batch end it: Python has no step in between
  Step input{Step::Kind::kGather};  // the gathering of the rows, if products may read them (reads_rows)
  int images = -1;                  // changed at random, and whatever else doesn't learn

 private:
  const Parameters& parameters_;
  const OptimizerSpec& optimizer_;
  std::vector<Step> last_;
  int rooms_[2] = {-1, -1};  // for products in packed blocks, one after the other: of a block's rows, and of more
  Step recording_{Step::Kind::kRecord};
};

/// How the operations of one kind turn into steps.
struct Emission {
  /// Emits the output of an operation whose input is split like `split`; returns how the output is split, so that what
  /// follows can stay with the same owner.
  Split (*forward)(Emitter& emitter, Operation& op, Split split);
  /// Emits the gradients by the weights that learn and, unless `previous` is null, the one by the input.
  Gradient (*backward)(Emitter& emitter, const Operation& op, const Operation* previous, Gradient gradient);
};

/// By kind; each is defined beside its like in an emit_*.cpp.
extern const Emission kDenseEmission;
extern const Emission kActivationEmission;
extern const Emission kRowActivationEmission;
extern const Emission kDropoutEmission;
extern const Emission kAffineEmission;
extern const Emission kReshapeEmission;
extern const Emission kActivityEmission;
extern const Emission kTakeEmission;
extern const Emission kNoiseEmission;
extern const Emission kLearnedEmission;
extern const Emission kStandardizeColumnsEmission;
extern const Emission kStandardizeRowsEmission;
extern const Emission kEmbedEmission;
extern const Emission kEncodeEmission;
extern const Emission kCustomEmission;
extern const Emission kWarpEmission;
extern const Emission kMeanEmission;
extern const Emission kMaskEmission;

const Emission& emission_of(Operation::Kind kind);

/// What each row of a sample counts for, 0 or 1, by the operation that masks; returns the buffer.
int emit_counted(Emitter& emitter, const Operation& mask);

}  // namespace engine
