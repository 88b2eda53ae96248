// Walking and copying matrices kept in panels (kernels/kinds.h says why they are).
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/kinds.h"
#include "kernels/table.h"

namespace engine {

/// Part of a panel: `columns` count from the panel's first column, which is column `first` of the matrix.
struct Panel {
  int64_t first;
  int64_t offset;  // of the panel, in floats
  int64_t width;   // padded, the distance between its rows
  Range columns;
};

/// Calls f(panel) for each panel of a (rows, n) matrix that has some of `columns`.
template <class F>
void for_panels(int64_t rows, int64_t n, Range columns, F&& f) {
  for (int64_t p = columns.begin / kPanel; p * kPanel < columns.end; ++p) {
    const int64_t first = p * kPanel, width = panel_width(n, p);
    f(Panel{first,
            panel_offset(rows, p),
            width,
            {std::max(columns.begin - first, int64_t{0}), std::min(columns.end - first, width)}});
  }
}

/// Row-major in (rows, n) with leading dimension ld -> panels
inline void pack_panels(const float* in, int64_t ld, int64_t rows, int64_t n, float* panels) {
  for_panels(rows, n, {0, n}, [&](const Panel& panel) {
    const auto bytes = static_cast<size_t>(std::min(n - panel.first, kPanel)) * sizeof(float);
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(panels + panel.offset + i * panel.width, in + i * ld + panel.first, bytes);
    }
  });
}

/// Panels -> row-major out (rows, n), contiguous
inline void unpack_panels(const float* panels, int64_t rows, int64_t n, float* out) {
  for_panels(rows, n, {0, n}, [&](const Panel& panel) {
    const auto bytes = static_cast<size_t>(std::min(n - panel.first, kPanel)) * sizeof(float);
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(out + i * n + panel.first, panels + panel.offset + i * panel.width, bytes);
    }
  });
}

}  // namespace engine
