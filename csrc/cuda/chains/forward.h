// Forwards: sums of products, the exchange of partial sums between blocks, and what follows them.
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

/// sums_of(r, b)[n] = the products of x[b,:] with column `first` + n of the kernel up to `end`, over range r of the
/// quads that are live. A warp takes 32 rows, 8 columns and a range.
template <class Team, class Rows, class SumsOf>
__device__ inline void multiply(const Block<Team>& block, const Rows& x, const QuadOrder& order,
                                const DenseLayer& layer, int rows, int first, int end, int ranges, int quads_of_range,
                                const SumsOf& sums_of) {
  const int groups = (rows + kWarp - 1) / kWarp, chunks = (end - first + kColumns - 1) / kColumns;
  for (int item = warp(); item < groups * chunks * ranges; item += kBlockWarps) {
    __syncwarp();  // tensor cores take the operands of all lanes at once
    const int of_groups = divide(item, groups), chunk = divide(of_groups, ranges);
    const int group = item - of_groups * groups, range = of_groups - chunk * ranges;
    const int begin_quad = smaller(range * quads_of_range, order.live);
    const int end_quad = smaller(begin_quad + quads_of_range, order.live);
    sum_products(x, order, begin_quad, end_quad, block.shared + place_of_quad(layer, first + chunk * kColumns, 0),
                 group * kWarp, rows, [&](int b) { return sums_of(range, b) + chunk * kColumns; });
  }
}

/// The outputs of row b and N units of this block's from unit n on, by their sums. N is 1 or 4; units behind the last
/// one have 0. Keeps what the gradient needs.
template <int N, class Team>
__device__ inline void finish_units(const Block<Team>& block, const DenseLayer& layer, const Owned& own,
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
__device__ inline void forward_with_all_inputs(const Block<Team>& block, int l, int buffer) {
  const DenseLayer& layer = block.net.layers[l];
  const Batch& batch = block.batch_in(buffer);
  const Owned& own = block.owned(layer);
  const int rows = static_cast<int>(batch.rows);
  const bool in_output = layer.sums_in_output();
  float* const sums = block.shared + (in_output ? layer.out_at : block.net.range_sums_at);
  const int together = in_output ? layer.padded_units : layer.columns_together;
  const int ld = in_output ? layer.ld : together;
  for (int first = 0; first < own.units; first += together) {
    const int end = smaller(first + together, own.units);
    const auto sums_of = [&](int range, int b) { return sums + (range * block.net.max_rows + b) * ld; };
    block.with_inputs(l, buffer, [&](const auto& x, const QuadOrder& order) {
      constexpr int kTogether = std::decay_t<decltype(x)>::kQuadsTogether;
      const int live = (order.live + kTogether - 1) / kTogether;
      const int quads_of_range = divide(live + layer.input_ranges - 1, layer.input_ranges) * kTogether;
      multiply(block, x, order, layer, rows, first, end, layer.input_ranges, quads_of_range, sums_of);
    });
    __syncthreads();
    for_elements({0, rows}, quads_of(end - first), [&](int b, int q) {
      float y[kQuad] = {};
      ENGINE_UNROLL(8)
      for (int range = 0; range < layer.input_ranges; ++range) {
        float sum[kQuad];
        read(sums_of(range, b) + q * kQuad, sum);
        ENGINE_UNROLL(4)
        for (int j = 0; j < kQuad; ++j) y[j] = y[j] + sum[j];
      }
      finish_units(block, layer, own, batch, b, first + q * kQuad, y);
    });
    __syncthreads();
  }
}

// ---- Sums over the slices of all blocks -----------------------------------------------------------------------------

/// Where this block writes its partial sums of row b for slice `slice`, number `own` of its slices.
template <class Team>
__device__ inline float* own_partial_sums(const Block<Team>& block, int slice, int own, int b, int ld) {
  if constexpr (Team::kSharesMemory) {
    return block.shared + block.net.exchange_at + (own * block.net.max_rows + b) * ld;
  } else {
    return block.net.exchange + block.turn * static_cast<int64_t>(block.net.exchange_floats) +
           (slice * block.net.max_rows + b) * ld;
  }
}
/// Where block `rank` has written its partial sums of row b for slice `slice`, number `own` of its slices.
template <class Team>
__device__ inline const float* partial_sums_of(const Block<Team>& block, int rank, int slice, int own, int b, int ld) {
  float* const mine = own_partial_sums(block, slice, own, b, ld);
  if constexpr (Team::kSharesMemory) {
    return block.team.of_block(rank, mine);
  } else {
    return mine;
  }
}

/// Calls f(b, n, the sum of the partial sums of all slices) for the rows that this block adds. Those of the next
/// exchange overwrite these only when all blocks have met again, or in a grid they go to the other buffer.
template <class Team, class F>
__device__ inline void add_partial_sums(Block<Team>& block, const DenseLayer& split, int rows, int columns, int ld,
                                        F&& f) {
  for_elements(block.rows_to_add(rows), columns, [&](int b, int n) {
    // All numbers are on their way before the first is added.
    float partial[kMaxSlices];
    int rank = 0, own = 0;
    ENGINE_UNROLL(16)
    for (int s = 0; s < kMaxSlices; ++s) {
      partial[s] = s < split.slices ? partial_sums_of(block, rank, s, own, b, ld)[n] : 0.0f;
      if (++own == split.slices_of_block) own = 0, ++rank;
    }
    float sum = 0.0f;
    ENGINE_UNROLL(16)
    for (int s = 0; s < kMaxSlices; ++s) sum = sum + partial[s];
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

/// Computes this block's partial sums of a layer that is split by inputs.
template <class Team>
__device__ inline void compute_partial_sums(const Block<Team>& block, int l, int buffer) {
  const DenseLayer& layer = block.net.layers[l];
  const Owned& own = block.owned(layer);
  const int rows = static_cast<int>(block.batch_in(buffer).rows);
  block.with_inputs(l, buffer, [&](const auto& x, const QuadOrder& order) {
    // A slice has the same quads whatever they hold, since a block knows only the zeros of its own inputs.
    const QuadOrder all{nullptr, order.all, order.all};
    multiply(block, x, all, layer, rows, 0, layer.units, own.slices, layer.width / kQuad,
             [&](int s, int b) { return own_partial_sums(block, own.first_slice + s, s, b, layer.padded_units); });
  });
}

/// Adds the partial sums of a layer that is split by inputs, and finishes its units. Then a block has the outputs of
/// all rows, or, of the last layer, those of the rows that it adds.
template <class Team>
__device__ inline void finish_split_layer(Block<Team>& block, int l, int buffer) {
  const DenseLayer& layer = block.net.layers[l];
  const Batch& batch = block.batch_in(buffer);
  const Owned& own = block.owned(layer);
  const int rows = static_cast<int>(batch.rows);
  const auto finish = [&](int b, int n, float z) {
    float y[] = {z};
    finish_units(block, layer, own, batch, b, n, y);
  };
  if (l == block.net.layer_count - 1) {
    add_partial_sums(block, layer, rows, layer.units, layer.padded_units, finish);
  } else {
    float* const gathered = block.shared + block.net.gathered_at;
    const int ld = layer.padded_units;
    add_partial_sums(block, layer, rows, layer.units, ld, [&](int b, int n, float z) { gathered[b * ld + n] = z; });
    gather_rows(block, block.net.gathered_at, ld, rows, [] {});
    for_elements({0, rows}, layer.units, [&](int b, int n) { finish(b, n, gathered[b * ld + n]); });
  }
  __syncthreads();
}

}  // namespace engine::cuda::chains
