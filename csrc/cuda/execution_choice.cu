#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/execution_choice.h"

namespace engine::cuda {
namespace {

using persistent::DenseLayer;
using persistent::kBlockWarps;
using persistent::kColumns;
using persistent::kMostSlices;
using persistent::kQuad;
using persistent::Network;
using persistent::Split;

/// Sums of parts of the inputs take no more than this.
constexpr int64_t kPartialSumFloats = 8 * 1024;
/// A part has at least so many quads, or its sums cost more than they save.
constexpr int kLeastQuadsOfPart = 4;
/// Larger batches keep a whole card busy step by step.
constexpr int64_t kMostRows = 256;

template <class T>
T up_to_multiple(T number, T of) {
  return (number + of - 1) / of * of;
}

/// Bytes that are copied together. Rows are an odd number of these, so that they lie in different banks.
constexpr int64_t kChunk = 16;

/// Floats of a row whose quads are an odd number.
int odd_quads(int64_t numbers) {
  const auto quads = static_cast<int>((numbers + kQuad - 1) / kQuad);
  return (quads | 1) * kQuad;
}

// ---- How layers are divided -----------------------------------------------------------------------------------------

void set_slices(DenseLayer& layer, int axis) {
  layer.width = up_to_multiple((axis + kMostSlices - 1) / kMostSlices, kQuad);
  layer.slices = (axis + layer.width - 1) / layer.width;
}

void divide_layers(Network& net) {
  if (net.layer_count == 1) {
    net.layers[0].split = Split::kInputs;
    set_slices(net.layers[0], net.layers[0].inputs);
    return;
  }
  for (int l = 0; l < net.layer_count; ++l) {
    DenseLayer& layer = net.layers[l];
    const bool is_first = l % 2 == 0;  // of a pair
    if (is_first && l + 1 == net.layer_count) {
      layer.split = Split::kNone;
      layer.width = layer.units;
      layer.slices = 1;
      continue;
    }
    layer.split = is_first ? Split::kColumns : Split::kInputs;
    set_slices(layer, is_first ? layer.units : layer.inputs);
  }
}

void size_layer(DenseLayer& layer, int blocks, int max_rows) {
  layer.slices_of_block = (layer.slices + blocks - 1) / blocks;
  const int axis = layer.split == Split::kInputs ? layer.inputs : layer.units;
  const int own = std::min(axis, layer.slices_of_block * layer.width);
  layer.padded_inputs = up_to_multiple(layer.split == Split::kInputs ? own : layer.inputs, kQuad);
  const int units = layer.split == Split::kColumns ? own : layer.units;
  layer.padded_units = up_to_multiple(units, kColumns);
  layer.ld_out = odd_quads(units);
  const int groups = (max_rows + kWarp - 1) / kWarp, quads = layer.padded_inputs / kQuad;
  layer.parts = std::max(1, std::min(quads / kLeastQuadsOfPart, kBlockWarps / groups));
  const int64_t together = kPartialSumFloats / (static_cast<int64_t>(layer.parts) * max_rows) / kColumns * kColumns;
  layer.columns_together = static_cast<int>(std::clamp<int64_t>(together, kColumns, layer.padded_units));
}

// ---- Shared memory --------------------------------------------------------------------------------------------------

/// Hands out places in shared memory, each at a multiple of 16 bytes.
class Places {
 public:
  int add(int64_t floats) {
    const int64_t at = next_;
    next_ += up_to_multiple<int64_t>(floats, kQuad);
    return static_cast<int>(std::min<int64_t>(at, INT32_MAX));
  }
  int64_t floats() const { return next_; }

 private:
  int64_t next_ = 0;
};

/// Sizes and places for so many blocks; returns the floats of shared memory that each of them needs.
int64_t lay_out(Network& net, int blocks, bool byte_rows, int batch_slots, bool exchanges_in_shared) {
  const int64_t rows = net.max_rows, rows_of_memory = up_to_multiple<int64_t>(rows, persistent::kRowsTogether);
  net.rows_of_memory = static_cast<int>(rows_of_memory);
  net.rows_of_block_log = 0;
  while (int64_t{blocks} << net.rows_of_block_log < rows) ++net.rows_of_block_log;
  Places places;
  // The memory for sums of parts has others, too: numbers of each warp, and the probabilities that metrics compute.
  int64_t sums = std::max(2 * int64_t{kBlockWarps}, rows * net.layers[net.layer_count - 1].units);
  int64_t exchanged = 0, gathered = 0;
  for (int l = 0; l < net.layer_count; ++l) {
    DenseLayer& layer = net.layers[l];
    size_layer(layer, blocks, net.max_rows);
    const int64_t kernel =
        int64_t{layer.padded_units} / kColumns * (layer.padded_inputs / kQuad) * persistent::kQuadStride;
    layer.kernel_floats = static_cast<int>(std::min<int64_t>(kernel, INT32_MAX));
    layer.share_at = places.add(sizeof(persistent::Share) / sizeof(float));
    layer.kernel_at = places.add((1 + persistent::kSlotsOfWeight) * kernel);
    layer.bias_at = places.add((1 + persistent::kSlotsOfWeight) * int64_t{layer.padded_units});
    layer.out_at = places.add(rows * layer.ld_out);
    layer.gradient_at = places.add(rows_of_memory * layer.padded_units);
    for (int s = 0; s < layer.stage_count; ++s) layer.stages[s].saved_at = places.add(rows * layer.ld_out);
    const bool is_last = l + 1 == net.layer_count;
    const int64_t slices = exchanges_in_shared ? layer.slices_of_block : layer.slices;
    if (layer.split == Split::kInputs) {
      exchanged = std::max(exchanged, slices * rows * layer.padded_units);
      if (!is_last) gathered = std::max(gathered, rows * layer.padded_units);
    } else {
      sums = std::max(sums, layer.parts * rows * layer.columns_together);
      if (layer.split == Split::kColumns && l > 0) {
        exchanged = std::max(exchanged, slices * rows * layer.padded_inputs);
        gathered = std::max(gathered, rows * layer.padded_inputs);
      }
    }
  }
  const DenseLayer &first = net.layers[0], &last = net.layers[net.layer_count - 1];
  const int64_t numbers_of_chunk = byte_rows ? kChunk : kChunk / sizeof(float);
  net.ld_x = static_cast<int>(((first.padded_inputs + numbers_of_chunk - 1) / numbers_of_chunk | 1) * numbers_of_chunk);
  net.partial_sums_at = places.add(sums);
  net.exchange_floats = static_cast<int>(up_to_multiple<int64_t>(exchanged, kQuad));
  net.exchange_at = places.add(exchanges_in_shared ? net.exchange_floats : 0);
  net.gathered_at = places.add(gathered);
  net.probabilities_at = places.add(rows * last.units);
  net.announced_at = places.add(2 * sizeof(Batch) / sizeof(float));
  net.order_at = places.add(2 * rows);
  net.sums_at = places.add(2 * kWarp * (1 + 2 * int64_t{net.metric_count}));
  net.divisor_at = places.add(2);
  net.live_at = places.add(2);
  net.live_of_warp_at = places.add(kBlockWarps);
  const int64_t begin = places.floats();
  net.places.batch_at = places.add(sizeof(Batch) / sizeof(float));
  net.places.labels_at = places.add(rows);
  net.places.dense_at = places.add(net.targets.sparse ? 0 : rows * last.units);
  net.places.weights_at = places.add(rows);
  net.places.quads_at = places.add((first.padded_inputs / kQuad + 1) / 2);
  net.places.x_at = places.add(byte_rows ? rows_of_memory * net.ld_x / kQuad : rows * net.ld_x);
  net.keeps_bytes = byte_rows;
  net.batch_slots = batch_slots;
  const int64_t of_batch = places.floats() - begin;
  net.floats_of_batch = static_cast<int>(std::min<int64_t>(of_batch, INT32_MAX));
  const int64_t all = begin + batch_slots * of_batch;
  net.floats = static_cast<int>(std::min<int64_t>(all, INT32_MAX));
  return all;
}

// ---- What a batch costs ---------------------------------------------------------------------------------------------

// Cycles, as bench/GPU.md derives them from instruction counts and latencies; none was measured on this kernel.
constexpr double kProductsPerCycle = 75.0;       // of 128: the other issue slots load operands
constexpr double kByteProductsPerCycle = 160.0;  // on tensor cores: most issue slots convert operands
constexpr double kStepsPerCycle = 4.4;           // weights that are stepped
constexpr double kClusterBarrier = 350.0, kGridBarrier = 1800.0, kNoBarrier = 40.0;
// Floats that a block reads of others, in their shared memory and in that of the card.
constexpr double kSharedPerCycle = 3.5, kExchangedPerCycle = 16.0;
constexpr double kFixed = 2000.0;  // loss, waiting for the next batch, barriers of the block
constexpr double kFixedOfLayer = 400.0;
constexpr double kCyclesOfKernel = 4000.0;  // from the start of a small kernel to that of the next one

/// Of the exchange of a layer's terms, for sums of so many columns.
double cycles_of_exchange(const Network& net, Exchange exchange, int slices, int columns) {
  const double sums = static_cast<double>(net.max_rows) * columns;
  switch (exchange) {
    case Exchange::kNone:
      return kNoBarrier + slices * sums / kProductsPerCycle;
    case Exchange::kGrid:
      return kGridBarrier + slices * sums / kExchangedPerCycle;
    case Exchange::kCluster:
      break;
  }
  // A block adds the terms of its rows, and reads the sums of all others.
  const double share = static_cast<double>(1 << net.rows_of_block_log) / net.max_rows;
  return 2.0 * kClusterBarrier + (slices * share + 1.0) * sums / kSharedPerCycle;
}

double cycles_of(const Network& net, Exchange exchange) {
  const double rows = up_to_multiple(net.max_rows, kWarp);
  double cycles = kFixed;
  for (int l = 0; l < net.layer_count; ++l) {
    const DenseLayer& layer = net.layers[l];
    const double weights = static_cast<double>(layer.padded_inputs) * layer.padded_units;
    const double rate = l == 0 && net.keeps_bytes ? kByteProductsPerCycle : kProductsPerCycle;
    cycles += kFixedOfLayer + weights * rows * (l > 0 ? 3.0 : 2.0) / rate + weights / kStepsPerCycle;
    if (layer.split == Split::kInputs) cycles += cycles_of_exchange(net, exchange, layer.slices, layer.units);
    if (layer.split == Split::kColumns && l > 0) {
      cycles += cycles_of_exchange(net, exchange, layer.slices, layer.inputs);
    }
  }
  return cycles;
}

// ---- The choice -----------------------------------------------------------------------------------------------------

struct Candidate {
  Exchange exchange;
  int blocks;
};

const char* name_of(Exchange exchange) {
  return exchange == Exchange::kNone ? "block" : exchange == Exchange::kCluster ? "cluster" : "grid";
}

std::string name_of(const Candidate& candidate) {
  return name_of(candidate.exchange) +
         (candidate.exchange == Exchange::kNone ? std::string() : ":" + std::to_string(candidate.blocks));
}

/// All that any card can run.
std::vector<Candidate> all_candidates() {
  std::vector<Candidate> all{{Exchange::kNone, 1}};
  for (int blocks = 2; blocks <= kMostSlices; blocks *= 2) {
    all.push_back({Exchange::kCluster, blocks});
    all.push_back({Exchange::kGrid, blocks});
  }
  return all;
}

bool can_run(const CardLimits& limits, const Candidate& candidate) {
  if (candidate.exchange == Exchange::kCluster) return candidate.blocks <= limits.largest_cluster;
  return candidate.exchange == Exchange::kNone || (candidate.blocks <= limits.multiprocessors && limits.grids_can_wait);
}

/// What the environment asks for; empty for nothing. Throws std::invalid_argument for what is no way to run.
std::string requested_execution() {
  const char* const requested = std::getenv("ENGINE_CUDA_EXECUTION");
  const std::string way = requested ? requested : "";
  const std::vector<Candidate> all = all_candidates();
  const bool is_known =
      way.empty() || way == "steps" ||
      std::any_of(all.begin(), all.end(), [&](const Candidate& each) { return name_of(each) == way; });
  if (is_known) return way;
  throw std::invalid_argument(
      "ENGINE_CUDA_EXECUTION must be 'steps', 'block', 'cluster:N' or 'grid:N', where N is 2, 4, 8 or 16; got '" + way +
      "'");
}

Network network_of(const persistent::Chain& chain, const graph::Graph& graph, int64_t max_rows, bool sparse) {
  Network net = {};
  net.max_rows = static_cast<int>(max_rows);
  net.layer_count = static_cast<int>(chain.layers.size());
  net.metric_count = static_cast<int>(chain.metrics.size());
  net.targets.sparse = sparse;
  for (int l = 0; l < net.layer_count; ++l) {
    const persistent::Chain::Layer& from = chain.layers[static_cast<size_t>(l)];
    DenseLayer& to = net.layers[l];
    to.inputs = static_cast<int>(graph.value(from.dense->x).columns);
    to.units = static_cast<int>(graph.value(from.dense->y).columns);
    to.stage_count = static_cast<int>(from.stages.size()) + (from.dense->activation == Activation::kLinear ? 0 : 1);
  }
  divide_layers(net);
  return net;
}

std::string describe(const PersistentPlan& plan) {
  if (plan.exchange == Exchange::kNone) return "one block";
  const std::string blocks = std::to_string(plan.blocks) + " blocks";
  return plan.exchange == Exchange::kCluster ? "a cluster of " + blocks : "a grid of " + blocks + " that wait";
}

/// Wider axes need more memory than any card has, and places would no longer fit into an int.
constexpr int64_t kWidest = 1 << 16;

}  // namespace

ExecutionChoice choose_execution(const persistent::Chain& chain, const graph::Graph& graph, const CardLimits& limits,
                                 int64_t max_rows, bool byte_rows, int64_t kernels) {
  if (max_rows > kMostRows) {
    return {std::nullopt, "batches of more than " + std::to_string(kMostRows) + " samples keep a whole card busy"};
  }
  for (const persistent::Chain::Layer& layer : chain.layers) {
    if (graph.value(layer.dense->x).columns > kWidest || graph.value(layer.dense->y).columns > kWidest) {
      return {std::nullopt, "its layers are too wide for shared memory"};
    }
  }
  const std::string requested = requested_execution();
  if (requested == "steps") return {std::nullopt, "ENGINE_CUDA_EXECUTION asks for that"};
  // Bytes that are scaled without an offset stay bytes.
  byte_rows = byte_rows && chain.input->offset == 0.0f;
  const Network net = network_of(chain, graph, max_rows, false);
  std::optional<PersistentPlan> best;
  for (const Candidate& candidate : all_candidates()) {
    if (!can_run(limits, candidate) || (!requested.empty() && name_of(candidate) != requested)) continue;
    for (const int batch_slots : {2, 1}) {
      PersistentPlan plan{candidate.exchange, candidate.blocks, 0.0, net};
      const int64_t floats =
          lay_out(plan.network, plan.blocks, byte_rows, batch_slots, candidate.exchange != Exchange::kGrid);
      if (floats * static_cast<int64_t>(sizeof(float)) > limits.shared_bytes) continue;
      plan.cycles = cycles_of(plan.network, plan.exchange);
      if (!best || plan.cycles < best->cycles) best = plan;
      break;
    }
  }
  if (!best && !requested.empty()) return {std::nullopt, "this card can't run it by " + requested};
  if (!best) return {std::nullopt, "weights, optimizer state and a batch don't fit in the shared memory of 16 blocks"};
  if (requested.empty() && best->cycles > kCyclesOfKernel * static_cast<double>(kernels)) {
    return {std::nullopt, "its layers are so wide that a kernel for each is faster"};
  }
  const bool is_rounded = std::any_of(chain.layers.begin(), chain.layers.end(),
                                      [](const auto& layer) { return layer.dense->precision != Precision::kFloat32; });
  return {best, "one kernel for many batches: " + describe(*best) + " with " +
                    std::to_string(best->network.floats * sizeof(float) / 1024) + " KiB of shared memory each" +
                    (is_rounded ? "; it multiplies in float32, more exactly than its layers ask" : "")};
}

}  // namespace engine::cuda
