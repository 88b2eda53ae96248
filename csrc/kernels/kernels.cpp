// The kernels of one instruction set, as a table. This folder is compiled once per entry of ENGINE_ISAS; `fill_table`
// is the only symbol that other rooms use.
#include "kernels/fill.h"

#define ENGINE_STRING_(x) #x
#define ENGINE_STRING(x) ENGINE_STRING_(x)

namespace engine::ENGINE_ISA {

void fill_table(KernelTable& table) {
  table.isa = ENGINE_STRING(ENGINE_ISA);
  fill_products(table);
  fill_weights(table);
  fill_learning(table);
  fill_general_products(table);
  fill_losses(table);
  fill_activations(table);
  fill_elements(table);
  fill_layers(table);
  fill_metrics(table);
}

}  // namespace engine::ENGINE_ISA
