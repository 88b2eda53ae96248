// Enters the kernels of traced functions into the table.
#include "kernels/array_reduction.h"
#include "kernels/fill.h"
#include "kernels/integers.h"
#include "kernels/map.h"
#include "kernels/sorting.h"
#include "kernels/strided_copy.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Kinds>
void fill_reductions(KernelTable& table, Types<Kinds...>) {
  static_assert(sizeof...(Kinds) == kCombiningReductions);
  int i = 0, j = 0;
  ((table.reduce_rows[i++] = reduce_rows<Kinds>), ...);
  ((table.combine_rows[j++] = combine_rows<Kinds>), ...);
}

}  // namespace

void fill_arrays(KernelTable& table) {
  table.run_map = run_map;
  fill_reductions(table, Reductions{});
  table.extreme_rows = extreme_rows;
  table.first_equal = first_equal;
  table.accumulate_rows = accumulate_rows;
  table.copy_strided = copy_strided;
  table.spread_strided = spread_strided;
  table.int32_to_floats = integers_to_floats;
  table.int64_to_floats = integers_to_floats;
  table.floats_to_integers = floats_to_integers;
  table.sort_columns = sort_columns;
}

}  // namespace engine::ENGINE_ISA
