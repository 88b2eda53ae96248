// What bounds the size of batches on every device.
#pragma once
#include <cstdint>

#include "graph/graph.h"

namespace engine {

/// Floats of scratch that a schedule may ask for: 4 TiB. More is a typing error, and would overflow the arithmetic of
/// offsets.
inline constexpr int64_t kMaxScratch = int64_t{1} << 40;

/// Throws std::length_error, which says that a batch of `max_rows` samples is too large.
[[noreturn]] void refuse_scratch(int64_t max_rows);

/// The most numbers of an array in batches of 1 to `max_rows` samples, at least 1. Throws std::length_error for more
/// than kMaxScratch.
int64_t max_elements(const graph::Shape& shape, int64_t max_rows);

/// Whether a prediction must take all of its rows as one batch, since some of its operations join samples.
bool predicts_in_one_batch(const graph::Graph& graph);

/// The next power of two, so that predictions of many sizes share few schedules; 2^62 for everything above it.
int64_t round_to_power(int64_t n);

}  // namespace engine
