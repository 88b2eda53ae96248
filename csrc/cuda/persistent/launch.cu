#include "cuda/persistent/launch.h"
#include "cuda/persistent/train.h"
#include "graph/operations/activation.h"
#include "graph/operations/random_noise.h"

namespace engine::cuda::persistent {
namespace {

/// Memory of the card behind each other: the terms that blocks of a grid exchange, their arrivals, their totals.
struct Scratch {
  explicit Scratch(const PersistentPlan& plan) {
    const bool is_grid = plan.exchange == Exchange::kGrid;
    arrivals = is_grid ? 2 * int64_t{plan.network.exchange_floats} : 0;
    totals = arrivals + kQuad;  // doubles
    floats = totals + 2 * int64_t{plan.blocks} * kMostTotals;
  }
  int64_t arrivals, totals, floats;
};

Stage stage_of(const graph::Operation& operation, Stage stage) {
  if (const auto* dropout = dynamic_cast<const graph::Dropout*>(&operation)) {
    stage.is_dropout = true;
    stage.seed = dropout->seed;
    stage.threshold = formulas::threshold_of(dropout->rate);
    stage.scale = dropout->rate < 1.0 ? static_cast<float>(1.0 / (1.0 - dropout->rate)) : 0.0f;
    return stage;
  }
  const auto& activation = static_cast<const graph::ElementwiseActivation&>(operation);
  stage.activation = activation.activation;
  stage.parameters = cuda::parameters_of(activation);
  return stage;
}

void set_layer(DenseLayer& layer, const Chain::Layer& from, const RunMemory& memory) {
  layer.has_bias = from.dense->bias != kNoValue;
  layer.kernel = memory.weights(from.dense->kernel);
  layer.bias = memory.weights(from.dense->bias);
  layer.kernel_penalty = from.kernel_penalty;
  layer.bias_penalty = from.bias_penalty;
  int s = 0;
  if (from.dense->activation != Activation::kLinear) layer.stages[s++].activation = from.dense->activation;
  for (const graph::Operation* stage : from.stages) {
    layer.stages[s] = stage_of(*stage, layer.stages[s]);
    ++s;
  }
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
  net.fixed_divisor = spec.reduction == Reduction::kSum ? 1.0 : 0.0;
  net.divisor_weights = {spec.reduction == Reduction::kWeightedMean ? sample_weight : nullptr, nullptr, spec.ignores,
                         spec.ignored};
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

/// Of rows that stay bytes; blocks may have parts of them.
int bytes_together(const Network& net) {
  const DenseLayer& layer = net.layers[0];
  const int64_t places = address_of(net.rows) | net.stride | net.first_column | layer.inputs |
                         (layer.split == Split::kInputs ? layer.width : 0);
  if (!net.keeps_bytes || places % sizeof(uint32_t) != 0) return 0;
  return places % sizeof(uint4) == 0 ? sizeof(uint4) : sizeof(uint32_t);
}

using Kernel = void (*)(const Network, const Batch*, int64_t);

Kernel kernel_for(Exchange exchange) {
  switch (exchange) {
    case Exchange::kNone:
      return train<OneBlock>;
    case Exchange::kCluster:
      return train<Cluster>;
    case Exchange::kGrid:
      break;
  }
  return train<Grid>;
}

cudaLaunchConfig_t config_of(int blocks, int64_t shared_bytes) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(kBlockThreads);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  return config;
}

cudaLaunchAttribute cluster_of(int blocks) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(blocks);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  return attribute;
}

/// Whether a card that was asked about its limits won't run a launch within them all the same, as others may have a
/// part of it (MPS, MIG).
bool is_refusal(cudaError_t status) {
  return status == cudaErrorLaunchOutOfResources || status == cudaErrorCooperativeLaunchTooLarge ||
         status == cudaErrorInvalidClusterSize || status == cudaErrorInvalidConfiguration ||
         status == cudaErrorNotSupported;
}

}  // namespace

int largest_cluster(const CardLimits& limits) {
  for (const Exchange exchange : {Exchange::kNone, Exchange::kCluster, Exchange::kGrid}) {
    check(cudaFuncSetAttribute(kernel_for(exchange), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(limits.shared_bytes)),
          "asking for shared memory");
  }
  int has_clusters = 0, device = 0;
  check(cudaGetDevice(&device), "asking which it is");
  check(cudaDeviceGetAttribute(&has_clusters, cudaDevAttrClusterLaunch, device), "asking for clusters");
  if (!has_clusters) return 1;
  // Where the driver has compiled the kernel from PTX for cards without clusters, it has none, either.
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel_for(Exchange::kCluster)), "asking about a kernel");
  constexpr int kFirstWithClusters = 90;
  if (attributes.ptxVersion < kFirstWithClusters) return 1;
  // More than 8 blocks run on cards whose multiprocessors come in large enough groups.
  check(cudaFuncSetAttribute(kernel_for(Exchange::kCluster), cudaFuncAttributeNonPortableClusterSizeAllowed, 1),
        "allowing large clusters");
  for (int blocks = kMostSlices; blocks > 1; blocks /= 2) {
    cudaLaunchConfig_t config = config_of(blocks, limits.shared_bytes);
    cudaLaunchAttribute attribute = cluster_of(blocks);
    config.attrs = &attribute;
    config.numAttrs = 1;
    int clusters = 0;
    const cudaError_t status = cudaOccupancyMaxActiveClusters(&clusters, kernel_for(Exchange::kCluster), &config);
    if (status == cudaSuccess && clusters > 0) return blocks;
    cudaGetLastError();
  }
  return 1;
}

int64_t scratch_floats(const PersistentPlan& plan) { return Scratch(plan).floats; }

Network network_of_run(const PersistentPlan& plan, const Chain& chain, const RunMemory& memory, float* scratch) {
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
  const Scratch places(plan);
  net.exchange = scratch;
  net.arrivals = reinterpret_cast<unsigned*>(scratch + places.arrivals);
  net.totals = reinterpret_cast<double*>(scratch + places.totals);
  return net;
}

bool launch(const Stream& stream, const PersistentPlan& plan, const Network& network, const Batch* batches,
            int64_t count) {
  cudaLaunchConfig_t config = config_of(plan.blocks, network.floats * static_cast<int64_t>(sizeof(float)));
  config.stream = stream.get();
  cudaLaunchAttribute attribute = {};
  config.attrs = &attribute;
  config.numAttrs = plan.exchange == Exchange::kNone ? 0 : 1;
  if (plan.exchange == Exchange::kCluster) attribute = cluster_of(plan.blocks);
  if (plan.exchange == Exchange::kGrid) {
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
    stream.fill_zeros(network.arrivals, sizeof(unsigned));
  }
  const cudaError_t status = cudaLaunchKernelEx(&config, kernel_for(plan.exchange), network, batches, count);
  if (is_refusal(status)) {
    cudaGetLastError();
    return false;
  }
  check(status, "starting a kernel");
  return true;
}

}  // namespace engine::cuda::persistent
