#include "cpu/integers.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>

#include "cpu/thread_pool.h"
#include "cpu/thresholds.h"

namespace engine::cpu {
namespace {

/// Calls f(first, count) for each thread's share of n numbers, which is empty for some if there are few.
template <class F>
void share_numbers(int64_t n, int most_threads, F&& f) {
  const auto threads = static_cast<int>(std::clamp<int64_t>(n / kValuesPerThread, 1, most_threads));
  if (threads == 1) return f(0, n);
  run_team(threads, [&](const Worker& worker) {
    const int64_t lines = divide_up(n, kLineFloats);
    const int64_t begin = lines * worker.index / worker.threads * kLineFloats;
    const int64_t end = std::min(lines * (worker.index + 1) / worker.threads * kLineFloats, n);
    if (begin < end) f(begin, end - begin);
  });
}

/// Lowers or raises `kept` to a number that is beyond it.
template <class Less>
void keep(std::atomic<int64_t>& kept, int64_t number, Less&& less) {
  int64_t before = kept.load();
  while (less(number, before) && !kept.compare_exchange_weak(before, number)) {
  }
}

template <class T, class Kernel>
IntegerRange convert(Kernel&& kernel, const T* from, float* to, int64_t n, int most_threads) {
  std::atomic<int64_t> least{std::numeric_limits<int64_t>::max()}, largest{std::numeric_limits<int64_t>::min()};
  share_numbers(n, most_threads, [&](int64_t first, int64_t count) {
    const IntegerRange range = kernel(from + first, to + first, count);
    keep(least, range.least, std::less<>());
    keep(largest, range.largest, std::greater<>());
  });
  return {least, largest};
}

}  // namespace

IntegerRange integers_to_floats(const KernelTable& kernels, const int32_t* from, float* to, int64_t n,
                                int most_threads) {
  return convert(kernels.int32_to_floats, from, to, n, most_threads);
}

IntegerRange integers_to_floats(const KernelTable& kernels, const int64_t* from, float* to, int64_t n,
                                int most_threads) {
  return convert(kernels.int64_to_floats, from, to, n, most_threads);
}

bool floats_to_integers(const KernelTable& kernels, const float* from, int32_t* to, int64_t n, int most_threads) {
  std::atomic<bool> fit{true};
  share_numbers(n, most_threads, [&](int64_t first, int64_t count) {
    if (!kernels.floats_to_integers(from + first, to + first, count)) fit = false;
  });
  return fit;
}

}  // namespace engine::cpu
