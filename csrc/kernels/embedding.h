// Embedding of tokens, which are integers stored as floats: the rows of a table that they select, and its gradient; and
// their encoding as one-hot or count vectors. The bindings refuse tokens that the table does not have. Should one
// arrive here nevertheless, it is replaced by the nearest that exists, so that nothing is read beyond the table.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

ENGINE_INLINE int64_t token_at(const float* x, int64_t tokens) {
  const float last = static_cast<float>(tokens - 1);
  return static_cast<int64_t>(*x > 0.0f ? *x < last ? *x : last : 0.0f);
}

/// y (rows * count, n) = table[x (rows, count)]
void embed(const EmbedArgs& op) {
  const Panels panels(op.tokens, op.n);
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    for (int64_t i = 0; i < op.count; ++i) {
      const int64_t token = token_at(op.x + b * op.ldx + i, op.tokens);
      float* y = op.y + (b * op.count + i) * op.ldy;
      panels.each({0, op.n}, [&](const Panel& panel) {
        std::memcpy(y + panel.first, op.table + panel.offset + token * panel.width,
                    static_cast<size_t>(panel.width) * sizeof(float));
      });
    }
  }
}

/// The gradient of the table: row t is the sum of all rows of dy (rows * count, n) whose token is t, in their order.
void embed_backward(const EmbedBackwardArgs& op) {
  Panels(op.tokens, op.n).each(op.columns, [&](const Panel& panel) {
    const int64_t begin = panel.columns.begin, end = panel.columns.end, width = panel.width;
    float* rows = op.table + panel.offset;
    const auto bytes = static_cast<size_t>(end - begin) * sizeof(float);
    if (op.only_read) {
      for (int64_t b = 0; b < op.rows; ++b) {
        for (int64_t i = 0; i < op.count; ++i) {
          std::memset(rows + token_at(op.x + b * op.ldx + i, op.tokens) * width + begin, 0, bytes);
        }
      }
    } else {
      for (int64_t token = 0; token < op.tokens; ++token) std::memset(rows + token * width + begin, 0, bytes);
    }
    for (int64_t b = 0; b < op.rows; ++b) {
      for (int64_t i = 0; i < op.count; ++i) {
        const float* dy = op.dy + (b * op.count + i) * op.lddy + panel.first;
        float* sums = rows + token_at(op.x + b * op.ldx + i, op.tokens) * width;
        for (int64_t c = begin; c < end; c += kWidth) store(sums + c, load(sums + c) + load(dy + c));
      }
    }
  });
}

/// y (rows, tokens) = how often each token is among x (rows, n), or without `counts` 1 if it is there.
void encode(const EncodeArgs& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    float* y = op.y + b * op.ldy;
    std::memset(y, 0, static_cast<size_t>(op.tokens) * sizeof(float));
    for (int64_t i = 0; i < op.n; ++i) {
      float& entry = y[token_at(op.x + b * op.ldx + i, op.tokens)];
      entry = op.counts ? entry + 1.0f : 1.0f;
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
