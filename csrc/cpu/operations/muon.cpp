// Muon's directions, made nearly orthogonal by the iteration of Newton and Schulz. The products are those of dense
// layers, so that no bit depends on threads or instruction set.
#include <algorithm>
#include <cstring>

#include "cpu/kernel_choice.h"
#include "cpu/scheduler.h"
#include "graph/operations/optimizer.h"

namespace engine {
namespace {

constexpr auto kPlain = static_cast<size_t>(Activation::kLinear);

/// Whether x holds the transpose, so that its rows are the longer side. Keras transposes a square matrix, too.
bool is_transposed(const Variable& v) { return v.height() <= v.width(); }

void load_direction(const graph::LoadDirection& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const Variable& v = thread.variable(op.weights);
  const Placement& x = thread.shape(op.x);
  const float scale = thread.data(op.scales)[op.place];
  const float* direction = thread.data(op.gradient);
  const bool transposed = is_transposed(v);
  float* to = thread.data(op.x);
  const Range own = thread.range('r', x.rows);
  if (v.is_flat()) {
    const int64_t row = transposed ? 1 : v.width(), column = transposed ? v.width() : 1;
    for (int64_t i = own.begin; i < own.end; ++i) {
      for (int64_t j = 0; j < x.columns; ++j) to[i * x.ld + j] = scale * direction[i * row + j * column];
    }
    return;
  }
  Panels(v.rows, v.columns).each({0, v.columns}, [&](const Panel& panel) {
    const float* from = direction + panel.offset;
    const Range mine = transposed ? own : Range{0, v.columns};
    const Range rows = transposed ? Range{0, v.rows} : own;
    const int64_t begin = std::max(mine.begin, panel.first);
    const int64_t end = std::min({mine.end, panel.first + panel.columns.end, v.columns});
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = begin; j < end; ++j) {
        (transposed ? to[j * x.ld + i] : to[i * x.ld + j]) = scale * from[i * panel.width + j - panel.first];
      }
    }
  });
}

void gram(const graph::Gram& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const Placement& x = thread.shape(op.x);
  const float* rows = thread.data(op.x);
  Panels(x.columns, x.columns).each(thread.padded('n', x.columns), [&](const Panel& panel) {
    DenseWeightGradient product{};
    product.x = rows;
    product.ldx = x.ld;
    product.dz = rows + panel.first;
    product.lddz = x.ld;
    product.kernel.values = thread.data(op.gram) + panel.offset;
    product.ldw = panel.width;
    product.rows = x.rows;
    product.inputs = {0, x.columns};
    product.columns = panel.columns;
    thread.kernels.dense_weight_gradient(product);
  });
}

/// y (own rows, width) = x (rows, k) kernel, where the kernel is one panel
void multiply_panel(const ThreadContext& thread, const float* x, int64_t ldx, const float* kernel, int64_t k,
                    int64_t width, float* y, int64_t ldy, Range own) {
  DenseForward product{};
  product.x = x;
  product.ldx = ldx;
  product.kernel = kernel;
  product.ldw = width;
  product.y = y;
  product.ldy = ldy;
  product.k = k;
  product.rows = own;
  product.columns = {0, width};
  thread.kernels.dense_forward[kPlain](product);
}

void gram_polynomial(const graph::GramPolynomial& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const double* factors = thread.optimizer().quintic;
  const Placement& rows = thread.shape(op.rows);
  const int64_t width = rows.columns;
  const Range own = thread.range('r', width);
  float *gram = thread.data(op.gram), *plain = thread.data(op.rows);
  const auto each_panel = [&](auto&& f) { Panels(width, width).each({0, width}, f); };
  each_panel([&](const Panel& panel) {
    const auto bytes = static_cast<size_t>(panel.width) * sizeof(float);
    for (int64_t i = own.begin; i < own.end; ++i) {
      std::memcpy(plain + i * rows.ld + panel.first, gram + panel.offset + i * panel.width, bytes);
    }
  });
  if (empty(own)) return;
  each_panel([&](const Panel& panel) {
    float *products = gram + panel.offset, *out = thread.data(op.polynomial) + panel.offset;
    multiply_panel(thread, plain, rows.ld, products, width, panel.width, out, panel.width, own);
    thread.kernels.linear_combination({products, out, panel.width, own, {0, panel.width}}, factors[1], factors[2]);
  });
}

void turn_direction(const graph::TurnDirection& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const Placement &x = thread.shape(op.x), &next = thread.shape(op.next);
  const Range own = thread.range('r', x.rows);
  if (empty(own)) return;
  float *from = thread.data(op.x), *to = thread.data(op.next);
  Panels(x.columns, x.columns).each({0, x.columns}, [&](const Panel& panel) {
    multiply_panel(thread, from, x.ld, thread.data(op.polynomial) + panel.offset, x.columns, panel.width,
                   to + panel.first, next.ld, own);
  });
  thread.kernels.linear_combination({from, to, next.ld, own, {0, round_up(x.columns, kLane)}},
                                    thread.optimizer().quintic[0], 1.0);
}

void store_direction(const graph::StoreDirection& op, const ThreadContext& thread) {
  if (!thread.steps_weights()) return;
  const Variable& v = thread.variable(op.weights);
  const Placement& x = thread.shape(op.x);
  const bool transposed = is_transposed(v);
  const int64_t row = transposed ? 1 : x.ld, column = transposed ? x.ld : 1;
  const float* from = thread.data(op.x);
  float* gradient = thread.data(op.gradient);
  thread.for_panels(v, [&](const Panel& panel, Range rows) {
    float* to = gradient + panel.offset;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = panel.columns.begin; j < std::min(panel.columns.end, v.columns - panel.first); ++j) {
        const int64_t at = i * v.columns + panel.first + j;  // in the order in which the user sees the weights
        to[i * panel.width + j] = from[at / v.width() * row + at % v.width() * column];
      }
    }
  });
}

Split split_store(const Scheduler& scheduler, const graph::StoreDirection& op) {
  return split_weights(scheduler.graph().variables()[scheduler.value(op.weights).variable], scheduler.threads());
}

}  // namespace

void add_muon(Implementations& all) {
  all.add<graph::LoadDirection>(load_direction, over<'r'>);
  all.add<graph::Gram>(gram, over<'n'>);
  all.add<graph::GramPolynomial>(gram_polynomial, over<'r'>);
  all.add<graph::TurnDirection>(turn_direction, over<'r'>);
  all.add<graph::StoreDirection>(store_direction, split_store);
}

}  // namespace engine
