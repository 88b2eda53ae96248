// Sorting along the last axis of arrays. Many rows that are not long are sorted side by side (kernels/sorting.h), and
// others one by one, by the digits of keys: a pass for each digit, from the last to the first, puts the keys in the
// order of the digit and keeps the order of those that have the same one.
#include "graph/operations/sorting.h"

#include <algorithm>

#include "cpu/strides.h"
#include "formulas/sorting.h"

namespace engine::cpu {
namespace {

constexpr int kDigitBits = 8, kDigits = 32 / kDigitBits, kDigitValues = 1 << kDigitBits;
/// Rows that are no longer are sorted by insertion, which needs no counts of digits.
constexpr int64_t kShortRow = 40;
/// The longest rows that are sorted side by side: so many rows of them fit the L2 cache. And the fewest of them.
constexpr int64_t kLongestColumn = 2048, kFewestColumns = 4;

/// What is sorted: the key of a number as an unsigned integer, and for places also where the number was.
using NumberKey = uint32_t;
struct PlaceKey {
  uint32_t key, at;
};
uint32_t key_of(NumberKey key) { return key; }
uint32_t key_of(const PlaceKey& place) { return place.key; }

/// The highest bit says whether a number is negative. Of unsigned integers, those with the bit are larger.
constexpr uint32_t kSign = 0x80000000u;

int digit(uint32_t key, int number) { return static_cast<int>(key >> (number * kDigitBits)) & (kDigitValues - 1); }

/// Sorts n elements, whose digits are counted. `spare` has room for as many. Returns where the sorted ones are.
template <class Key>
Key* sort_by_digits(Key* from, Key* spare, int64_t n, int64_t (&counts)[kDigits][kDigitValues]) {
  for (int number = 0; number < kDigits; ++number) {
    int64_t* const places = counts[number];
    if (places[digit(key_of(from[0]), number)] == n) continue;  // all have this digit
    int64_t place = 0;
    for (int value = 0; value < kDigitValues; ++value) {
      const int64_t count = places[value];
      places[value] = place;
      place += count;
    }
    for (int64_t i = 0; i < n; ++i) spare[places[digit(key_of(from[i]), number)]++] = from[i];
    std::swap(from, spare);
  }
  return from;
}

template <class Key>
void sort_by_insertion(Key* row, int64_t n) {
  for (int64_t j = 1; j < n; ++j) {
    const Key own = row[j];
    int64_t i = j;
    for (; i > 0 && key_of(row[i - 1]) > key_of(own); --i) row[i] = row[i - 1];
    row[i] = own;
  }
}

/// Sorts a row of n numbers. make(x, j) is what is sorted for the number x at place j, and result(key) what y gets.
template <class Key, class Make, class Result>
void sort_row(const float* x, int64_t x_step, int64_t n, float* y, int64_t y_step, Key* memory, Make&& make,
              Result&& result) {
  Key* sorted = memory;
  if (n <= kShortRow) {
    for (int64_t j = 0; j < n; ++j) memory[j] = make(x[j * x_step], j);
    sort_by_insertion(memory, n);
  } else {
    int64_t counts[kDigits][kDigitValues] = {};
    for (int64_t j = 0; j < n; ++j) {
      memory[j] = make(x[j * x_step], j);
      for (int number = 0; number < kDigits; ++number) ++counts[number][digit(key_of(memory[j]), number)];
    }
    sorted = sort_by_digits(memory, memory + n, n, counts);
  }
  for (int64_t j = 0; j < n; ++j) y[j * y_step] = result(sorted[j]);
}

class SortStep final : public Step {
 public:
  SortStep(const graph::Sort& op, Split split, ValueId memory) : Step(&op, split), own_(op), memory_(memory) {}

  /// For rows of n numbers, one by one or side by side
  static int64_t scratch_floats(const graph::Sort& op, int64_t n) {
    const int64_t of_number = op.gives_places ? 2 : 1;
    return of_number * std::max(2 * n, std::min(n, kLongestColumn) * kLineFloats);
  }

  void run(const ThreadContext& thread) const override {
    Strided x = strided(own_.x, thread), y = strided(own_.y, thread);
    const int last = y.last();
    if (last > 0) {
      const Range own = own_rows(thread, own_.y, own_.rows);
      x.restrict_to(0, own);
      y.restrict_to(0, own);
    }
    if (y.is_empty()) return;
    const int64_t n = y.length[last], x_step = x.stride[last], y_step = y.stride[last];
    x.erase(last);
    y.erase(last);
    if (y.axes == 0) {
      x.append(1, 1);
      y.append(1, 1);
    }
    merge_axes(x, y);
    float* const memory = thread.data(memory_);
    if (y.axes == 1 && n <= kLongestColumn && y.length[0] >= kFewestColumns) {
      x.append(n, x_step);
      y.append(n, y_step);
      sort_side_by_side(thread, x, y, memory);
      return;
    }
    for (Walk<2> walk({&y, &x}, y.axes); !walk.done(); walk.next()) {
      if (own_.gives_places) {
        sort_row(
            walk.data(1), x_step, n, walk.data(0), y_step, reinterpret_cast<PlaceKey*>(memory),
            [](float number, int64_t j) {
              return PlaceKey{static_cast<uint32_t>(formulas::key_of_place(number)) ^ kSign, static_cast<uint32_t>(j)};
            },
            [](const PlaceKey& place) { return static_cast<float>(place.at); });
      } else {
        sort_row(
            walk.data(1), x_step, n, walk.data(0), y_step, reinterpret_cast<NumberKey*>(memory),
            [](float number, int64_t) { return static_cast<uint32_t>(formulas::sorting_key(number)) ^ kSign; },
            [](NumberKey key) { return formulas::number_of_key<float>(static_cast<int32_t>(key ^ kSign)); });
      }
    }
  }

 private:
  /// Sorts the rows of a matrix, kLineFloats of them at a time, which are columns in `memory`.
  void sort_side_by_side(const ThreadContext& thread, Strided x, Strided y, float* memory) const {
    const int64_t rows = y.length[0], n = y.length[1];
    float* const places = own_.gives_places ? memory + n * kLineFloats : nullptr;
    for (int64_t first = 0; first < rows; first += kLineFloats) {
      Strided columns;
      for (Strided* each : {&x, &y}) each->length[0] = std::min(rows - first, kLineFloats);
      columns.data = memory;
      columns.append(y.length[0], 1);
      columns.append(n, kLineFloats);
      copy_elements(thread.kernels, x, columns);
      thread.kernels.sort_columns({memory, n, places});
      if (places) columns.data = places;
      copy_elements(thread.kernels, columns, y);
      for (Strided* each : {&x, &y}) each->data += kLineFloats * each->stride[0];
    }
  }

  const graph::Sort& own_;
  ValueId memory_;
};

void schedule_sort(Scheduler& scheduler, const graph::Sort& op) {
  const Split split = split_array(scheduler, op, op.y, op.rows);
  const bool has_rows = op.y.shape.size() > 1;  // one row cannot be shared
  const ValueId memory =
      scheduler.step_scratch(SortStep::scratch_floats(op, op.y.shape.back().at(scheduler.max_rows())));
  scheduler.add<SortStep>(op, has_rows || !split.shares(kAnyRows) ? split : Split::one_thread(), memory);
}

}  // namespace

void add_sorting(OperationRegistry& all) { all.add<graph::Sort>(schedule_sort); }

}  // namespace engine::cpu
