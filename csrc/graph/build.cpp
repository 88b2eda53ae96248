#include "graph/build.h"

#include <algorithm>
#include <utility>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/learning.h"
#include "graph/operations/activation.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/function.h"
#include "graph/operations/host_array.h"
#include "graph/operations/input_output.h"
#include "graph/operations/loss.h"
#include "graph/operations/pooling.h"
#include "graph/operations/traced_loss.h"
#include "graph/rewrites.h"

namespace engine::graph {
namespace {

/// Builds one graph, phase by phase.
class Assembly {
 public:
  Assembly(const Model& model, const TrainingSpec& training, Mode mode)
      : model_(model),
        training_(training),
        graph_(std::make_shared<Graph>(mode, model.variables())),
        builder_(*graph_) {
    // Arrays of samples have gaps between their rows, as layers want them. Other functions need none.
    graph_->batch = model.is_of_arrays() ? 0 : model.spec().batch;
  }

  std::shared_ptr<const Graph> build() {
    add_forward();
    if (graph_->mode() == Mode::kFunction) add_results();
    fold_forward();
    if (graph_->mode() == Mode::kFunction) {
      builder_.finish();
      pass_gradients_to_steps(*graph_);
      add_steps({});
    } else if (builder_.predicts()) {
      builder_.finish();
      add_predictions();
    } else {
      add_losses();
      add_metrics();
      if (builder_.is_training()) add_backward();
      builder_.finish();
      // The sums over the pass come last, where the barriers that others need have made the values visible.
      add_sums();
    }
    remove_unread(*graph_);
    if (graph_->mode() == Mode::kFunction) compute_equal_rows_once(*graph_);
    merge_maps(*graph_);
    if (graph_->mode() == Mode::kFunction) recompute_maps(*graph_);
    fuse_maps(*graph_);
    read_windows(*graph_);
    remove_unread(*graph_);
    graph_->joins_samples_in_training = model_.joins_samples_in_training();
    // A batch that changes variables can't be computed in parts either.
    graph_->joins_samples = model_.joins_samples() || model_.changes_variables();
    graph_->multiply_adds = model_.multiply_adds();
    graph_->has_host_operations = contains<HostOperation>();
    return graph_;
  }

 private:
  void add_forward() {
    const ModelSpec& spec = model_.spec();
    std::vector<ValueId> inputs;
    int64_t first_column = 0;
    for (const int64_t size : spec.input_sizes) {
      auto& read = graph_->add<ReadInput>();
      read.first_column = first_column;
      read.x = graph_->add_batch(1, size);
      inputs.push_back(read.x);
      first_column += size;
    }
    if (!builder_.predicts()) penalties_ = add_weight_penalties(*graph_);
    values_ = add_nodes(model_, inputs);
    for (size_t i = 0; i < spec.outputs.size(); ++i) {
      Output output;
      output.y_pred = builder_.batch_of(value_of(spec.outputs[i].node, inputs, values_), spec.outputs[i].groups);
      output.first_column = i == 0 ? 0 : graph_->outputs[i - 1].first_column + model_.output_size(i - 1);
      graph_->outputs.push_back(output);
    }
  }

  /// The rewrites of the forward pass. They remove values that one operation alone reads, so that whatever the caller
  /// gets is an output or has its `WriteResult` before.
  void fold_forward() {
    fold_rescaling_into_input(*graph_);
    // An assigned variable may change between the product and the sum, and `dense` reads the bias with the product.
    if (!contains<AssignVariable>()) fold_bias_into_dense(*graph_);
    fold_activation_into_dense(*graph_);
  }

  template <class Op>
  bool contains() const {
    const auto& operations = graph_->operations();
    return std::any_of(operations.begin(), operations.end(),
                       [](const auto& operation) { return dynamic_cast<const Op*>(operation.get()) != nullptr; });
  }

  void add_predictions() {
    for (const Output& output : graph_->outputs) {
      auto& write = graph_->add<WriteOutput>();
      write.y = output.y_pred;
      write.first_column = output.first_column;
    }
  }

  void add_results() {
    const std::vector<int>& results = model_.spec().results;
    for (size_t i = 0; i < results.size(); ++i) {
      const ValueId value = builder_.array_of(values_[static_cast<size_t>(results[i])]);
      const Array x = with_strides(*graph_, {value, model_.shape_of(results[i])});
      auto& write = graph_->add<WriteResult>();
      write.index = static_cast<int>(i);
      write.x = x;
    }
  }

  /// The value of a node, or of an input of the model.
  static ValueId value_of(int node, const std::vector<ValueId>& inputs, const std::vector<ValueId>& values) {
    return node < 0 ? inputs[static_cast<size_t>(Node::kInput - node)] : values[static_cast<size_t>(node)];
  }

  /// Appends the operations of all nodes of a model or a traced function. Returns the output of each.
  std::vector<ValueId> add_nodes(const Model& model, const std::vector<ValueId>& inputs) {
    std::vector<ValueId> values;
    const std::vector<Node>& nodes = model.spec().nodes;
    size_t i = 0;
    builder_.read_later = [&] {
      std::vector<ValueId> read;
      const auto add = [&](int node) {
        if (node < static_cast<int>(values.size())) read.push_back(value_of(node, inputs, values));
      };
      for (size_t later = i + 1; later < nodes.size(); ++later) {
        for (const int node : nodes[later].inputs) add(node);
      }
      for (const int node : model.spec().results) add(node);
      for (const ModelSpec::Output& output : model.spec().outputs) add(output.node);
      return read;
    };
    for (; i < nodes.size(); ++i) {
      const Layer& layer = *nodes[i].layer;
      builder_.node = static_cast<int>(i);
      builder_.trains = layer.trains;
      builder_.infers = layer.infers;
      builder_.variables = &model.variables_of(i);
      std::vector<ValueId> read;
      for (const int input : nodes[i].inputs) {
        const ValueId value = value_of(input, inputs, values);
        const bool is_array = graph_->value(value).kind == Value::Kind::kArray;
        read.push_back(is_array && !layer.reads_arrays() ? builder_.batch_of(value, layer.groups) : value);
      }
      const ValueId output = layer.build(builder_, read);
      if (!read.empty()) builder_.pass_mask(read.front(), output);
      values.push_back(output);
    }
    builder_.read_later = nullptr;  // it refers to local variables
    return values;
  }

  /// Appends a loss or a metric that a user wrote, as a function of the targets and predictions of an output. Returns
  /// its result.
  Array add_traced_function(const TracedFunction& function, int output, ValueId y_pred) {
    const Array y_true =
        add_array(*graph_, resolved({{0, 1}, {function.model.spec().input_sizes[0], 0}}, graph_->batch));
    auto& read = graph_->add<ReadTarget>();
    read.output = output;
    read.y = y_true;
    const std::vector<ValueId> inputs{y_true.value, y_pred};
    const ValueId value = value_of(function.value, inputs, add_nodes(function.model, inputs));
    return with_strides(*graph_, {value, function.shape});
  }

  void add_losses() {
    fold_activations_into_losses();
    for (size_t i = 0; i < graph_->outputs.size(); ++i) {
      if (training_.losses[i].masked) {
        graph_->outputs[i].row_mask = builder_.row_mask(builder_.mask_of(graph_->outputs[i].y_pred));
      }
    }
    for (size_t i = 0; i < graph_->outputs.size(); ++i) {
      const auto& traced = training_.losses[i].traced;
      traced_losses_.push_back(traced ? add_traced_function(*traced, static_cast<int>(i), graph_->outputs[i].y_pred)
                                      : Array{});
    }
    std::vector<ValueId> kept;
    for (const Array& values : traced_losses_) {
      if (values.value != kNoValue) kept.push_back(values.value);
    }
    // Before gradients read the values between maps, and since one gradient of several maps is faster than several.
    fuse_maps(*graph_, kept);
    forward_count_ = graph_->operations().size();
    for (size_t i = 0; i < graph_->outputs.size(); ++i) add_loss(i);
    if (training_.host_metrics) {
      auto& host = graph_->add<HostMetrics>();
      for (const Output& output : graph_->outputs) host.y_pred.push_back(output.y_pred);
    }
  }

  /// The rewrite "softmax + crossentropy": y_pred = softmax(x), loss(y_pred)  ->  y_pred, loss = loss_from_logits(x),
  /// and the same for sigmoid and binary crossentropy. It is exact where probabilities would round to 0 or 1.
  void fold_activations_into_losses() {
    const Uses uses(*graph_);
    std::vector<bool> removed(graph_->operations().size());
    logits_.assign(graph_->outputs.size(), kNoValue);
    for (size_t i = 0; i < graph_->outputs.size(); ++i) {
      const LossSpec& spec = training_.losses[i];
      const ValueId y_pred = graph_->outputs[i].y_pred;
      const int producer = uses.producer(y_pred);
      const bool shared = std::count_if(graph_->outputs.begin(), graph_->outputs.end(),
                                        [&](const Output& other) { return other.y_pred == y_pred; }) > 1;
      if (spec.host || spec.traced || spec.from_logits || producer < 0 || uses.reader_count(y_pred) != 0 || shared)
        continue;
      const Operation* last = graph_->operations()[static_cast<size_t>(producer)].get();
      if (const auto* row = dynamic_cast<const RowActivation*>(last);
          row && row->activation == Activation::kSoftmax && spec.kind == Loss::kCrossentropy) {
        logits_[i] = row->x;
      }
      if (const auto* elementwise = dynamic_cast<const ElementwiseActivation*>(last);
          elementwise && elementwise->activation == Activation::kSigmoid && spec.kind == Loss::kBinaryCrossentropy) {
        logits_[i] = elementwise->x;
      }
      removed[static_cast<size_t>(producer)] = logits_[i] != kNoValue;
    }
    graph_->erase(removed);
  }

  void add_loss(size_t i) {
    const LossSpec& spec = training_.losses[i];
    Output& output = graph_->outputs[i];
    const bool from_activation = logits_[i] != kNoValue;
    const ValueId x = from_activation ? logits_[i] : output.y_pred;
    output.losses = graph_->add_per_row(graph_->value(x).groups);
    if (spec.traced) return add_traced_loss(i);
    if (builder_.is_training() || spec.host) output.gradient = graph_->add_like(x);
    if (spec.host) {
      auto& host = graph_->add<HostLoss>();
      host.output = static_cast<int>(i);
      host.y_pred = x;
      host.losses = output.losses;
      host.gradient = output.gradient;
      host.row_mask = output.row_mask;
      return;
    }
    auto& loss = graph_->add<LossOfRows>();
    loss.output = static_cast<int>(i);
    loss.x = x;
    loss.losses = output.losses;
    loss.gradient = output.gradient;
    loss.row_mask = output.row_mask;
    loss.loss = from_activation ? from_logits(spec.kind) : formula(spec);
    if (gives_probabilities(loss.loss)) loss.y_pred = graph_->add_like(x);
    if (from_activation) output.y_pred = loss.y_pred;
    if (output.row_mask != kNoValue && builder_.is_training()) mask_gradient(output);
  }

  void add_traced_loss(size_t i) {
    Output& output = graph_->outputs[i];
    const Array values = traced_losses_[i];
    const Array gradient = builder_.is_training() ? add_array(*graph_, values.shape) : Array{};
    auto& loss = graph_->add<TracedLoss>();
    loss.output = static_cast<int>(i);
    loss.values = values;
    loss.losses = output.losses;
    loss.row_mask = output.row_mask;
    loss.gradient = gradient;
    loss.find_loops(*graph_);
    traced_gradients_.emplace_back(values, gradient);
  }

  /// Rows that the mask leaves out get a gradient of zero.
  void mask_gradient(Output& output) {
    auto& scale = graph_->add<ScaleRows>();
    scale.x = output.gradient;
    scale.factors = output.row_mask;
    scale.y = graph_->add_like(output.gradient);
    output.gradient = scale.y;
  }

  void add_metrics() {
    for (size_t i = 0; i < training_.metrics.size(); ++i) {
      const MetricSpec& spec = training_.metrics[i];
      metric_values_.push_back(kNoValue);
      if (!by_sample(spec)) continue;
      const Output& output = graph_->outputs[static_cast<size_t>(spec.output)];
      const ValueId values = graph_->add_per_row(graph_->value(output.y_pred).groups);
      if (spec.kind == MetricSpec::Kind::kTraced) {
        const Array result = add_traced_function(*spec.traced, spec.output, output.y_pred);
        auto& copy = graph_->add<TracedValues>();
        copy.x = result;
        copy.values = metric_values_.back() = values;
        continue;
      }
      const bool stores_probabilities = spec.kind == MetricSpec::Kind::kLoss && gives_probabilities(formula(spec.loss));
      auto& metric = graph_->add<MetricOfRows>();
      metric.metric = static_cast<int>(i);
      metric.y_pred = output.y_pred;
      metric.values = metric_values_.back() = values;
      if (stores_probabilities) metric.probabilities = graph_->add_like(output.y_pred);
    }
  }

  void add_backward() {
    Differentiation gradients(*graph_);
    for (size_t i = 0; i < graph_->outputs.size(); ++i) {
      const ValueId x = logits_[i] != kNoValue ? logits_[i] : graph_->outputs[i].y_pred;
      if (graph_->outputs[i].gradient != kNoValue) gradients.contribute(x, graph_->outputs[i].gradient);
    }
    for (const auto& [values, gradient] : traced_gradients_) gradients.contribute(values, gradient);
    gradients.run(forward_count_);
    add_steps(penalties_);
  }

  void add_steps(const std::vector<WeightPenalty>& penalties) {
    graph_->stepped = graph_->learning;
    fold_sum_into_dense(*graph_);
    fold_activation_gradient_into_dense(*graph_);
    sum_into_gradients(*graph_);
    // Where the caller computes a part and may fail, a batch changes no weight before all gradients are known.
    if (!model_.asks_host(false) && !contains<HostArray>()) {
      fold_steps_into_dense(*graph_, training_.optimizer);
      fold_steps_into_embeddings(*graph_, training_.optimizer);
    }
    add_learning(*graph_, training_.optimizer, penalties);
  }

  void add_sums() {
    for (size_t i = 0; i < training_.metrics.size(); ++i) {
      const Output& output = graph_->outputs[static_cast<size_t>(training_.metrics[i].output)];
      if (by_sample(training_.metrics[i])) continue;
      auto& sums = graph_->add<MetricOfSums>();
      sums.metric = static_cast<int>(i);
      sums.y_pred = output.y_pred;
      sums.row_mask = output.row_mask;
    }
    auto& add = graph_->add<AddLosses>();
    for (const Output& output : graph_->outputs) {
      add.losses.push_back(output.losses);
      add.row_mask.push_back(output.row_mask);
    }
    for (const WeightPenalty& penalty : penalties_) add.penalties.push_back(penalty.term);
    add.activity_penalties = graph_->activity_penalties;
    for (size_t i = 0; i < training_.metrics.size(); ++i) {
      if (metric_values_[i] == kNoValue) continue;
      const Output& output = graph_->outputs[static_cast<size_t>(training_.metrics[i].output)];
      auto& sum = graph_->add<AddMetric>();
      sum.metric = static_cast<int>(i);
      sum.values = metric_values_[i];
      sum.y_pred = output.y_pred;
      sum.row_mask = output.row_mask;
    }
  }

  const Model& model_;
  const TrainingSpec& training_;
  std::shared_ptr<Graph> graph_;
  Builder builder_;
  std::vector<ValueId> values_;  // the output of each node
  std::vector<WeightPenalty> penalties_;
  std::vector<ValueId> logits_;       // by output: what the loss reads in place of y_pred, or kNoValue
  std::vector<Array> traced_losses_;  // by output: the result of a loss that a user wrote, or none
  std::vector<std::pair<Array, Array>> traced_gradients_;  // in training: each of these, and the gradient by it
  std::vector<ValueId> metric_values_;                     // by metric: a value for each row, or kNoValue
  size_t forward_count_ = 0;                               // operations of the forward pass, which have gradients
};

}  // namespace

std::shared_ptr<const Graph> build_graph(const Model& model, const TrainingSpec& training, Mode mode) {
  return Assembly(model, training, mode).build();
}

}  // namespace engine::graph
