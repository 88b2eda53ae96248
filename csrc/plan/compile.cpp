// ModelSpec -> Plan: each mode emits the steps it needs, forwards, then the loss, then backwards. How one operation
// does that is in the emit_*.cpp.
#include <algorithm>
#include <utility>

#include "plan/costs.h"
#include "plan/emitter.h"
#include "plan/learning.h"
#include "plan/operations.h"
#include "plan/plan.h"

namespace engine {

namespace {

using Kind = Step::Kind;

class Compiler {
 public:
  Compiler(const ModelSpec& model, const Parameters& parameters, const TrainingSpec& training, Plan::Mode mode,
           bool compressed, int64_t max_rows, int threads)
      : model_(model),
        parameters_(parameters),
        training_(training),
        emitter_(parameters, training.optimizer, mode, max_rows, worthwhile_threads(model, mode, max_rows, threads)),
        plan_(emitter_.plan),
        operations_(to_operations(model, emitter_.drops_out())) {
    emitter_.stores_all = asks_python(model, emitter_.predicts());
    emitter_.one_team = !leaves_team();
    plan_.compressed = compressed;
  }

  Plan compile() {
    emit_forward();
    if (emitter_.predicts()) {
      emitter_.finish();
      emit({Kind::kStoreOutput, Split::kSamples, false, plan_.y_pred});
    } else {
      emit_loss();
      if (training()) {
        emit_backward();
        emit_learning(plan_, parameters_, training_.optimizer);
      }
      emitter_.finish();
      // Last, where the barriers that others need have already made the samples' losses and outputs visible.
      emit_tallies();
      emit({Kind::kReduce, Split::kNone});
    }
    separate_columns(plan_);
    place_barriers(plan_);
    place_buffers(plan_);
    return std::move(plan_);
  }

 private:
  bool training() const { return emitter_.training(); }
  void emit(const Step& step) { emitter_.emit(step); }

  /// Where every thread reads every sample, each gathers its own copy: the conversion is cheap against fetching
  /// half of the lines from another core's cache, and saves two barriers per batch. Not around a host step: the team
  /// after it may be larger than the one that gathered.
  Split input_split() const {
    if (!feeds_dense()) return Split::kSamples;
    const int64_t units = first_operation().width;
    const bool cheap = pays_to_copy_rows(plan_.max_rows, model_.input_size, units, plan_.threads);
    return emitter_.forward_split(units) == Split::kUnits && cheap ? Split::kEveryone : Split::kSamples;
  }

  /// Whether a batch has steps that Python does.
  bool leaves_team() const {
    const bool asks = training_.loss.host || training_.host_metrics || has_host_penalty(parameters_);
    return asks_python(model_, emitter_.predicts()) || (!emitter_.predicts() && asks);
  }

  /// Whether the gathered rows go into a product, in the same stretch: after a host step the team may be another one.
  bool feeds_dense() const {
    return !leaves_team() && !operations_.empty() && first_operation().kind == Operation::Kind::kDense;
  }

  /// Whether the first product takes compressed rows as they are.
  bool reads_compressed() const {
    if (!plan_.compressed || operations_.empty()) return false;
    const Operation &first = operations_[0], &dense = first_operation();
    const bool keeps_zeros = first.kind != Operation::Kind::kAffine || first.spec->offset == 0.0f;
    return keeps_zeros && dense.kind == Operation::Kind::kDense && dense.groups == 1;
  }

  /// Whether the first product may skip zeros of the gathered rows: each thread finds them itself, for all the
  /// rows that it reads.
  bool skips_zeros(const Step& gather) const {
    if (!gather.reads_rows || gather.offset != 0.0f) return false;
    const int64_t units = first_operation().width;
    const bool all_rows = gather.split == Split::kEveryone || plan_.threads == 1;
    return pays_to_find_zeros(units) && (all_rows || (!training() && emitter_.forward_split(units) == Split::kSamples));
  }

  /// The first operation that is not folded into the gathering of the rows.
  const Operation& first_operation() const {
    return operations_[operations_[0].kind == Operation::Kind::kAffine && operations_.size() > 1 ? 1 : 0];
  }

  /// The loss reads logits where the last operation is the link that belongs to it: exact where the
  /// probabilities round to 0 or 1.
  void choose_loss() {
    const LossSpec& spec = training_.loss;
    const Activation last = operations_.empty() ? Activation::kLinear : operations_.back().activation;
    drops_link_ = !spec.host && !spec.from_logits &&
                  ((spec.kind == Loss::kCrossentropy && last == Activation::kSoftmax) ||
                   (spec.kind == Loss::kBinaryCrossentropy && last == Activation::kSigmoid));
    loss_ = drops_link_ ? from_logits(spec.kind) : formula(spec);
  }

  void emit_forward() {
    if (!emitter_.predicts()) choose_loss();
    static_assert(!is_fused(Activation::kSigmoid), "links are operations of their own");
    if (drops_link_) operations_.pop_back();
    if (!operations_.empty()) operations_.back().feeds_loss = training() && !leaves_team();
    Step gather{Kind::kGather, input_split()};
    gather.compressed = reads_compressed();
    gather.reads_rows = feeds_dense() && !plan_.compressed;
    gather.out = gather.compressed ? add_buffer(plan_, 0, model_.input_size)
                                   : emitter_.add_batch_buffer(1, model_.input_size, gather.split);
    size_t next = 0;
    if (!operations_.empty() && operations_[0].kind == Operation::Kind::kAffine) {
      gather.scale = operations_[0].spec->scale;
      gather.offset = operations_[0].spec->offset;
      operations_[0].in = operations_[0].out = gather.out;
      next = 1;
    }
    if (skips_zeros(gather)) gather.nonzeros = add_nonzeros(plan_, model_.input_size);
    if (training() && gather.reads_rows) gather.pointers = add_pointers(plan_);
    emitter_.input = gather;
    emit(gather);
    if (!emitter_.predicts()) emit_penalties(plan_, parameters_);
    int value = gather.out;
    Split split = gather.split;
    for (; next < operations_.size(); ++next) {
      Operation& op = operations_[next];
      op.in = value;
      if (op.masked_by >= 0) op.mask = &operations_[static_cast<size_t>(op.masked_by)];
      const bool passes_on = op.kind == Operation::Kind::kActivity;
      const bool in_place = passes_on || (op.follows_product && !(training() && saves_input(op.activation)));
      op.out = value = in_place ? value : emitter_.add_batch_buffer(op.groups, op.width);
      split = emission_of(op.kind).forward(emitter_, op, split);
    }
    output_ = value;
    plan_.y_pred = value;
    if (value != gather.out && split == Split::kEveryone) loss_split_ = split;
  }

  /// Rows that the loss and the metrics look at.
  int64_t output_rows() const { return plan_.max_rows * model_.output_groups; }

  /// Scratch like the output.
  int add_output_buffer() {
    return emitter_.add_batch_buffer(model_.output_groups, emitter_.buffer(output_).columns, loss_split_);
  }

  void emit_loss() {
    const bool host = training_.loss.host;
    plan_.losses = emitter_.add_buffer(1, output_rows(), loss_split_);
    if (training() || host) plan_.gradient = add_output_buffer();
    Step step{host ? Kind::kHost : Kind::kLoss, host ? Split::kNone : loss_split_, false, output_};
    step.loss = loss_;
    step.losses = plan_.losses;
    step.out = plan_.gradient;
    if (!host && gives_probabilities(loss_)) step.y_pred = add_output_buffer();
    if (drops_link_) plan_.y_pred = step.y_pred;
    emit_mask();
    emit(step);
    if (plan_.counted >= 0 && !host && training()) emit_masked_gradient();
    if (training_.host_metrics) emit({Kind::kHost, Split::kNone, false, plan_.y_pred});
    emit_metrics();
  }

  void emit_mask() {
    if (!training_.loss.masked) return;
    const auto last = std::find_if(operations_.rbegin(), operations_.rend(), [](const Operation& op) {
      return op.kind != Operation::Kind::kReshape && masks(*op.spec);
    });
    plan_.counted = emit_counted(emitter_, *last);
  }

  void emit_masked_gradient() {
    Step step{Kind::kWeighRows, loss_split_, false, plan_.gradient, plan_.gradient, plan_.counted};
    emit(step);
  }

  void emit_metrics() {
    if (training_.metrics.empty()) return;
    plan_.metrics = emitter_.add_buffer(static_cast<int64_t>(training_.metrics.size()), output_rows(), loss_split_);
    for (size_t i = 0; i < training_.metrics.size(); ++i) {
      if (!by_sample(training_.metrics[i])) continue;
      Step step{Kind::kMetric, loss_split_, false, plan_.y_pred, plan_.metrics};
      step.index = static_cast<int>(i);
      if (training_.metrics[i].kind == MetricSpec::Kind::kLoss &&
          gives_probabilities(formula(training_.metrics[i].loss))) {
        step.y_pred = add_output_buffer();
      }
      emit(step);
    }
  }

  void emit_tallies() {
    for (size_t i = 0; i < training_.metrics.size(); ++i) {
      if (by_sample(training_.metrics[i])) continue;
      Step step{Kind::kTally, Split::kNone, false, plan_.y_pred};
      step.index = static_cast<int>(i);
      emit(step);
    }
  }

  /// Walks the operations backwards, as far as something still learns.
  void emit_backward() {
    const auto learns = [](const Operation& op) { return op.trainable; };
    const auto first = std::find_if(operations_.begin(), operations_.end(), learns);
    if (first == operations_.end()) return;
    const auto stop = static_cast<size_t>(first - operations_.begin());
    Gradient gradient{plan_.gradient, loss_split_};
    for (size_t i = operations_.size(); i-- > stop;) {
      const Operation& op = operations_[i];
      if (op.kind == Operation::Kind::kDense && !gradient.by_result) emit_fused_gradient(op, gradient);
      gradient = emission_of(op.kind).backward(emitter_, op, i > stop ? &operations_[i - 1] : nullptr, gradient);
    }
  }

  /// Takes a gradient by a dense operation's output back through its fused activation, in place.
  void emit_fused_gradient(const Operation& op, const Gradient& gradient) {
    if (op.activation == Activation::kLinear) return;
    Step step{Kind::kActivationBackward, gradient.split, false, gradient.buffer, gradient.buffer, op.saved};
    step.activation = op.activation;
    emit(step);
  }

  const ModelSpec& model_;
  const Parameters& parameters_;
  const TrainingSpec& training_;
  Emitter emitter_;
  Plan& plan_;
  std::vector<Operation> operations_;
  Loss loss_ = Loss::kMeanSquaredError;
  bool drops_link_ = false;
  int output_ = -1;
  Split loss_split_ = Split::kSamples;  // kEveryone: of a last layer whose output everybody has added up
};

}  // namespace

Plan compile(const ModelSpec& model, const Parameters& parameters, const TrainingSpec& training, Plan::Mode mode,
             bool compressed, int64_t max_rows, int threads) {
  return Compiler(model, parameters, training, mode, compressed, max_rows, threads).compile();
}

}  // namespace engine
