// Muon's directions, made nearly orthogonal by the iteration of Newton and Schulz: x = a x + b x g + c x g^2, with
// g = x^T x. The products are those of dense layers, so that no bit depends on threads or instruction set.
#include <algorithm>
#include <cstring>

#include "cpu/steps.h"

namespace engine {
namespace {

constexpr auto kPlain = static_cast<size_t>(Activation::kLinear);

}  // namespace

/// x (length, width) = scale * direction, or its transpose where that has the longer rows; so has Keras a square one.
void StepRunner::load_direction(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Variable& v = variable(step.kernel);
  const Buffer& x = shape(step.out);
  const float scale = data(step.in)[step.index];
  const bool turned = v.height() <= v.width();
  const Range own = worker_.slice(x.rows);
  if (v.is_flat()) {
    const int64_t row = turned ? 1 : v.width(), column = turned ? v.width() : 1;
    for (int64_t i = own.begin; i < own.end; ++i) {
      for (int64_t j = 0; j < x.columns; ++j) {
        data(step.out)[i * x.ld + j] = scale * gradient(step.kernel)[i * row + j * column];
      }
    }
    return;
  }
  Panels(v.rows, v.columns).each({0, v.columns}, [&](const Panel& panel) {
    const float* from = gradient(step.kernel) + panel.offset;
    const Range mine = turned ? own : Range{panel.first, panel.first + panel.columns.end};
    const Range rows = turned ? Range{0, v.rows} : own;
    const int64_t begin = std::max(mine.begin, panel.first);
    const int64_t end = std::min({mine.end, panel.first + panel.columns.end, v.columns});
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = begin; j < end; ++j) {
        (turned ? data(step.out)[j * x.ld + i] : data(step.out)[i * x.ld + j]) =
            scale * from[i * panel.width + j - panel.first];
      }
    }
  });
}

/// gram (width, width) = x^T x, in panels
void StepRunner::gram(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Buffer& x = shape(step.in);
  Panels(x.columns, x.columns).each(columns(step, x.columns), [&](const Panel& panel) {
    Weights products;
    products.values = data(step.out) + panel.offset;
    kernels_.dense_gradient({data(step.in),
                             x.ld,
                             data(step.in) + panel.first,
                             x.ld,
                             products,
                             panel.width,
                             {},
                             x.rows,
                             {0, x.columns},
                             panel.columns,
                             {}});
  });
}

/// out (width, width) = b gram + c gram^2, in panels; the left operand of the product lies row by row
void StepRunner::quintic(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const double* factors = frame_.training->optimizer.quintic;
  const Buffer& rows = shape(step.saved);
  const int64_t width = rows.columns;
  const Range own = worker_.slice(width);
  Panels(width, width).each({0, width}, [&](const Panel& panel) {
    const auto bytes = static_cast<size_t>(panel.width) * sizeof(float);
    for (int64_t i = own.begin; i < own.end; ++i) {
      std::memcpy(data(step.saved) + i * rows.ld + panel.first, data(step.in) + panel.offset + i * panel.width, bytes);
    }
  });
  if (own.begin >= own.end) return;
  Panels(width, width).each({0, width}, [&](const Panel& panel) {
    float *products = data(step.in) + panel.offset, *out = data(step.out) + panel.offset;
    kernels_.dense_forward[kPlain](
        {data(step.saved), rows.ld, products, panel.width, nullptr, out, panel.width, width, own, {0, panel.width}});
    kernels_.blend({products, out, panel.width, own, {0, panel.width}}, factors[1], factors[2]);
  });
}

/// out (length, width) = a x + x saved
void StepRunner::turn_direction(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Buffer &x = shape(step.in), &out = shape(step.out);
  const Range own = worker_.slice(x.rows);
  if (own.begin >= own.end) return;
  Panels(x.columns, x.columns).each({0, x.columns}, [&](const Panel& panel) {
    kernels_.dense_forward[kPlain]({data(step.in),
                                    x.ld,
                                    data(step.saved) + panel.offset,
                                    panel.width,
                                    nullptr,
                                    data(step.out) + panel.first,
                                    out.ld,
                                    x.columns,
                                    own,
                                    {0, panel.width}});
  });
  kernels_.blend({data(step.in), data(step.out), out.ld, own, {0, round_up(x.columns, kLane)}},
                 frame_.training->optimizer.quintic[0], 1.0);
}

void StepRunner::store_direction(const Step& step, const Batch& batch) const {
  if (!steps_weights(batch)) return;
  const Variable& v = variable(step.kernel);
  const Buffer& x = shape(step.in);
  const bool turned = v.height() <= v.width();
  const int64_t row = turned ? 1 : x.ld, column = turned ? x.ld : 1;
  for_weights(step, [&](const Panel& panel, Range rows) {
    float* to = gradient(step.kernel) + panel.offset;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = panel.columns.begin; j < std::min(panel.columns.end, v.columns - panel.first); ++j) {
        const int64_t at = i * v.columns + panel.first + j;  // counted row by row, as the user sees them
        to[i * panel.width + j] = data(step.in)[at / v.width() * row + at % v.width() * column];
      }
    }
  });
}

}  // namespace engine
