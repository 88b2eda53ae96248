// Numbers that stand for tokens: rows of a table, and vectors with an entry per token. What is no token of the table
// counts as the nearest, so that no bad number reads beyond it; the door has refused it before.
#pragma once
#include "kernels/layer_table.h"
#include "kernels/simd.h"

namespace engine::ENGINE_ISA {
namespace {

ENGINE_INLINE int64_t token_at(const float* x, int64_t tokens) {
  const float last = static_cast<float>(tokens - 1);
  return static_cast<int64_t>(*x > 0.0f ? *x < last ? *x : last : 0.0f);
}

/// y (rows * count, n) = table[x (rows, count)]
void embed(const Embed& op) {
  for (int64_t b = op.rows.begin; b < op.rows.end; ++b) {
    for (int64_t i = 0; i < op.count; ++i) {
      const int64_t token = token_at(op.x + b * op.ldx + i, op.tokens);
      float* y = op.y + (b * op.count + i) * op.ldy;
      for (int64_t j = 0; j < op.n; j += kPanel) {
        const int64_t width = panel_width(op.n, j / kPanel);
        std::memcpy(y + j, op.table + panel_offset(op.tokens, j / kPanel) + token * width,
                    static_cast<size_t>(width) * sizeof(float));
      }
    }
  }
}

/// table = sums of the rows of y, which are gradients here, by token and in the order of the rows
void embed_backward(const EmbedBackward& op) {
  for (int64_t j = op.columns.begin; j < op.columns.end;) {
    const int64_t first = j / kPanel * kPanel, width = panel_width(op.n, j / kPanel);
    const int64_t end = op.columns.end < first + width ? op.columns.end : first + width;
    float* panel = op.table + panel_offset(op.tokens, j / kPanel);
    const auto bytes = static_cast<size_t>(end - j) * sizeof(float);
    for (int64_t token = 0; token < op.tokens; ++token) std::memset(panel + token * width + (j - first), 0, bytes);
    for (int64_t b = 0; b < op.rows; ++b) {
      for (int64_t i = 0; i < op.count; ++i) {
        const float* dy = op.dy + (b * op.count + i) * op.lddy;
        float* sums = panel + token_at(op.x + b * op.ldx + i, op.tokens) * width - first;
        for (int64_t c = j; c < end; c += kWidth) store(sums + c, load(sums + c) + load(dy + c));
      }
    }
    j = end;
  }
}

/// y (rows, tokens) = how often each token is among x (rows, n), or only whether
void encode(const Encode& op) {
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
