#include "cpu/kernel_choice.h"

#include <algorithm>
#include <limits>

#include "graph/operations/contraction.h"
#include "graph/operations/embedding.h"
#include "graph/operations/map.h"
#include "kernels/packed_blocks.h"
#include "runtime/batch_sizes.h"

namespace engine {
namespace {

/// Floating-point operations that make one more thread worthwhile: at 200 GFLOP/s a thread's share then takes 3 us,
/// against about 1 us for the three barriers of a batch and the uneven ends of the shares.
constexpr double kFlopsPerThread = 600e3;

/// Floating-point operations that take as long as the optimizer's step of one weight: 0.25 ns with Adam, where weight
/// and state come from the L2 cache.
constexpr double kFlopsPerUpdate = 50.0;

/// Floating-point operations that take as long as an instruction of a map for one number: 0.25 ns.
constexpr double kFlopsPerInstruction = 50.0;

/// Units that a thread must compute from its own copy of the input rows, so that gathering all of them takes a few
/// percent of the time of its products.
constexpr int64_t kUnitsPerCopy = 32;

/// Rows times threads up to which it is faster if every thread computes the loss of all rows (20 ns each) than if
/// gradients travel from core to core, with one more barrier.
constexpr int64_t kMaxLossRows = 512;

/// Floats in all the copies of one value: 4 MiB. Larger ones do not stay in the caches anyway.
constexpr int64_t kMaxSeparated = 1 << 20;

/// Floats in all the copies of the rows of a batch: 64 MiB.
constexpr int64_t kMaxCopied = 1 << 24;

/// Rows that one thread predicts at a time: enough to use each weight that has been fetched often, few enough for the
/// rows (128 of 784 floats: 400 KB) to stay in the L2 cache for the next layer.
constexpr int64_t kPredictedRows = 128;

/// The same if the caller computes a part of each batch.
constexpr int64_t kPredictedRowsWithHost = 1024;

/// Rows of a batch, inputs and units from which on kPackedBlocks is faster than kPanels. Kernels so wide have panels of
/// kPanel columns, as packing needs.
constexpr int64_t kPackedRows = 128, kPackedSide = 256;
/// Columns that each thread must have, to use each packed row of the left operand often enough.
constexpr int64_t kPackedColumns = 64;

double numbers_of(const graph::Shape& shape, int64_t rows) {
  return static_cast<double>(graph::element_count(shape, rows));
}

/// Floating-point operations of a batch in products of arrays, in maps and in steps of whole tables, gradients
/// included.
double flops_beside_dense(const graph::Graph& graph, int64_t rows) {
  double flops = 0.0;
  for (const auto& operation : graph.operations()) {
    if (const auto* map = dynamic_cast<const graph::Map*>(operation.get())) {
      flops +=
          kFlopsPerInstruction * numbers_of(map->y().shape, rows) * static_cast<double>(map->code.instructions.size());
    } else if (const auto* product = dynamic_cast<const graph::Contraction*>(operation.get())) {
      double terms = 1.0;
      for (size_t i = 0; i < product->a_letters.size(); ++i) {
        const bool summed = product->y_letters.find(product->a_letters[i]) == std::string::npos;
        terms *= summed ? static_cast<double>(product->a.shape[i].at(rows)) : 1.0;
      }
      flops += 2.0 * numbers_of(product->y.shape, rows) * terms;
    } else if (const auto* embedding = dynamic_cast<const graph::EmbedGradient*>(operation.get())) {
      const Variable& table = graph.variables()[graph.value(embedding->table).variable];
      const double numbers = static_cast<double>(table.rows) * static_cast<double>(table.columns);
      flops += embedding->steps ? 0.0 : kFlopsPerUpdate * numbers;
    }
  }
  return flops;
}

}  // namespace

int worthwhile_threads(const graph::Graph& graph, int64_t rows, int most) {
  const bool trains = graph::may_differentiate(graph.mode());
  // A training computes two more products of the same size for every forward product, and steps the weights.
  const double flops_per_weight =
      2.0 * static_cast<double>(rows) * (trains ? 3.0 : 1.0) + (trains ? kFlopsPerUpdate : 0.0);
  // In double: it may be more than an integer holds.
  const double flops = flops_per_weight * graph.multiply_adds + flops_beside_dense(graph, rows);
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(most)));
}

PredictionTeams divide_prediction(const graph::Graph& graph, int64_t rows, int threads) {
  threads = worthwhile_threads(graph, rows, threads);
  if (predicts_in_one_batch(graph)) return {1, threads, round_to_power(rows)};
  if (graph.has_host_operations) return {1, threads, std::min(round_to_power(rows), kPredictedRowsWithHost)};
  if (threads > 1 && !feeds_all(rows, threads)) return {1, threads, round_to_power(rows)};
  const int64_t share = divide_up(rows, threads);
  return {threads, 1, std::min(round_to_power(share), kPredictedRows)};
}

bool feeds_all(int64_t extent, int threads) { return divide_up(extent, kLineFloats) >= threads; }

Split split_dense(graph::Mode mode, int64_t max_rows, int64_t units, int threads) {
  if (threads == 1) return Split::over(kSamples);
  const bool by_unit = graph::may_differentiate(mode) ? feeds_all(units, threads) : !feeds_all(max_rows, threads);
  return by_unit ? Split::over('n') : Split::over(kSamples);
}

Split split_weights(const Variable& variable, int threads) {
  if (feeds_all(variable.columns, threads)) return Split::over('n');
  return variable.rows > 1 ? Split::over('k') : Split::one_thread();
}

bool pays_to_copy_rows(int64_t rows, int64_t inputs, int64_t units, int threads) {
  return units >= kUnitsPerCopy * threads && threads * rows * leading_dimension(inputs) <= kMaxCopied;
}

bool pays_to_separate(int64_t floats, int threads) { return threads * floats <= kMaxSeparated; }

bool pays_to_sum_partials(int64_t inputs, int64_t units, int threads) {
  return threads > 1 && sums_in_slices(units) && feeds_all(inputs, threads) && inputs <= kMaxSlices * kSlice;
}

bool pays_to_repeat_loss(int64_t rows, int threads) { return rows * threads <= kMaxLossRows; }

bool pays_to_find_zeros(int64_t units) { return units >= kUnitsPerCopy; }

namespace {

bool pays_to_pack(int64_t rows, int64_t inputs, int64_t units, int threads) {
  const int64_t least = std::max(kPackedSide, kPackedColumns * threads);
  return rows >= kPackedRows && inputs >= least && units >= least;
}

}  // namespace

DenseKernel choose_dense(int64_t rows, int64_t inputs, int64_t units, int threads, bool compressed) {
  if (compressed) return DenseKernel::kCompressedRows;
  return pays_to_pack(rows, inputs, units, threads) ? DenseKernel::kPackedBlocks : DenseKernel::kPanels;
}

InputGradientKernel choose_input_gradient(int64_t rows, int64_t inputs, int64_t units, int threads) {
  if (pays_to_pack(rows, inputs, units, threads)) return InputGradientKernel::kPackedBlocks;
  return transposes_kernel(rows, units) ? InputGradientKernel::kTransposedKernel
                                        : InputGradientKernel::kTransposedGradient;
}

}  // namespace engine
