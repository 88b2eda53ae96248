// Products of matrices that are nobody's weights.
#include "kernels/fill.h"
#include "kernels/gemm.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Acts>
void fill(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kFusedActivations);
  ((table.gemm[index<Acts>()] = gemm<Acts>), ...);
}

}  // namespace

void fill_general_products(KernelTable& table) {
  fill(table, Types<Linear, Relu>{});
  table.gemm_shape = {kWidth, kChain, kPanelRows, kPanelColumns, kSingleRowColumns};
  table.pack_rows = pack<kPanelRows>;
  table.pack_columns = pack<kPanelColumns>;
  table.pack_single_row_columns = pack<kSingleRowColumns>;
  table.dot = dot;
}

}  // namespace engine::ENGINE_ISA
