#include "cpu/kernel_choice.h"

#include <algorithm>
#include <limits>

#include "cpu/thread_pool.h"
#include "cpu/thresholds.h"
#include "graph/operations/contraction.h"
#include "graph/operations/embedding.h"
#include "graph/operations/map.h"
#include "graph/operations/reduction.h"
#include "kernels/packed_blocks.h"
#include "runtime/batch_sizes.h"

namespace engine::cpu {
namespace {

double numbers_of(const graph::Shape& shape, int64_t rows) {
  return static_cast<double>(graph::element_count(shape, rows));
}

/// Floating-point operations of a batch in products of arrays, in maps and reductions, and in steps of whole tables,
/// gradients included.
double flops_beside_dense(const graph::Graph& graph, int64_t rows) {
  double flops = 0.0;
  for (const auto& operation : graph.operations()) {
    if (const auto* map = dynamic_cast<const graph::Map*>(operation.get())) {
      flops +=
          kFlopsPerInstruction * numbers_of(map->y().shape, rows) * static_cast<double>(map->code.instructions.size());
    } else if (const auto* reduction = dynamic_cast<const graph::Reduce*>(operation.get())) {
      flops += kFlopsPerReduced * numbers_of(reduction->x.shape, rows);
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

int threads_for_batch(const graph::Graph& graph, int64_t rows, int most) {
  // The backward pass computes two more products of the same size for every forward product.
  const double flops_per_weight = 2.0 * static_cast<double>(rows) * (graph.differentiates ? 3.0 : 1.0) +
                                  (graph.stepped.empty() ? 0.0 : kFlopsPerUpdate);
  // In double: it may be more than an integer holds.
  const double flops = flops_per_weight * graph.multiply_adds + flops_beside_dense(graph, rows);
  return static_cast<int>(std::clamp(flops / kFlopsPerThread, 1.0, static_cast<double>(most)));
}

int threads_for_product(double multiply_adds) {
  return static_cast<int>(std::clamp(multiply_adds / kMultiplyAddsPerThread, 1.0, static_cast<double>(kMaxThreads)));
}

int threads_for_reading(const DatasetView& data, int most) {
  return static_cast<int>(std::clamp<int64_t>(data.rows * data.stride / kValuesPerThread, 1, most));
}

PredictionTeams divide_prediction(const graph::Graph& graph, int64_t rows, int threads) {
  threads = threads_for_batch(graph, rows, threads);
  if (predicts_in_one_batch(graph)) return {1, threads, round_to_power(rows)};
  if (graph.has_host_operations) return {1, threads, std::min(round_to_power(rows), kPredictedRowsWithHost)};
  if (threads > 1 && !feeds_all(rows, threads)) return {1, threads, round_to_power(rows)};
  const int64_t share = divide_up(rows, threads);
  return {threads, 1, std::min(round_to_power(share), kPredictedRows)};
}

bool feeds_all(int64_t extent, int threads) { return divide_up(extent, kLineFloats) >= threads; }

Split split_dense(const graph::Graph& graph, int64_t max_rows, int64_t units, int threads) {
  if (threads == 1) return Split::over(kSamples);
  const bool by_unit = graph.differentiates ? feeds_all(units, threads) : !feeds_all(max_rows, threads);
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

bool pays_to_find_zeros(int64_t units) { return units >= kUnitsPerSearch; }

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

}  // namespace engine::cpu
