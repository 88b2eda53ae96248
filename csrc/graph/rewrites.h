// Rewrites: each replaces a few operations by one, or removes some, whatever the device is. A further one,
// `fold_activations_into_losses`, is in build.cpp, as it needs to know the losses.
#pragma once
#include "graph/graph.h"

namespace engine::graph {

/// y = scale * read_input() + offset, a map  ->  read_input(scale, offset)
void fold_rescaling_into_input(Graph& graph);

/// y = activation(dense(x))  ->  dense(x, activation), for the activations that products fuse
void fold_activation_into_dense(Graph& graph);

/// y = dense(x) + vector, a variable  ->  dense(x, bias)
void fold_bias_into_dense(Graph& graph);

/// dx = addend + dense_input_gradient(...)  ->  dense_input_gradient(..., addend)
void fold_sum_into_dense(Graph& graph);

/// dz = activation_gradient(dense_input_gradient(...))  ->  dense_input_gradient(..., activation)
void fold_activation_gradient_into_dense(Graph& graph);

/// y = read_gradient(gradient), stored = store_gradient(y), step(stored)  ->  step(gradient), if nothing else reads y.
/// It saves functions that step variables by derivatives two copies of each.
void pass_gradients_to_steps(Graph& graph);

/// y = reduce(...), gradient = store_gradient(y)  ->  gradient = reduce(...), for the gradient of a vector, if nothing
/// else reads y
void sum_into_gradients(Graph& graph);

/// dkernel = dense_weight_gradient(...), and later a step of the kernel  ->  dense_weight_step(...), for optimizers
/// that can step weights while their gradients are in registers
void fold_steps_into_dense(Graph& graph, const OptimizerSpec& optimizer);

/// dtable = embed_gradient(...), and later a step of the table  ->  embed_step(...), for optimizers that leave a row
/// with a gradient of zero as it is, so that only the rows of the batch need a step
void fold_steps_into_embeddings(Graph& graph, const OptimizerSpec& optimizer);

/// y = broadcast(x), z = f(y) row by row  ->  z = f(x), and maps that read z broadcast it themselves. Products read z
/// without the letter of its rows. So what a Jacobian needs of the forward pass is computed once, not for each output.
/// For functions of arrays, which have all of their gradients.
void compute_equal_rows_once(Graph& graph);

/// z = map(y) where y = map(x), and nothing else reads y  ->  one map, so that y is never stored. The values `kept`,
/// which operations to come read, stay.
void fuse_maps(Graph& graph, const std::vector<ValueId>& kept = {});

/// y = map(x), z = map(x), which share calculations  ->  one map with two outputs, which does these once. For graphs
/// that have all of their gradients: of a map with several outputs, none are taken.
void merge_maps(Graph& graph);

/// y = map(x), z = map(y), ...  ->  z = map(x), for all that read y, where computing it anew takes less time than to
/// store it and to read it again. For functions of arrays, which have all of their gradients.
void recompute_maps(Graph& graph);

/// z = map(y) where y is a slice of x, or x placed among zeros  ->  map(x), which reads x where it lies. For graphs
/// whose maps have been fused: maps with windows are not.
void read_windows(Graph& graph);

/// Removes operations whose results nobody reads.
void remove_unread(Graph& graph);

}  // namespace engine::graph
