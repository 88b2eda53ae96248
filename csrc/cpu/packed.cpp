// A dense layer's large products, in blocks of packed operands (gemm.h). The bits are those of the products that read
// their operands where they lie.
#include "cpu/gemm.h"
#include "cpu/steps.h"
#include "kernels/packed_blocks.h"

namespace engine {
namespace {

/// c (m, n) of a product whose operands are still missing; rows of c are `ld` apart.
Product product_into(float* c, int64_t ld, int64_t m, int64_t n, int64_t k) {
  Product product{};
  product.m = m;
  product.n = n;
  product.k = k;
  product.c = c;
  product.c_row = ld;
  product.c_column = 1;
  return product;
}

}  // namespace

void StepRunner::forward_in_blocks(const Step& step, Range rows, Range units, const Input& x) const {
  const Variable& kernel = variable(step.kernel);
  const Buffer& out = shape(step.out);
  const int64_t m = rows.end - rows.begin;
  float* y = data(step.out) + rows.begin * out.ld + units.begin;
  Product product = product_into(y, out.ld, m, round_up(kernel.columns, kLane), kernel.rows);
  product.a = x.floats + rows.begin * x.ld;
  product.a_row = x.ld;
  product.a_column = 1;
  product.b = weights(step.kernel).values;
  product.b_layout = Layout::kPanels;
  product.bias = weights(step.bias).values;
  product.activation = step.activation;
  multiply_part(kernels_, product, {0, m}, units, data(step.room));
}

void StepRunner::input_gradient_in_blocks(const Step& step, int64_t rows, Range units) const {
  const Variable& kernel = variable(step.kernel);
  const Buffer &dz = shape(step.in), &dx = shape(step.out);
  float* to = data(step.out);
  Product product = product_into(to + units.begin, dx.ld, rows, kernel.rows, kernel.columns);
  product.a = data(step.in);
  product.a_row = dz.ld;
  product.a_column = 1;
  product.b = weights(step.kernel).values;
  product.b_layout = Layout::kTurnedPanels;
  multiply_part(kernels_, product, {0, rows}, units, data(step.room));
  if (step.activation == Activation::kLinear) return;
  kernels_.activation_backward[index(step.activation)](
      {to, to, data(step.saved), dx.ld, {0, rows}, {units.begin, round_up(units.end, kLane)}});
}

const float* StepRunner::kernel_gradient_block(const Step& step, const DenseBackwardWeights& op, Range units,
                                               Range columns) const {
  const int64_t width = columns.end - columns.begin;
  float* gradient = data(step.room) + packed_room(op.rows);
  Product product = product_into(gradient, kGradientStride, variable(step.kernel).rows, width, op.rows);
  product.a = op.x;
  product.a_row = 1;
  product.a_column = op.ldx;
  product.a_columns = op.x_rows;
  product.b = op.dz + columns.begin;
  product.b_row = op.lddz;
  product.b_column = 1;
  multiply_part(kernels_, product, units, {0, width}, data(step.room));
  return gradient;
}

}  // namespace engine
