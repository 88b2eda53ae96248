// Enters the kernels of layers that are no products into the table: normalization, embeddings, pooling, images.
#include "kernels/batch_normalization.h"
#include "kernels/embedding.h"
#include "kernels/fill.h"
#include "kernels/image_augmentation.h"
#include "kernels/pooling.h"
#include "kernels/row_normalization.h"

namespace engine::ENGINE_ISA {

void fill_layers(KernelTable& table) {
  table.column_statistics = column_statistics;
  table.standardize_columns = standardize_columns;
  table.standardize_columns_backward = standardize_columns_backward;
  table.moving_average = moving_average;
  table.corrections = corrections;
  table.variance_of = variance_of;
  table.standardize_rows = standardize_rows;
  table.standardize_rows_backward = standardize_rows_backward;
  table.embed = embed;
  table.embed_backward = embed_backward;
  table.encode = encode;
  table.timestep_mask = timestep_mask;
  table.sum_timesteps = sum_timesteps;
  table.weight_timesteps = weight_timesteps;
  table.max_timesteps = max_timesteps;
  table.max_timesteps_backward = max_timesteps_backward;
  table.warp = warp;
}

}  // namespace engine::ENGINE_ISA
