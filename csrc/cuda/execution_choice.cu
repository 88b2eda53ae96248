#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/chains/layout.h"
#include "cuda/execution_choice.h"

namespace engine::cuda {
namespace {

using chains::DenseLayer;
using chains::kMaxSlices;
using chains::LayoutOptions;
using chains::Network;
using chains::Split;

/// The persistent kernel keeps at most 16 multiprocessors busy. Larger batches have work for more.
constexpr int64_t kMaxRowsOfPersistent = 256;
/// Samples of a micro-batch at most: what is computed for them has to fit into shared memory beside the weights.
constexpr int kRowsOfMicroBatch[] = {128, 64, 32};
/// Smaller micro-batches are taken until they give work to so many blocks, which large cards run at the same time. It
/// is not the number of this card, so that the bits of teams of a size do not depend on it. Small cards lose some time
/// by that.
constexpr int kBlocksOfLargeCard = 128;
/// The gradients that teams leave take no more than this, so that they stay in the cache of a large card.
constexpr int64_t kGradientFloats = 4 << 20;
constexpr int kMaxTeams = 128;

// ---- What a batch costs ---------------------------------------------------------------------------------------------

// Cycles, as bench/GPU.md derives them from instruction counts and latencies; none was measured on this kernel.
constexpr double kTensorProductsPerCycle = 110.0;  // of floats: most issue slots split and load them
constexpr double kFmaProductsPerCycle = 75.0;      // of 128: the other issue slots load operands
constexpr double kByteProductsPerCycle = 160.0;    // on fast tensor cores: most issue slots convert bytes
constexpr double kSlowByteProductsPerCycle = 75.0;
constexpr double kStepsPerCycle = 4.4;  // weights that are stepped
// Weights and their gradients, by a block; and gradients of teams that are added, by each multiprocessor.
constexpr double kLoadedPerCycle = 3.0, kStoredPerCycle = 4.0, kSummedPerCycle = 12.0;
constexpr double kClusterBarrier = 350.0, kGridBarrier = 1800.0, kNoBarrier = 40.0;
// Floats that a block reads of others, in their shared memory and in that of the card.
constexpr double kSharedPerCycle = 3.5, kExchangedPerCycle = 16.0;
constexpr double kFixed = 2000.0;  // loss, waiting for the next batch, barriers of the block
constexpr double kFixedOfLayer = 400.0;
constexpr double kCyclesOfKernel = 4000.0;  // from the start of a small kernel to that of the next one

/// Of the exchange of a layer's partial sums, for so many columns.
double cycles_of_exchange(const Network& net, TeamKind team, int slices, int columns) {
  const double sums = static_cast<double>(net.max_rows) * columns;
  switch (team) {
    case TeamKind::kOneBlock:
      return kNoBarrier + slices * sums / kFmaProductsPerCycle;
    case TeamKind::kGrid:
      return kGridBarrier + slices * sums / kExchangedPerCycle;
    case TeamKind::kCluster:
      break;
  }
  // A block adds the partial sums of its rows, and reads the sums of all others.
  const double own_rows = static_cast<double>(1 << net.rows_of_block_log) / net.max_rows;
  return 2.0 * kClusterBarrier + (slices * own_rows + 1.0) * sums / kSharedPerCycle;
}

/// Of products with the weights, and of exchanges, for all samples of the network's batches.
double cycles_of_products(const Network& net, TeamKind team) {
  const double rows = (net.max_rows + kWarp - 1) / kWarp * kWarp;
  const bool is_fast = net.floats_on_tensor_cores;
  const double of_floats = is_fast ? kTensorProductsPerCycle : kFmaProductsPerCycle;
  const double of_bytes = is_fast ? kByteProductsPerCycle : kSlowByteProductsPerCycle;
  double cycles = 0.0;
  for (int l = 0; l < net.layer_count; ++l) {
    const DenseLayer& layer = net.layers[l];
    const double weights = static_cast<double>(layer.padded_inputs) * layer.padded_units;
    const double rate = l == 0 && net.keeps_bytes ? of_bytes : of_floats;
    cycles += kFixedOfLayer + weights * rows * (l > 0 ? 3.0 : 2.0) / rate;
    if (layer.split == Split::kInputs) cycles += cycles_of_exchange(net, team, layer.slices, layer.units);
    if (layer.split == Split::kColumns && l > 0) {
      cycles += cycles_of_exchange(net, team, layer.slices, layer.inputs);
    }
  }
  return cycles;
}

double weights_of_block(const Network& net) {
  double weights = 0.0;
  for (int l = 0; l < net.layer_count; ++l) {
    weights += static_cast<double>(net.layers[l].padded_inputs) * net.layers[l].padded_units;
  }
  return weights;
}

double cycles_of_persistent(const Network& net, TeamKind team) {
  return kFixed + cycles_of_products(net, team) + weights_of_block(net) / kStepsPerCycle;
}

/// Blocks or clusters that run at the same time.
int teams_at_once(const CardLimits& limits, int blocks) {
  if (blocks == 1) return limits.multiprocessors;
  size_t i = 0;
  while (2 << i < blocks) ++i;
  return limits.clusters[i];
}

double cycles_of_data_parallel(const ChainPlan& plan, const CardLimits& limits, int64_t samples) {
  const chains::SampleDivision division = plan.divide(samples);
  const auto micro_batches = static_cast<double>(division.samples_of_team / plan.network.max_rows);
  const int64_t teams = division.teams, at_once = teams_at_once(limits, plan.blocks);
  const double weights = weights_of_block(plan.network);
  const double of_micro_batch = kFixed + cycles_of_products(plan.network, plan.team) + weights / kStoredPerCycle;
  const auto turns = static_cast<double>((teams + at_once - 1) / at_once);
  const double sums = static_cast<double>(teams) * plan.network.weights;
  return 2.0 * kCyclesOfKernel + turns * (weights / kLoadedPerCycle + micro_batches * of_micro_batch) +
         sums / (kSummedPerCycle * limits.multiprocessors);
}

/// Multiply-adds of a multiprocessor, step by step, in a product that has so many. Large ones are left to a library.
double products_per_cycle(Precision precision, double products) {
  constexpr double kLarge = 1 << 27;
  const double gain = products < kLarge ? 1.0 : 1.6;
  switch (precision) {
    case Precision::kFloat32:
      return gain * 60.0;
    case Precision::kTensorFloat32:
      return gain * 240.0;
    case Precision::kBfloat16:
    case Precision::kFloat16:
      break;
  }
  return gain * 480.0;
}

double cycles_of_steps(const chains::Chain& chain, const Network& net, const CardLimits& limits, int64_t samples,
                       int64_t kernels) {
  double cycles = kCyclesOfKernel * static_cast<double>(kernels);
  for (int l = 0; l < net.layer_count; ++l) {
    const double products =
        static_cast<double>(net.layers[l].inputs) * net.layers[l].units * static_cast<double>(samples);
    const Precision precision = chain.layers[static_cast<size_t>(l)].dense->precision;
    cycles += 3.0 * products / (products_per_cycle(precision, products) * limits.multiprocessors);
  }
  return cycles;
}

// ---- The choice -----------------------------------------------------------------------------------------------------

/// A team of so many blocks, one for many batches or many for each batch.
struct Candidate {
  Way way;
  TeamKind team;
  int blocks;
};

std::string name_of(const Candidate& candidate) {
  const std::string blocks = ":" + std::to_string(candidate.blocks);
  if (candidate.way == Way::kDataParallel) return "teams" + blocks;
  if (candidate.team == TeamKind::kOneBlock) return "block";
  return (candidate.team == TeamKind::kCluster ? "cluster" : "grid") + blocks;
}

/// All that any card can run.
std::vector<Candidate> all_candidates() {
  std::vector<Candidate> all{{Way::kPersistent, TeamKind::kOneBlock, 1}, {Way::kDataParallel, TeamKind::kOneBlock, 1}};
  for (int blocks = 2; blocks <= kMaxSlices; blocks *= 2) {
    all.push_back({Way::kPersistent, TeamKind::kCluster, blocks});
    all.push_back({Way::kPersistent, TeamKind::kGrid, blocks});
    all.push_back({Way::kDataParallel, TeamKind::kCluster, blocks});
  }
  return all;
}

bool can_run(const CardLimits& limits, const Candidate& candidate) {
  if (candidate.team == TeamKind::kCluster) return teams_at_once(limits, candidate.blocks) > 0;
  return candidate.team == TeamKind::kOneBlock || (candidate.blocks <= limits.multiprocessors && limits.grids_can_wait);
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
      "ENGINE_CUDA_EXECUTION must be 'steps', 'block', 'cluster:N', 'grid:N' or 'teams:N', where N is 2, 4, 8 or 16, "
      "or "
      "for teams 1; got '" +
      way + "'");
}

/// Keeps `plan` in `best` if the card has memory for it, and it is quicker.
class BestPlan {
 public:
  explicit BestPlan(const CardLimits& limits) : limits_(limits) {}
  /// Returns false where a block has too little memory.
  template <class Cycles>
  bool offer(ChainPlan plan, LayoutOptions options, Cycles&& cycles) {
    options.on_tensor_cores = limits_.fast_tensor_cores;
    if (chains::lay_out(plan.network, options) > limits_.shared_bytes) return false;
    plan.cycles = cycles(plan);
    if (!best || plan.cycles < best->cycles) best = plan;
    return true;
  }

  std::optional<ChainPlan> best;

 private:
  const CardLimits& limits_;
};

void offer_persistent(BestPlan& plans, const Candidate& candidate, const Network& net, bool byte_rows) {
  for (const int batch_buffers : {2, 1}) {
    LayoutOptions options;
    options.blocks = candidate.blocks;
    options.exchanges_in_shared = candidate.team != TeamKind::kGrid;
    options.keeps_bytes = byte_rows;
    options.batch_buffers = batch_buffers;
    options.slots_of_weight = chains::kSlotsOfWeight;
    const ChainPlan plan{Way::kPersistent, candidate.team, candidate.blocks, 1, 0.0, net};
    const auto cycles = [](const ChainPlan& laid_out) { return cycles_of_persistent(laid_out.network, laid_out.team); };
    if (plans.offer(plan, options, cycles)) return;
  }
}

void offer_data_parallel(BestPlan& plans, const Candidate& candidate, const Network& net, const CardLimits& limits,
                         int64_t max_rows, bool byte_rows) {
  int most_teams = kMaxTeams;
  while (most_teams > 1 && int64_t{most_teams} * net.weights > kGradientFloats) most_teams /= 2;
  for (const int rows : kRowsOfMicroBatch) {
    const int64_t micro_batches = (max_rows + rows - 1) / rows;
    const bool is_smallest = rows == std::end(kRowsOfMicroBatch)[-1];
    if (!is_smallest && micro_batches * candidate.blocks < kBlocksOfLargeCard) continue;
    ChainPlan plan{Way::kDataParallel, candidate.team, candidate.blocks, 1, 0.0, net};
    plan.network.max_rows = rows;
    plan.most_teams = static_cast<int>(std::min<int64_t>(micro_batches, most_teams));
    for (const int most_input_ranges : {chains::kBlockWarps, 1}) {
      for (const int batch_buffers : {2, 1}) {
        if (batch_buffers == 2 && micro_batches <= plan.most_teams) continue;  // there is no next one to bring
        LayoutOptions options;
        options.blocks = candidate.blocks;
        options.divides_layers = candidate.blocks > 1;
        options.keeps_bytes = byte_rows;
        options.batch_buffers = batch_buffers;
        options.most_input_ranges = most_input_ranges;
        const auto cycles = [&](const ChainPlan& laid_out) {
          return cycles_of_data_parallel(laid_out, limits, max_rows);
        };
        if (plans.offer(plan, options, cycles)) return;
      }
    }
  }
}

std::string describe(const ChainPlan& plan) {
  const std::string cluster = "cluster of " + std::to_string(plan.blocks) + " blocks";
  const std::string memory =
      " with " + std::to_string(plan.network.floats * sizeof(float) / 1024) + " KiB of shared memory for each block";
  if (plan.way == Way::kDataParallel) {
    const std::string clusters = "clusters of " + std::to_string(plan.blocks) + " blocks";
    const std::string name = plan.blocks == 1 ? "blocks" : clusters;
    const std::string teams = plan.most_teams == 1
                                  ? (plan.blocks == 1 ? "a block" : "a " + cluster) + " takes"
                                  : "up to " + std::to_string(plan.most_teams) + " " + name + " divide";
    return "two kernels for each batch: " + teams + " its samples, " + std::to_string(plan.network.max_rows) +
           " at a time," + memory;
  }
  const std::string team = plan.team == TeamKind::kOneBlock ? "one block"
                           : plan.team == TeamKind::kCluster
                               ? "a " + cluster
                               : "a grid of " + std::to_string(plan.blocks) + " blocks that wait for each other";
  return "one kernel for many batches: " + team + memory;
}

/// Wider axes need more memory than any card has, and places would no longer fit into an int.
constexpr int64_t kWidest = 1 << 16;

}  // namespace

ExecutionChoice choose_execution(const chains::Chain& chain, const graph::Graph& graph, const CardLimits& limits,
                                 int64_t max_rows, bool byte_rows, int64_t kernels) {
  for (const chains::Chain::Layer& layer : chain.layers) {
    if (graph.value(layer.dense->x).columns > kWidest || graph.value(layer.dense->y).columns > kWidest) {
      return {std::nullopt, "its layers are too wide for shared memory"};
    }
  }
  const std::string requested = requested_execution();
  if (requested == "steps") return {std::nullopt, "ENGINE_CUDA_EXECUTION asks for that"};
  // Bytes that are scaled without an offset stay bytes.
  byte_rows = byte_rows && chain.input->offset == 0.0f;
  const Network net = chains::network_of(chain, graph, std::min(max_rows, kMaxRowsOfPersistent));
  BestPlan plans(limits);
  for (const Candidate& candidate : all_candidates()) {
    if (!can_run(limits, candidate) || (!requested.empty() && name_of(candidate) != requested)) continue;
    if (candidate.way == Way::kDataParallel) {
      offer_data_parallel(plans, candidate, net, limits, max_rows, byte_rows);
    } else if (max_rows <= kMaxRowsOfPersistent) {
      offer_persistent(plans, candidate, net, byte_rows);
    }
  }
  const std::optional<ChainPlan>& best = plans.best;
  if (!best && !requested.empty()) {
    return {std::nullopt,
            "this card can't run batches of up to " + std::to_string(max_rows) + " samples by " + requested};
  }
  if (!best)
    return {std::nullopt, "its weights and what is computed don't fit in the shared memory of blocks of this card"};
  if (requested.empty() && best->cycles > cycles_of_steps(chain, net, limits, max_rows, kernels)) {
    return {std::nullopt, "its layers are so wide that a kernel for each is faster"};
  }
  const bool is_rounded = std::any_of(chain.layers.begin(), chain.layers.end(),
                                      [](const auto& layer) { return layer.dense->precision != Precision::kFloat32; });
  return {best, describe(*best) + (is_rounded ? "; products are in float32, more exactly than its layers ask" : "")};
}

}  // namespace engine::cuda
