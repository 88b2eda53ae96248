// How the blocks of a team divide a network, and where its numbers lie in their shared memory.
#pragma once
#include "cuda/chains/chain.h"
#include "cuda/chains/network.h"

namespace engine::cuda::chains {

/// The network of a chain, for batches or micro-batches of `max_rows` samples. Places and pointers are still missing.
Network network_of(const Chain& chain, const graph::Graph& graph, int64_t max_rows);

struct LayoutOptions {
  int blocks = 1;                       // of a team
  bool divides_layers = true;           // false: a block has all of each layer
  bool exchanges_in_shared = true;      // false: in memory of the card
  bool keeps_bytes = false;             // whether samples are uint8 in shared memory, too
  bool on_tensor_cores = true;          // whether products of floats are computed there
  int batch_buffers = 1;                // 2: the next batch is brought while this one is computed
  int slots_of_weight = 0;              // numbers of the optimizer that lie beside each weight
  int most_input_ranges = kBlockWarps;  // of the inputs of a layer, which warps sum apart: each needs memory
};

/// Decides how blocks divide the layers, and sets sizes and places. Returns the bytes of shared memory that each block
/// needs; where they are more than 2^33, the places are wrong.
int64_t lay_out(Network& net, const LayoutOptions& options);

}  // namespace engine::cuda::chains
