// A block of a kernel for chains: what it is told, and where things lie in its shared memory. The phases of a batch
// (bring.h, forward.h, loss.h, backward.h, steps of weights) are functions that all threads of a block call with it.
#pragma once
#include "cuda/chains/network.h"
#include "cuda/chains/team.h"
#include "cuda/chains/warp_products.h"

namespace engine::cuda::chains {

/// Calls f(i) for each i below n, by all threads of the block.
template <class F>
__device__ inline void for_each_of_block(int n, F&& f) {
  ENGINE_UNROLL(1)
  for (int i = thread(); i < n; i += kBlockThreads) f(i);
}

__device__ inline void spread(const float4& four, float (&each)[kQuad]) {
  each[0] = four.x, each[1] = four.y, each[2] = four.z, each[3] = four.w;
}

/// Reads or writes N neighbouring numbers: one, two or four.
template <int N>
__device__ inline void read(const float* from, float (&to)[N]) {
  static_assert(N == 1 || N == kPair || N == kQuad);
  if constexpr (N == kQuad) spread(quad_at(from), to);
  if constexpr (N == kPair) to[0] = pair_at(from).x, to[1] = pair_at(from).y;
  if constexpr (N == 1) to[0] = *from;
}
template <int N>
__device__ inline void write(float* to, const float (&from)[N]) {
  static_assert(N == 1 || N == kPair || N == kQuad);
  if constexpr (N == kQuad) quad_at(to) = {from[0], from[1], from[2], from[3]};
  if constexpr (N == kPair) *reinterpret_cast<float2*>(to) = {from[0], from[1]};
  if constexpr (N == 1) *to = from[0];
}

struct Range {
  int begin, end;
  __device__ bool has(int i) const { return begin <= i && i < end; }
};

/// Calls f(b, n) for all rows of a range and each column n below `columns`. Each row has as many threads as columns, up
/// to 16, and rounded up to a power of 2: then nothing is divided, and few warps have threads without work.
template <class F>
__device__ inline void for_elements(const Range& rows, int columns, F&& f) {
  const int log = columns > 8 ? 4 : columns > 4 ? 3 : columns > 2 ? 2 : columns > 1 ? 1 : 0;
  const int threads = 1 << log;
  ENGINE_UNROLL(1)
  for (int b = rows.begin + (thread() >> log); b < rows.end; b += kBlockThreads >> log) {
    ENGINE_UNROLL(1)
    for (int n = thread() & (threads - 1); n < columns; n += threads) f(b, n);
  }
}

/// Calls f(b, whether b is one of them) for all rows of a range by 16 threads each, so that the threads of a warp stay
/// together: it has two rows, of which the second may be none.
template <class F>
__device__ inline void for_rows(const Range& rows, F&& f) {
  constexpr int kRowsOfWarp = kWarp / kThreadsOfRow;
  ENGINE_UNROLL(1)
  for (int first = rows.begin + warp() * kRowsOfWarp; first < rows.end; first += kRowsAtOnce) {
    const int b = first + lane() / kThreadsOfRow;
    f(smaller(b, rows.end - 1), b < rows.end);
  }
}

/// `Team` says which blocks train together (team.h).
template <class Team>
struct Block {
  const Network& net;
  float* const shared;
  Team team;
  int turn = 0;  // of the two buffers by which a grid exchanges partial sums

  /// What this block owns of a layer; `prepare` has left it in shared memory.
  __device__ const Owned& owned(const DenseLayer& layer) const {
    return *reinterpret_cast<const Owned*>(shared + layer.owned_at);
  }
  /// What a kernel begins with: fills shared memory with zeros, and notes what this block owns.
  __device__ void prepare() const {
    const float4 zeros = {};
    for_each_of_block(net.floats / kQuad, [&](int i) { quad_at(shared + i * kQuad) = zeros; });
    __syncthreads();
    if (thread() < net.layer_count) {
      const DenseLayer& layer = net.layers[thread()];
      *reinterpret_cast<Owned*>(shared + layer.owned_at) = owned_by(layer, team.rank());
    }
    __syncthreads();
  }
  __device__ float* place(int buffer, int at) const { return shared + buffer * net.floats_of_batch + at; }
  __device__ Batch& batch_in(int buffer) const { return *reinterpret_cast<Batch*>(place(buffer, net.places.batch_at)); }
  __device__ uint16_t* quad_order_in(int buffer) const {
    return reinterpret_cast<uint16_t*>(place(buffer, net.places.quads_at));
  }
  __device__ int* live_in(int buffer) const { return reinterpret_cast<int*>(shared + net.live_at) + buffer; }
  /// Whether this block stores the kernel of a layer, or the bias, and counts it in sums: of what all blocks of a team
  /// have alike, the first does.
  __device__ bool answers_for_kernel(const DenseLayer& layer) const {
    return layer.split != Split::kNone || team.rank() == 0;
  }
  __device__ bool answers_for_bias(const DenseLayer& layer) const {
    return layer.has_bias && (layer.split == Split::kColumns || team.rank() == 0);
  }
  __device__ const DenseLayer& last() const { return net.layers[net.layer_count - 1]; }
  /// The rows of a batch whose partial sums a block adds.
  __device__ Range rows_of_block(int rank, int rows) const {
    if constexpr (!Team::kSharesMemory) return {0, rows};
    const int begin = smaller(rank << net.rows_of_block_log, rows);
    return {begin, smaller(begin + (1 << net.rows_of_block_log), rows)};
  }
  __device__ Range rows_to_add(int rows) const { return rows_of_block(team.rank(), rows); }
  /// Those whose losses and metrics this block counts, so that each is counted once.
  __device__ Range rows_to_count(int rows) const {
    return Team::kSharesMemory || team.rank() == 0 ? rows_to_add(rows) : Range{0, 0};
  }

  /// The targets of the batch in a buffer, by row of the batch.
  __device__ Targets targets_in(int buffer) const {
    Targets own = net.targets;
    own.view.labels = reinterpret_cast<const int32_t*>(place(buffer, net.places.labels_at));
    own.view.dense = place(buffer, net.places.dense_at);
    own.view.sample_weight = place(buffer, net.places.weights_at);
    return own;
  }
  __device__ RowWeights weights_in(int buffer, const RowWeights& asked) const {
    RowWeights own = asked;
    if (own.sample_weight) own.sample_weight = place(buffer, net.places.weights_at);
    return own;
  }

  /// Calls f(inputs, order of their quads) with the inputs of a layer.
  template <class F>
  __device__ __forceinline__ void with_inputs(int l, int buffer, F&& f) const {
    const int quads = quads_of(owned(net.layers[l]).inputs);
    const bool is_first = l == 0;
    const bool skips_zeros = is_first && net.skips_zeros;
    const QuadOrder order{skips_zeros ? quad_order_in(buffer) : nullptr, skips_zeros ? *live_in(buffer) : quads, quads};
    float* const x = place(buffer, net.places.x_at);
    if (is_first && net.keeps_bytes) {
      f(ByteRows{reinterpret_cast<const uint8_t*>(x), net.ld_x, net.scale}, order);
      return;
    }
    const DenseLayer& below = net.layers[is_first ? 0 : l - 1];
    const float* const data = is_first ? x : shared + below.out_at;
    f(FloatRows{data, is_first ? net.ld_x : below.ld, net.floats_on_tensor_cores}, order);
  }

  __device__ int buffer_of(int batch) const { return batch & (net.batch_buffers - 1); }
};

}  // namespace engine::cuda::chains
