// What touches each element once, and the way of the rows into the first layer.
#include "kernels/elementwise.h"
#include "kernels/fill.h"
#include "kernels/gather.h"
#include "kernels/sparse_row_encoding.h"

namespace engine::ENGINE_ISA {
namespace {

template <class T>
void fill_input(KernelTable& table, RowType type) {
  table.gather[index(type)] = gather<T>;
  table.record_rows[index(type)] = record_rows<T>;
  table.first_nonfinite[index(type)] = first_nonfinite<T>;
}

}  // namespace

void fill_elements(KernelTable& table) {
  fill_input<uint8_t>(table, RowType::kUint8);
  fill_input<float>(table, RowType::kFloat32);
  fill_input<double>(table, RowType::kFloat64);
  table.gather_compressed = gather_compressed;
  table.dropout_forward = dropout_forward;
  table.multiply = multiply;
  table.affine = affine;
  table.transpose = transpose;
  table.exp = exp_block;
  table.log = log_block;
  table.fma = fma_block;
}

}  // namespace engine::ENGINE_ISA
