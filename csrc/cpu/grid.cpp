#include "cpu/grid.h"

#include <algorithm>
#include <limits>

#include "cpu/thresholds.h"
#include "kernels/packed_blocks.h"

namespace engine::cpu {

Grid plan_grid(const GemmShape& shape, const Product& p, int64_t cells) {
  Grid grid;
  grid.packed_columns = p.m == 1 ? shape.single_row_nr : shape.nr;
  const auto largest = [](int64_t extent, int64_t unit, int64_t count) {
    return std::min(extent, divide_up(divide_up(extent, unit), count) * unit);
  };
  int64_t rows = p.m, columns = p.n, best = std::numeric_limits<int64_t>::max();
  for (int64_t down = 1; down <= cells; ++down) {
    const int64_t across = cells / down;
    const int64_t cell_rows = largest(p.m, shape.mr, down), cell_columns = largest(p.n, grid.packed_columns, across);
    const int64_t cost = cell_rows * cell_columns + kPackCost * (cell_rows + cell_columns);
    if (cost >= best) continue;
    best = cost;
    grid.down = down;
    grid.across = across;
    rows = cell_rows;
    columns = cell_columns;
  }
  const bool few_rows = p.m == 1 || (p.m <= shape.most_rows_by_columns && p.n > kColumnsWorthPacking);
  grid.reads_by_columns = few_rows && p.b_layout == Layout::kStrides && p.b_row == 1 && p.b_column != 1;
  grid.packs_a =
      p.a_columns ||
      (p.m > 1 && (columns > kColumnsWorthPacking || grid.reads_by_columns || (p.a_row != 1 && p.a_column != 1)));
  grid.packs_b =
      p.b_layout != Layout::kStrides || (!grid.reads_by_columns && (rows > kRowsWorthPacking || p.b_column != 1));
  grid.packs_partial_vector = !grid.reads_by_columns && !shape.masked_loads;
  grid.block_k = rows > kBlockRows ? kBlockChains * kChain : kChain;
  const int64_t block_rows = std::min(rows, kBlockRows), block_columns = std::min(columns, kBlockColumns);
  const int64_t packed = grid.packs_b ? block_columns : grid.packs_partial_vector ? p.n % shape.vector : 0;
  const auto lines = [](int64_t floats) { return floats > 0 ? round_up(floats, kLineFloats) + kLineFloats : 0; };
  if (grid.packs_a) grid.a_floats = lines(round_up(block_rows, shape.mr) * std::min(p.k, kChain));
  grid.b_floats = lines(round_up(packed, grid.packed_columns) * std::min(p.k, grid.block_k));
  if (p.k > kChain)
    grid.partial_floats = lines(block_rows * (round_up(block_columns, grid.packed_columns) + grid.packed_columns));
  return grid;
}

}  // namespace engine::cpu
