// How matrices and kernels are laid out in memory.
#pragma once
#include <cstdint>

#include "formulas/summation.h"

namespace engine {

/// The floats of a cache line. Rows of every buffer are padded to whole cache lines, so that no kernel needs a masked
/// store. The padding may hold anything, even NaN: kernels that combine the columns of a row leave it out.
inline constexpr int64_t kLineFloats = 16;

/// The number of pieces of `size` that cover n; the last may be smaller.
inline constexpr int64_t divide_up(int64_t n, int64_t size) { return (n + size - 1) / size; }
inline constexpr int64_t round_up(int64_t n, int64_t multiple) { return divide_up(n, multiple) * multiple; }

/// The input gradient dz kernel^T needs one of its operands transposed. It transposes the kernel if that is narrow or
/// if the batch has few rows, else dz. Transposed dz has vectors along the batch: with 8 rows half of their lanes would
/// be padding.
inline constexpr int64_t kFewRows = 8;
inline constexpr bool transposes_kernel(int64_t rows, int64_t columns) {
  return columns <= kLineFloats || rows <= kFewRows;
}

/// Unused floats between the data that two threads write: 2 KiB. The hardware's prefetchers read on behind the last
/// lines that one thread uses, across pages too, and take lines away from the thread that is writing them.
inline constexpr int64_t kThreadGap = 512;

/// A half-open range of rows, columns or units. Column ranges start and end at multiples of kLineFloats.
struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

/// A panel of a matrix as it is stored, or some columns of it; those that are packed for a product (pack.h) are others.
/// `columns` are counted from the panel's first one, which is column `first` of the matrix.
struct Panel {
  int64_t first;
  int64_t offset;  // of the panel, in floats from the first panel on
  int64_t width;   // leading dimension: columns with padding
  Range columns;
};

/// The most columns of a panel.
inline constexpr int64_t kPanel = 64;

/// Weights (rows, columns) are stored in panels of equal width, one after the other, each row-major; the last may be
/// narrower. A thread owns columns, most of which are contiguous then. In one row-major matrix the columns of different
/// threads alternate every few cache lines, and prefetchers read lines that another core is writing: an epoch took 2.3
/// times as long on cores that share no cache. For the same reason a matrix too large for the L1 cache has at least two
/// panels, so that two threads need not share one: on two cores, batches of 8 of 784-32-10 take 1.4 times as long with
/// one panel.
struct Panels {
  /// Floats that an L1 cache holds. So small a matrix mostly has one thread, and the wider its panels are, the more
  /// independent sums a tile has.
  static constexpr int64_t kSmall = 8 << 10;

  int64_t rows;
  int64_t columns;  // padded
  int64_t width;    // of all panels but the last

  constexpr Panels(int64_t rows, int64_t n) : rows(rows), columns(round_up(n, kLineFloats)), width(kPanel) {
    const int64_t half = round_up(divide_up(columns, 2), kLineFloats);
    if (rows * columns >= kSmall && half < kPanel) width = half;
  }

  /// Floats of all panels.
  constexpr int64_t floats() const { return rows * columns; }

  /// The panel with column `j`.
  constexpr Panel of(int64_t j) const {
    const int64_t first = j / width * width;
    const int64_t own = columns - first < width ? columns - first : width;
    return {first, first * rows, own, {0, own}};
  }

  /// Calls f(panel) for each panel with some of the columns `wanted`; panel.columns are these.
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

/// The leading dimension of rows of `columns` floats: whole cache lines, but no multiple of 1 KiB, at which a column of
/// a few hundred rows would use a quarter of the sets of the L1 cache or less. At 2 KiB the input gradient of
/// 1000-4000-1000 takes 3 times as long with batches of 512.
inline constexpr int64_t leading_dimension(int64_t columns) {
  constexpr int64_t kAliased = 1024 / 4;
  const int64_t ld = round_up(columns, kLineFloats);
  return ld % kAliased == 0 ? ld + kLineFloats : ld;
}

}  // namespace engine
