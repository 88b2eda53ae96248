// What is worth doing: how many threads, whose copy of the rows, when to look for zeros. Every choice that depends on
// the machine's speed and not on the mathematics is made here.
#pragma once
#include <cstdint>
#include <functional>

#include "plan/plan.h"
#include "plan/spec.h"

namespace engine {

/// Threads, at most `most`, that a batch of `rows` keeps busy. An executor may find that fewer are faster.
int worthwhile_threads(const ModelSpec& model, Plan::Mode mode, int64_t rows, int most);

/// Whether `extent` units can keep every thread busy.
bool feeds_all(int64_t extent, int threads);

/// Whether each thread should gather all rows of a batch for itself, to compute its part of `units` from them.
bool pays_to_copy_rows(int64_t rows, int64_t inputs, int64_t units, int threads);

/// Whether a buffer of `floats` should be there once per thread, only to keep their columns apart.
bool pays_to_separate(int64_t floats, int threads);

/// Whether each thread should multiply its own inputs of a narrow last layer, for the sums of all to be added up.
bool pays_to_sum_partials(int64_t inputs, int64_t units, int threads);

/// Whether then each should add up and compute the loss of all `rows` for itself.
bool pays_to_repeat_loss(int64_t rows, int threads);

/// Whether a product with so many units is work enough to look for zeros of its input before.
bool pays_to_find_zeros(int64_t units);

/// Whether a product of so many rows with a kernel (inputs, units), and its gradients, are large enough to pack what
/// they multiply.
bool pays_to_pack(int64_t rows, int64_t inputs, int64_t units, int threads);

/// How a prediction is shared out: either teams of one thread that take batch after batch for themselves, or one
/// batch for one team.
struct Shares {
  int teams;
  int threads;         // of each team
  int64_t batch_rows;  // at most
};

/// `most` threads are available; it is asked only where more than one is worthwhile.
Shares share_out(const ModelSpec& model, Plan::Mode mode, int64_t rows, const std::function<int()>& most);

}  // namespace engine
