// Forwards: sums of products, the exchange of their terms between blocks, and what follows them.
#pragma once
#include "cuda/persistent/block.h"
#include "formulas/random.h"

namespace engine::cuda::persistent {

/// The random word that decides whether dropout keeps an element.
__device__ __noinline__ uint32_t dropout_word(uint64_t seed, const Batch& batch, int b, int column) {
  return formulas::random_word(seed, static_cast<uint64_t>(batch.draw), static_cast<uint32_t>(batch.first_draw + b),
                               column);
}

__device__ __noinline__ float activate(const Stage& stage, float z) {
  return forward(stage.activation, z, stage.parameters);
}

/// sums[s][b][n] = the products of x[b,:] with columns `first` to `end` of the kernel, for slice s of the quads that
/// are live: a warp for 32 rows, 8 columns and a slice.
template <class Team, class Rows>
__device__ inline void multiply(const Block<Team>& block, const Rows& x, const QuadOrder& order,
                                const DenseLayer& layer, int rows, int first, int end, int slices, int quads_of_slice,
                                float* sums, int ld_sums) {
  const int groups = (rows + kWarp - 1) / kWarp, chunks = (end - first + kColumns - 1) / kColumns;
  for (int item = warp(); item < groups * chunks * slices; item += kBlockWarps) {
    __syncwarp();  // tensor cores take the operands of all lanes at once
    const int of_groups = divide(item, groups), slice = divide(of_groups, chunks);
    const int group = item - of_groups * groups, chunk = of_groups - slice * chunks;
    const int begin_quad = smaller(slice * quads_of_slice, order.live);
    const int end_quad = smaller(begin_quad + quads_of_slice, order.live);
    sum_products(x, order, begin_quad, end_quad, block.shared + place_of_quad(layer, first + chunk * kColumns, 0),
                 group * kWarp, rows, sums + slice * block.net.max_rows * ld_sums + chunk * kColumns, ld_sums);
  }
}

/// y = the stages of a layer, applied to the sum z of row b and unit n of this block's. Keeps what the gradient
/// needs.
template <class Team>
__device__ inline void finish_unit(const Block<Team>& block, const DenseLayer& layer, const Share& own,
                                   const Batch& batch, int b, int n, float z) {
  float y = layer.has_bias ? z + block.shared[layer.bias_at + n] : z;
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
    block.shared[stage.saved_at + at] = saved;
  }
  block.shared[layer.out_at + at] = y;
}

/// The outputs of this block's units of a layer whose inputs are all here.
template <class Team>
__device__ inline void forward_alone(const Block<Team>& block, int l, int slot) {
  const DenseLayer& layer = block.net.layers[l];
  const Batch& batch = block.batch_in(slot);
  const Share own = block.share(layer);
  const int rows = static_cast<int>(batch.rows);
  float* const sums = block.shared + block.net.partial_sums_at;
  for (int first = 0; first < own.units; first += layer.columns_together) {
    const int end = smaller(first + layer.columns_together, own.units);
    block.with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
      constexpr int kTogether = std::decay_t<decltype(x)>::kQuadsTogether;
      const int live = (order.live + kTogether - 1) / kTogether;
      const int quads_of_slice = (live + layer.parts - 1) / layer.parts * kTogether;
      multiply(block, x, order, layer, rows, first, end, layer.parts, quads_of_slice, sums, layer.columns_together);
    });
    __syncthreads();
    for_each_of_block(rows * (end - first), [&](int i) {
      const int b = i / (end - first), n = i % (end - first);
      float z = 0.0f;
      ENGINE_UNROLL(8)
      for (int s = 0; s < layer.parts; ++s) z = z + sums[(s * block.net.max_rows + b) * layer.columns_together + n];
      finish_unit(block, layer, own, batch, b, first + n, z);
    });
    __syncthreads();
  }
}

/// The buffer of block `rank` that is exchanged next.
template <class Team>
__device__ inline float* exchange_buffer(const Block<Team>& block, int rank) {
  if constexpr (Team::kSharesMemory) {
    return block.team.theirs(block.shared + block.net.exchange_at + block.turn * block.net.exchange_floats, rank);
  } else {
    return block.net.exchange + (rank * 2 + block.turn) * static_cast<int64_t>(block.net.exchange_floats);
  }
}

/// Calls f(b, n, the sum of all slices' terms) for each of `rows` times `columns`, from the buffers of all blocks.
/// The next exchange uses the other buffers, so that nobody has to wait until these have been read.
template <class Team, class F>
__device__ inline void for_exchanged_sums(Block<Team>& block, const DenseLayer& split, int rows, int columns, int ld,
                                          F&& f) {
  for_each_of_block(rows * columns, [&](int i) {
    const int b = i / columns, n = i % columns;
    // All terms are on their way before the first is added.
    float terms[kMostSlices];
    ENGINE_UNROLL(16)
    for (int s = 0; s < kMostSlices; ++s) {
      const int rank = divide(s, split.slices_of_block), own = s - rank * split.slices_of_block;
      terms[s] = s < split.slices ? exchange_buffer(block, rank)[(own * block.net.max_rows + b) * ld + n] : 0.0f;
    }
    float sum = 0.0f;
    ENGINE_UNROLL(16)
    for (int s = 0; s < kMostSlices; ++s) sum = sum + terms[s];
    f(b, n, sum);
  });
  block.turn = 1 - block.turn;
}

/// This block's terms of the sums of a layer that is split by inputs.
template <class Team>
__device__ inline void give_terms(const Block<Team>& block, int l, int slot) {
  const DenseLayer& layer = block.net.layers[l];
  const int quads_of_slice = layer.width / kQuad;
  block.with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
    // A slice has the same quads whatever they hold, since a block knows only the zeros of its own inputs.
    const QuadOrder all{nullptr, order.all, order.all};
    multiply(block, x, all, layer, static_cast<int>(block.batch_in(slot).rows), 0, layer.units,
             block.share(layer).slices, quads_of_slice, exchange_buffer(block, block.team.rank()), layer.padded_units);
  });
}

template <class Team>
__device__ inline void take_sums(Block<Team>& block, int l, int slot) {
  const DenseLayer& layer = block.net.layers[l];
  const Batch& batch = block.batch_in(slot);
  const Share own = block.share(layer);
  for_exchanged_sums(block, layer, static_cast<int>(batch.rows), layer.units, layer.padded_units,
                     [&](int b, int n, float sum) { finish_unit(block, layer, own, batch, b, n, sum); });
}

/// Clears the gradients behind the last row of a batch that is shorter than the one before.
template <class Team>
__device__ inline void clear_gradients_behind(const Block<Team>& block, int rows) {
  if (rows == block.net.max_rows) return;
  for (int l = 0; l < block.net.layer_count; ++l) {
    const DenseLayer& layer = block.net.layers[l];
    for_each_of_block((block.net.rows_of_memory - rows) * layer.padded_units,
                      [&](int i) { block.shared[layer.gradient_at + rows * layer.padded_units + i] = 0.0f; });
  }
}

}  // namespace engine::cuda::persistent
