// A block of the persistent kernel: what it is told, and where things lie in its shared memory. The phases of a batch
// (bring.h, forward.h, loss.h, backward.h, steps of weights) are functions that all threads of a block call with it.
#pragma once
#include "cuda/persistent/network.h"
#include "cuda/persistent/team.h"
#include "cuda/persistent/warp_products.h"

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

/// So many threads compute the loss of a row: the rows of a batch of 32 are computed at once.
inline constexpr int kThreadsOfRow = kWarp / 2;

/// `Team` says which blocks train together (team.h).
template <class Team>
struct Block {
  const Network& net;
  float* const shared;
  Team team;
  int turn = 0;                // of the exchange's two buffers
  double penalty_share = 0.0;  // of this thread, in the penalties of all batches

  __device__ Share share(const DenseLayer& layer) const { return share_of(layer, team.rank()); }
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
    const int quads = quads_of(share(net.layers[l]).inputs);
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

  __device__ int slot_of(int64_t batch) const { return static_cast<int>(batch & (net.batch_slots - 1)); }
};

}  // namespace engine::cuda::persistent
