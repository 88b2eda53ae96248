// Forwards: sums of products, the exchange of their terms between blocks, and what follows them.
#pragma once
#include "cuda/chains/block.h"
#include "formulas/random.h"

namespace engine::cuda::chains {

/// The random word that decides whether dropout keeps an element.
__device__ __noinline__ inline uint32_t dropout_word(uint64_t seed, const Batch& batch, int b, int column) {
  return formulas::random_word(seed, static_cast<uint64_t>(batch.draw), static_cast<uint32_t>(batch.first_draw + b),
                               column);
}

__device__ __noinline__ inline float activate_by_formula(const Stage& stage, float z) {
  return forward(stage.activation, z, stage.parameters);
}
/// The most common ones need no call.
template <int N>
__device__ inline void activate(const Stage& stage, float (&y)[N]) {
  with_formula(stage.activation, FusedActivations{}, [&](auto chosen) {
    ENGINE_UNROLL(4)
    for (int j = 0; j < N; ++j) y[j] = decltype(chosen)::Type::forward(y[j]);
  });
  if (is_fused(stage.activation)) return;
  ENGINE_UNROLL(4)
  for (int j = 0; j < N; ++j) y[j] = activate_by_formula(stage, y[j]);
}

/// sums_of(s, b)[n] = the products of x[b,:] with columns `first` to `end` of the kernel, for slice s of the quads that
/// are live: a warp for 32 rows, 8 columns and a slice.
template <class Team, class Rows, class SumsOf>
__device__ inline void multiply(const Block<Team>& block, const Rows& x, const QuadOrder& order,
                                const DenseLayer& layer, int rows, int first, int end, int slices, int quads_of_slice,
                                const SumsOf& sums_of) {
  const int groups = (rows + kWarp - 1) / kWarp, chunks = (end - first + kColumns - 1) / kColumns;
  for (int item = warp(); item < groups * chunks * slices; item += kBlockWarps) {
    __syncwarp();  // tensor cores take the operands of all lanes at once
    const int of_groups = divide(item, groups), chunk = divide(of_groups, slices);
    const int group = item - of_groups * groups, slice = of_groups - chunk * slices;
    const int begin_quad = smaller(slice * quads_of_slice, order.live);
    const int end_quad = smaller(begin_quad + quads_of_slice, order.live);
    sum_products(x, order, begin_quad, end_quad, block.shared + place_of_quad(layer, first + chunk * kColumns, 0),
                 group * kWarp, rows, [&](int b) { return sums_of(slice, b) + chunk * kColumns; });
  }
}

/// The outputs of row b and N units of this block's from unit n on, by their sums. N is 1 or 4; units behind the last
/// one have 0. Keeps what the gradient needs.
template <int N, class Team>
__device__ inline void finish_units(const Block<Team>& block, const DenseLayer& layer, const Share& own,
                                    const Batch& batch, int b, int n, float (&y)[N]) {
  const int at = b * layer.ld + n;
  if (layer.has_bias) {
    float bias[N];
    read(block.shared + layer.bias_at + n, bias);
    ENGINE_UNROLL(4)
    for (int j = 0; j < N; ++j) y[j] = y[j] + bias[j];
  }
  ENGINE_UNROLL(1)
  for (int s = 0; s < layer.stage_count; ++s) {
    const Stage& stage = layer.stages[s];
    float saved[N];
    ENGINE_UNROLL(4)
    for (int j = 0; j < N; ++j) saved[j] = y[j];
    if (stage.is_dropout) {
      ENGINE_UNROLL(4)
      for (int j = 0; j < N; ++j) {
        const uint32_t word = dropout_word(stage.seed, batch, b, own.first_unit + n + j);
        saved[j] = word >= stage.threshold ? stage.scale : 0.0f;
        y[j] = y[j] * saved[j];
      }
    } else {
      activate(stage, y);
      const bool keeps_input = saves_input(stage.activation);
      ENGINE_UNROLL(4)
      for (int j = 0; j < N; ++j) saved[j] = keeps_input ? saved[j] : y[j];
    }
    write(block.shared + stage.saved_at + at, saved);
  }
  // The next layer reads quads of its inputs, and what is not finite would not become 0 by a weight of 0.
  ENGINE_UNROLL(4)
  for (int j = 1; j < N; ++j) y[j] = n + j < own.units ? y[j] : 0.0f;
  write(block.shared + layer.out_at + at, y);
}

/// The outputs of this block's units of a layer whose inputs are all here.
template <class Team>
__device__ inline void forward_alone(const Block<Team>& block, int l, int slot) {
  const DenseLayer& layer = block.net.layers[l];
  const Batch& batch = block.batch_in(slot);
  const Share& own = block.share(layer);
  const int rows = static_cast<int>(batch.rows);
  const bool in_output = layer.sums_in_output();
  float* const sums = block.shared + (in_output ? layer.out_at : block.net.partial_sums_at);
  const int together = in_output ? layer.padded_units : layer.columns_together;
  const int ld = in_output ? layer.ld : together;
  for (int first = 0; first < own.units; first += together) {
    const int end = smaller(first + together, own.units);
    const auto sums_of = [&](int s, int b) { return sums + (s * block.net.max_rows + b) * ld; };
    block.with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
      constexpr int kTogether = std::decay_t<decltype(x)>::kQuadsTogether;
      const int live = (order.live + kTogether - 1) / kTogether;
      const int quads_of_slice = divide(live + layer.parts - 1, layer.parts) * kTogether;
      multiply(block, x, order, layer, rows, first, end, layer.parts, quads_of_slice, sums_of);
    });
    __syncthreads();
    for_elements({0, rows}, quads_of(end - first), [&](int b, int q) {
      float y[kQuad] = {};
      ENGINE_UNROLL(8)
      for (int s = 0; s < layer.parts; ++s) {
        float part[kQuad];
        read(sums_of(s, b) + q * kQuad, part);
        ENGINE_UNROLL(4)
        for (int j = 0; j < kQuad; ++j) y[j] = y[j] + part[j];
      }
      finish_units(block, layer, own, batch, b, first + q * kQuad, y);
    });
    __syncthreads();
  }
}

// ---- Sums over the slices of all blocks -----------------------------------------------------------------------------

/// Where the terms of row b lie of slice `slice`, which is number `own` of those of its block: this block's, to write
/// them, or those of block `rank`, to read them.
template <class Team>
__device__ inline float* own_terms(const Block<Team>& block, int slice, int own, int b, int ld) {
  if constexpr (Team::kSharesMemory) {
    return block.shared + block.net.exchange_at + (own * block.net.max_rows + b) * ld;
  } else {
    return block.net.exchange + block.turn * static_cast<int64_t>(block.net.exchange_floats) +
           (slice * block.net.max_rows + b) * ld;
  }
}
template <class Team>
__device__ inline const float* terms_of(const Block<Team>& block, int rank, int slice, int own, int b, int ld) {
  float* const mine = own_terms(block, slice, own, b, ld);
  if constexpr (Team::kSharesMemory) {
    return block.team.of_block(rank, mine);
  } else {
    return mine;
  }
}

/// Calls f(b, n, the sum of all slices' terms) for the rows that this block adds up. The terms of the next exchange
/// overwrite these only when all blocks have met again, or in a grid they go to the other buffer.
template <class Team, class F>
__device__ inline void add_terms(Block<Team>& block, const DenseLayer& split, int rows, int columns, int ld, F&& f) {
  for_elements(block.rows_to_add(rows), columns, [&](int b, int n) {
    // All terms are on their way before the first is added.
    float terms[kMostSlices];
    int rank = 0, own = 0;
    ENGINE_UNROLL(16)
    for (int s = 0; s < kMostSlices; ++s) {
      terms[s] = s < split.slices ? terms_of(block, rank, s, own, b, ld)[n] : 0.0f;
      if (++own == split.slices_of_block) own = 0, ++rank;
    }
    float sum = 0.0f;
    ENGINE_UNROLL(16)
    for (int s = 0; s < kMostSlices; ++s) sum = sum + terms[s];
    f(b, n, sum);
  });
  block.turn = 1 - block.turn;
}

/// Gets the rows of a matrix (rows, ld) in shared memory that the other blocks have made, at the same place in theirs.
/// Until they are there it calls `meanwhile`. A warp gets the rows of a block.
template <class Team, class F>
__device__ inline void gather_rows(Block<Team>& block, int matrix_at, int ld, int rows, F&& meanwhile) {
  if constexpr (Team::kSharesMemory) {
    block.team.arrive_with_shared();
    meanwhile();
    block.team.wait();
    for (int rank = warp(); rank < block.team.blocks(); rank += kBlockWarps) {
      if (rank == block.team.rank()) continue;
      const Range made = block.rows_of_block(rank, rows);
      float* const mine = block.shared + matrix_at + made.begin * ld;
      const float* const theirs = block.team.of_block(rank, mine);
      for (int i = lane() * kQuad; i < (made.end - made.begin) * ld; i += kWarp * kQuad) {
        quad_at(mine + i) = quad_at(theirs + i);
      }
    }
  } else {
    meanwhile();  // every block has made all rows
  }
  __syncthreads();
}

/// Computes this block's terms of the sums of a layer that is split by inputs.
template <class Team>
__device__ inline void compute_terms(const Block<Team>& block, int l, int slot) {
  const DenseLayer& layer = block.net.layers[l];
  const Share& own = block.share(layer);
  const int rows = static_cast<int>(block.batch_in(slot).rows);
  block.with_inputs(l, slot, [&](const auto& x, const QuadOrder& order) {
    // A slice has the same quads whatever they hold, since a block knows only the zeros of its own inputs.
    const QuadOrder all{nullptr, order.all, order.all};
    multiply(block, x, all, layer, rows, 0, layer.units, own.slices, layer.width / kQuad,
             [&](int s, int b) { return own_terms(block, own.first_slice + s, s, b, layer.padded_units); });
  });
}

/// Adds the terms of a layer's sums. Of the last layer, a block has then the outputs of its rows, else those of all.
template <class Team>
__device__ inline void take_sums(Block<Team>& block, int l, int slot) {
  const DenseLayer& layer = block.net.layers[l];
  const Batch& batch = block.batch_in(slot);
  const Share& own = block.share(layer);
  const int rows = static_cast<int>(batch.rows);
  const auto finish = [&](int b, int n, float z) {
    float y[] = {z};
    finish_units(block, layer, own, batch, b, n, y);
  };
  if (l == block.net.layer_count - 1) {
    add_terms(block, layer, rows, layer.units, layer.padded_units, finish);
  } else {
    float* const gathered = block.shared + block.net.gathered_at;
    const int ld = layer.padded_units;
    add_terms(block, layer, rows, layer.units, ld, [&](int b, int n, float z) { gathered[b * ld + n] = z; });
    gather_rows(block, block.net.gathered_at, ld, rows, [] {});
    for_elements({0, rows}, layer.units, [&](int b, int n) { finish(b, n, gathered[b * ld + n]); });
  }
  __syncthreads();
}

/// Clears the gradients behind the last row of a batch that is shorter than the one before.
template <class Team>
__device__ inline void clear_gradients_behind(const Block<Team>& block, int rows) {
  if (rows == block.net.max_rows) return;
  for (int l = 0; l < block.net.layer_count; ++l) {
    const DenseLayer& layer = block.net.layers[l];
    for_each_of_block((block.net.rows_of_memory - rows) * layer.ld,
                      [&](int i) { block.shared[layer.gradient_at + rows * layer.ld + i] = 0.0f; });
  }
}

}  // namespace engine::cuda::chains
