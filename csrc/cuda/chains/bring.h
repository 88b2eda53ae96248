// A batch comes from memory of the card into one of the buffers in shared memory, if there are two while the block
// computes the batch before. Copies run by themselves. For batch n:
//     start_bringing(n - 1)    starts the copy of what batch n is (Batch), to where it is `announced`
//     finish_bringing(n - 1)   starts the copy of its row indices, which need that
//     start_bringing(n)        starts the copies of its samples and targets, which need the indices, to its buffer
//     finish_bringing(n)       waits for them
// Blocks that wait for each other call these meanwhile. Which batches they are `Batches` says (batches.h): whole ones,
// or the micro-batches of one.
#pragma once
#include "cuda/chains/batches.h"

namespace engine::cuda::chains {

// ---- Rows of any type -----------------------------------------------------------------------------------------------

template <class Team>
__device__ inline float element(const Block<Team>& block, int64_t at) {
  switch (block.net.type) {
    case RowType::kUint8:
      return static_cast<float>(static_cast<const uint8_t*>(block.net.rows)[at]);
    case RowType::kFloat32:
      return static_cast<const float*>(block.net.rows)[at];
    case RowType::kFloat64:
      break;
  }
  return static_cast<float>(static_cast<const double*>(block.net.rows)[at]);
}

/// Four uint8 numbers from `at` on, of which `count` belong to the row.
template <class Team>
__device__ inline uint32_t bytes_at(const Block<Team>& block, int64_t at, int count) {
  const auto* const bytes = static_cast<const uint8_t*>(block.net.rows) + at;
  if (block.net.whole_quads && count >= kQuad) return *reinterpret_cast<const uint32_t*>(bytes);
  uint32_t all = 0;
  for (int j = 0; j < smaller(count, kQuad); ++j) all |= static_cast<uint32_t>(bytes[j]) << 8 * j;
  return all;
}

/// Four numbers of any type, as the first layer sees them.
template <class Team>
__device__ inline float4 numbers_at(const Block<Team>& block, int64_t at, int count) {
  const bool as_they_are = block.net.scale == 1.0f && block.net.offset == 0.0f;
  const auto scaled = [&](float x) { return as_they_are ? x : formulas::fma(x, block.net.scale, block.net.offset); };
  if (block.net.whole_quads && count >= kQuad && block.net.type == RowType::kFloat32) {
    const float4 four = quad_at(static_cast<const float*>(block.net.rows) + at);
    return {scaled(four.x), scaled(four.y), scaled(four.z), scaled(four.w)};
  }
  float4 four = {};
  four.x = scaled(element(block, at));
  if (count > 1) four.y = scaled(element(block, at + 1));
  if (count > 2) four.z = scaled(element(block, at + 2));
  if (count > 3) four.w = scaled(element(block, at + 3));
  return four;
}

/// Brings one row of any type and any size.
template <class Team>
__device__ inline void bring_row(const Block<Team>& block, int64_t at, int count, int b, float* x) {
  for (int q = lane(); q < quads_of(count); q += kWarp) {
    const int left = count - q * kQuad;
    if (block.net.keeps_bytes) {
      reinterpret_cast<uint32_t*>(x)[b * block.net.ld_x / kQuad + q] = bytes_at(block, at + q * kQuad, left);
    } else {
      quad_at(x + b * block.net.ld_x + q * kQuad) = numbers_at(block, at + q * kQuad, left);
    }
  }
}

// ---- Batches --------------------------------------------------------------------------------------------------------

/// What is known of batch n before its samples are brought.
template <class Team>
__device__ inline Batch& announced(const Block<Team>& block, int n) {
  return reinterpret_cast<Batch*>(block.shared + block.net.announced_at)[n & 1];
}
/// Where its samples lie in the data set, if they are not in its order.
template <class Team>
__device__ inline int32_t* row_indices(const Block<Team>& block, int n) {
  return reinterpret_cast<int32_t*>(block.shared + block.net.row_indices_at) + (n & 1) * block.net.max_rows;
}

/// Starts to copy the row indices of batch n, which has been announced.
template <class Team>
__device__ inline void start_copy_of_row_indices(const Block<Team>& block, int n) {
  const Batch& batch = announced(block, n);
  if (!batch.order) return;
  for_each_of_block(static_cast<int>(batch.rows),
                    [&](int b) { start_copy(row_indices(block, n) + b, batch.order + b); });
}

/// Starts to copy the inputs of a batch as they lie in the data set, so many bytes at a time. `row_of(b)` is the row of
/// sample b. A warp takes a row, or several where they are short.
template <class Chunk, class Team, class RowOf>
__device__ inline void start_copies_of_inputs(const Block<Team>& block, int samples, const RowOf& row_of, int buffer) {
  const Owned& own = block.owned(block.net.layers[0]);
  const int bytes = block.net.keeps_bytes ? 1 : static_cast<int>(sizeof(float));  // of a number
  const int chunks = own.inputs * bytes / static_cast<int>(sizeof(Chunk));
  auto* const x = reinterpret_cast<uint8_t*>(block.place(buffer, block.net.places.x_at));
  const auto* const rows =
      static_cast<const uint8_t*>(block.net.rows) + (block.net.first_column + own.first_input) * bytes;
  const int log = chunks > 16 ? 5 : chunks > 8 ? 4 : chunks > 4 ? 3 : 2;  // of the threads that take a row
  ENGINE_UNROLL(1)
  for (int b = thread() >> log; b < samples; b += kBlockThreads >> log) {
    auto* const to = reinterpret_cast<Chunk*>(x + b * block.net.ld_x * bytes);
    const auto* const from = reinterpret_cast<const Chunk*>(rows + row_of(b) * block.net.stride * bytes);
    ENGINE_UNROLL(2)
    for (int i = thread() & ((1 << log) - 1); i < chunks; i += 1 << log) start_copy(to + i, from + i);
  }
}

/// Starts to copy the targets of a batch.
template <class Team, class RowOf>
__device__ inline void start_copies_of_targets(const Block<Team>& block, int samples, const RowOf& row_of, int buffer) {
  const int units = block.last().units;
  const TargetView &from = block.net.targets.view, into = block.targets_in(buffer).view;
  for_each_of_block(samples, [&](int b) {
    const int64_t row = row_of(b);
    if (block.net.targets.sparse) start_copy(const_cast<int32_t*>(into.labels) + b, from.labels + row);
    if (from.sample_weight) start_copy(const_cast<float*>(into.sample_weight) + b, from.sample_weight + row);
  });
  if (block.net.targets.sparse) return;
  for_elements({0, samples}, units, [&](int b, int n) {
    start_copy(const_cast<float*>(into.dense) + b * units + n, from.dense + row_of(b) * units + n);
  });
}

/// Calls f(row_of), whose row_of(b) is the row of sample b of batch n in the data set.
template <class Team, class F>
__device__ inline void with_rows(const Block<Team>& block, const Batch& batch, int n, F&& f) {
  const int32_t* const indices = batch.order ? row_indices(block, n) : nullptr;
  const int64_t first = batch.first;
  f([=](int b) -> int64_t { return indices ? indices[b] : first + b; });
}

/// Announces the first batch.
template <class Batches, class Team>
__device__ inline void announce_first_batch(const Block<Team>& block, const Batches& batches) {
  batches.start_describing(announced(block, 0), 0);
  wait_for_copies();
  __syncthreads();
  start_copy_of_row_indices(block, 0);
}

/// Starts to bring batch n, if there is one, and announces the one behind it.
template <class Batches, class Team>
__device__ __noinline__ void start_bringing(const Network& network, Team team, const Batches& batches, int n) {
  if (n >= batches.count) return;
  const Block<Team> block{network, shared_memory(), team};
  const int buffer = block.buffer_of(n);
  wait_for_copies();
  __syncthreads();  // its row indices are here
  const Batch& batch = announced(block, n);
  const int samples = static_cast<int>(batch.rows);
  with_rows(block, batch, n, [&](const auto& row_of) {
    if (network.bytes_together == sizeof(uint4)) start_copies_of_inputs<uint4>(block, samples, row_of, buffer);
    if (network.bytes_together == sizeof(uint32_t)) start_copies_of_inputs<uint32_t>(block, samples, row_of, buffer);
    start_copies_of_targets(block, samples, row_of, buffer);
  });
  batches.start_describing(block.batch_in(buffer), n);
  if (n + 1 < batches.count) batches.start_describing(announced(block, n + 1), n + 1);
}

/// Whether some row has a number other than 0 in quad q of the inputs.
template <class Team>
__device__ inline bool has_nonzero(const Block<Team>& block, const float* x, int rows, int q) {
  uint32_t any = 0;
  if (block.net.keeps_bytes) {
    const auto* const words = reinterpret_cast<const uint32_t*>(x) + q;
    const int ld = block.net.ld_x / kQuad;
    ENGINE_UNROLL(8)
    for (int b = 0; b < rows; ++b) any |= words[b * ld];
    return any != 0;
  }
  ENGINE_UNROLL(4)
  for (int b = 0; b < rows; ++b) {
    const float4 four = quad_at(x + b * block.net.ld_x + q * kQuad);
    any |= __float_as_uint(four.x) | __float_as_uint(four.y) | __float_as_uint(four.z) | __float_as_uint(four.w);
  }
  return any != 0;
}

/// Puts the quads of inputs that are zero in all rows behind the others: products leave them out.
template <class Team>
__device__ inline void order_quads(const Block<Team>& block, int rows, int buffer) {
  const float* const x = block.place(buffer, block.net.places.x_at);
  int* const live_of_warp = reinterpret_cast<int*>(block.shared + block.net.live_of_warp_at);
  uint16_t* const order = block.quad_order_in(buffer);
  const int quads = quads_of(block.owned(block.net.layers[0]).inputs);
  int live = 0;
  for (int first = 0; first < quads; first += kBlockThreads) {
    const int q = first + thread();
    const bool is_live = q < quads && has_nonzero(block, x, rows, q);
    const unsigned of_warp = __ballot_sync(0xffffffffu, is_live);
    if (lane() == 0) live_of_warp[warp()] = __popc(of_warp);
    __syncthreads();
    if (first + warp() * kWarp < quads) {  // which holds for warp 0 in each turn
      const int of_lane = lane() < kBlockWarps ? live_of_warp[lane()] : 0;
      const int before = live + sum_of_warp(lane() < warp() ? of_lane : 0) + __popc(of_warp & ((1u << lane()) - 1u));
      live += sum_of_warp(of_lane);
      if (q < quads) order[is_live ? before : quads - 1 - (q - before)] = static_cast<uint16_t>(q);
    }
    __syncthreads();
  }
  if (thread() == 0) *block.live_in(buffer) = live;
}

/// Waits for the copies of batch n, if there is one, and brings what could not be copied.
template <class Team>
__device__ __noinline__ void finish_bringing(const Network& network, Team team, int n, int count) {
  if (n >= count) return;
  const Block<Team> block{network, shared_memory(), team};
  const int buffer = block.buffer_of(n);
  if (network.bytes_together == 0) {
    const Batch& batch = announced(block, n);
    const Owned& own = block.owned(network.layers[0]);
    with_rows(block, batch, n, [&](const auto& row_of) {
      for (int b = warp(); b < static_cast<int>(batch.rows); b += kBlockWarps) {
        bring_row(block, row_of(b) * network.stride + network.first_column + own.first_input, own.inputs, b,
                  block.place(buffer, network.places.x_at));
      }
    });
  }
  wait_for_copies();
  __syncthreads();
  if (n + 1 < count) start_copy_of_row_indices(block, n + 1);
  if (network.skips_zeros) order_quads(block, static_cast<int>(block.batch_in(buffer).rows), buffer);
}

}  // namespace engine::cuda::chains
