#include "graph/operations/dense.h"

#include "graph/builder.h"
#include "graph/differentiate.h"
#include "graph/operations/activation.h"
#include "graph/operations/contraction.h"
#include "graph/operations/map.h"
#include "graph/sizes.h"

namespace engine::graph {

namespace {

std::string joined(const std::string& text, const std::string& more) {
  return text.empty() || more.empty() ? text + more : text + ' ' + more;
}

std::string text_of(Precision precision) {
  if (precision == Precision::kFloat32) return {};
  return std::string(kPrecisionNames[static_cast<size_t>(precision)]) + " on a GPU";
}

/// Gradients may be too small for float16, where numbers below 3e-8 become 0. TensorFloat32 has as many bits of
/// fraction, and the exponents of float32, so that no loss has to be scaled.
Precision precision_of_gradients(Precision precision) {
  return precision == Precision::kFloat16 ? Precision::kTensorFloat32 : precision;
}

}  // namespace

std::string Dense::attributes() const {
  const char* const name = kActivationNames.of[static_cast<size_t>(activation)];
  return joined(activation == Activation::kLinear ? "" : name, text_of(precision));
}

std::string DenseInputGradient::attributes() const {
  const std::string through = std::string("through ") + kActivationNames.of[static_cast<size_t>(activation)];
  const std::string text =
      joined(addend == kNoValue ? "" : "with addend", activation == Activation::kLinear ? "" : through);
  return joined(text, text_of(precision));
}

std::string DenseWeightGradient::attributes() const { return text_of(precision); }

/// The gradient by the input comes first, since the one by the weights may step them.
void Dense::differentiate(Differentiation& gradients) const {
  Graph& graph = gradients.graph();
  ValueId dz = gradients.gradient_of(y);
  if (dz == kNoValue) return;
  if (activation != Activation::kLinear) {
    auto& through = graph.add<ElementwiseActivationGradient>();
    through.dy = dz;
    through.saved = y;
    through.dx = dz = graph.add_like(dz);
    through.activation = activation;
  }
  if (gradients.wants(x)) {
    auto& by_input = graph.add<DenseInputGradient>();
    by_input.dz = dz;
    by_input.kernel = kernel;
    by_input.dx = graph.add_like(x);
    by_input.precision = precision_of_gradients(precision);
    by_input.trainable = trainable;
    gradients.contribute(x, by_input.dx);
  }
  if (!trainable) return;
  auto& by_weights = graph.add<DenseWeightGradient>();
  by_weights.x = x;
  by_weights.dz = dz;
  by_weights.kernel = kernel;
  by_weights.bias = bias;
  by_weights.dkernel = gradients.new_gradient(kernel);
  by_weights.dbias = gradients.new_gradient(bias);
  by_weights.precision = precision_of_gradients(precision);
}

/// dx = dz kernel^T, so that the gradients by dz and by the kernel are products, too.
void DenseInputGradient::differentiate(Differentiation& gradients) const {
  const ValueId ddx = gradients.gradient_of(dx);
  if (ddx == kNoValue) return;
  Graph& graph = gradients.graph();
  if (gradients.wants(dz)) {
    auto& product = graph.add<Dense>();
    product.x = ddx;
    product.kernel = kernel;
    product.y = graph.add_like(dz);
    product.precision = precision;
    product.trainable = trainable;
    gradients.contribute(dz, product.y);
  }
  if (!trainable) return;
  auto& by_kernel = graph.add<DenseWeightGradient>();
  by_kernel.x = ddx;
  by_kernel.dz = dz;
  by_kernel.kernel = kernel;
  by_kernel.dkernel = gradients.new_gradient(kernel);
  by_kernel.precision = precision;
}

/// The gradients by dkernel and dbias are arrays (k, n) and (n).
void DenseWeightGradient::differentiate(Differentiation& gradients) const {
  Graph& graph = gradients.graph();
  const ValueId by_kernel = dkernel == kNoValue ? kNoValue : gradients.gradient_of(dkernel);
  const ValueId by_bias = dbias == kNoValue ? kNoValue : gradients.gradient_of(dbias);
  const Array inputs{x, shape_of(graph, x)}, slopes{dz, shape_of(graph, dz)};
  if (by_kernel != kNoValue) {
    const Array weights{by_kernel, {inputs.shape[1], slopes.shape[1]}};
    if (gradients.wants(x)) gradients.contribute(inputs, add_product(graph, slopes, "bn", weights, "kn", "bk"));
    if (gradients.wants(dz)) gradients.contribute(slopes, add_product(graph, inputs, "bk", weights, "kn", "bn"));
  }
  if (by_bias != kNoValue && gradients.wants(dz)) {
    const Array bias_part{by_bias, {slopes.shape[1]}};
    MapCode copy;
    copy.inputs = 1;
    copy.add_copy(0);
    gradients.contribute(slopes, add_map(graph, {bias_part}, slopes.shape, copy));
  }
}

namespace {

struct DenseLayer final : Layer {
  int64_t units = 0;
  bool use_bias = true, trainable = true;
  VariableSpec kernel, bias;
  Activation activation = Activation::kLinear;
  ActivationParameters parameters = {};
  Precision precision = Precision::kFloat32;

  int64_t output_size(const LayerInputs& inputs) const override {
    row_of(inputs.size(), groups);
    return times(groups, units);
  }
  void add_variables(VariableList& variables, int64_t size) const override {
    const int64_t inputs = size / groups;
    variables.add("kernel", inputs, units, {inputs, units}, kernel, trainable);
    if (use_bias) variables.add("bias", 1, units, {units}, bias, trainable);
  }
  ValueId build(Builder& builder, const std::vector<ValueId>& inputs) const override {
    const ValueId x = builder.with_rows(inputs[0], groups);
    auto& dense = builder.add<Dense>();
    dense.x = x;
    dense.kernel = builder.variable(0);
    dense.bias = use_bias ? builder.variable(1) : kNoValue;
    dense.y = builder.graph().add_batch(groups, units);
    dense.precision = precision;
    dense.trainable = trainable;
    return add_activation(builder, dense.y, activation, parameters, groups);
  }
  bool learns() const override { return trainable; }
  double multiply_adds(int64_t size) const override { return static_cast<double>(size) * static_cast<double>(units); }
};

}  // namespace

Precision read_precision(const Attributes& attributes) {
  return attributes.choice<Precision>("precision", kPrecisionNames);
}

std::shared_ptr<Layer> read_dense(const Attributes& attributes) {
  auto layer = std::make_shared<DenseLayer>();
  layer->units = attributes.count("units");
  layer->activation = read_activation(attributes, layer->parameters);
  layer->use_bias = attributes.flag("use_bias", true);
  layer->trainable = attributes.flag("trainable", true);
  layer->kernel = attributes.variable("kernel");
  layer->bias = attributes.variable("bias");
  layer->precision = read_precision(attributes);
  return layer;
}

}  // namespace engine::graph
