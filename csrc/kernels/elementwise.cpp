// Enters into the table what reads or writes each element once: elementwise operations, random numbers, and the rows of
// a data set on their way into the first layer.
#include "kernels/elementwise.h"

#include "kernels/fill.h"
#include "kernels/gather.h"
#include "kernels/noise.h"
#include "kernels/sparse_row_encoding.h"

namespace engine::ENGINE_ISA {
namespace {

template <class T>
void fill_rows(KernelTable& table, RowType type) {
  table.gather[index(type)] = gather<T>;
  table.record_rows[index(type)] = record_rows<T>;
  table.first_nonfinite[index(type)] = first_nonfinite<T>;
}

}  // namespace

void fill_elementwise(KernelTable& table) {
  fill_rows<uint8_t>(table, RowType::kUint8);
  fill_rows<float>(table, RowType::kFloat32);
  fill_rows<double>(table, RowType::kFloat64);
  table.gather_compressed = gather_compressed;
  table.dropout_forward = dropout_forward;
  table.mask_noise = mask_noise;
  table.normal_noise = normal_noise;
  table.uniform_numbers = uniform_numbers;
  table.normal_numbers = normal_numbers;
  table.truncated_normal_numbers = truncated_normal_numbers;
  table.add = add;
  table.transpose = transpose;
}

}  // namespace engine::ENGINE_ISA
