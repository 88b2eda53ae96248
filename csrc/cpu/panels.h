// Copying matrices to and from panels (kernels/layout.h says why they are kept in them).
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/layout.h"

namespace engine::cpu {

/// Row-major in (rows, n) with leading dimension ld -> panels
inline void pack_panels(const float* in, int64_t ld, int64_t rows, int64_t n, float* panels) {
  Panels(rows, n).each({0, n}, [&](const Panel& panel) {
    const auto bytes = static_cast<size_t>(panel.columns.end) * sizeof(float);
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(panels + panel.offset + i * panel.width, in + i * ld + panel.first, bytes);
    }
  });
}

/// Panels -> row-major out (rows, n), contiguous
inline void unpack_panels(const float* panels, int64_t rows, int64_t n, float* out) {
  Panels(rows, n).each({0, n}, [&](const Panel& panel) {
    const auto bytes = static_cast<size_t>(panel.columns.end) * sizeof(float);
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(out + i * n + panel.first, panels + panel.offset + i * panel.width, bytes);
    }
  });
}

}  // namespace engine::cpu
