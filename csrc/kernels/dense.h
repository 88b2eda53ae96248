// The three products of a dense layer, and its bias.
#pragma once
#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/optimizers.h"
#include "kernels/sparse.h"
#include "kernels/table.h"

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
    const ByRows x{op.x + i * op.ldx, op.ldx};
    microtile<kRows, kVectors>(x, op.kernel + j, op.ldw, op.k, epilogue);
  });
}

/// The tile is dx^T: units down, the batch across, so that the vectors run over the batch and no transposed
/// copy of the kernel is needed. It is turned as it is stored; the derivative is applied to whole rows after.
template <class Act>
void dense_backward_input(const DenseBackwardInput& op) {
  sweep<kTileVectors>(0, round_up(op.rows, kLane), kWidth, [&](auto vectors, int64_t b) {
    sweep<kTileRows>(op.units.begin, op.units.end, 1, [&](auto units, int64_t i) {
      constexpr int kRows = decltype(units)::value, kVectors = decltype(vectors)::value;
      const auto epilogue = [&](vf(&acc)[kRows][kVectors]) {
        float tile[kRows][kVectors * kWidth];
        std::memcpy(tile, acc, sizeof tile);
        const int64_t left = op.rows - b;
        const int64_t count = left < kVectors * kWidth ? left : kVectors * kWidth;
        for (int64_t c = 0; c < count; ++c) {
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) op.dx[(b + c) * op.ldx + i + r] = tile[r][c];
        }
      };
      const ByPanels kernel{op.kernel, op.k, op.n, i};
      microtile<kRows, kVectors>(kernel, op.dz_t + b, op.ldt, op.n, epilogue);
    });
  });
  if constexpr (Act::kKind == Activation::kLinear) return;
  for (int64_t b = 0; b < op.rows; ++b) {
    for (int64_t i = op.units.begin; i < op.units.end; i += kWidth) {
      float* dx = op.dx + b * op.ldx + i;
      store(dx, Act::backward(load(dx), load(op.saved + b * op.ldx + i)));
    }
  }
}

/// What pulls weights towards zero: the slope of an l2 penalty joins the gradient, decoupled decay (Loshchilov &
/// Hutter 2019) shortens the weights before the step, as in Keras. Both are exact no-ops at zero.
template <Shrinkage Kind>
struct Pull {
  vf l2_slope{}, decay{};

  Pull(const Weights& w, const OptimizerStep& step) {
    if constexpr (Kind == Shrinkage::kSome) {
      l2_slope = broadcast(static_cast<float>(2.0 * w.l2));
      decay = broadcast(static_cast<float>(step.learning_rate * w.decay));
    }
  }
  ENGINE_INLINE void operator()(vf& value, vf& gradient) const {
    if constexpr (Kind == Shrinkage::kSome) {
      gradient = fma(l2_slope, value, gradient);
      value = fma(-decay, value, value);
    }
  }
};

/// Steps one vector of weights by its gradient.
template <class Opt, Shrinkage Kind>
ENGINE_INLINE void apply(const Weights& w, int64_t at, vf gradient, const Pull<Kind>& pull,
                         const typename Opt::Coefficients& c) {
  constexpr int kSlots = slot_count(Opt::kKind);
  vf slots[kMaxSlots];
#pragma GCC unroll 2
  for (int s = 0; s < kSlots; ++s) slots[s] = load(w.slots[s] + at);
  vf value = load(w.values + at);
  pull(value, gradient);
  store(w.values + at, Opt::update(value, slots, gradient, c));
#pragma GCC unroll 2
  for (int s = 0; s < kSlots; ++s) store(w.slots[s] + at, slots[s]);
}

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

/// Fetches the lines of a tile's weights and slots while its product is still being computed.
template <class Opt, int Rows, int Vectors>
ENGINE_INLINE void prefetch_tile(const Weights& w, int64_t at, int64_t ld) {
  constexpr int kPerLine = 64 / ENGINE_VECTOR_BYTES;
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; v += kPerLine) {
      const int64_t line = at + r * ld + v * kWidth;
      __builtin_prefetch(w.values + line, 1);
      for (int s = 0; s < slot_count(Opt::kKind); ++s) __builtin_prefetch(w.slots[s] + line, 1);
    }
  }
}

template <class Opt, Shrinkage Kind>
void dense_backward_bias(const DenseBackwardWeights& op, const typename Opt::Coefficients& coefficients) {
  if (!op.bias.values || op.units.begin > 0) return;
  const Pull<Kind> pull(op.bias, op.step);
  for (int64_t j = op.columns.begin; j < op.columns.end; j += kWidth) {
    apply<Opt>(op.bias, j, column_sum(op.dz + j, op.lddz, op.rows), pull, coefficients);
  }
}

template <class Opt, Shrinkage Kind>
void dense_backward_weights(const DenseBackwardWeights& op) {
  const auto coefficients = Opt::coefficients(op.step);
  const Pull<Kind> pull(op.kernel, op.step);
  const Weights kernel = op.kernel;
  const int64_t ldw = op.ldw;
  dense_backward_bias<Opt, Kind>(op, coefficients);
  const auto update = [&, kernel](int64_t unit, int64_t column, vf gradient) {
    apply<Opt>(kernel, unit * ldw + column, gradient, pull, coefficients);
  };
  if (op.nonzeros && op.nonzeros->found()) {
    sparse_transposed_products(*op.nonzeros, op.rows, op.units, op.dz, op.lddz, op.columns, op.last, update);
    return;
  }
  sweep<kTileRows>(op.units.begin, op.units.end, 1, [&](auto units, int64_t i) {
    sweep<kTileVectors>(op.columns.begin, op.columns.end, kWidth, [&](auto vectors, int64_t j) {
      constexpr int kRows = decltype(units)::value, kVectors = decltype(vectors)::value;
      const auto epilogue = [&](vf(&acc)[kRows][kVectors]) {
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
          for (int v = 0; v < kVectors; ++v) update(i + r, j + v * kWidth, acc[r][v]);
        }
      };
      prefetch_tile<Opt, kRows, kVectors>(kernel, i * ldw + j, ldw);
      const ByColumns x{op.x + i, op.ldx};
      microtile<kRows, kVectors>(x, op.dz + j, op.lddz, op.rows, epilogue);
    });
  });
}

}  // namespace
}  // namespace engine::ENGINE_ISA
