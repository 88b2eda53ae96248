// A dense layer's gradient by its input for a few samples, whose sums are in lanes; and what it shares with that for
// many.
#pragma once
#include <type_traits>

#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// dx = sum through the derivative of what came before.
template <class Act>
ENGINE_INLINE void store_gradient(const DenseBackwardInput& op, int64_t at, vf sum) {
  if constexpr (Act::kKind != Activation::kLinear) sum = Act::backward(sum, load(op.saved + at));
  store(op.dx + at, sum);
}

/// Floats of a kernel whose rows wait in the L2 cache for the next samples.
constexpr int64_t kMostKernelFloats = 128 << 10;

/// Asks for `rows` of the kernel from `unit` on, within columns [begin, end): pieces of panels, too short for the
/// prefetchers.
ENGINE_INLINE void prefetch_kernel(const DenseBackwardInput& op, int64_t unit, int64_t rows, int64_t begin,
                                   int64_t end) {
  Panels(op.k, op.n).each({begin, end}, [&](const Panel& panel) {
    const float* piece = op.kernel + panel.offset + unit * panel.width;
    for (int64_t i = 0; i < rows * panel.width; i += kLane) __builtin_prefetch(piece + i, 0, 2);
  });
}

/// Panels of the kernel that all of a few samples are multiplied by before the next: with kLane units of them, 16 KiB,
/// they stay in the L1 cache.
constexpr int kLanePanels = 4;

/// Samples whose sums are made together, each for kWidth / kLaneSamples units. Where few registers hold them, a row of
/// the kernel must serve several.
constexpr int kLaneSamples = ENGINE_VECTOR_BYTES == 64 ? 1 : 2;

/// kLane units' rows of the kernel, `ldw` apart, within one panel; and the samples' of dz. Both have zeros where
/// columns end within a cache line.
struct LanePiece {
  const float *kernel, *dz;
  int64_t ldw, lddz, columns;
};

/// Pieces side by side, which end before column `end`, and whether they are the first and the last ones.
struct LanePieces {
  LanePiece piece[kLanePanels];
  int count;
  int64_t end;
  bool first, last;
};

/// acc (Samples, Units) += rows of the kernel times rows of dz, lane by lane. The rows' distance is a constant, or each
/// would take a register.
template <int64_t Distance, int Samples, int Units>
ENGINE_INLINE void add_piece(vf (&acc)[Samples][Units], const LanePiece& piece, int64_t sample, int64_t unit,
                             int64_t column) {
  const float *kernel = piece.kernel + unit * Distance, *dz = piece.dz + sample * piece.lddz;
  for (int64_t j = column; j < piece.columns; j += kLane) {
    vf slope[Samples];
#pragma GCC unroll 2
    for (int s = 0; s < Samples; ++s) slope[s] = load(dz + s * piece.lddz + j);
#pragma GCC unroll 16
    for (int u = 0; u < Units; ++u) {
      const vf weight = load(kernel + u * Distance + j);
#pragma GCC unroll 2
      for (int s = 0; s < Samples; ++s) acc[s][u] = fma(weight, slope[s], acc[s][u]);
    }
  }
}

/// sums (kParts, Samples, units) of kWidth / Samples units from `unit` on: rows of the kernel times rows of dz from
/// `sample` on, lane by lane, added to those so far. With the last columns, the lanes are added up to totals (Samples,
/// units), in the same fixed tree as LaneSum's. Not inlined: all activations share it.
template <int Samples>
__attribute__((noinline)) void add_lanes(const LanePieces& pieces, int64_t sample, int64_t unit, vf* sums,
                                         float (*totals)[kLane]) {
  constexpr int kUnits = kWidth / Samples;
  vf whole[kWidth][kParts];
#pragma GCC unroll 4
  for (int part = 0; part < kParts; ++part) {
    vf acc[Samples][kUnits];
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) acc[i / kUnits][i % kUnits] = pieces.first ? vf{} : sums[part * kWidth + i];
    const int64_t column = part * kWidth;
    for (int i = 0; i < pieces.count; ++i) {
      const LanePiece& piece = pieces.piece[i];
      static_assert(kPanel == 4 * kLane);
      switch (piece.ldw / kLane) {
        case 1:
          add_piece<kLane>(acc, piece, sample, unit, column);
          break;
        case 2:
          add_piece<2 * kLane>(acc, piece, sample, unit, column);
          break;
        case 3:
          add_piece<3 * kLane>(acc, piece, sample, unit, column);
          break;
        default:
          add_piece<kPanel>(acc, piece, sample, unit, column);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) {
      (pieces.last ? whole[i][part] : sums[part * kWidth + i]) = acc[i / kUnits][i % kUnits];
    }
  }
  if (!pieces.last) return;
  vf rows[kWidth];
#pragma GCC unroll 16
  for (int i = 0; i < kWidth; ++i) rows[i] = LaneSum::fold_parts(whole[i]);
  const vf folded = fold_rows(rows);
#pragma GCC unroll 2
  for (int s = 0; s < Samples; ++s) {
    std::memcpy(&totals[s][unit], reinterpret_cast<const float*>(&folded) + s * kUnits, kUnits * sizeof(float));
  }
}

/// copy (count, kPanel) = the first `rows` rows and `columns` columns of a matrix, and zeros around them.
inline void copy_padded(float (*copy)[kPanel], int64_t count, const float* from, int64_t ld, int64_t rows,
                        int64_t columns) {
  for (int64_t i = 0; i < count; ++i, from += ld) {
    for (int64_t j = 0; j < round_up(columns, kLane); j += kWidth) {
      const int64_t left = i < rows ? columns - j : 0;
      store(copy[i] + j, left >= kWidth ? load(from + j) : left > 0 ? load_part(from + j, left) : vf{});
    }
  }
}

template <class Act>
void store_totals(const DenseBackwardInput& op, const float (*totals)[kLane], int64_t unit) {
  for (int64_t b = 0; b < op.rows; ++b) {
    for (int64_t u = 0; u < kLane; u += kWidth) {
      const int64_t at = b * op.ldx + unit + u;
      const vf total = load(&totals[b][u]) + 0.0f;
      store_gradient<Act>(op, at, total);
    }
  }
}

/// What may not be read where it lies: fewer rows of a kernel, and of it and dz where they end within a line, with
/// zeros around them.
struct LaneCopies {
  alignas(64) float kernel[kLanePanels][kLane][kPanel];
  alignas(64) float dz[kMostLaneRows][kPanel];
};

/// The pieces from column `first` on of at most kLane units from `unit` on.
inline LanePieces lane_pieces(const DenseBackwardInput& op, int64_t unit, int64_t first, LaneCopies& copies) {
  const Panels panels(op.k, op.n);
  const int64_t units = op.units.end - unit;
  LanePieces pieces{{}, 0, first, first == 0, false};
  while (pieces.end < op.n && pieces.count < kLanePanels) {
    const Panel panel = panels.of(pieces.end);
    pieces.end += panel.width;
    const int64_t columns = op.n < pieces.end ? op.n - panel.first : panel.width;
    LanePiece& piece = pieces.piece[pieces.count];
    piece = {op.kernel + panel.offset + unit * panel.width, op.dz + panel.first, panel.width, op.lddz, columns};
    if (units < kLane || columns % kLane != 0) {
      auto& copy = copies.kernel[pieces.count];
      copy_padded(copy, kLane, piece.kernel, panel.width, units, columns);
      piece.kernel = copy[0];
      piece.ldw = kPanel;
    }
    if (columns % kLane != 0) {
      if (unit == op.units.begin) copy_padded(copies.dz, op.rows, piece.dz, op.lddz, op.rows, columns);
      piece.dz = copies.dz[0];
      piece.lddz = kPanel;
    }
    ++pieces.count;
  }
  pieces.last = pieces.end >= op.n;
  return pieces;
}

/// A batch of few samples leaves most of such vectors empty. Vectors that run along the rows of the kernel don't, and
/// read most of it as it lies. What follows in a large one is asked for meanwhile.
__attribute__((noinline)) void backward_few(const DenseBackwardInput& op, decltype(&store_totals<Linear>) finish) {
  const bool large = op.k * op.n > kMostKernelFloats;
  const int64_t share = divide_up(kLane, op.rows);
  LaneCopies copies;
  for (int64_t unit = op.units.begin; unit < op.units.end; unit += kLane) {
    vf sums[kMostLaneRows * kLane * kParts];
    alignas(64) float totals[kMostLaneRows][kLane];
    for (int64_t first = 0; first < op.n;) {
      const LanePieces pieces = lane_pieces(op, unit, first, copies);
      sweep<kLaneSamples>(0, op.rows, 1, [&](auto samples, int64_t b) {
        constexpr int kSamples = decltype(samples)::value;
        for (int64_t u = 0; u < kLane; u += kWidth / kSamples) {
          add_lanes<kSamples>(pieces, b, u, sums + (b * kLane + u * kSamples) * kParts, &totals[b]);
        }
        if (large && unit + 2 * kLane <= op.units.end) {
          prefetch_kernel(op, unit + kLane + b * share, kSamples * share, first, pieces.end);
        }
      });
      first = pieces.end;
    }
    finish(op, totals, unit);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
