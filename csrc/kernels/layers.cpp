// Layers that are no products: moving numbers, noise, normalization.
#include "kernels/batch_normalization.h"
#include "kernels/column_selection.h"
#include "kernels/embedding.h"
#include "kernels/fill.h"
#include "kernels/image_augmentation.h"
#include "kernels/layer_table.h"
#include "kernels/noise.h"
#include "kernels/pooling.h"
#include "kernels/row_normalization.h"

namespace engine::ENGINE_ISA {
namespace {

constexpr LayerTable kLayers{
    take,
    take_backward,
    mask_noise,
    normal_noise,
    add,
    alpha_dropout,
    column_statistics,
    standardize_columns,
    standardize_columns_backward,
    moving_average,
    corrections,
    variance_of,
    {learned_columns<Scaled>, learned_columns<Leaky>},
    {learned_columns_backward<Scaled>, learned_columns_backward<Leaky>},
    {learned_columns_gradients<Scaled>, learned_columns_gradients<Leaky>},
    standardize_rows,
    standardize_rows_backward,
    embed,
    embed_backward,
    encode,
    mask,
    mean_rows,
    weigh_rows,
    max_rows,
    max_rows_backward,
    warp,
};

}  // namespace

void fill_layers(KernelTable& table) { table.layers = &kLayers; }

}  // namespace engine::ENGINE_ISA
