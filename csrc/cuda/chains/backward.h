// Backwards: gradients of the loss by the sums of each layer, and by the weights.
#pragma once
#include "cuda/chains/forward.h"

namespace engine::cuda::chains {

__device__ __noinline__ inline float activate_backward_by_formula(const Stage& stage, float dy, float saved) {
  return backward(stage.activation, dy, saved, stage.parameters);
}
template <int N>
__device__ inline void activate_backward(const Stage& stage, const float (&saved)[N], float (&dy)[N]) {
  with_formula(stage.activation, FusedActivations{}, [&](auto chosen) {
    ENGINE_UNROLL(4)
    for (int j = 0; j < N; ++j) dy[j] = decltype(chosen)::Type::backward(dy[j], saved[j]);
  });
  if (is_fused(stage.activation)) return;
  ENGINE_UNROLL(4)
  for (int j = 0; j < N; ++j) dy[j] = activate_backward_by_formula(stage, dy[j], saved[j]);
}

/// The gradients by the outputs of row b and N units from unit n on become those by their sums.
template <int N, class Team>
__device__ inline void backward_through_stages(const Block<Team>& block, const DenseLayer& layer, int b, int n,
                                               float (&dy)[N]) {
  ENGINE_UNROLL(1)
  for (int s = layer.stage_count - 1; s >= 0; --s) {
    const Stage& stage = layer.stages[s];
    float saved[N];
    read(block.shared + stage.saved_at + b * layer.ld + n, saved);
    if (!stage.is_dropout) {
      activate_backward(stage, saved, dy);
      continue;
    }
    ENGINE_UNROLL(4)
    for (int j = 0; j < N; ++j) dy[j] = dy[j] * saved[j];
  }
}

/// The gradients by the sums of row b and two units from unit n on, of which there are `units`, by those of the
/// outputs.
template <class Team>
__device__ inline void finish_gradients(const Block<Team>& block, const DenseLayer& layer, int b, int n, int units,
                                        const float2& by_outputs) {
  float dz[] = {by_outputs.x, by_outputs.y};
  backward_through_stages(block, layer, b, n, dz);
  ENGINE_UNROLL(2)
  for (int j = 0; j < kPair; ++j) dz[j] = n + j < units ? dz[j] : 0.0f;
  write(block.shared + layer.gradient_at + b * layer.ld + n, dz);
}

/// Sums over units `first` to `end` of dz[b,n] kernel[k,n], for 32 rows from `row` on and the 8 inputs k of quads q and
/// q + 1. The layer has `quads` quads.
template <class Team>
__device__ inline TileSums input_gradients_on_tensor_cores(const Block<Team>& block, const DenseLayer& layer, int row,
                                                           int rows, int q, int quads, int first, int end) {
  const int g = lane() / 4, t = lane() % 4, of_lane = q + g / kQuad;      // the quad of this lane's column, an input
  const int floats_of_chunk = layer.padded_inputs / kQuad * kQuadStride;  // of 8 units
  const float* weights = block.shared + place_of_quad(layer, first + kPair * t, of_lane) + g % kQuad;
  const float* const dz = block.shared + layer.gradient_at;
  TileSums sums;
  ENGINE_UNROLL(1)
  for (int n = first + kPair * t; n - kPair * t < end; n += kSummedTogether, weights += floats_of_chunk) {
    const bool is_unit = n < end, is_weight = is_unit && of_lane < quads;
    const float* const own = dz + (is_unit ? n : first);
    sums.add(row, rows, [&](int b) { return pair_at(own + b * layer.ld); },
             {is_weight ? weights[0] : 0.0f, is_weight ? weights[kQuad] : 0.0f});
  }
  return sums;
}

template <class Team>
__device__ inline LaneSums input_gradients_by_fma(const Block<Team>& block, const DenseLayer& layer, int row, int rows,
                                                  int q, int quads, int first, int end) {
  const float* const dz = block.shared + layer.gradient_at + smaller(row + lane(), rows - 1) * layer.ld;
  const int next = smaller(q + 1, quads - 1);
  LaneSums sums;
  ENGINE_UNROLL(1)
  for (int n = first; n < end; n += kQuad) {
    float slopes[kQuad];
    read(dz + n, slopes);
    const float* const upper = block.shared + place_of_quad(layer, n, q);
    const float* const lower = block.shared + place_of_quad(layer, n, next);
    ENGINE_UNROLL(4)
    for (int j = 0; j < kQuad; ++j) {
      add_products(sums.columns, quad_at(upper + j * kQuad), slopes[j]);
      add_products(sums.columns + kQuad, quad_at(lower + j * kQuad), slopes[j]);
    }
  }
  return sums;
}

/// Calls f(b, k, the sums over units `first` to `end` of dz[b,n] kernel[k,n] for two inputs from k on), for all rows
/// and all pairs of a layer's inputs. A warp takes 32 rows and 8 inputs at a time. `first` is a multiple of 4.
template <class Team, class F>
__device__ inline void for_input_gradients(const Block<Team>& block, const DenseLayer& layer, int rows, int first,
                                           int end, F&& f) {
  const int quads = quads_of(block.owned(layer).inputs), groups = (rows + kWarp - 1) / kWarp;
  const int items = groups * ((quads + FloatRows::kQuadsTogether - 1) / FloatRows::kQuadsTogether);
  ENGINE_UNROLL(1)
  for (int item = warp(); item < items; item += kBlockWarps) {
    __syncwarp();  // tensor cores take the operands of all lanes at once
    const int of_groups = divide(item, groups), row = (item - of_groups * groups) * kWarp;
    const int q = of_groups * FloatRows::kQuadsTogether;
    const auto give = [&](int b, int n, const float2& pair) {
      if (q + n / kQuad < quads) f(b, q * kQuad + n, pair);
    };
    if (block.net.floats_on_tensor_cores) {
      input_gradients_on_tensor_cores(block, layer, row, rows, q, quads, first, end).for_pairs(row, rows, give);
    } else {
      input_gradients_by_fma(block, layer, row, rows, q, quads, first, end).for_pairs(row, rows, give);
    }
  }
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

/// The gradients by the sums of the layer below, from those of layer l.
template <class Team>
__device__ inline void backpropagate(Block<Team>& block, int l, int buffer) {
  const DenseLayer &layer = block.net.layers[l], &below = block.net.layers[l - 1];
  const int rows = static_cast<int>(block.batch_in(buffer).rows);
  const Owned& own = block.owned(layer);
  if (layer.split != Split::kColumns) {
    for_input_gradients(block, layer, rows, 0, layer.units, [&](int b, int k, const float2& sum) {
      finish_gradients(block, below, b, k, own.inputs, sum);
    });
    __syncthreads();
    return;
  }
  const int ld = layer.padded_inputs;
  for (int s = 0; s < own.slices; ++s) {
    const int first = s * layer.width, end = smaller(first + layer.width, own.units);
    for_input_gradients(block, layer, rows, first, end, [&](int b, int k, const float2& sum) {
      *reinterpret_cast<float2*>(own_partial_sums(block, own.first_slice + s, s, b, ld) + k) = sum;
    });
  }
  block.team.arrive_with_shared();
  block.team.wait();
  float* const gathered = block.shared + block.net.gathered_at;
  add_partial_sums(block, layer, rows, layer.inputs, ld, [&](int b, int k, float dy) { gathered[b * ld + k] = dy; });
  gather_rows(block, block.net.gathered_at, ld, rows, [] {});
  for_elements({0, rows}, (layer.inputs + 1) / kPair, [&](int b, int pair) {
    finish_gradients(block, below, b, pair * kPair, layer.inputs, pair_at(gathered + b * ld + pair * kPair));
  });
  __syncthreads();
}

// ---- By the weights -------------------------------------------------------------------------------------------------

/// The number by which this warp takes items of layer l. Every second layer counts the warps from the last one on, so
/// that the warps with the fewest items of one layer have the most of the next.
__device__ inline int worker_of(int l) { return l % 2 == 0 ? warp() : kBlockWarps - 1 - warp(); }

/// Calls f(q, n, gradient) for each quad of inputs q and column n of this block's part of a kernel. A warp has 8 quads
/// and 8 columns at a time; `worker` is its number. It also calls f for columns behind the last one, up to a multiple
/// of 8, and quads have inputs behind the last one, whose gradients are 0.
template <class Rows, class Team, class F>
__device__ inline void for_kernel_gradients(const Block<Team>& block, const DenseLayer& layer, const Rows& x,
                                            const QuadOrder& order, int rows, int worker, F&& f) {
  const int chunks = (block.owned(layer).units + kColumns - 1) / kColumns;
  const int items = (order.all + kQuadsOfWarp - 1) / kQuadsOfWarp * chunks;
  for (int item = worker; item < items; item += kBlockWarps) {
    __syncwarp();  // lanes may have left the item before early, and tensor cores take the operands of all at once
    const int of_chunks = divide(item, chunks), chunk = item - of_chunks * chunks;
    const int i = of_chunks * kQuadsOfWarp + lane() / kThreadsOfQuad;
    const int q = order[i < order.all ? i : 0];
    const GradientOfThread gradient =
        sum_gradient(x, q, i < order.live, block.shared + layer.gradient_at + chunk * kColumns, layer.ld, rows);
    if (i >= order.all) continue;
    const int first = chunk * kColumns + lane() % kThreadsOfQuad * 2;
    ENGINE_UNROLL(2)
    for (int column = 0; column < 2; ++column) f(q, first + column, gradient.columns[column]);
  }
}

/// Calls f(n, gradient) for each bias of this block's part of layer l. The last warps do that: they have the fewest
/// products.
template <class Team, class F>
__device__ inline void for_bias_gradients(const Block<Team>& block, int l, int rows, F&& f) {
  const DenseLayer& layer = block.net.layers[l];
  const int first = (kBlockWarps - 1 - worker_of(l)) * kWarp;
  for (int n = first + lane(); layer.has_bias && n < block.owned(layer).units; n += kBlockThreads) {
    const float* const dz = block.shared + layer.gradient_at + n;
    float sum = 0.0f;
    ENGINE_UNROLL(8)
    for (int b = 0; b < rows; ++b) sum = sum + dz[b * layer.ld];
    f(n, sum);
  }
}

}  // namespace engine::cuda::chains
