#include "graph/operations/batch_normalization.h"

#include <limits>

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/normalization_gradient.h"
#include "graph/sizes.h"

namespace engine::graph {

void StandardizeColumns::differentiate(Differentiation& gradients) const {
  const ValueId dy = gradients.gradient_of(y);
  if (dy == kNoValue || !gradients.wants(x)) return;
  const bool of_batch = statistics != kNoValue && row_mask == kNoValue && spread == Spread::kVariance;
  if (gradients.within() && of_batch) {
    const Array values{x, shape_of(gradients.graph(), x)};
    gradients.contribute(values, add_normalization_gradient(gradients.graph(), values, dy, 0, epsilon, true));
    return;
  }
  auto& gradient = gradients.graph().add<StandardizeColumnsGradient>();
  gradient.dy = dy;
  gradient.y = statistics != kNoValue ? y : kNoValue;
  gradient.dx = gradients.graph().add_like(dy);
  gradient.statistics = statistics;
  gradient.mean = mean;
  gradient.variance = variance;
  gradient.row_mask = row_mask;
  gradient.epsilon = epsilon;
  gradient.spread = spread;
  gradients.contribute(x, gradient.dx);
}

/// Through statistics of the batch, every row has a part in the gradient of every other one.
std::vector<Operand> StandardizeColumnsGradient::operands() const {
  const bool of_batch = statistics != kNoValue;
  const Loop rows = of_batch ? kWhole : kSamples;
  return {writes(dx, rows, 'n'),          reads(dy, rows, 'n'),     reads(y, rows, 'n'),
          reads(statistics, kWhole, 'n'), reads(mean, kWhole, 'n'), reads(variance, kWhole, 'n'),
          reads(row_mask, kWhole, kWhole)};
}

/// Linear, as long as the statistics don't depend on the batch.
void StandardizeColumnsGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue) return;
  if (statistics != kNoValue) return gradients.require_no_gradient(*this);
  if (!gradients.wants(dy)) return;
  auto& gradient = gradients.graph().add<StandardizeColumnsGradient>(*this);
  gradient.dy = ddx;
  gradient.dx = gradients.graph().add_like(ddx);
  gradients.contribute(dy, gradient.dx);
}

namespace {

constexpr float kUnlimited = std::numeric_limits<float>::infinity();

constexpr const char* kSpreads[] = {"variance", "deviation", "inverse"};

struct BatchNormalizationLayer final : Layer {
  ColumnScaleAttributes scale;
  Spread spread = Spread::kVariance;
  float epsilon = 0.0f;
  double momentum = 0.0;
  bool masked = false;  // whether the statistics leave out rows that the mask does
  bool renorm = false;
  double renorm_momentum = 0.0;
  CorrectionLimits limits = {};

  int64_t output_size(const LayerInputs& inputs) const override {
    const int64_t row = row_of(inputs.size(), groups);
    if (scale.has_shape && element_count(scale.shape) != row) refuse("`shape` doesn't hold a row of the layer");
    return inputs.size();
  }

  /// Gain and shift, mean, variance, and for batch renormalization running deviation and what batches are corrected to.
  void add_variables(VariableList& variables, int64_t size) const override {
    const int64_t columns = size / groups;
    scale.add_variables(variables, columns);
    const auto add = [&](const char* what) { variables.add_frozen(what, 1, columns, scale.row_shape(columns)); };
    add("mean");
    add("variance");
    if (!renorm) return;
    add("running deviation");
    add("renorm mean");
    add("renorm deviation");
  }

  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    Graph& graph = builder.graph();
    Mask* const mask = masked ? builder.mask_of(inputs[0]) : nullptr;
    const ValueId x = builder.with_rows(inputs[0], groups);
    const size_t first = (scale.use_gain ? 1u : 0u) + (scale.use_shift ? 1u : 0u);
    const ValueId mean = builder.variable(first), variance = builder.variable(first + 1);
    ValueId statistics = kNoValue, row_mask = kNoValue;
    const RenormCorrections* corrections = nullptr;
    const bool of_batch = builder.adds_noise() && scale.trainable;
    if (!of_batch || renorm) builder.change_before_reading(mean, !of_batch);
    if (of_batch) {
      row_mask = builder.row_mask(mask);
      auto& compute = builder.add<ColumnStatistics>();
      compute.x = x;
      compute.row_mask = row_mask;
      compute.statistics = statistics = graph.add_fixed(2, builder.value(x).columns);
      if (renorm) corrections = &add_corrections(builder, statistics, first);
      UpdateAverages averages;
      averages.statistics = statistics;
      if (corrections) averages.batch_deviation = corrections->deviation;
      averages.mean = mean;
      averages.variance = variance;
      if (renorm) {
        averages.deviation = builder.variable(first + 2);
        averages.renorm_mean = builder.variable(first + 3);
        averages.renorm_deviation = builder.variable(first + 4);
      }
      averages.momentum = momentum;
      averages.renorm_momentum = renorm_momentum;
      averages.epsilon = epsilon;
      builder.add_last(averages, {mean, variance, averages.deviation, averages.renorm_mean, averages.renorm_deviation});
    }
    auto& standardize = builder.add<StandardizeColumns>();
    standardize.x = x;
    ValueId y = standardize.y = graph.add_like(x);
    standardize.statistics = statistics;
    if (statistics == kNoValue) {
      standardize.mean = mean;
      standardize.variance = variance;
    }
    standardize.row_mask = row_mask;
    standardize.epsilon = epsilon;
    standardize.spread = spread;
    if (corrections) {
      const Shape row{{builder.value(x).columns, 0}};
      y = add_scaled(graph, y, {corrections->r, row}, {corrections->d, row});
    }
    return add_column_scale(builder, y, scale);
  }

  const RenormCorrections& add_corrections(Builder& builder, ValueId statistics, size_t first) const {
    auto& compute = builder.add<RenormCorrections>();
    compute.statistics = statistics;
    compute.running_mean = builder.variable(first + 3);
    compute.running_deviation = builder.variable(first + 4);
    compute.epsilon = epsilon;
    compute.limits = limits;
    const Shape row{{builder.value(statistics).columns, 0}};
    for (ValueId* const each : {&compute.r, &compute.d, &compute.deviation}) {
      *each = add_array(builder.graph(), row).value;
    }
    return compute;
  }

  bool learns() const override { return scale.learns(); }
  bool changes_variables() const override { return scale.trainable && trains; }
  bool joins_samples_in_training() const override { return scale.trainable && !infers; }
  bool joins_samples() const override { return scale.trainable && trains; }
};

/// Standardization by the mean and variance of a data set, which `adapt` finds.
struct StandardizeLayer final : Layer {
  Spread spread = Spread::kVariance;
  float epsilon = 0.0f;
  Constants means, variances;  // in place of variables
  bool has_shape = false;
  std::vector<int64_t> shape;

  int64_t output_size(const LayerInputs& inputs) const override {
    const int64_t row = row_of(inputs.size(), groups);
    require_row(means, row);
    require_row(variances, row);
    if (has_shape && element_count(shape) != row) refuse("`shape` doesn't hold a row of the layer");
    return inputs.size();
  }
  void add_variables(VariableList& variables, int64_t size) const override {
    if (means) return;
    const int64_t columns = size / groups;
    const std::vector<int64_t> row = has_shape ? shape : std::vector<int64_t>{columns};
    variables.add_frozen("mean", 1, columns, row);
    variables.add_frozen("variance", 1, columns, row);
    variables.add_frozen("count", 1, 1, {});  // Keras counts samples here, and never reads the count
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], groups);
    auto& standardize = builder.add<StandardizeColumns>();
    standardize.x = x;
    standardize.y = builder.graph().add_like(x);
    standardize.mean = means ? builder.graph().add_constant(means) : builder.variable(0);
    standardize.variance = means ? builder.graph().add_constant(variances) : builder.variable(1);
    standardize.epsilon = epsilon;
    standardize.spread = spread;
    return standardize.y;
  }
};

}  // namespace

std::shared_ptr<Layer> read_batch_normalization(const Attributes& attributes) {
  auto layer = std::make_shared<BatchNormalizationLayer>();
  layer->scale = read_column_scale(attributes);
  layer->spread = attributes.choice<Spread>("spread", kSpreads);
  layer->epsilon = static_cast<float>(attributes.nonnegative("epsilon"));
  layer->momentum = attributes.number("momentum");
  layer->masked = attributes.flag("masked", false);
  layer->renorm = attributes.has("renorm_momentum");
  layer->renorm_momentum = attributes.number("renorm_momentum", 0.0);
  layer->limits = {attributes.single("rmin", -kUnlimited), attributes.single("rmax", kUnlimited),
                   attributes.single("dmax", kUnlimited)};
  return layer;
}

std::shared_ptr<Layer> read_standardize(const Attributes& attributes) {
  auto layer = std::make_shared<StandardizeLayer>();
  layer->spread = attributes.choice<Spread>("spread", kSpreads);
  layer->epsilon = static_cast<float>(attributes.nonnegative("epsilon"));
  layer->has_shape = attributes.has("shape");
  if (layer->has_shape) layer->shape = attributes.integers("shape");
  layer->means = read_column_constants(attributes, "mean");
  layer->variances = read_column_constants(attributes, "variance");
  const bool both = !layer->means == !layer->variances;
  if (!both || (layer->means && layer->means->size() != layer->variances->size())) {
    refuse("constants come in pairs of equal size");
  }
  return layer;
}

}  // namespace engine::graph
