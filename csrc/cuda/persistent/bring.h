// A batch comes from memory of the card into shared memory.
#pragma once
#include "cuda/persistent/block.h"

namespace engine::cuda::persistent {

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

/// Where each sample of a batch lies in the data set. This is known a batch ahead of the samples themselves, so that
/// no load has to wait for another one.
template <class Team>
__device__ inline int64_t* rows_of(const Block<Team>& block, int64_t batch) {
  return reinterpret_cast<int64_t*>(block.shared + block.net.rows_at) + (batch & 1) * block.net.max_rows;
}
template <class Team>
__device__ inline void note_rows(const Block<Team>& block, const Batch* batches, int64_t number, int64_t count) {
  if (number >= count) return;
  const Batch& batch = batches[number];
  for (int b = kBlockThreads - 1 - thread(); b < static_cast<int>(batch.rows); b += kBlockThreads) {
    rows_of(block, number)[b] = data_row(batch, b);
  }
}

template <class Team>
__device__ inline void keep_bytes(const Block<Team>& block, float* x, int b, int q, uint32_t bytes) {
  reinterpret_cast<uint32_t*>(x)[b * block.net.ld_x / kQuad + q] = bytes;
  if (bytes != 0) atomicExch(reinterpret_cast<int*>(block.shared + block.net.nonzero_at) + q, 1);
}

/// Brings the inputs of rows b and b + kBlockWarps by one warp: it reads all of them before it writes the first.
template <class Team>
__device__ inline void bring_two_rows(const Block<Team>& block, const int64_t* rows, int b, int count, int inputs,
                                      float* x) {
  constexpr int kRows = 2, kTogether = 8;
  const int quads = quads_of(inputs);
  const uint32_t* from[kRows];
  ENGINE_UNROLL(2)
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = rows[smaller(b + r * kBlockWarps, count - 1)];
    from[r] = reinterpret_cast<const uint32_t*>(static_cast<const uint8_t*>(block.net.rows) + row * block.net.stride +
                                                block.net.first_column + block.share(block.net.layers[0]).first_input);
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
        if (first + j * kWarp < quads) keep_bytes(block, x, b + r * kBlockWarps, first + j * kWarp, words[r][j]);
      }
    }
  }
}

/// Brings one row of any type and any size.
template <class Team>
__device__ inline void bring_row(const Block<Team>& block, int64_t at, int count, int b, float* x) {
  for (int q = lane(); q < quads_of(count); q += kWarp) {
    const int left = count - q * kQuad;
    if (block.net.keeps_bytes) {
      keep_bytes(block, x, b, q, bytes_at(block, at + q * kQuad, left));
      continue;
    }
    const float4 four = numbers_at(block, at + q * kQuad, left);
    quad_at(x + b * block.net.ld_x + q * kQuad) = four;
    if (four.x != 0.0f || four.y != 0.0f || four.z != 0.0f || four.w != 0.0f) {
      atomicExch(reinterpret_cast<int*>(block.shared + block.net.nonzero_at) + q, 1);
    }
  }
}

/// Brings the inputs of a batch, and notes which quads of them are not all zeros. A warp takes a row, or two.
template <class Team>
__device__ inline void bring_inputs(const Block<Team>& block, const int64_t* rows, int count, int slot) {
  const Share own = block.share(block.net.layers[0]);
  float* const x = block.place(slot, block.net.places.x_at);
  if (block.net.keeps_bytes && block.net.whole_quads && own.inputs % kQuad == 0) {
    for (int b = warp(); b < count; b += 2 * kBlockWarps) bring_two_rows(block, rows, b, count, own.inputs, x);
    return;
  }
  for (int b = warp(); b < count; b += kBlockWarps) {
    bring_row(block, rows[b] * block.net.stride + block.net.first_column + own.first_input, own.inputs, b, x);
  }
}

/// Brings the targets of a batch. Each sample has as many threads as a row of the loss.
template <class Team>
__device__ inline void bring_targets(const Block<Team>& block, const int64_t* rows, int count, int slot) {
  const int units = block.last().units;
  const Targets into = block.targets_in(slot);
  for (int b = thread() / kThreadsOfRow; b < count; b += kBlockThreads / kThreadsOfRow) {
    const int64_t row = rows[b];
    const int first = thread() % kThreadsOfRow;
    if (block.net.targets.sparse && first == 0)
      const_cast<int32_t*>(into.view.labels)[b] = block.net.targets.view.labels[row];
    for (int j = first; j < units && !block.net.targets.sparse; j += kThreadsOfRow) {
      const_cast<float*>(into.view.dense)[b * units + j] = block.net.targets.view.dense[row * units + j];
    }
    if (block.net.targets.view.sample_weight && first == 1) {
      const_cast<float*>(into.view.sample_weight)[b] = block.net.targets.view.sample_weight[row];
    }
  }
}

/// Brings a batch, whose rows have been noted: its inputs, its targets and what is known of it.
template <class Team>
__device__ inline void bring_batch(const Block<Team>& block, const Batch* batches, int64_t number) {
  constexpr int kWords = static_cast<int>(sizeof(Batch) / sizeof(uint32_t));
  static_assert(sizeof(Batch) % sizeof(uint32_t) == 0);
  const int slot = block.slot_of(number), count = static_cast<int>(batches[number].rows);
  for_each_of_block(kWords, [&](int i) {
    reinterpret_cast<uint32_t*>(&block.batch_in(slot))[i] = reinterpret_cast<const uint32_t*>(batches + number)[i];
  });
  bring_targets(block, rows_of(block, number), count, slot);
  bring_inputs(block, rows_of(block, number), count, slot);
}

/// Puts the quads of inputs that are zero in all rows behind the others: products leave them out.
template <class Team>
__device__ inline void order_quads(const Block<Team>& block, int slot) {
  int* const found = reinterpret_cast<int*>(block.shared + block.net.nonzero_at);
  int* const live_of_warp = reinterpret_cast<int*>(block.shared + block.net.partial_sums_at);
  uint16_t* const order = block.order_in(slot);
  const int quads = quads_of(block.share(block.net.layers[0]).inputs);
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
  if (thread() == 0) *block.live_in(slot) = live;
}

}  // namespace engine::cuda::persistent
