#include <algorithm>

#include "cuda/chains/layout.h"
#include "graph/operations/activation.h"

namespace engine::cuda::chains {
namespace {

/// Sums over ranges of the inputs take no more than this.
constexpr int64_t kRangeSumFloats = 8 * 1024;
/// A range has at least so many quads, or its sums cost more than they save.
constexpr int kLeastQuadsOfRange = 4;

template <class T>
T up_to_multiple(T number, T of) {
  return (number + of - 1) / of * of;
}

/// From so many inputs on it is worth looking for those that are zero.
constexpr int kManyInputs = 128;

/// Bytes that are copied together. Rows of bytes are an odd number of these, so that they lie in different banks.
constexpr int64_t kChunk = 16;

/// Floats of a row in shared memory, so that what is read of neighbouring rows lies in different banks: an odd multiple
/// of the 8 that a matrix instruction takes of each row, or of the 4 that a lane reads of its own.
int leading_dimension(int64_t numbers, bool on_tensor_cores) {
  const int together = on_tensor_cores ? 2 * kQuad : kQuad;
  return static_cast<int>((numbers + together - 1) / together | 1) * together;
}

// ---- How layers are divided -----------------------------------------------------------------------------------------

void set_whole(DenseLayer& layer) {
  layer.split = Split::kNone;
  layer.width = layer.units;
  layer.slices = 1;
}
void set_slices(DenseLayer& layer, Split split) {
  layer.split = split;
  const int axis = split == Split::kInputs ? layer.inputs : layer.units;
  layer.width = up_to_multiple((axis + kMaxSlices - 1) / kMaxSlices, kQuad);
  layer.slices = (axis + layer.width - 1) / layer.width;
}

void divide_layers(Network& net, bool divides) {
  if (divides && net.layer_count == 1) return set_slices(net.layers[0], Split::kInputs);
  for (int l = 0; l < net.layer_count; ++l) {
    const bool is_first = l % 2 == 0;  // of a pair
    const bool is_alone = is_first && l + 1 == net.layer_count;
    if (!divides || is_alone) {
      set_whole(net.layers[l]);
    } else {
      set_slices(net.layers[l], is_first ? Split::kColumns : Split::kInputs);
    }
  }
}

void size_layer(DenseLayer& layer, const LayoutOptions& options, int max_rows) {
  layer.slices_of_block = (layer.slices + options.blocks - 1) / options.blocks;
  const int axis = layer.split == Split::kInputs ? layer.inputs : layer.units;
  const int own = std::min(axis, layer.slices_of_block * layer.width);
  layer.padded_inputs = up_to_multiple(layer.split == Split::kInputs ? own : layer.inputs, kQuad);
  const int units = layer.split == Split::kColumns ? own : layer.units;
  layer.padded_units = up_to_multiple(units, kColumns);
  layer.ld = leading_dimension(layer.padded_units, options.on_tensor_cores);
  const int groups = (max_rows + kWarp - 1) / kWarp, quads = layer.padded_inputs / kQuad;
  // Of a layer that blocks divide, the ranges must not depend on how many columns a block has.
  const int items = layer.split == Split::kNone ? groups * (layer.padded_units / kColumns) : groups;
  layer.input_ranges =
      std::max(1, std::min({quads / kLeastQuadsOfRange, kBlockWarps / items, options.most_input_ranges}));
  const int64_t together =
      kRangeSumFloats / (static_cast<int64_t>(layer.input_ranges) * max_rows) / kColumns * kColumns;
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

/// Where the numbers of a layer lie. The last stage's activation needs its own output alone for its gradient, often.
void place_layer(DenseLayer& layer, Places& places, int64_t rows, int64_t rows_of_memory, int slots) {
  const int64_t kernel = int64_t{layer.padded_units} / kColumns * (layer.padded_inputs / kQuad) * kQuadStride;
  layer.kernel_floats = static_cast<int>(std::min<int64_t>(kernel, INT32_MAX));
  layer.owned_at = places.add(sizeof(Owned) / sizeof(float));
  layer.kernel_at = places.add((1 + slots) * kernel);
  layer.bias_at = places.add((1 + slots) * int64_t{layer.padded_units});
  layer.out_at = places.add(rows * layer.ld);
  layer.gradient_at = places.add(rows_of_memory * layer.ld);
  for (int s = 0; s < layer.stage_count; ++s) {
    Stage& stage = layer.stages[s];
    const bool is_output = s + 1 == layer.stage_count && !stage.is_dropout && !saves_input(stage.activation);
    stage.saved_at = is_output ? layer.out_at : places.add(rows * layer.ld);
  }
}

}  // namespace

int64_t lay_out(Network& net, const LayoutOptions& options) {
  const int64_t rows = net.max_rows, rows_of_memory = up_to_multiple<int64_t>(rows, kRowsTogether);
  net.rows_of_memory = static_cast<int>(rows_of_memory);
  net.rows_of_block_log = 0;
  while (int64_t{options.blocks} << net.rows_of_block_log < rows) ++net.rows_of_block_log;
  divide_layers(net, options.divides_layers);
  Places places;
  int64_t sums = rows * net.layers[net.layer_count - 1].units;  // the probabilities of a metric
  int64_t exchanged = 0, gathered = 0;
  for (int l = 0; l < net.layer_count; ++l) {
    DenseLayer& layer = net.layers[l];
    size_layer(layer, options, net.max_rows);
    place_layer(layer, places, rows, rows_of_memory, options.slots_of_weight);
    const bool is_last = l + 1 == net.layer_count;
    const int64_t slices = options.exchanges_in_shared ? layer.slices_of_block : layer.slices;
    if (layer.split == Split::kInputs) {
      exchanged = std::max(exchanged, slices * rows * layer.padded_units);
      if (!is_last) gathered = std::max(gathered, rows * layer.padded_units);
    } else {
      if (!layer.sums_in_output()) sums = std::max(sums, layer.input_ranges * rows * layer.columns_together);
      if (layer.split == Split::kColumns && l > 0) {
        exchanged = std::max(exchanged, slices * rows * layer.padded_inputs);
        gathered = std::max(gathered, rows * layer.padded_inputs);
      }
    }
  }
  const DenseLayer &first = net.layers[0], &last = net.layers[net.layer_count - 1];
  net.ld_x = options.keeps_bytes ? static_cast<int>(((first.padded_inputs + kChunk - 1) / kChunk | 1) * kChunk)
                                 : leading_dimension(first.padded_inputs, options.on_tensor_cores);
  net.range_sums_at = places.add(sums);
  net.exchange_floats = static_cast<int>(up_to_multiple<int64_t>(exchanged, kQuad));
  net.exchange_at = places.add(options.exchanges_in_shared ? net.exchange_floats : 0);
  net.gathered_at = places.add(gathered);
  net.probabilities_at = places.add(rows * last.units);
  net.announced_at = places.add(2 * sizeof(Batch) / sizeof(float));
  net.row_indices_at = places.add(2 * rows);
  net.sums_at = places.add(2 * kRowsAtOnce * (1 + 2 * int64_t{net.metric_count}));
  net.penalties_at = places.add(2 * kBlockWarps);
  net.divisor_at = places.add(2);
  net.live_at = places.add(2);
  net.live_of_warp_at = places.add(kBlockWarps);
  const int64_t begin = places.floats();
  net.places.batch_at = places.add(sizeof(Batch) / sizeof(float));
  net.places.labels_at = places.add(rows);
  net.places.dense_at = places.add(net.targets.sparse ? 0 : rows * last.units);
  net.places.weights_at = places.add(rows);
  net.places.quads_at = places.add((first.padded_inputs / kQuad + 1) / 2);
  net.places.x_at = places.add(options.keeps_bytes ? rows_of_memory * net.ld_x / kQuad : rows * net.ld_x);
  net.keeps_bytes = options.keeps_bytes;
  net.floats_on_tensor_cores = options.on_tensor_cores;
  net.skips_zeros = first.inputs >= kManyInputs;
  net.batch_buffers = options.batch_buffers;
  const int64_t of_batch = places.floats() - begin;
  net.floats_of_batch = static_cast<int>(std::min<int64_t>(of_batch, INT32_MAX));
  const int64_t all = begin + options.batch_buffers * of_batch;
  net.floats = static_cast<int>(std::min<int64_t>(all, INT32_MAX));
  return all * static_cast<int64_t>(sizeof(float));
}

Network network_of(const Chain& chain, const graph::Graph& graph, int64_t max_rows) {
  Network net = {};
  net.max_rows = static_cast<int>(max_rows);
  net.layer_count = static_cast<int>(chain.layers.size());
  net.metric_count = static_cast<int>(chain.metrics.size());
  int64_t weights = 0;  // of networks that fit nowhere, too
  for (int l = 0; l < net.layer_count; ++l) {
    const Chain::Layer& from = chain.layers[static_cast<size_t>(l)];
    DenseLayer& to = net.layers[l];
    to.inputs = static_cast<int>(graph.value(from.dense->x).columns);
    to.units = static_cast<int>(graph.value(from.dense->y).columns);
    to.first_weight = static_cast<int>(std::min<int64_t>(weights, INT32_MAX));
    weights += int64_t{to.inputs} * to.units + (from.dense->bias == graph::kNoValue ? 0 : to.units);
    if (from.dense->activation != Activation::kLinear) to.stages[to.stage_count++].activation = from.dense->activation;
    for (const graph::Operation* stage : from.stages) {
      const auto* const activation = dynamic_cast<const graph::ElementwiseActivation*>(stage);
      Stage& own = to.stages[to.stage_count++];
      own.is_dropout = !activation;
      if (activation) own.activation = activation->activation;
    }
  }
  net.weights = static_cast<int>(std::min<int64_t>(weights, INT32_MAX));
  return net;
}

}  // namespace engine::cuda::chains
