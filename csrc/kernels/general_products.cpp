// Enters the general matrix product (ops.matmul) and its packing into the table.
#include "kernels/fill.h"
#include "kernels/gemm.h"
#include "kernels/packed_blocks.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Acts>
void fill(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kFusedActivations);
  ((table.gemm[index<Acts>()] = gemm<Acts>), ...);
}

// What blocks of panels rely on (cpu/gemm.cpp), and what their room is reckoned by.
static_assert(kChain <= kLongestChain && kPanelColumns <= kWidestPanel);
static_assert(kChain % kPanel == 0 && kPanel % kPanelColumns == 0 && kBlockColumns % kPanelColumns == 0);
static_assert(kBlockRows % kPanelRows == 0 && kGradientRows % kPanelRows == 0);

}  // namespace

void fill_general_products(KernelTable& table) {
  fill(table, Types<Linear, Relu>{});
  table.gemm_shape = {kWidth, kChain, kPanelRows, kPanelColumns, kSingleRowColumns, kRowsByColumns, kLoadsParts};
  table.pack_rows = pack<kPanelRows>;
  table.pack_columns = pack<kPanelColumns>;
  table.pack_single_row_columns = pack<kSingleRowColumns>;
  table.dot = dot;
}

}  // namespace engine::ENGINE_ISA
