// The persistent kernel: one launch trains on many batches. Weights and optimizer state come into the shared memory of
// the blocks at the beginning, and go back at the end. `Trainer::run`, at the end of this file, is a batch from its
// rows to new weights; the functions before it are its phases, in their order. All threads of a block call each of
// them; between two phases lies a barrier of the block.
#pragma once
#include "cuda/persistent/network.h"
#include "cuda/persistent/quick_float.h"
#include "cuda/persistent/team.h"
#include "cuda/persistent/warp_products.h"
#include "cuda/steps.h"
#include "formulas/random.h"

namespace engine::cuda::persistent {

/// Calls f(i) for each i below n, by all threads of the block.
template <class F>
__device__ inline void for_each_of_block(int n, F&& f) {
  ENGINE_UNROLL(1)
  for (int i = thread(); i < n; i += kBlockThreads) f(i);
}

__device__ inline void spread(const float4& four, float (&each)[kQuad]) {
  each[0] = four.x, each[1] = four.y, each[2] = four.z, each[3] = four.w;
}

/// The random word that decides whether dropout keeps an element.
__device__ __noinline__ uint32_t dropout_word(uint64_t seed, const Batch& batch, int b, int column) {
  return formulas::random_word(seed, static_cast<uint64_t>(batch.draw), static_cast<uint32_t>(batch.first_draw + b),
                               column);
}

__device__ __noinline__ float activate(const Stage& stage, float z) {
  return forward(stage.activation, z, stage.parameters);
}
__device__ __noinline__ float activate_backward(const Stage& stage, float dy, float saved) {
  return backward(stage.activation, dy, saved, stage.parameters);
}

/// So many threads compute the loss of a row: the rows of a batch of 32 are computed at once.
inline constexpr int kThreadsOfRow = kWarp / 2;

__device__ __noinline__ float row_loss(Loss loss, LossRow<kThreadsOfRow>& row, const TargetRow& target) {
  return loss_of_row(loss, row, target);
}

/// What the step of each weight of a kernel or a bias needs beside its gradient.
struct StepOfLayer {
  QuickFloat l2_slope, decay;
  __device__ StepOfLayer(const Weights& weights, double rate)
      : l2_slope{weights.l2_slope}, decay{static_cast<float>(rate * weights.decay)} {}
};

template <class Team>
__device__ __noinline__ void prepare_batches(const Network& network, Team team, const Batch* batches, int64_t counted,
                                             int64_t next, int64_t count);

template <class Team>
struct Trainer {
  const Network& net;
  float* const shared;
  Team team;
  int turn = 0;                // of the exchange's two buffers
  double penalty_share = 0.0;  // of this thread, in the penalties of all batches

  // ---- Where things are ---------------------------------------------------------------------------------------------

  __device__ Part part(const DenseLayer& layer) const { return part_of(layer, team.rank()); }
  __device__ float* place(int slot, int at) const { return shared + slot * net.floats_of_batch + at; }
  __device__ Batch& batch_in(int slot) const { return *reinterpret_cast<Batch*>(place(slot, net.places.batch_at)); }
  __device__ uint16_t* order_in(int slot) const {
    return reinterpret_cast<uint16_t*>(place(slot, net.places.quads_at));
  }
  __device__ int* live_in(int slot) const { return reinterpret_cast<int*>(shared + net.live_at) + slot; }
  __device__ const DenseLayer& last() const { return net.layers[net.layer_count - 1]; }
  /// Of the blocks that compute the same: which one adds to the totals.
  __device__ bool counts() const { return team.rank() == team.blocks() - 1; }

  /// The targets of the batch in a slot, by row of the batch.
  __device__ Targets targets_in(int slot) const {
    Targets own = net.targets;
    own.view.labels = reinterpret_cast<const int32_t*>(place(slot, net.places.labels_at));
    own.view.dense = place(slot, net.places.dense_at);
    own.view.sample_weight = place(slot, net.places.weights_at);
    return own;
  }
  __device__ RowWeights weights_in(int slot, const RowWeights& asked) const {
    RowWeights own = asked;
    if (own.sample_weight) own.sample_weight = place(slot, net.places.weights_at);
    return own;
  }

  /// Calls f(inputs, order of their quads) with the inputs of a layer.
  template <class F>
  __device__ __forceinline__ void with_inputs(int l, int slot, F&& f) const {
    const int quads = quads_of(part(net.layers[l]).inputs);
    const bool is_first = l == 0;
    const QuadOrder order{is_first ? order_in(slot) : nullptr, is_first ? *live_in(slot) : quads, quads};
    float* const x = place(slot, net.places.x_at);
    if (is_first && net.keeps_bytes) {
      f(ByteRows{reinterpret_cast<const uint8_t*>(x), net.ld_x, net.scale}, order);
      return;
    }
    const DenseLayer& below = net.layers[is_first ? 0 : l - 1];
    f(FloatRows{is_first ? x : shared + below.out_at, is_first ? net.ld_x : below.ld_out}, order);
  }

  // ---- Weights between memory of the card and shared memory ---------------------------------------------------------

  /// Calls f(place in shared memory, the number in memory of the card) for the weights of a layer and their slots.
  /// `all` says whether also for those that the first block answers for.
  template <class F>
  __device__ void for_weights(const DenseLayer& layer, bool all, F&& f) const {
    const Part own = part(layer);
    const bool kernel = all || layer.split != Split::kNone || team.rank() == 0;
    const bool bias = layer.has_bias && (all || layer.split == Split::kColumns || team.rank() == 0);
    for (int s = -1; s < kSlotsOfWeight; ++s) {
      float* const kernel_on_card = s < 0 ? layer.kernel.values : layer.kernel.slots[s];
      float* const bias_on_card = s < 0 ? layer.bias.values : layer.bias.slots[s];
      if (kernel && kernel_on_card) {
        for_each_of_block(own.inputs * own.units, [&](int i) {
          const int k = i / own.units, n = i % own.units;
          f(shared[place_of_quad(layer, n, k / kQuad) + k % kQuad + (s + 1) * layer.kernel_floats],
            kernel_on_card[static_cast<int64_t>(own.first_input + k) * layer.units + own.first_unit + n]);
        });
      }
      if (bias && bias_on_card) {
        for_each_of_block(own.units, [&](int n) {
          f(shared[layer.bias_at + (s + 1) * layer.own_units + n], bias_on_card[own.first_unit + n]);
        });
      }
    }
  }

  __device__ void load_weights() const {
    for (int l = 0; l < net.layer_count; ++l) {
      for_weights(net.layers[l], true, [](float& here, float& on_card) { here = on_card; });
    }
  }
  __device__ void store_weights() const {
    for (int l = 0; l < net.layer_count; ++l) {
      for_weights(net.layers[l], false, [](float& here, float& on_card) { on_card = here; });
    }
  }

  // ---- A batch comes into shared memory -----------------------------------------------------------------------------

  __device__ float element(int64_t at) const {
    switch (net.type) {
      case RowType::kUint8:
        return static_cast<float>(static_cast<const uint8_t*>(net.rows)[at]);
      case RowType::kFloat32:
        return static_cast<const float*>(net.rows)[at];
      case RowType::kFloat64:
        break;
    }
    return static_cast<float>(static_cast<const double*>(net.rows)[at]);
  }

  /// Four uint8 numbers from `at` on, of which `count` belong to the row.
  __device__ uint32_t bytes_at(int64_t at, int count) const {
    const auto* const bytes = static_cast<const uint8_t*>(net.rows) + at;
    if (net.whole_quads && count >= kQuad) return *reinterpret_cast<const uint32_t*>(bytes);
    uint32_t all = 0;
    for (int j = 0; j < smaller(count, kQuad); ++j) all |= static_cast<uint32_t>(bytes[j]) << 8 * j;
    return all;
  }

  /// Four numbers of any type, as the first layer sees them.
  __device__ float4 numbers_at(int64_t at, int count) const {
    const bool as_they_are = net.scale == 1.0f && net.offset == 0.0f;
    const auto scaled = [&](float x) { return as_they_are ? x : formulas::fma(x, net.scale, net.offset); };
    if (net.whole_quads && count >= kQuad && net.type == RowType::kFloat32) {
      const float4 four = quad_at(static_cast<const float*>(net.rows) + at);
      return {scaled(four.x), scaled(four.y), scaled(four.z), scaled(four.w)};
    }
    float4 four = {};
    four.x = scaled(element(at));
    if (count > 1) four.y = scaled(element(at + 1));
    if (count > 2) four.z = scaled(element(at + 2));
    if (count > 3) four.w = scaled(element(at + 3));
    return four;
  }

  /// Where each sample of a batch lies in the data set. This is known a batch ahead of the samples themselves, so that
  /// no load has to wait for another one.
  __device__ int64_t* rows_of(int64_t batch) const {
    return reinterpret_cast<int64_t*>(shared + net.rows_at) + (batch & 1) * net.max_rows;
  }
  __device__ void note_rows(const Batch* batches, int64_t number, int64_t count) const {
    if (number >= count) return;
    const Batch& batch = batches[number];
    for (int b = kBlockThreads - 1 - thread(); b < static_cast<int>(batch.rows); b += kBlockThreads) {
      rows_of(number)[b] = data_row(batch, b);
    }
  }

  __device__ void keep_bytes(float* x, int b, int q, uint32_t bytes) const {
    reinterpret_cast<uint32_t*>(x)[b * net.ld_x / kQuad + q] = bytes;
    if (bytes != 0) atomicExch(reinterpret_cast<int*>(shared + net.found_at) + q, 1);
  }

  /// Brings the inputs of rows b and b + kBlockWarps by one warp: it reads all of them before it writes the first.
  __device__ void bring_two_rows(const int64_t* rows, int b, int count, int inputs, float* x) const {
    constexpr int kRows = 2, kTogether = 8;
    const int quads = quads_of(inputs);
    const uint32_t* from[kRows];
    ENGINE_UNROLL(2)
    for (int r = 0; r < kRows; ++r) {
      const int64_t row = rows[smaller(b + r * kBlockWarps, count - 1)];
      from[r] = reinterpret_cast<const uint32_t*>(static_cast<const uint8_t*>(net.rows) + row * net.stride +
                                                  net.first_column + part(net.layers[0]).first_input);
    }
    ENGINE_UNROLL(1)
    for (int first = lane(); first < quads; first += kTogether * kWarp) {
      uint32_t words[kRows][kTogether];
      ENGINE_UNROLL(2)
      for (int r = 0; r < kRows; ++r) {
        ENGINE_UNROLL(8)
        for (int j = 0; j < kTogether; ++j) {
          const int q = first + j * kWarp;
          words[r][j] = q < quads ? from[r][q] : 0u;
        }
      }
      ENGINE_UNROLL(2)
      for (int r = 0; r < kRows; ++r) {
        if (b + r * kBlockWarps >= count) continue;
        ENGINE_UNROLL(8)
        for (int j = 0; j < kTogether; ++j) {
          if (first + j * kWarp < quads) keep_bytes(x, b + r * kBlockWarps, first + j * kWarp, words[r][j]);
        }
      }
    }
  }

  /// Brings one row of any type and any size.
  __device__ void bring_row(int64_t at, int count, int b, float* x) const {
    for (int q = lane(); q < quads_of(count); q += kWarp) {
      const int left = count - q * kQuad;
      if (net.keeps_bytes) {
        keep_bytes(x, b, q, bytes_at(at + q * kQuad, left));
        continue;
      }
      const float4 four = numbers_at(at + q * kQuad, left);
      quad_at(x + b * net.ld_x + q * kQuad) = four;
      if (four.x != 0.0f || four.y != 0.0f || four.z != 0.0f || four.w != 0.0f) {
        atomicExch(reinterpret_cast<int*>(shared + net.found_at) + q, 1);
      }
    }
  }

  /// Brings the inputs of a batch, and notes which quads of them are not all zeros. A warp takes a row, or two.
  __device__ void bring_inputs(const int64_t* rows, int count, int slot) const {
    const Part own = part(net.layers[0]);
    float* const x = place(slot, net.places.x_at);
    if (net.keeps_bytes && net.whole_quads && own.inputs % kQuad == 0) {
      for (int b = warp(); b < count; b += 2 * kBlockWarps) bring_two_rows(rows, b, count, own.inputs, x);
      return;
    }
    for (int b = warp(); b < count; b += kBlockWarps) {
      bring_row(rows[b] * net.stride + net.first_column + own.first_input, own.inputs, b, x);
    }
  }

  /// Brings the targets of a batch. Each sample has as many threads as a row of the loss.
  __device__ void bring_targets(const int64_t* rows, int count, int slot) const {
    const int units = last().units;
    const Targets into = targets_in(slot);
    for (int b = thread() / kThreadsOfRow; b < count; b += kBlockThreads / kThreadsOfRow) {
      const int64_t row = rows[b];
      const int first = thread() % kThreadsOfRow;
      if (net.targets.sparse && first == 0) const_cast<int32_t*>(into.view.labels)[b] = net.targets.view.labels[row];
      for (int j = first; j < units && !net.targets.sparse; j += kThreadsOfRow) {
        const_cast<float*>(into.view.dense)[b * units + j] = net.targets.view.dense[row * units + j];
      }
      if (net.targets.view.sample_weight && first == 1) {
        const_cast<float*>(into.view.sample_weight)[b] = net.targets.view.sample_weight[row];
      }
    }
  }

  /// Brings a batch, whose rows have been noted: its inputs, its targets and what is known of it.
  __device__ void bring(const Batch* batches, int64_t number) const {
    constexpr int kWords = static_cast<int>(sizeof(Batch) / sizeof(uint32_t));
    static_assert(sizeof(Batch) % sizeof(uint32_t) == 0);
    const int slot = slot_of(number), count = static_cast<int>(batches[number].rows);
    for_each_of_block(kWords, [&](int i) {
      reinterpret_cast<uint32_t*>(&batch_in(slot))[i] = reinterpret_cast<const uint32_t*>(batches + number)[i];
    });
    bring_targets(rows_of(number), count, slot);
    bring_inputs(rows_of(number), count, slot);
  }

  /// Puts the quads of inputs that are zero in all rows behind the others: products leave them out.
  __device__ void order_quads(int slot) const {
    int* const found = reinterpret_cast<int*>(shared + net.found_at);
    int* const live_of_warp = reinterpret_cast<int*>(shared + net.part_at);
    uint16_t* const order = order_in(slot);
    const int quads = quads_of(part(net.layers[0]).inputs);
    int live = 0;
    for (int first = 0; first < quads; first += kBlockThreads) {
      const int q = first + thread();
      const bool is_live = q < quads && found[q] != 0;
      const unsigned of_warp = __ballot_sync(0xffffffffu, is_live);
      if (lane() == 0) live_of_warp[warp()] = __popc(of_warp);
      __syncthreads();
      int before = live + __popc(of_warp & ((1u << lane()) - 1u));
      for (int w = 0; w < kBlockWarps; ++w) {
        before += w < warp() ? live_of_warp[w] : 0;
        live += live_of_warp[w];
      }
      if (q < quads) order[is_live ? before : quads - 1 - (q - before)] = static_cast<uint16_t>(q);
      if (is_live) found[q] = 0;
      __syncthreads();
    }
    if (thread() == 0) *live_in(slot) = live;
  }

  // ---- Forwards -----------------------------------------------------------------------------------------------------

  /// sums[s][b][n] = the products of x[b,:] with columns `first` to `end` of the kernel, for slice s of the quads that
  /// are live: a warp for 32 rows, 8 columns and a slice.
  template <class Rows>
  __device__ void multiply(const Rows& x, const QuadOrder& order, const DenseLayer& layer, int rows, int first, int end,
                           int slices, int quads_of_slice, float* sums, int ld_sums) const {
    const int groups = (rows + kWarp - 1) / kWarp, chunks = (end - first + kColumns - 1) / kColumns;
    for (int item = warp(); item < groups * chunks * slices; item += kBlockWarps) {
      __syncwarp();  // tensor cores take the operands of all lanes at once
      const int of_groups = divide(item, groups), slice = divide(of_groups, chunks);
      const int group = item - of_groups * groups, chunk = of_groups - slice * chunks;
      const int begin_quad = smaller(slice * quads_of_slice, order.live);
      const int end_quad = smaller(begin_quad + quads_of_slice, order.live);
      sum_products(x, order, begin_quad, end_quad, shared + place_of_quad(layer, first + chunk * kColumns, 0),
                   group * kWarp, rows, sums + slice * net.max_rows * ld_sums + chunk * kColumns, ld_sums);
    }
  }

  /// y = the stages of a layer, applied to the sum z of row b and unit n of this block's. Keeps what the gradient
  /// needs.
  __device__ void finish(const DenseLayer& layer, const Part& own, const Batch& batch, int b, int n, float z) const {
    float y = layer.has_bias ? z + shared[layer.bias_at + n] : z;
    const int at = b * layer.ld_out + n;
    ENGINE_UNROLL(1)
    for (int s = 0; s < layer.stage_count; ++s) {
      const Stage& stage = layer.stages[s];
      float saved = y;
      if (stage.is_dropout) {
        saved = dropout_word(stage.seed, batch, b, own.first_unit + n) >= stage.threshold ? stage.scale : 0.0f;
        y = y * saved;
      } else {
        y = activate(stage, y);
        if (!saves_input(stage.activation)) saved = y;
      }
      shared[stage.saved_at + at] = saved;
    }
    shared[layer.out_at + at] = y;
  }

  /// The outputs of this block's units of a layer whose inputs are all here.
  __device__ void forward_alone(int l, int slot) const {
    const DenseLayer& layer = net.layers[l];
    const Batch& batch = batch_in(slot);
    const Part own = part(layer);
    const int rows = static_cast<int>(batch.rows);
    float* const sums = shared + net.part_at;
    for (int first = 0; first < own.units; first += layer.columns_together) {
      const int end = smaller(first + layer.columns_together, own.units);
      with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
        constexpr int kTogether = std::decay_t<decltype(x)>::kQuadsTogether;
        const int live = (order.live + kTogether - 1) / kTogether;
        const int quads_of_slice = (live + layer.sum_slices - 1) / layer.sum_slices * kTogether;
        multiply(x, order, layer, rows, first, end, layer.sum_slices, quads_of_slice, sums, layer.columns_together);
      });
      __syncthreads();
      for_each_of_block(rows * (end - first), [&](int i) {
        const int b = i / (end - first), n = i % (end - first);
        float z = 0.0f;
        ENGINE_UNROLL(8)
        for (int s = 0; s < layer.sum_slices; ++s) z = z + sums[(s * net.max_rows + b) * layer.columns_together + n];
        finish(layer, own, batch, b, first + n, z);
      });
      __syncthreads();
    }
  }

  /// The buffer of block `rank` that is exchanged next.
  __device__ float* buffer_of(int rank) const {
    if constexpr (Team::kSharesMemory) {
      return team.theirs(shared + net.exchange_at + turn * net.exchange_floats, rank);
    } else {
      return net.exchange + (rank * 2 + turn) * static_cast<int64_t>(net.exchange_floats);
    }
  }

  /// Calls f(b, n, the sum of all slices' terms) for each of `rows` times `columns`, from the buffers of all blocks.
  /// The next exchange uses the other buffers, so that nobody has to wait until these have been read.
  template <class F>
  __device__ void for_exchanged_sums(const DenseLayer& split, int rows, int columns, int ld, F&& f) {
    for_each_of_block(rows * columns, [&](int i) {
      const int b = i / columns, n = i % columns;
      // All terms are on their way before the first is added.
      float terms[kMostSlices];
      ENGINE_UNROLL(16)
      for (int s = 0; s < kMostSlices; ++s) {
        const int rank = divide(s, split.slices_of_block), own = s - rank * split.slices_of_block;
        terms[s] = s < split.slices ? buffer_of(rank)[(own * net.max_rows + b) * ld + n] : 0.0f;
      }
      float sum = 0.0f;
      ENGINE_UNROLL(16)
      for (int s = 0; s < kMostSlices; ++s) sum = sum + terms[s];
      f(b, n, sum);
    });
    turn = 1 - turn;
  }

  /// This block's terms of the sums of a layer that is split by inputs.
  __device__ void give_terms(int l, int slot) const {
    const DenseLayer& layer = net.layers[l];
    const int quads_of_slice = layer.width / kQuad;
    with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
      // A slice has the same quads whatever they hold, since a block knows only the zeros of its own inputs.
      const QuadOrder all{nullptr, order.all, order.all};
      multiply(x, all, layer, static_cast<int>(batch_in(slot).rows), 0, layer.units, part(layer).slices, quads_of_slice,
               buffer_of(team.rank()), layer.own_units);
    });
  }

  __device__ void take_sums(int l, int slot) {
    const DenseLayer& layer = net.layers[l];
    const Batch& batch = batch_in(slot);
    const Part own = part(layer);
    for_exchanged_sums(layer, static_cast<int>(batch.rows), layer.units, layer.own_units,
                       [&](int b, int n, float sum) { finish(layer, own, batch, b, n, sum); });
  }

  /// Clears the gradients behind the last row of a batch that is shorter than the one before.
  __device__ void clear_gradients_behind(int rows) const {
    if (rows == net.max_rows) return;
    for (int l = 0; l < net.layer_count; ++l) {
      const DenseLayer& layer = net.layers[l];
      for_each_of_block((net.rows_of_memory - rows) * layer.own_units,
                        [&](int i) { shared[layer.gradient_at + rows * layer.own_units + i] = 0.0f; });
    }
  }

  // ---- The loss -----------------------------------------------------------------------------------------------------

  /// Calls f(b, whether it is a row of the batch) for all rows by 16 threads each. A warp's threads stay together.
  template <class F>
  __device__ void for_rows(int rows, F&& f) const {
    constexpr int kRowsAtOnce = kBlockThreads / kThreadsOfRow;
    for (int first = 0; first < rows; first += kRowsAtOnce) {
      const int b = first + thread() / kThreadsOfRow;
      f(smaller(b, rows - 1), b < rows);
    }
  }

  /// What the losses are divided by.
  __device__ double divisor(int rows) const {
    if (net.fixed_divisor != 0.0) return net.fixed_divisor;
    return net.divisor_weights.are_equal() ? rows : *reinterpret_cast<const double*>(shared + net.divisor_at);
  }

  __device__ void sum_divisor_weights(int slot) const {
    if (net.fixed_divisor != 0.0 || net.divisor_weights.are_equal()) return;
    if (warp() == 0) {
      const Targets targets = targets_in(slot);
      const RowWeights weights = weights_in(slot, net.divisor_weights);
      double sum = 0.0;
      for (int b = lane(); b < static_cast<int>(batch_in(slot).rows); b += kWarp) sum += weights.of_row(targets, b, b);
      sum = sum_of_warp(sum);
      if (lane() == 0) *reinterpret_cast<double*>(shared + net.divisor_at) = sum;
    }
    __syncthreads();
  }

  /// The losses of all rows, and their gradient by the sums of the last layer.
  __device__ void compute_loss(int slot) const {
    const DenseLayer& layer = last();
    const int rows = static_cast<int>(batch_in(slot).rows);
    sum_divisor_weights(slot);
    const Targets targets = targets_in(slot);
    const double by = divisor(rows);
    const float scale = by == 0.0 ? 0.0f : net.weight / static_cast<float>(by);
    const double share = by == 0.0 ? 0.0 : by == rows ? 1.0 : rows / by;
    const RowWeights weights = weights_in(slot, net.row_weights);
    for_rows(rows, [&](int b, bool is_row) {
      const float own = net.targets.view.sample_weight ? scale * targets.view.sample_weight[b] : scale;
      float* const gradient = shared + layer.gradient_at + b * layer.own_units;
      LossRow<kThreadsOfRow> row{{is_row ? layer.units : 0},
                                 shared + layer.out_at + b * layer.ld_out,
                                 net.keeps_probabilities ? shared + net.probabilities_at + b * layer.units : nullptr,
                                 gradient,
                                 net.loss_parameters.smoothing,
                                 own,
                                 net.loss_parameters.values,
                                 net.targets.view.binary};
      const float value = row_loss(net.loss, row, target_row(targets, b, layer.units, net.loss_parameters.ignored));
      if (is_row && counts() && thread() % kThreadsOfRow == 0) {
        sums_of_thread()[0] += share * weights.of_row(targets, b, b) * static_cast<double>(value);
      }
      if (layer.stage_count > 0) {
        row.for_columns(
            [&](int64_t n) { gradient[n] = backward_through_stages(layer, b, static_cast<int>(n), gradient[n]); });
      }
    });
  }

  // ---- Sums over the pass -------------------------------------------------------------------------------------------

  __device__ float value_of_metric(const MetricOfKernel& metric, const Targets& targets, int b, bool is_row) const {
    const DenseLayer& layer = last();
    const float* const y = net.keeps_probabilities ? shared + net.probabilities_at + b * layer.units
                                                   : shared + layer.out_at + b * layer.ld_out;
    const int columns = is_row ? layer.units : 0;
    if (!metric.is_loss) {
      return metric_of_row<kThreadsOfRow>(metric.metric, metric.threshold, columns, y,
                                          target_row(targets, b, layer.units, -1));
    }
    LossRow<kThreadsOfRow> row{{columns},
                               y,
                               shared + layer.gradient_at + b * layer.own_units,
                               nullptr,
                               metric.parameters.smoothing,
                               1.0f,
                               metric.parameters.values,
                               net.targets.view.binary};
    return row_loss(metric.loss, row, target_row(targets, b, layer.units, metric.parameters.ignored));
  }

  /// What this thread has summed over the rows that it was the first thread of: the losses, and of each metric the
  /// values and their weights. They join the sums over the pass when the kernel ends.
  __device__ double* sums_of_thread() const {
    return reinterpret_cast<double*>(shared + net.sums_at) + thread() / kThreadsOfRow * (1 + 2 * net.metric_count);
  }

  /// The metrics of a batch join the sums, in one of the blocks.
  __device__ void count_batch(int slot) const {
    if (!counts()) return;
    const Targets targets = targets_in(slot);
    for (int m = 0; m < net.metric_count; ++m) {
      const MetricOfKernel& metric = net.metrics[m];
      const RowWeights weights = weights_in(slot, metric.weights);
      for_rows(static_cast<int>(batch_in(slot).rows), [&](int b, bool is_row) {
        const float value = value_of_metric(metric, targets, b, is_row);
        if (!is_row || thread() % kThreadsOfRow != 0 || (metric.by_batch && b > 0)) return;
        const double weight = metric.by_batch ? 1.0 : weights.of_row(targets, b, b);
        sums_of_thread()[1 + 2 * m] += weight * static_cast<double>(value);
        sums_of_thread()[2 + 2 * m] += weight;
      });
    }
  }

  /// The sums of all threads join those over the pass, in memory of the card.
  __device__ void add_sums(int64_t samples) const {
    if (!counts()) return;
    const int kinds = 1 + 2 * net.metric_count;
    if (thread() < kinds) {
      const double* const sums = reinterpret_cast<const double*>(shared + net.sums_at);
      double sum = 0.0;
      for (int i = 0; i < kBlockThreads / kThreadsOfRow; ++i) sum += sums[i * kinds + thread()];
      if (thread() > 0) {
        net.metrics[(thread() - 1) / 2].state[(thread() - 1) % 2] += sum;
      } else {
        *net.output_loss += sum;
        *net.loss_total += static_cast<double>(net.weight) * sum;
        *net.samples += static_cast<double>(samples);
      }
    }
  }

  /// Adds the squares of this thread's weights: of those that several blocks have, one counts them.
  __device__ void count_penalties(int slot) {
    if (!net.has_penalties) return;
    const auto rows = static_cast<double>(batch_in(slot).rows);
    for (int l = 0; l < net.layer_count; ++l) {
      const DenseLayer& layer = net.layers[l];
      const Part own = part(layer);
      const auto add = [&](int at, int count, double factor) {
        float sum = 0.0f;
        for_each_of_block(count, [&](int i) { sum = formulas::fma(shared[at + i], shared[at + i], sum); });
        penalty_share += factor * rows * static_cast<double>(sum);
      };
      const bool kernel = layer.split != Split::kNone || team.rank() == 0;
      const bool bias = layer.split == Split::kColumns || team.rank() == 0;
      if (kernel && layer.kernel_penalty != 0.0) {
        add(layer.kernel_at, layer.kernel_floats, layer.kernel_penalty);
      }
      if (bias && layer.bias_penalty != 0.0) add(layer.bias_at, own.units, layer.bias_penalty);
    }
  }

  /// The penalties of all batches join the loss.
  __device__ void add_penalties() {
    if (!net.has_penalties) return;
    auto* const sums = reinterpret_cast<double*>(shared + net.part_at);
    const double of_warp = sum_of_warp(penalty_share);
    if (lane() == 0) sums[warp()] = of_warp;
    __syncthreads();
    if (thread() == 0) {
      double sum = 0.0;
      for (int w = 0; w < kBlockWarps; ++w) sum += sums[w];
      net.penalties[team.rank()] = sum;
    }
    team.arrive();
    team.wait();
    if (!counts() || thread() != 0) return;
    for (int rank = 0; rank < team.blocks(); ++rank) *net.loss_total += net.penalties[rank];
  }

  // ---- Backwards ----------------------------------------------------------------------------------------------------

  __device__ float backward_through_stages(const DenseLayer& layer, int b, int n, float dy) const {
    ENGINE_UNROLL(1)
    for (int s = layer.stage_count - 1; s >= 0; --s) {
      const Stage& stage = layer.stages[s];
      const float saved = shared[stage.saved_at + b * layer.ld_out + n];
      dy = stage.is_dropout ? dy * saved : activate_backward(stage, dy, saved);
    }
    return dy;
  }

  /// The gradient by output n of row b becomes that by the sum.
  __device__ void finish_gradient(const DenseLayer& layer, int b, int n, float dy) const {
    shared[layer.gradient_at + b * layer.own_units + n] = backward_through_stages(layer, b, n, dy);
  }

  /// Calls f(b, quad, the sum over units `first` to `end` of dz[b,n] kernel[quad,n]) for each quad of a layer's inputs.
  template <class F>
  __device__ void for_input_gradients(const DenseLayer& layer, int rows, int first, int end, F&& f) const {
    const int quads = quads_of(part(layer).inputs);
    for_each_of_block(rows * quads, [&](int i) {
      const int b = i / quads, q = i % quads;
      const float* const dz = shared + layer.gradient_at + b * layer.own_units;
      float4 sum = {};
      for (int n = first; n < end; ++n) add_product(sum, quad_at(shared + place_of_quad(layer, n, q)), dz[n]);
      f(b, q, sum);
    });
  }

  /// The gradients by the sums of the layer below, from those of layer l.
  __device__ void backward(int l, int slot) {
    const DenseLayer &layer = net.layers[l], &below = net.layers[l - 1];
    const int rows = static_cast<int>(batch_in(slot).rows);
    const Part own = part(layer);
    if (layer.split != Split::kColumns) {
      for_input_gradients(layer, rows, 0, layer.units, [&](int b, int q, const float4& sum) {
        float dy[kQuad];
        spread(sum, dy);
        ENGINE_UNROLL(4)
        for (int j = 0; j < kQuad; ++j) {
          if (q * kQuad + j < own.inputs) finish_gradient(below, b, q * kQuad + j, dy[j]);
        }
      });
      __syncthreads();
      return;
    }
    float* const terms = buffer_of(team.rank());
    for (int s = 0; s < own.slices; ++s) {
      const int first = s * layer.width, end = smaller(first + layer.width, own.units);
      for_input_gradients(layer, rows, first, end, [&](int b, int q, const float4& sum) {
        quad_at(terms + (s * net.max_rows + b) * layer.own_inputs + q * kQuad) = sum;
      });
    }
    team.arrive();
    team.wait();
    for_exchanged_sums(layer, rows, layer.inputs, layer.own_inputs,
                       [&](int b, int k, float dy) { finish_gradient(below, b, k, dy); });
    __syncthreads();
  }

  // ---- Weights ------------------------------------------------------------------------------------------------------

  /// The rule's step of one weight by its gradient, as `step_weight` does it (cuda/steps.h).
  template <class Rule>
  __device__ static QuickFloat step(QuickFloat w, QuickFloat* slots, QuickFloat gradient, const StepOfLayer& layer,
                                    const typename Rule::Coefficients& c) {
    const QuickFloat g = formulas::fma(layer.l2_slope, w, gradient);
    return Rule::update(formulas::fma(-layer.decay, w, w), slots, g, c);
  }

  /// Steps four weights of a column, of which `count` or more exist. Behind the last input lie zeros, which stay zeros
  /// whatever the rule makes of them. There are no branches, so that the latencies of the four steps overlap.
  template <class Rule>
  __device__ static void step_quad(float* weights, int slot_floats, int count, const float4& gradient,
                                   const StepOfLayer& layer, const typename Rule::Coefficients& c) {
    float w[kQuad], g[kQuad];
    QuickFloat slots[kQuad][kMaxSlots] = {};
    spread(quad_at(weights), w);
    spread(gradient, g);
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) {
      float four[kQuad];
      spread(quad_at(weights + (s + 1) * slot_floats), four);
      ENGINE_UNROLL(4)
      for (int j = 0; j < kQuad; ++j) slots[j][s] = {four[j]};
    }
    ENGINE_UNROLL(4)
    for (int j = 0; j < kQuad; ++j) {
      const float stepped = step<Rule>({w[j]}, slots[j], {g[j]}, layer, c).value;
      w[j] = j < count ? stepped : w[j];
    }
    quad_at(weights) = {w[0], w[1], w[2], w[3]};
    ENGINE_UNROLL(3)
    for (int s = 0; s < Rule::kSlots; ++s) {
      quad_at(weights + (s + 1) * slot_floats) = {slots[0][s].value, slots[1][s].value, slots[2][s].value,
                                                  slots[3][s].value};
    }
  }

  /// Steps the kernel of a layer: a warp has 8 quads of inputs and 8 columns at a time. `worker` is its number.
  template <class Rule, class Rows>
  __device__ void step_kernel(const DenseLayer& layer, const Rows& x, const QuadOrder& order, int rows, int worker,
                              double rate, const typename Rule::Coefficients& c) const {
    const Part own = part(layer);
    const int chunks = (own.units + kColumns - 1) / kColumns;
    const int items = (order.all + kQuadsOfWarp - 1) / kQuadsOfWarp * chunks;
    const StepOfLayer step(layer.kernel, rate);
    for (int item = worker; item < items; item += kBlockWarps) {
      __syncwarp();  // lanes may have left the item before early, and tensor cores take the operands of all at once
      const int of_chunks = divide(item, chunks), chunk = item - of_chunks * chunks;
      const int i = of_chunks * kQuadsOfWarp + lane() / kThreadsOfQuad;
      const int q = order[i < order.all ? i : 0];
      const GradientOfThread gradient =
          sum_gradient(x, q, i < order.live, shared + layer.gradient_at + chunk * kColumns, layer.own_units, rows);
      if (i >= order.all) continue;
      const int first = lane() % kThreadsOfQuad * 2;
      float* const weights = shared + place_of_quad(layer, chunk * kColumns, q) + first * kQuad;
      ENGINE_UNROLL(2)
      for (int column = 0; column < 2; ++column) {
        const bool is_unit = chunk * kColumns + first + column < own.units;
        step_quad<Rule>(weights + column * kQuad, layer.kernel_floats, is_unit ? own.inputs - q * kQuad : 0,
                        gradient.columns[column], step, c);
      }
    }
  }

  /// Steps the biases of a layer, by the last warp: it has the fewest products.
  template <class Rule>
  __device__ void step_bias(const DenseLayer& layer, int rows, double rate,
                            const typename Rule::Coefficients& c) const {
    if (!layer.has_bias || warp() != kBlockWarps - 1) return;
    const StepOfLayer step_of_layer(layer.bias, rate);
    for (int n = lane(); n < part(layer).units; n += kWarp) {
      float sum = 0.0f;
      QuickFloat slots[kMaxSlots] = {};
      for (int b = 0; b < rows; ++b) sum = sum + shared[layer.gradient_at + b * layer.own_units + n];
      float* const own = shared + layer.bias_at + n;
      ENGINE_UNROLL(3)
      for (int s = 0; s < Rule::kSlots; ++s) slots[s] = {own[(s + 1) * layer.own_units]};
      *own = step<Rule>({*own}, slots, {sum}, step_of_layer, c).value;
      ENGINE_UNROLL(3)
      for (int s = 0; s < Rule::kSlots; ++s) own[(s + 1) * layer.own_units] = slots[s].value;
    }
  }

  __device__ void step_weights(int slot) const {
    const Batch& batch = batch_in(slot);
    const int rows = static_cast<int>(batch.rows);
    with_formula(net.rule, FusedOptimizersOf<QuickFloat>{}, [&](auto chosen) {
      using Rule = typename OnlyOne<decltype(chosen)>::Type;
      static_assert(Rule::kSlots <= kSlotsOfWeight);
      const auto c = *reinterpret_cast<const typename Rule::Coefficients*>(batch.coefficients);
      const double rate = batch.step.learning_rate;
      for (int l = 0; l < net.layer_count; ++l) {
        const DenseLayer& layer = net.layers[l];
        with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
          // The warps that have the fewest products of one layer begin with those of the next one.
          const int worker = l % 2 == 0 ? warp() : kBlockWarps - 1 - warp();
          step_kernel<Rule>(layer, x, order, rows, worker, rate, c);
        });
        step_bias<Rule>(layer, rows, rate, c);
      }
    });
  }

  // ---- All batches --------------------------------------------------------------------------------------------------

  /// Counts batch `counted` and brings batch `next`, as far as there are such batches.
  __device__ void prepare(const Batch* batches, int64_t counted, int64_t next, int64_t count) const {
    if (counted >= 0) count_batch(slot_of(counted));
    __syncthreads();  // what has been counted may change now
    if (next == count) return;
    note_rows(batches, next + 1, count);
    bring(batches, next);
    __syncthreads();
    order_quads(slot_of(next));
  }

  __device__ int slot_of(int64_t batch) const { return static_cast<int>(batch & (net.batch_slots - 1)); }

  __device__ __forceinline__ void run(const Batch* batches, int64_t count) {
    for_each_of_block(net.floats, [&](int i) { shared[i] = 0.0f; });
    __syncthreads();
    load_weights();
    note_rows(batches, 0, count);
    __syncthreads();
    prepare_batches(net, team, batches, -1, 0, count);
    __syncthreads();
    const bool brings_ahead = net.batch_slots == 2;
    int64_t samples = 0;
    for (int64_t i = 0; i < count; ++i) {
      const int slot = slot_of(i);
      samples += batch_in(slot).rows;
      count_penalties(slot);
      bool waited = false;
      for (int l = 0; l < net.layer_count; ++l) {
        if (net.layers[l].split != Split::kInputs) {
          forward_alone(l, slot);
          continue;
        }
        give_terms(l, slot);
        team.arrive();
        // While it waits for the others, a block counts the batch before, and brings the next one.
        if (brings_ahead && !waited) prepare_batches(net, team, batches, i - 1, i + 1, count);
        waited = true;
        team.wait();
        take_sums(l, slot);
        __syncthreads();
      }
      // The metrics of the batch before have used this memory, too.
      clear_gradients_behind(static_cast<int>(batch_in(slot).rows));
      compute_loss(slot);
      __syncthreads();
      for (int l = net.layer_count - 1; l > 0; --l) backward(l, slot);
      step_weights(slot);
      __syncthreads();
      if (!brings_ahead || i + 1 == count) {
        prepare_batches(net, team, batches, i, i + 1, count);
        __syncthreads();
      }
    }
    store_weights();
    add_sums(samples);
    __syncthreads();
    add_penalties();
    team.arrive();  // nobody ends while another block may still read its memory
    team.wait();
  }
};

/// `Trainer::prepare` as a function of its own, since it is called from three places.
template <class Team>
__device__ void prepare_batches(const Network& network, Team team, const Batch* batches, int64_t counted, int64_t next,
                                int64_t count) {
  Trainer<Team>{network, shared_memory(), team}.prepare(batches, counted, next, count);
}

/// Arguments of kernels are at most so large before CUDA 12.1, and later on cards before compute capability 7.0.
inline constexpr size_t kMostBytesOfArguments = 4096;
static_assert(sizeof(Network) + 2 * sizeof(int64_t) <= kMostBytesOfArguments);

template <class Team>
__global__ void __launch_bounds__(kBlockThreads, 1)
    train(const __grid_constant__ Network network, const Batch* batches, int64_t count) {
  Trainer<Team>{network, shared_memory(), Team(network.arrivals)}.run(batches, count);
}

}  // namespace engine::cuda::persistent
