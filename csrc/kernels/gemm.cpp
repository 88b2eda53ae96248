// Enters the general matrix product (ops.matmul) and its packing into the table.
#include "kernels/gemm.h"

#include "kernels/fill.h"
#include "kernels/packed_blocks.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Acts>
void fill(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kFusedActivations);
  ((table.gemm[index<Acts>()] = gemm<Acts>), ...);
}

// cpu/gemm.cpp relies on these when it divides products into blocks and computes the size of their scratch.
static_assert(kNr <= kWidestPanel);
static_assert(kChain % kPanel == 0 && kPanel % kNr == 0 && kBlockColumns % kNr == 0);
static_assert(kBlockRows % kMr == 0 && kGradientRows % kMr == 0);

}  // namespace

void fill_gemm(KernelTable& table) {
  fill(table, Types<Linear, Relu>{});
  table.gemm_shape = {kWidth, kMr, kNr, kSingleRowNr, kMaxRowsByColumns, kMaskedLoads};
  table.pack_rows = pack<kMr>;
  table.pack_columns = pack<kNr>;
  table.pack_single_row_columns = pack<kSingleRowNr>;
  table.dot = dot;
}

}  // namespace engine::ENGINE_ISA
