// The kinds of layers by name.
#include "graph/layer.h"

#include <algorithm>
#include <iterator>

#include "graph/operations/activation.h"
#include "graph/operations/arithmetic_layers.h"
#include "graph/operations/arrangement.h"
#include "graph/operations/array_sources.h"
#include "graph/operations/batch_normalization.h"
#include "graph/operations/column_scale.h"
#include "graph/operations/contraction.h"
#include "graph/operations/custom_gradient.h"
#include "graph/operations/dense.h"
#include "graph/operations/derivative.h"
#include "graph/operations/embedding.h"
#include "graph/operations/function.h"
#include "graph/operations/host_array.h"
#include "graph/operations/host_layer.h"
#include "graph/operations/image_augmentation.h"
#include "graph/operations/map.h"
#include "graph/operations/pooling.h"
#include "graph/operations/random_noise.h"
#include "graph/operations/reduction.h"
#include "graph/operations/row_normalization.h"
#include "graph/operations/shape.h"
#include "graph/operations/sorting.h"
#include "graph/operations/traced_loss.h"

namespace engine::graph {
namespace {

constexpr bool kOfArrays = true;

struct Kind {
  const char* name;
  std::shared_ptr<Layer> (*read)(const Attributes&);
  bool of_arrays = false;  // whether it needs nothing but the arrays that it reads
};

constexpr Kind kLayerKinds[] = {
    {"dense", read_dense},
    {"activation", read_activation_layer},
    {"dropout", read_dropout},
    {"rescaling", read_rescaling},
    {"permute", read_permute},
    {"repeat", read_repeat},
    {"noise", read_noise},
    {"column_scale", read_column_scale_layer},
    {"batch_normalization", read_batch_normalization},
    {"standardize", read_standardize},
    {"row_normalization", read_row_normalization},
    {"embedding", read_embedding},
    {"encoding", read_encoding},
    {"custom", read_custom},
    {"image_augmentation", read_image_augmentation},
    {"activity_regularization", read_activity_regularization},
    {"mean", read_mean},
    {"max", read_max},
    {"mask", read_mask},
    {"add", read_add},
    {"concatenate", read_concatenate},
    // Of traced functions.
    {"variable", read_variable_layer},
    {"weight", read_weight},
    {"constants", read_constant_array, kOfArrays},
    {"random", read_random_array, kOfArrays},
    {"map", read_map, kOfArrays},
    {"reduce", read_reduce, kOfArrays},
    {"cumulative_sum", read_cumulative_sum, kOfArrays},
    {"sort", read_sort, kOfArrays},
    {"reshape", read_reshape, kOfArrays},
    {"transpose", read_transpose, kOfArrays},
    {"slice", read_slice, kOfArrays},
    {"join", read_join, kOfArrays},
    {"gather", read_gather, kOfArrays},
    {"scatter", read_scatter, kOfArrays},
    {"contraction", read_contraction, kOfArrays},
    {"stop_gradient", read_stop_gradient, kOfArrays},
    {"custom_gradient", read_custom_gradient},
    {"host", read_host_array, kOfArrays},
    {"gradients", read_gradients},
    {"gradient", read_gradient},
    {"argument", read_argument},
    {"assign", read_assign},
    {"step", read_step},
    {"assign_after_batch", read_assign_after_batch},
    {"add_loss", read_add_loss},
    {"choose", read_choose},
    {"mask_as_array", read_mask_as_array},
    {"with_mask", read_with_mask},
};

}  // namespace

bool is_of_arrays(const std::string& kind) {
  return std::any_of(std::begin(kLayerKinds), std::end(kLayerKinds),
                     [&](const Kind& row) { return row.of_arrays && kind == row.name; });
}

std::shared_ptr<const Layer> read_layer(const std::string& kind, const Attributes& attributes) {
  const char* names[std::size(kLayerKinds)];
  for (size_t i = 0; i < std::size(kLayerKinds); ++i) names[i] = kLayerKinds[i].name;
  const int place = Attributes::place_of(kind, names, static_cast<int>(std::size(kLayerKinds)), "layer");
  const std::shared_ptr<Layer> layer = kLayerKinds[place].read(attributes);
  layer->groups = attributes.integer("groups", 1);
  layer->trains = attributes.flag("training", false);
  layer->infers = attributes.flag("inference", false);
  return layer;
}

}  // namespace engine::graph
