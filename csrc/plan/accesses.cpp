#include "plan/accesses.h"

#include <cstddef>
#include <utility>

namespace engine {
namespace {

/// The slice of a thread that steps its share of a variable.
Slice slice_of_weights(Split split) {
  return split == Split::kUnits ? Slice::kColumns : split == Split::kInputs ? Slice::kRows : Slice::kFirstThread;
}

class Accesses {
 public:
  Accesses(const Plan& plan, const Step& step) : plan_(plan), variables_(static_cast<int>(plan.buffers.size())) {
    collect(plan, step);
  }
  std::vector<Access> take() { return std::move(list_); }

 private:
  void reads(int buffer, Slice slice) { add(buffer, false, slice); }
  void writes(int buffer, Slice slice) { add(buffer, true, slice); }
  void reads_variable(int v, Slice slice) { add(v < 0 ? -1 : variables_ + v, false, slice); }
  void writes_variable(int v, Slice slice) { add(v < 0 ? -1 : variables_ + v, true, slice); }
  // Gradients are told apart by variable. Slots and running means belong to the variable, sums to the gradient.
  void reads_gradient(int v, Slice slice) { add(v < 0 ? -1 : gradient_of(v), false, slice); }
  void writes_gradient(int v, Slice slice) { add(v < 0 ? -1 : gradient_of(v), true, slice); }
  void writes_gradient(const Step& step, int v, Slice slice) {
    add(v < 0 ? -1 : step.apart ? apart_of(v) : gradient_of(v), true, slice);
  }
  int gradient_of(int v) const { return -2 - 2 * v; }
  int apart_of(int v) const { return gradient_of(v) - 1; }
  void add(int resource, bool write, Slice slice) {
    if (resource == -1) return;
    const bool buffer = resource >= 0 && resource < variables_;
    const bool own_copy = buffer && plan_.buffers[static_cast<std::size_t>(resource)].copied;
    if (!own_copy) list_.push_back({resource, write, slice});
  }

  void collect(const Plan& plan, const Step& step) {
    const bool by_units = step.split == Split::kUnits;
    const Slice own = by_units ? Slice::kColumns : Slice::kSamples;
    const Slice per_column = by_units ? Slice::kColumns : Slice::kAll;
    switch (step.kind) {
      case Step::Kind::kGather:
        if (!step.compressed) writes(step.out, Slice::kSamples);
        break;
      case Step::Kind::kDenseForward:
        reads(step.records, Slice::kAll);
        if (!step.compressed) reads(step.in, by_units ? Slice::kAll : Slice::kSamples);
        reads_variable(step.kernel, by_units ? Slice::kColumns : Slice::kAll);
        reads_variable(step.bias, by_units ? Slice::kColumns : Slice::kAll);
        writes(step.out, own);
        break;
      case Step::Kind::kPartialProducts:
        reads(step.in, Slice::kColumns);
        reads_variable(step.kernel, Slice::kRows);
        reads_variable(step.bias, Slice::kFirstThread);
        writes(step.out, Slice::kRows);
        break;
      case Step::Kind::kSumPartials:
        reads(step.in, Slice::kAll);
        writes(step.out, Slice::kSamples);
        break;
      case Step::Kind::kActivationForward:
      case Step::Kind::kActivationBackward:
      case Step::Kind::kRowActivationForward:
      case Step::Kind::kRowActivationBackward:
      case Step::Kind::kActivityGradient:
      case Step::Kind::kAffine:
      case Step::Kind::kMultiply:
      case Step::Kind::kAdd:
      case Step::Kind::kAlpha:
      case Step::Kind::kMask:
      case Step::Kind::kMeanRows:
      case Step::Kind::kWeighRows:
      case Step::Kind::kMaxRows:
      case Step::Kind::kMaxRowsBackward:
        reads(step.in, own);
        reads(step.saved, own);
        reads(step.statistics, own);
        writes(step.out, own);
        break;
      case Step::Kind::kDropoutForward:
      case Step::Kind::kNoise:
        reads(step.in, own);
        writes(step.saved, own);
        writes(step.out, own);
        break;
      case Step::Kind::kColumnStatistics:
        reads(step.in, Slice::kColumns);
        reads(step.counted, Slice::kAll);
        writes(step.out, Slice::kColumns);
        break;
      case Step::Kind::kCorrections:
        reads(step.in, Slice::kColumns);
        reads_variable(step.mean, Slice::kColumns);
        reads_variable(step.variance, Slice::kColumns);
        writes(step.out, Slice::kColumns);
        break;
      case Step::Kind::kMovingAverage:
        reads(step.in, Slice::kColumns);
        reads(step.saved, Slice::kColumns);
        writes_variable(step.mean, Slice::kColumns);
        writes_variable(step.variance, Slice::kColumns);
        for (int i = 0; i < kRenormVariables && step.kernel >= 0; ++i) {
          writes_variable(step.kernel + i, Slice::kColumns);
        }
        break;
      case Step::Kind::kStandardizeColumns:
      case Step::Kind::kStandardizeColumnsBackward:
      case Step::Kind::kLearnedForward:
      case Step::Kind::kLearnedBackward:
        reads(step.in, own);
        reads(step.saved, own);
        reads(step.statistics, per_column);
        reads(step.counted, Slice::kAll);
        for (const int v : {step.kernel, step.bias, step.mean, step.variance}) reads_variable(v, per_column);
        writes(step.out, own);
        break;
      case Step::Kind::kLearnedGradients:
        reads(step.in, Slice::kColumns);
        reads(step.saved, Slice::kColumns);
        writes_gradient(step, step.kernel, Slice::kColumns);
        writes_gradient(step, step.bias, Slice::kColumns);
        break;
      case Step::Kind::kStandardizeRows:
      case Step::Kind::kStandardizeRowsBackward:
        reads(step.in, Slice::kSamples);
        reads(step.saved, Slice::kSamples);
        writes(step.statistics, Slice::kSamples);
        writes(step.out, Slice::kSamples);
        break;
      case Step::Kind::kEmbed:
        reads(step.in, Slice::kSamples);
        reads_variable(step.kernel, Slice::kAll);
        writes(step.out, Slice::kSamples);
        break;
      case Step::Kind::kEmbedBackward:
        reads(step.in, Slice::kColumns);
        reads(step.saved, Slice::kAll);
        writes_gradient(step, step.kernel, Slice::kColumns);
        break;
      case Step::Kind::kRecord:
      case Step::Kind::kWarp:
      case Step::Kind::kEncode:
      case Step::Kind::kReshape:
      case Step::Kind::kTake:
      case Step::Kind::kTakeBackward:
        reads(step.in, Slice::kSamples);
        writes(step.out, Slice::kSamples);
        break;
      case Step::Kind::kLoss:
        reads(step.in, Slice::kSamples);
        reads(plan.counted, Slice::kAll);
        writes(step.out, Slice::kSamples);
        writes(step.losses, Slice::kSamples);
        writes(step.y_pred, Slice::kSamples);
        break;
      case Step::Kind::kMetric:
      case Step::Kind::kActivityPenalty:
        reads(step.in, Slice::kSamples);
        writes(step.out, Slice::kSamples);
        writes(step.y_pred, Slice::kSamples);
        break;
      case Step::Kind::kTally:
        reads(step.in, Slice::kAll);
        break;
      case Step::Kind::kUnitRows:
        reads_variable(step.kernel, Slice::kAll);
        writes(step.out, Slice::kRows);
        writes(step.saved, Slice::kRows);
        break;
      case Step::Kind::kOrthogonal:
        reads(step.in, Slice::kAll);
        reads(step.saved, Slice::kAll);
        writes(step.out, Slice::kRows);
        writes(step.y_pred, Slice::kRows);
        break;
      case Step::Kind::kPenalty:
        reads_variable(step.kernel, slice_of_weights(step.split));
        writes(step.out, slice_of_weights(step.split));
        break;
      case Step::Kind::kReduce:
        reads(plan.losses, Slice::kAll);
        reads(plan.counted, Slice::kAll);
        reads(plan.metrics, Slice::kAll);
        for (const Penalty& penalty : plan.penalties) reads(penalty.sums, Slice::kAll);
        for (const Activity& activity : plan.activities) reads(activity.sums, Slice::kAll);
        break;
      case Step::Kind::kTranspose:
        reads(step.in, own);
        writes(step.out, by_units ? Slice::kRows : Slice::kSamples);
        break;
      case Step::Kind::kDenseBackwardInput:
        reads(step.in, Slice::kAll);
        reads_variable(step.kernel, Slice::kRows);
        reads(step.saved, Slice::kColumns);
        writes(step.out, Slice::kColumns);
        break;
      case Step::Kind::kDenseBackwardWeights:
        reads(step.records, Slice::kAll);
        if (!step.compressed) reads(step.in, by_units ? Slice::kAll : Slice::kColumns);
        reads(step.saved, by_units ? Slice::kColumns : Slice::kAll);
        if (step.stores) {
          writes_gradient(step, step.kernel, by_units ? Slice::kColumns : Slice::kRows);
          writes_gradient(step, step.bias, by_units ? Slice::kColumns : Slice::kFirstThread);
        } else {
          writes_variable(step.kernel, by_units ? Slice::kColumns : Slice::kRows);
          writes_variable(step.bias, by_units ? Slice::kColumns : Slice::kFirstThread);
        }
        break;
      case Step::Kind::kAddGradient:
        add(apart_of(step.kernel), false, slice_of_weights(step.split));
        writes_gradient(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kPenaltyGradient:
      case Step::Kind::kSlopeGradient:
      case Step::Kind::kAccumulate:
        reads(step.in, Slice::kAll);
        reads_variable(step.kernel, slice_of_weights(step.split));
        writes_gradient(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kSquares:
      case Step::Kind::kWeightSquares:
        reads_gradient(step.kernel, Slice::kColumns);
        reads_variable(step.kernel, Slice::kColumns);
        writes(step.out, Slice::kColumns);
        break;
      case Step::Kind::kFactoredFlat:
        writes_gradient(step.kernel, slice_of_weights(step.split));
        writes_variable(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kFactoredRows:
      case Step::Kind::kFactoredColumns:
        reads_gradient(step.kernel, slice_of_weights(step.split));
        writes_variable(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kScale:
        reads(step.in, Slice::kAll);
        for (const int v : plan.learning) {
          if (step.scaling == Scaling::kRowMean) reads_variable(v, Slice::kAll);
        }
        writes(step.out, Slice::kFirstThread);
        break;
      case Step::Kind::kStepWeights:
        reads(step.in, Slice::kAll);
        writes_gradient(step.kernel, slice_of_weights(step.split));
        writes_variable(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kFactoredDirection:
        reads(step.in, Slice::kAll);
        reads_variable(step.kernel, Slice::kAll);
        writes_variable(step.kernel, slice_of_weights(step.split));
        writes_gradient(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kLoadDirection:
        reads(step.in, Slice::kAll);
        reads_gradient(step.kernel, Slice::kAll);
        writes(step.out, Slice::kRows);
        break;
      case Step::Kind::kGram:
        reads(step.in, Slice::kAll);
        writes(step.out, Slice::kColumns);
        break;
      case Step::Kind::kQuintic:
        reads(step.in, Slice::kAll);
        writes(step.saved, Slice::kRows);
        writes(step.out, Slice::kRows);
        break;
      case Step::Kind::kTurnDirection:
        reads(step.in, Slice::kRows);
        reads(step.saved, Slice::kAll);
        writes(step.out, Slice::kRows);
        break;
      case Step::Kind::kStoreDirection:
        reads(step.in, Slice::kAll);
        writes_gradient(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kMove:
        reads(step.in, Slice::kAll);
        reads_gradient(step.kernel, slice_of_weights(step.split));
        writes_variable(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kAverage:
      case Step::Kind::kConstrain:
        writes_variable(step.kernel, slice_of_weights(step.split));
        break;
      case Step::Kind::kStoreOutput:
        reads(step.in, Slice::kSamples);
        break;
      case Step::Kind::kCustomForward:
      case Step::Kind::kCustomBackward:
      case Step::Kind::kHost:  // the team has gone home by then
        break;
    }
  }

  const Plan& plan_;
  int variables_;
  std::vector<Access> list_;
};

}  // namespace

std::vector<Access> accesses_of(const Plan& plan, const Step& step) { return Accesses(plan, step).take(); }

}  // namespace engine
