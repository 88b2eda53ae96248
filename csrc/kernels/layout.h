// How rows, columns and kernels lie in memory, how threads share them, and in which order sums of them are made.
#pragma once
#include <cstdint>

#include "formulas/summation.h"

namespace engine {

/// Rows of every buffer are padded to whole cache lines, so that no kernel needs a masked store. Pads may hold
/// anything, even NaN: whoever joins the columns of a row leaves them out.
inline constexpr int64_t kLane = 16;

/// Pieces of `size` that cover n; the last may be smaller.
inline constexpr int64_t divide_up(int64_t n, int64_t size) { return (n + size - 1) / size; }
inline constexpr int64_t round_up(int64_t n, int64_t multiple) { return divide_up(n, multiple) * multiple; }

/// Gradients by the input transpose the kernel where it is narrow or the batch has so few rows, else dz. With vectors
/// along a batch of 8 rows half of their lanes would be pads.
inline constexpr int64_t kFewRows = 8;
inline constexpr bool transposes_kernel(int64_t rows, int64_t columns) { return columns <= kLane || rows <= kFewRows; }

/// Floats that lie unused between those that two threads write: 2 KiB. Prefetchers run on from the last lines that one
/// thread touches, over the ends of pages too, and pull what the other is writing, who then waits for each line.
inline constexpr int64_t kApart = 512;

/// A half-open range of rows, columns or units. Column ranges start and end at multiples of kLane.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

/// A panel of a matrix, or some columns of it: those count from its first one, which is column `first` of the matrix.
struct Panel {
  int64_t first;
  int64_t offset;  // in floats, from the first panel on
  int64_t width;   // padded: the distance between its rows
  Range columns;
};

/// The most columns of a panel.
inline constexpr int64_t kPanel = 64;

/// Weights (rows, columns) are kept in panels of equal width, one after the other, each row-major; the last one may be
/// narrower. Most of a thread's columns are contiguous then. In plain rows the threads' columns alternate every few
/// cache lines, and prefetchers fetch lines that another core is writing: 2.3 times the epoch where cores do not share
/// a cache. For the same reason a matrix too large for the L1 cache has two panels at least, so that two threads need
/// not share one: on two cores, batch 8 of 784-32-10 takes 1.4 times as long with one panel.
struct Panels {
  /// Floats that an L1 cache holds. So small a matrix mostly has one thread, and the wider its panels are, the more
  /// independent sums a tile has.
  static constexpr int64_t kSmall = 8 << 10;

  int64_t rows;
  int64_t columns;  // padded
  int64_t width;    // of all panels but the last

  constexpr Panels(int64_t rows, int64_t n) : rows(rows), columns(round_up(n, kLane)), width(kPanel) {
    const int64_t half = round_up(divide_up(columns, 2), kLane);
    if (rows * columns >= kSmall && half < kPanel) width = half;
  }

  /// From the first to the last.
  constexpr int64_t floats() const { return rows * columns; }

  /// The panel that has column `j`.
  constexpr Panel of(int64_t j) const {
    const int64_t first = j / width * width;
    const int64_t own = columns - first < width ? columns - first : width;
    return {first, first * rows, own, {0, own}};
  }

  /// Calls f(panel) for each panel that has some of columns [begin, end), with these of it.
  template <class F>
  constexpr void each(Range wanted, F&& f) const {
    for (int64_t j = wanted.begin; j < wanted.end;) {
      Panel panel = of(j);
      const int64_t end = panel.first + panel.width;
      panel.columns = {j - panel.first, (wanted.end < end ? wanted.end : end) - panel.first};
      f(panel);
      j = end;
    }
  }
};

/// Distance between rows of `columns` floats: whole cache lines, never a multiple of 1 KiB. A tile's columns of a few
/// hundred such rows would share a quarter of the L1 cache's sets or less: at 2 KiB, the gradient by the input of
/// 1000-4000-1000 takes 3 times as long at batch 512.
inline constexpr int64_t leading_dimension(int64_t columns) {
  constexpr int64_t kAliased = 1024 / 4;
  const int64_t ld = round_up(columns, kLane);
  return ld % kAliased == 0 ? ld + kLane : ld;
}

}  // namespace engine
