// Fills the table of the kernels of one instruction set. This folder is compiled once for each line of ENGINE_ISAS
// (CMakeLists.txt); `fill_table` is the only symbol that other folders use.
#include "kernels/fill.h"

#define ENGINE_STRING_(x) #x
#define ENGINE_STRING(x) ENGINE_STRING_(x)

namespace engine::ENGINE_ISA {

void fill_table(KernelTable& table) {
  table.isa = ENGINE_STRING(ENGINE_ISA);
  fill_dense(table);
  fill_dense_weight_gradient(table);
  fill_gemm(table);
  fill_weight_steps(table);
  fill_elementwise(table);
  fill_activations(table);
  fill_losses(table);
  fill_metrics(table);
  fill_layers(table);
  fill_arrays(table);
}

}  // namespace engine::ENGINE_ISA
