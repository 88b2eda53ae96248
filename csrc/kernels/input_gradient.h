// A dense layer's gradient by its input.
#pragma once
#include <type_traits>

#include "kernels/activations.h"
#include "kernels/microtile.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// dx = sum through the derivative of what came before.
template <class Act>
ENGINE_INLINE void store_gradient(const DenseBackwardInput& op, int64_t at, vf sum) {
  if constexpr (Act::kKind != Activation::kLinear) sum = Act::backward(sum, load(op.saved + at));
  store(op.dx + at, sum);
}

/// Turns sums (kLane units, kWidth samples), `stride` vectors apart, and stores them as rows of dx.
template <class Act>
void store_turned(const DenseBackwardInput& op, const vf* sums, int64_t stride, int64_t b, int64_t i) {
  const int64_t count = op.rows - b < kWidth ? op.rows - b : kWidth;
#pragma GCC unroll 4
  for (int part = 0; part < kParts; ++part) {
    vf square[kWidth];
#pragma GCC unroll 16
    for (int u = 0; u < kWidth; ++u) square[u] = sums[(part * kWidth + u) * stride] + 0.0f;
    transpose_square(square);
    vf rows[kWidth];
    std::memcpy(rows, square, sizeof rows);
    for (int64_t c = 0; c < count; ++c) {
      store_gradient<Act>(op, (b + c) * op.ldx + i + part * kWidth, rows[c]);
    }
  }
}

/// Units whose gradients are summed together: one chain of dz (32 KiB, AVX-512) then serves them all from the L1 cache,
/// and their rows of the kernel wait in the L2 cache, with room for this many floats, for the next samples.
constexpr int64_t kMostUnits = 64, kMostKernelFloats = 128 << 10;

/// Asks for `rows` of the kernel from `unit` on, within columns [begin, end): pieces of panels, too short for the
/// prefetchers.
ENGINE_INLINE void prefetch_kernel(const DenseBackwardInput& op, int64_t unit, int64_t rows, int64_t begin,
                                   int64_t end) {
  Panels(op.k, op.n).each({begin, end}, [&](const Panel& panel) {
    const float* piece = op.kernel + panel.offset + unit * panel.width;
    for (int64_t i = 0; i < rows * panel.width; i += kLane) __builtin_prefetch(piece + i, 0, 2);
  });
}

/// Tiles are of dx^T: units down, the batch across, so that the vectors run over the batch and no transposed copy of
/// the kernel is needed. kLane units at a time are turned as they are stored. Not inlined, nor is backward_few: all
/// activations share it.
__attribute__((noinline)) void backward_many(const DenseBackwardInput& op, decltype(&store_turned<Linear>) finish) {
  const int64_t fitting = kMostKernelFloats / op.n / kLane * kLane;
  const int64_t together = fitting < kLane ? kLane : fitting < kMostUnits ? fitting : kMostUnits;
  for (int64_t i = op.units.begin; i < op.units.end; i += together) {
    const int64_t end = op.units.end < i + together ? op.units.end : i + together;
    sweep_vectors<kTileVectors>({0, round_up(op.rows, kLane)}, [&](auto vectors, int64_t b) {
      constexpr int kVectors = decltype(vectors)::value;
      vf sums[kMostUnits][kVectors];
      for (int64_t p = 0; p < op.n; p += kChain) {
        sweep<kTileRows>(i, end, 1, [&](auto units, int64_t unit) {
          constexpr int kRows = decltype(units)::value;
          const ByPanels weights{op.kernel, {op.k, op.n}, unit};
          const int64_t stop = op.n < p + kChain ? op.n : p + kChain;
          if (b == 0 && unit + 2 * kRows <= op.units.end) prefetch_kernel(op, unit + kRows, kRows, p, stop);
          auto& sum = reinterpret_cast<vf(&)[kRows][kVectors]>(sums[unit - i]);
          if (p == 0) return chain(sum, weights, op.dz + b, op.lddz, p, stop);
          vf block[kRows][kVectors];
          chain(block, weights, op.dz + b, op.lddz, p, stop);
#pragma GCC unroll 8
          for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
            for (int v = 0; v < kVectors; ++v) sum[r][v] = sum[r][v] + block[r][v];
          }
        });
      }
      for (int64_t unit = end; unit < round_up(end, kLane); ++unit) {
        for (vf& sum : sums[unit - i]) sum = vf{};
      }
      for (int64_t unit = i; unit < end; unit += kLane) {
        for (int v = 0; v < kVectors; ++v) finish(op, &sums[unit - i][v], kVectors, b + v * kWidth, unit);
      }
    });
  }
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
      store_gradient<Act>(op, b * op.ldx + unit + u, load(&totals[b][u]) + 0.0f);
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

/// Rows `units` of a kernel with at most kLane columns, turned, for kMostUnits units; zero for those missing.
__attribute__((noinline)) inline void turn_kernel(float (&turned)[kLane][kMostUnits], const float* kernel,
                                                  Range units) {
  for (int64_t i = 0; i < kMostUnits; i += kWidth) {
    for (int64_t j = 0; j < kLane; j += kWidth) {
      vf square[kWidth];
      for (int64_t u = 0; u < kWidth; ++u) {
        const int64_t unit = units.begin + i + u;
        square[u] = unit < units.end ? load(kernel + unit * kLane + j) : vf{};
      }
      transpose_square(square);
      for (int c = 0; c < kWidth; ++c) store(&turned[j + c][i], square[c]);
    }
  }
}

/// With few columns it is the kernel that is turned: dz and dx keep their rows.
template <class Act>
ENGINE_INLINE void backward_narrow(const DenseBackwardInput& op) {
  for (int64_t i = op.units.begin; i < op.units.end; i += kMostUnits) {
    const int64_t end = op.units.end < i + kMostUnits ? round_up(op.units.end, kLane) : i + kMostUnits;
    alignas(64) float turned[kLane][kMostUnits];
    turn_kernel(turned, op.kernel, {i, op.units.end});
    sweep_rows<kTileRows>({0, op.rows}, [&](auto rows, int64_t b) {
      constexpr int kRows = decltype(rows)::value;
      for (int64_t j = i; j < end; j += kTileVectors * kWidth) {
        vf sums[kRows][kTileVectors];
        chain(sums, ByRows{op.dz + b * op.lddz, op.lddz}, turned[0] + (j - i), kMostUnits, 0, op.n);
        for (int r = 0; r < kRows; ++r) {
          for (int v = 0; v < kTileVectors && j + v * kWidth < end; ++v) {
            store_gradient<Act>(op, (b + r) * op.ldx + j + v * kWidth, sums[r][v] + 0.0f);
          }
        }
      }
    });
  }
}

template <class Act>
void dense_backward_input(const DenseBackwardInput& op) {
  if (op.in_lanes) {
    backward_few(op, store_totals<Act>);
  } else if (turns_kernel(op.n)) {
    backward_narrow<Act>(op);
  } else {
    backward_many(op, store_turned<Act>);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
