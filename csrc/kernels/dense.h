// The three products of a dense layer, and its bias.
#pragma once
#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/sparse.h"
#include "kernels/table.h"
#include "kernels/update.h"

namespace engine::ENGINE_ISA {
namespace {

/// Tiles of kTileRows rows, then the odd rows, each against all columns: the panel of B stays in cache.
/// A single row takes wider tiles, or the FMA pipes would wait for each other.
template <class F>
ENGINE_INLINE void sweep_tiles(Range rows, Range columns, F&& f) {
  if (rows.end - rows.begin == 1) {
    sweep<kSingleRowVectors>(columns.begin, columns.end, kWidth,
                             [&](auto vectors, int64_t j) { f(Size<1>{}, vectors, rows.begin, j); });
    return;
  }
  sweep<kTileVectors>(columns.begin, columns.end, kWidth, [&](auto vectors, int64_t j) {
    sweep<kTileRows>(rows.begin, rows.end, 1, [&](auto count, int64_t i) { f(count, vectors, i, j); });
  });
}

template <class Act>
void dense_forward(const DenseForward& op) {
  const auto finish = [&op](int64_t row, int64_t column, vf sum) {
    const int64_t at = row * op.ldy + column;
    const vf z = op.bias ? sum + load(op.bias + column) : sum;
    if constexpr (saves_input(Act::kKind)) store(op.z + at, z);
    store(op.y + at, Act::forward(z));
  };
  if (op.nonzeros && op.nonzeros->found()) {
    sparse_products(*op.nonzeros, op.rows, op.kernel, op.ldw, op.columns, op.transposes, finish);
    return;
  }
  sweep_tiles(op.rows, op.columns, [&](auto rows, auto vectors, int64_t i, int64_t j) {
    constexpr int kRows = decltype(rows)::value, kVectors = decltype(vectors)::value;
    const auto epilogue = [&](vf(&acc)[kRows][kVectors]) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
        for (int v = 0; v < kVectors; ++v) finish(i + r, j + v * kWidth, acc[r][v]);
      }
    };
    if (op.x_rows) {
      microtile<kRows, kVectors>(ByRowPointers<kRows>{op.x_rows + i}, op.kernel + j, op.ldw, op.k, epilogue);
    } else {
      microtile<kRows, kVectors>(ByRows{op.x + i * op.ldx, op.ldx}, op.kernel + j, op.ldw, op.k, epilogue);
    }
  });
}

/// Turns tile (kLane units, kWidth samples) and stores it as rows of dx, through the derivative of what came before.
template <class Act>
ENGINE_INLINE void store_turned(const DenseBackwardInput& op, const vf* tile, int64_t stride, int64_t b, int64_t i) {
  const int64_t count = op.rows - b < kWidth ? op.rows - b : kWidth;
#pragma GCC unroll 4
  for (int part = 0; part < kParts; ++part) {
    vf square[kWidth];
#pragma GCC unroll 16
    for (int u = 0; u < kWidth; ++u) square[u] = tile[(part * kWidth + u) * stride];
    transpose_square(square);
    vf rows[kWidth];
    std::memcpy(rows, square, sizeof rows);
    for (int64_t c = 0; c < count; ++c) {
      const int64_t at = (b + c) * op.ldx + i + part * kWidth;
      if constexpr (Act::kKind == Activation::kLinear) {
        store(op.dx + at, rows[c]);
      } else {
        store(op.dx + at, Act::backward(rows[c], load(op.saved + at)));
      }
    }
  }
}

/// Tiles are of dx^T: units down, the batch across, so that the vectors run over the batch and no transposed copy of
/// the kernel is needed. kLane units at a time are turned as they are stored.
template <class Act>
void dense_backward_input(const DenseBackwardInput& op) {
  sweep<kTileVectors>(0, round_up(op.rows, kLane), kWidth, [&](auto vectors, int64_t b) {
    constexpr int kVectors = decltype(vectors)::value;
    for (int64_t i = op.units.begin; i < op.units.end; i += kLane) {
      vf tile[kLane][kVectors] = {};
      const int64_t end = op.units.end < i + kLane ? op.units.end : i + kLane;
      sweep<kTileRows>(i, end, 1, [&](auto units, int64_t unit) {
        constexpr int kRows = decltype(units)::value;
        microtile<kRows, kVectors>(
            ByPanels{op.kernel, op.k, op.n, unit}, op.dz_t + b, op.ldt, op.n,
            [&](const vf(&acc)[kRows][kVectors]) { std::memcpy(tile[unit - i], acc, sizeof acc); });
      });
      for (int v = 0; v < kVectors; ++v) store_turned<Act>(op, &tile[0][v], kVectors, b + v * kWidth, i);
    }
  });
}

/// Fetches the next batch a few lines at a time: shuffled rows come from main memory, and all at once they would stall.
class Fetcher {
 public:
  /// Over `calls` calls of `fetch`.
  Fetcher(const Ahead& ahead, int64_t calls)
      : ahead_(ahead), per_call_(calls > 0 ? ahead.count * ahead.lines / calls + 1 : 0) {}

  ENGINE_INLINE void fetch() {
    for (int64_t i = 0; i < per_call_ && row_ < ahead_.count; ++i) {
      __builtin_prefetch(static_cast<const char*>(ahead_.rows[row_]) + 64 * line_, 0, 2);
      if (++line_ == ahead_.lines) {
        line_ = 0;
        ++row_;
      }
    }
  }

 private:
  const Ahead& ahead_;
  int64_t per_call_, row_ = 0, line_ = 0;
};

/// Column sums of dz over the batch: chains of kChain additions, added in order.
ENGINE_INLINE vf column_sum(const float* dz, int64_t ld, int64_t rows) {
  vf total{};
  for (int64_t begin = 0; begin < rows; begin += kChain) {
    const int64_t end = rows < begin + kChain ? rows : begin + kChain;
    vf sum{};
    for (int64_t b = begin; b < end; ++b) sum = sum + load(dz + b * ld);
    total = total + sum;
  }
  return total;
}

template <class Opt, Shrinkage Kind>
void dense_backward_bias(const DenseBackwardWeights& op) {
  if (!op.bias.values || op.units.begin > 0) return;
  const Update<Opt, Kind> update(op.bias, op.step);
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    const vf sum = column_sum(op.dz + j, op.lddz, op.rows);
    update(j, 0, &sum, 1, 1);
  }
}

template <class Opt, Shrinkage Kind>
void dense_backward_weights(const DenseBackwardWeights& op) {
  dense_backward_bias<Opt, Kind>(op);
  const Update<Opt, Kind> update(op.kernel, op.step);
  Fetcher fetcher(op.ahead, (op.units.end - op.units.begin) / kTileRows);
  if (op.nonzeros && op.nonzeros->found()) {
    sparse_transposed_products(*op.nonzeros, op.rows, op.units, op.dz, op.lddz, op.columns, op.last,
                               [&](int64_t unit, int64_t column, const vf* gradient, int units, int vectors) {
                                 fetcher.fetch();
                                 update(unit * op.ldw + column, op.ldw, gradient, units, vectors);
                               });
    return;
  }
  sweep<kTileRows>(op.units.begin, op.units.end, 1, [&](auto units, int64_t i) {
    fetcher.fetch();
    sweep<kTileVectors>(op.columns.begin, op.columns.end, kWidth, [&](auto vectors, int64_t j) {
      constexpr int kRows = decltype(units)::value, kVectors = decltype(vectors)::value;
      const int64_t at = i * op.ldw + j;
      update.template prefetch<kRows, kVectors>(at, op.ldw);
      const auto epilogue = [&](const vf(&acc)[kRows][kVectors]) { update(at, op.ldw, acc[0], kRows, kVectors); };
      if (op.x_rows) {
        microtile<kRows, kVectors>(ByColumnPointers{op.x_rows, i}, op.dz + j, op.lddz, op.rows, epilogue);
      } else {
        microtile<kRows, kVectors>(ByColumns{op.x + i, op.ldx}, op.dz + j, op.lddz, op.rows, epilogue);
      }
    });
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
