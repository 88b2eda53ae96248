#include "cuda/chains/network_of_run.h"
#include "formulas/random.h"
#include "graph/operations/activation.h"
#include "graph/operations/random_noise.h"

namespace engine::cuda::chains {
namespace {

/// Which kind of stage it is, the plan says.
void set_stage(Stage& stage, const graph::Operation& operation) {
  if (!stage.is_dropout) {
    stage.parameters = cuda::parameters_of(static_cast<const graph::ElementwiseActivation&>(operation));
    return;
  }
  const auto& dropout = static_cast<const graph::Dropout&>(operation);
  stage.seed = dropout.seed;
  stage.threshold = formulas::threshold_of(dropout.rate);
  stage.scale = dropout.rate < 1.0 ? static_cast<float>(1.0 / (1.0 - dropout.rate)) : 0.0f;
}

void set_layer(DenseLayer& layer, const Chain::Layer& from, const RunMemory& memory) {
  layer.has_bias = from.dense->bias != kNoValue;
  layer.kernel = memory.weights(from.dense->kernel);
  layer.bias = memory.weights(from.dense->bias);
  layer.kernel_penalty = from.kernel_penalty;
  layer.bias_penalty = from.bias_penalty;
  // An activation that is a part of the dense operation has no parameters.
  int s = from.dense->activation == Activation::kLinear ? 0 : 1;
  for (const graph::Operation* stage : from.stages) set_stage(layer.stages[s++], *stage);
}

MetricOfKernel metric_of(const graph::MetricOfRows& op, const RunMemory& memory) {
  const MetricSpec& spec = memory.training().metrics[static_cast<size_t>(op.metric)];
  const float* const weights = spec.weighted ? memory.data.targets[0].sample_weight : nullptr;
  return {spec.kind == MetricSpec::Kind::kLoss,
          spec.by_batch,
          spec.value,
          formula(spec.loss),
          spec.threshold,
          cuda::parameters_of(spec.loss),
          {weights, nullptr, weights && spec.loss.ignores, spec.loss.ignored},
          memory.totals + memory.schedule.totals().metrics[static_cast<size_t>(op.metric)]};
}

void set_loss(Network& net, const graph::LossOfRows& op, const RunMemory& memory) {
  const LossSpec& spec = memory.training().losses[0];
  const float* const sample_weight = memory.data.targets[0].sample_weight;
  net.loss = op.loss;
  net.loss_parameters = cuda::parameters_of(spec);
  net.keeps_probabilities = op.y_pred != kNoValue;
  net.weight = spec.weight;
  net.divisor_weights = {spec.reduction == LossReduction::kWeightedMean ? sample_weight : nullptr, nullptr,
                         spec.ignores, spec.ignored};
  net.divided_by = spec.reduction == LossReduction::kSum ? DividedBy::kOne
                   : net.divisor_weights.are_equal()     ? DividedBy::kSamples
                                                         : DividedBy::kWeights;
  net.row_weights = {sample_weight, nullptr, false, 0};
  const TotalsLayout& totals = memory.schedule.totals();
  net.loss_total = memory.totals + totals.loss;
  net.output_loss = memory.totals + totals.output_losses;
  net.samples = memory.totals + totals.samples;
}

/// Rows may lie anywhere: a data set may be a part of memory that somebody else has allocated.
int64_t address_of(const void* rows) { return static_cast<int64_t>(reinterpret_cast<uintptr_t>(rows)); }

bool has_whole_quads(const Network& net) {
  return address_of(net.rows) % sizeof(float4) == 0 && net.stride % kQuad == 0 && net.first_column % kQuad == 0;
}

/// Of rows that lie in shared memory as they lie in the data set; blocks may have parts of them.
int bytes_together(const Network& net) {
  const bool are_floats = net.type == RowType::kFloat32 && net.scale == 1.0f && net.offset == 0.0f;
  if (!net.keeps_bytes && !are_floats) return 0;
  const DenseLayer& layer = net.layers[0];
  const int64_t numbers =
      net.stride | net.first_column | layer.inputs | (layer.split == Split::kInputs ? layer.width : 0);
  const auto places =
      static_cast<size_t>(address_of(net.rows) | (net.keeps_bytes ? numbers : numbers * int64_t{sizeof(float)}));
  if (places % sizeof(uint32_t) != 0) return 0;
  return places % sizeof(uint4) == 0 ? sizeof(uint4) : sizeof(uint32_t);
}

}  // namespace

Network network_of_run(const ChainPlan& plan, const Chain& chain, const RunMemory& memory) {
  Network net = plan.network;
  net.rows = memory.data.x;
  net.type = memory.data.type;
  net.stride = memory.data.stride;
  net.first_column = chain.input->first_column;
  net.whole_quads = has_whole_quads(net);
  net.bytes_together = bytes_together(net);
  net.scale = chain.input->scale;
  net.offset = chain.input->offset;
  net.targets = targets_of(memory, 0, 1);
  net.rule = memory.training().optimizer.kind;
  for (int l = 0; l < net.layer_count; ++l) {
    DenseLayer& layer = net.layers[l];
    set_layer(layer, chain.layers[static_cast<size_t>(l)], memory);
    net.has_penalties = net.has_penalties || layer.kernel_penalty != 0.0 || layer.bias_penalty != 0.0;
  }
  set_loss(net, *chain.loss, memory);
  for (int m = 0; m < net.metric_count; ++m) net.metrics[m] = metric_of(*chain.metrics[static_cast<size_t>(m)], memory);
  return net;
}

}  // namespace engine::cuda::chains
