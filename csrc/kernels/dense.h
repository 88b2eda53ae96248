// The products of a dense layer with its kernel: forwards, and backwards to its input.
#pragma once
#include "kernels/activations.h"
#include "kernels/compressed.h"
#include "kernels/few_columns.h"
#include "kernels/microtile.h"
#include "kernels/slices.h"
#include "kernels/sparse.h"
#include "kernels/table.h"
#include "kernels/transpose.h"

namespace engine::ENGINE_ISA {
namespace {

/// Of products forwards, where rows of A lie apart. 6 x 4 vectors take 37 instructions for 24 multiply-adds, 8 x 2 29
/// for 16: alone on its core the one is as quick as the other, beside a busy hardware thread a fifth quicker.
constexpr int kForwardRows = ENGINE_VECTOR_BYTES == 64 ? 6 : kTileRows;
constexpr int kForwardVectors = ENGINE_VECTOR_BYTES == 64 ? 4 : kTileVectors;

/// Tiles against all columns, so that the panel of B stays in cache; up to kTileRows rows go through it once. A single
/// row takes wider tiles, or the FMA pipes would wait for each other.
template <class F>
ENGINE_INLINE void sweep_tiles(Range rows, Range columns, F&& f) {
  const auto sweep_pieces = [&](auto vectors, int64_t j) {
    sweep<kTileRows>(rows.begin, rows.end, 1, [&](auto count, int64_t i) { f(count, vectors, i, j); });
  };
  const int64_t count = rows.end - rows.begin;
  if (count == 1) {
    sweep_vectors<kSingleRowVectors>(columns, [&](auto vectors, int64_t j) { f(Size<1>{}, vectors, rows.begin, j); });
  } else if (count <= kTileRows) {
    sweep_vectors<kTileVectors>(columns, sweep_pieces);
  } else {
    sweep_vectors<kForwardVectors>(columns, [&](auto vectors, int64_t j) {
      if constexpr (decltype(vectors)::value <= kTileVectors) {
        sweep_pieces(vectors, j);
      } else {
        const int64_t whole = rows.begin + count / kForwardRows * kForwardRows;
        const auto tile = [&](auto piece, int64_t i) { f(piece, vectors, i, j); };
        sweep<kForwardRows, kForwardRows>(rows.begin, whole, 1, tile);
        sweep<2>(whole, rows.end, 1, tile);
      }
    });
  }
}

/// y from `sums` (rows, vectors), rows of which are `ld` apart, at (row, column). What is added to them is never -0, so
/// that bits don't depend on whether zero terms were skipped.
template <class Act>
void finish_sums(const DenseForward& op, int64_t row, int64_t column, const float* sums, int64_t ld, int64_t rows,
                 int vectors) {
  if (rows <= 0 || vectors <= 0) __builtin_unreachable();
  constexpr int kTogether = kParts < kTileVectors ? kParts : kTileVectors;  // of which there are a multiple
  const float* bias = op.in_slices ? nullptr : op.bias;
  float* y = op.y + row * op.ldy + column;
  const int64_t ldy = op.ldy;
  for (int64_t j = 0; j < vectors * kWidth; j += kTogether * kWidth) {
    vf shift[kTogether];
#pragma GCC unroll 2
    for (int v = 0; v < kTogether; ++v) shift[v] = bias ? load(bias + column + j + v * kWidth) + 0.0f : vf{};
    float* to = y + j;
    const float *sum = sums + j, *end = sum + rows * ld;
    for (; sum != end; sum += ld, to += ldy) {
#pragma GCC unroll 2
      for (int v = 0; v < kTogether; ++v) store(to + v * kWidth, Act::forward(load(sum + v * kWidth) + shift[v]));
    }
  }
}

/// Not inlined: all activations share it.
__attribute__((noinline)) void multiply(const DenseForward& op, decltype(&finish_sums<Linear>) finish) {
  const auto epilogue = [&](int64_t row, int64_t column, const float* sums, int64_t ld, int64_t rows, int vectors) {
    finish(op, row, column, sums, ld, rows, vectors);
  };
  if (op.compressed) {
    compressed_products(*op.compressed, op.rows, op.kernel, op.ldw, op.columns, op.in_slices, op.bias, epilogue);
    return;
  }
  if (op.nonzeros && op.nonzeros->found()) {
    sparse_products(*op.nonzeros, op.rows, op.kernel, op.ldw, op.columns, op.transposes, epilogue);
    return;
  }
  if (has_few_columns(op)) return multiply_few_columns(op, epilogue);
  sweep_tiles(op.rows, op.columns, [&](auto rows, auto vectors, int64_t i, int64_t j) {
    constexpr int kRows = decltype(rows)::value, kVectors = decltype(vectors)::value;
    vf tile[kRows][kVectors];
    const auto sum = [&](const auto& x) {
      if constexpr (kVectors <= kParts) {
        if (op.in_slices) {
          return sum_slices(tile, x, op.kernel + j, op.ldw, op.k, op.bias ? op.bias + j : nullptr);
        }
      }
      microtile(tile, x, op.kernel + j, op.ldw, op.k);
    };
    if (op.x_rows) {
      sum(ByRowPointers<kRows>{op.x_rows + i});
    } else {
      sum(ByRows{op.x + i * op.ldx, op.ldx});
    }
    epilogue(i, j, reinterpret_cast<const float*>(tile), kVectors * kWidth, kRows, kVectors);
  });
}

template <class Act>
void dense_forward(const DenseForward& op) {
  multiply(op, finish_sums<Act>);
}

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
  for (int64_t p = begin; p < end; p += kPanel) {
    const int64_t panel = p / kPanel, width = panel_width(op.n, panel);
    const float* piece = op.kernel + panel_offset(op.k, panel) + unit * width;
    for (int64_t i = 0; i < rows * width; i += kLane) __builtin_prefetch(piece + i, 0, 2);
  }
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
          const ByPanels weights{op.kernel, op.k, op.n, unit};
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

/// sums (Units, Samples, kLane) of so many units and samples, lane by lane: a row of the kernel times a row of dz
/// within the `columns` of one panel, added to those of the panels before. Where columns end within a cache line, what
/// follows is left out: pads may hold anything in either. Not inlined: all activations share it.
template <int Units, int Samples>
__attribute__((noinline)) void add_lanes(vf (*sums)[Samples][kParts], bool first, const float* kernel, const float* dz,
                                         int64_t lddz, int64_t columns) {
  const int64_t width = round_up(columns, kLane), whole = columns - columns % kLane;
#pragma GCC unroll 4
  for (int part = 0; part < kParts; ++part) {
    vf acc[Units][Samples];
#pragma GCC unroll 8
    for (int u = 0; u < Units; ++u) {
#pragma GCC unroll 2
      for (int s = 0; s < Samples; ++s) acc[u][s] = first ? vf{} : sums[u][s][part];
    }
    const auto add = [&](int64_t j, auto&& read) __attribute__((always_inline)) {
      vf slope[Samples];
#pragma GCC unroll 2
      for (int s = 0; s < Samples; ++s) slope[s] = read(dz + s * lddz + j);
#pragma GCC unroll 8
      for (int u = 0; u < Units; ++u) {
        const vf weight = read(kernel + u * width + j);
#pragma GCC unroll 2
        for (int s = 0; s < Samples; ++s) acc[u][s] = fma(weight, slope[s], acc[u][s]);
      }
    };
    int64_t j = part * kWidth;
    for (; j < whole; j += kLane) add(j, load);
    if (j < columns) {
      const int64_t left = columns - j < kWidth ? columns - j : kWidth;
      add(j, [left](const float* p) { return load_part(p, left); });
    }
#pragma GCC unroll 8
    for (int u = 0; u < Units; ++u) {
#pragma GCC unroll 2
      for (int s = 0; s < Samples; ++s) sums[u][s][part] = acc[u][s];
    }
  }
}

/// Stores the sums of the lanes of kLane units, `stride` vectors apart, each added up in the same fixed tree as
/// LaneSum's.
template <class Act>
void store_folded(const DenseBackwardInput& op, const vf* sums, int64_t stride, int64_t b, int64_t unit) {
  for (int part = 0; part < kParts; ++part) {
    vf units[kWidth];
#pragma GCC unroll 16
    for (int u = 0; u < kWidth; ++u, sums += stride) units[u] = LaneSum::fold_parts(sums);
    store_gradient<Act>(op, b * op.ldx + unit + part * kWidth, fold_rows(units) + 0.0f);
  }
}

/// A batch of few samples leaves most of such vectors empty. Vectors that run along the rows of the kernel don't, and
/// read it as it lies, block after block of kMostUnits rows: from main memory, a third of the time.
__attribute__((noinline)) void backward_few(const DenseBackwardInput& op, decltype(&store_folded<Linear>) finish) {
  constexpr int kTogether = 2;
  for (int64_t i = op.units.begin; i < op.units.end; i += kMostUnits) {
    const int64_t end = op.units.end < i + kMostUnits ? op.units.end : i + kMostUnits;
    sweep<kTogether>(0, op.rows, 1, [&](auto samples, int64_t b) {
      constexpr int kSamples = decltype(samples)::value;
      vf sums[kMostUnits][kSamples][kParts];
      for (int64_t panel = 0; panel * kPanel < op.n; ++panel) {
        const int64_t left = op.n - panel * kPanel, columns = left < kPanel ? left : kPanel;
        const int64_t width = panel_width(op.n, panel);
        sweep<kTileRows>(i, end, 1, [&](auto units, int64_t unit) {
          add_lanes<decltype(units)::value, kSamples>(&sums[unit - i], panel == 0,
                                                      op.kernel + panel_offset(op.k, panel) + unit * width,
                                                      op.dz + b * op.lddz + panel * kPanel, op.lddz, columns);
        });
      }
      for (int64_t unit = end; unit < round_up(end, kLane); ++unit) std::memset(sums[unit - i], 0, sizeof sums[0]);
      for (int64_t unit = i; unit < end; unit += kLane) {
        for (int s = 0; s < kSamples; ++s) finish(op, sums[unit - i][s], kSamples * kParts, b + s, unit);
      }
    });
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
    backward_few(op, store_folded<Act>);
  } else if (turns_kernel(op.n)) {
    backward_narrow<Act>(op);
  } else {
    backward_many(op, store_turned<Act>);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
