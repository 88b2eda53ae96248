// Rewrites: where a few operations can be one, whatever the device. Each has a name. A further one, which needs to know
// the losses, is `fold_links_into_losses` in build.cpp.
#pragma once
#include "graph/graph.h"

namespace engine::graph {

/// y = scale * read_input() + offset  ->  read_input(scale, offset)
void fold_rescaling_into_input(Graph& graph);

/// y = activation(dense(x))  ->  dense(x, activation), for the activations that products fuse
void fold_activation_into_dense(Graph& graph);

/// y = dense(x) + vector, a variable  ->  dense(x, bias)
void fold_bias_into_dense(Graph& graph);

/// dx = sum(addend, dense_input_gradient(...))  ->  dense_input_gradient(..., addend)
void fold_sum_into_dense(Graph& graph);

/// dz = activation_gradient(dense_input_gradient(...))  ->  dense_input_gradient(..., activation)
void fold_activation_gradient_into_dense(Graph& graph);

/// y = read_gradient(gradient), store_gradient(y), and later a step  ->  the step reads `gradient`, where nothing else
/// reads y
void pass_gradients_to_steps(Graph& graph);

/// y = reduce(...), store_gradient(y)  ->  the sum is written into the gradient of a vector, where nothing else reads y
void sum_into_gradients(Graph& graph);

/// dkernel = dense_weight_gradient(...), and later a step of the kernel  ->  dense_weight_step(...), where the
/// optimizer can step weights while their gradients are in registers
void fold_steps_into_dense(Graph& graph, const OptimizerSpec& optimizer);

/// dtable = embed_gradient(...), and later a step of the table  ->  embed_step(...), where a gradient of zero leaves a
/// row as it is, so that only the rows of the batch need a step
void fold_steps_into_embeddings(Graph& graph, const OptimizerSpec& optimizer);

/// z = map(y) where y = map(x), and nothing else reads y  ->  one map, so that y is never stored
void fuse_maps(Graph& graph);

/// y = map(x), z = map(x), which share calculations  ->  one map with two outputs, which does these once. For graphs
/// that have all of their gradients: of a map with several outputs, none are taken.
void merge_maps(Graph& graph);

/// Operations whose results nobody reads disappear.
void remove_unread(Graph& graph);

}  // namespace engine::graph
