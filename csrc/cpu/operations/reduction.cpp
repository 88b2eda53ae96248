// Sums, products and extremes along axes of arrays. The order in which numbers are combined depends on the shape alone:
// along the last axes in lanes (kernels/array_reduction.h), along others in chains of kChain, which are combined
// in order.
#include "cpu/operations/reduction.h"

#include <algorithm>

#include "cpu/map_blocks.h"
#include "cpu/strides.h"
#include "cpu/thresholds.h"
#include "formulas/reductions.h"

namespace engine::cpu {
namespace {

/// Columns whose sums lie in the L1 cache while rows are added to them.
constexpr int64_t kColumns = 512;

/// The axes of a reduction, in the order of the input. The first of the kept axes has this thread's part alone.
struct ReducedAxes {
  Strided kept, kept_y;        // all kept axes in x and in y, but those in `columns`
  Strided reduced;             // all reduced axes in x, but those in `run`
  Strided run;                 // the last axes of x, if they are reduced
  Strided columns, columns_y;  // the last axes of x, if they are kept
  bool has_run = false;

  void finish() {
    for (Strided* each : {&kept, &kept_y, &reduced, &run, &columns, &columns_y}) {
      if (each->axes == 0) each->append(1, 1);
    }
    merge_axes(kept, kept_y);
    merge_axes(reduced);
    merge_axes(run);
    merge_axes(columns, columns_y);
  }
};

bool is_one(const graph::Extent& extent) { return extent == graph::Extent{1, 0}; }

ReducedAxes find_axes(const graph::Reduce& op, const ThreadContext& thread) {
  Strided x = strided(op.x, thread), y = strided(op.y, thread);
  // Of axes that change nothing, none decides.
  int last = static_cast<int>(op.x.shape.size()) - 1;
  while (last > 0 && is_one(op.x.shape[static_cast<size_t>(last)])) --last;
  ReducedAxes all;
  all.has_run = last < 0 || op.reduces(last);
  int first_of_end = last;  // where the last axes begin that are reduced or kept together
  while (first_of_end > 0 &&
         (op.reduces(first_of_end - 1) == all.has_run || is_one(op.x.shape[static_cast<size_t>(first_of_end - 1)]))) {
    --first_of_end;
  }
  // This thread's part of y, and of the axis of x that it comes from
  if (op.by_column) {
    const Range own = thread.range('n', x.length[1]);
    x.restrict_to(1, own);
    y.restrict_to(0, own);
  } else if (op.y.shape.empty()) {
    y.restrict_to(0, thread.range(kAnyRows, 1));
  } else {
    int first = 0;
    while (op.reduces(first)) ++first;
    const Range own = own_rows(thread, op.y, op.rows);
    x.restrict_to(first, own);
    y.restrict_to(0, own);
  }
  all.kept.data = all.columns.data = all.reduced.data = all.run.data = x.data;
  all.kept_y.data = all.columns_y.data = y.data;
  int axis_of_y = 0;
  for (int i = 0; i < static_cast<int>(op.x.shape.size()); ++i) {
    const bool at_end = i >= first_of_end;
    if (op.reduces(i)) {
      (at_end && all.has_run ? all.run : all.reduced).append(x.length[i], x.stride[i]);
    } else {
      const bool is_column = at_end && !all.has_run;
      (is_column ? all.columns : all.kept).append(x.length[i], x.stride[i]);
      (is_column ? all.columns_y : all.kept_y).append(y.length[axis_of_y], y.stride[axis_of_y]);
      ++axis_of_y;
    }
  }
  if (op.y.shape.empty() && y.length[0] == 0) {  // the one number belongs to another thread
    all.kept.append(0, 0);
    all.kept_y.append(0, 0);
  }
  all.finish();
  return all;
}

Strided moved(const Strided& axes, float* data) {
  Strided at = axes;
  at.data = data;
  return at;
}

/// Combines numbers in order, in chains.
class Chains {
 public:
  explicit Chains(Reduction kind) : kind_(kind), total_(formulas::neutral(kind)), chain_(total_) {}
  void add(float number) {
    chain_ = formulas::combine(kind_, chain_, number);
    if (++length_ < kChain) return;
    total_ = formulas::combine(kind_, total_, chain_);
    chain_ = formulas::neutral(kind_);
    length_ = 0;
  }
  float total() const { return length_ > 0 ? formulas::combine(kind_, total_, chain_) : total_; }

 private:
  Reduction kind_;
  float total_, chain_;
  int64_t length_ = 0;
};

/// The numbers of the last axes, which lie anywhere, as if they were one run.
float reduce_run(const ThreadContext& thread, Reduction kind, const Strided& run) {
  const auto kernel = thread.kernels.reduce_rows[index(kind)];
  const int last = run.last();
  float result = formulas::neutral(kind);
  if (run.axes == 1 && run.stride[last] == 1) {
    kernel({run.data, 0, 1, run.length[last], &result});
    return result;
  }
  alignas(kLineFloats * sizeof(float)) float numbers[kReducedRun];
  int64_t count = 0;
  bool has_result = false;
  const auto reduce = [&] {
    float piece;
    kernel({numbers, 0, 1, count, &piece});
    result = has_result ? formulas::combine(kind, result, piece) : piece;
    has_result = true;
    count = 0;
  };
  for (Walk<1> walk({&run}, last); !walk.done(); walk.next()) {
    for (int64_t i = 0; i < run.length[last]; ++i) {
      numbers[count++] = walk.data(0)[i * run.stride[last]];
      if (count == kReducedRun) reduce();
    }
  }
  if (count > 0 || !has_result) reduce();
  return result;
}

/// Whether all numbers that are reduced to one lie side by side.
bool has_contiguous_rows(const ReducedAxes& all) {
  const bool contiguous = all.run.axes == 1 && (all.run.stride[0] == 1 || all.run.length[0] == 1);
  return all.has_run && contiguous && all.reduced.axes == 1 && all.reduced.length[0] == 1;
}

/// Calls f for blocks of up to kRows rows, each of which lies side by side and is reduced to a number.
template <int64_t kRows, class F>
void for_contiguous_rows(const ReducedAxes& all, F&& f) {
  const int last = all.kept.last();
  const int64_t step = all.kept_y.stride[last];
  for (Walk<2> walk({&all.kept, &all.kept_y}, last); !walk.done(); walk.next()) {
    for (int64_t i = 0; i < all.kept.length[last]; i += kRows) {
      float numbers[kRows];
      const int64_t rows = std::min(kRows, all.kept.length[last] - i);
      float* const y = walk.data(1) + i * step;
      f(ReduceRowsArgs{walk.data(0) + i * all.kept.stride[last], all.kept.stride[last], rows, all.run.length[0],
                       step == 1 ? y : numbers});
      for (int64_t r = 0; step != 1 && r < rows; ++r) y[r * step] = numbers[r];
    }
  }
}

void reduce_runs(const ThreadContext& thread, Reduction kind, const ReducedAxes& all) {
  if (has_contiguous_rows(all)) return for_contiguous_rows<256>(all, thread.kernels.reduce_rows[index(kind)]);
  for (Walk<2> walk({&all.kept, &all.kept_y}, all.kept.axes); !walk.done(); walk.next()) {
    const Strided reduced = moved(all.reduced, walk.data(0));
    Chains chains(kind);
    for (Walk<1> outer({&reduced}, reduced.axes); !outer.done(); outer.next()) {
      chains.add(reduce_run(thread, kind, moved(all.run, outer.data(0))));
    }
    *walk.data(1) = chains.total();
  }
}

/// Combines rows of up to kColumns columns in order, in chains.
class ColumnChains {
 public:
  ColumnChains(const KernelTable& kernels, Reduction kind, int64_t columns)
      : kernel_(kernels.combine_rows[index(kind)]), neutral_(formulas::neutral(kind)), columns_(columns) {
    std::fill_n(chain_, columns, neutral_);
  }

  void add(const float* x, int64_t row, int64_t rows) {
    for (int64_t n; rows > 0; x += n * row, rows -= n) {
      if (length_ == kChain) end_chain();
      n = std::min(kChain - length_, rows);
      kernel_({x, row, n, columns_, chain_});
      length_ += n;
    }
  }

  /// What all rows give. No row can be added any more.
  const float* total() {
    if (has_total_ && length_ > 0) end_chain();
    return has_total_ ? total_ : chain_;  // a single chain is the total
  }

 private:
  void end_chain() {
    if (!has_total_) std::fill_n(total_, columns_, neutral_);
    has_total_ = true;
    kernel_({chain_, 0, 1, columns_, total_});
    std::fill_n(chain_, columns_, neutral_);
    length_ = 0;
  }

  void (*kernel_)(const CombineRowsArgs&);
  float neutral_;
  int64_t columns_, length_ = 0;  // length: rows of the chain
  bool has_total_ = false;
  alignas(kLineFloats * sizeof(float)) float total_[kColumns], chain_[kColumns];
};

/// y (count,) with stride = `reduced` rows of columns, of which the first is at reduced.data
void reduce_columns(const ThreadContext& thread, Reduction kind, const Strided& reduced, int64_t stride, int64_t count,
                    float* y, int64_t y_stride) {
  alignas(kLineFloats * sizeof(float)) float row[kColumns];
  ColumnChains chains(thread.kernels, kind, count);
  const int last = reduced.last();
  for (Walk<1> walk({&reduced}, last); !walk.done(); walk.next()) {
    if (stride == 1) {
      chains.add(walk.data(0), reduced.stride[last], reduced.length[last]);
      continue;
    }
    for (int64_t i = 0; i < reduced.length[last]; ++i) {
      const float* const at = walk.data(0) + i * reduced.stride[last];
      for (int64_t j = 0; j < count; ++j) row[j] = at[j * stride];
      chains.add(row, 0, 1);
    }
  }
  const float* const result = chains.total();
  if (y_stride == 1) {
    std::copy_n(result, count, y);
  } else {
    for (int64_t j = 0; j < count; ++j) y[j * y_stride] = result[j];
  }
}

/// Calls f(x, y, columns, stride of x, stride of y) for blocks of columns.
template <class F>
void for_columns(const ReducedAxes& all, F&& f) {
  for (Walk<2> walk({&all.kept, &all.kept_y}, all.kept.axes); !walk.done(); walk.next()) {
    const Strided x = moved(all.columns, walk.data(0)), y = moved(all.columns_y, walk.data(1));
    const int last = x.last();
    for (Walk<2> inner({&x, &y}, last); !inner.done(); inner.next()) {
      for (int64_t j = 0; j < x.length[last]; j += kColumns) {
        f(inner.data(0) + j * x.stride[last], inner.data(1) + j * y.stride[last],
          std::min(kColumns, x.length[last] - j), x.stride[last], y.stride[last]);
      }
    }
  }
}

/// The first place in each row where its extreme is. The rows are still in the L1 cache when it has been found.
void find_extremes_of_rows(const ThreadContext& thread, bool smallest, const ReducedAxes& all) {
  const auto find_extremes = thread.kernels.reduce_rows[index(smallest ? Reduction::kMinimum : Reduction::kMaximum)];
  for_contiguous_rows<4>(all, [&](const ReduceRowsArgs& rows) {
    find_extremes(rows);
    for (int64_t i = 0; i < rows.rows; ++i) {
      rows.y[i] = static_cast<float>(thread.kernels.first_equal(rows.x + i * rows.row, rows.n, rows.y[i]));
    }
  });
}

float extreme_index(const float* x, int64_t stride, int64_t n, bool smallest) {
  int64_t at = 0;
  float most = n > 0 ? (smallest ? -x[0] : x[0]) : 0.0f;
  for (int64_t i = 1; i < n; ++i) {
    const float number = smallest ? -x[i * stride] : x[i * stride];
    if (!(number > most || (number != number && most == most))) continue;
    most = number;
    at = i;
  }
  return static_cast<float>(at);
}

/// Where the extreme is along one axis, which is all of `run` or of `reduced`.
void find_extremes(const ThreadContext& thread, bool smallest, const ReducedAxes& all) {
  const Strided& axis = all.has_run ? all.run : all.reduced;
  const int64_t n = axis.length[0], step = axis.stride[0];
  if (n >= kLineFloats && has_contiguous_rows(all)) return find_extremes_of_rows(thread, smallest, all);
  for_columns(all, [&](float* x, float* y, int64_t columns, int64_t x_step, int64_t y_step) {
    if (x_step == 1 && columns > 1 && n > 0) {
      alignas(kLineFloats * sizeof(float)) float at[kColumns];
      thread.kernels.extreme_rows({x, step, n, columns, at, smallest});
      for (int64_t j = 0; j < columns; ++j) y[j * y_step] = at[j];
      return;
    }
    for (int64_t j = 0; j < columns; ++j) y[j * y_step] = extreme_index(x + j * x_step, step, n, smallest);
  });
}

void reduce(const graph::Reduce& op, const ThreadContext& thread) {
  const ReducedAxes all = find_axes(op, thread);
  if (gives_index(op.kind)) return find_extremes(thread, op.kind == Reduction::kArgMinimum, all);
  if (all.has_run) return reduce_runs(thread, op.kind, all);
  for_columns(all, [&](float* x, float* y, int64_t columns, int64_t x_step, int64_t y_step) {
    reduce_columns(thread, op.kind, moved(all.reduced, x), x_step, columns, y, y_step);
  });
}

Split split_reduce(const Scheduler& scheduler, const graph::Reduce& op) {
  if (op.by_column) return Split::over('n');
  const bool large = graph::element_count(op.x.shape, scheduler.max_rows()) > kLargeInput;
  if (op.rows == kWhole && large && !op.y.shape.empty()) return Split::over(kAnyRows);
  return split_array(scheduler, op, op.y, op.rows);
}

// ---- All numbers of a large array -------------------------------------------------------------------------------

/// The first of two steps, whose result is that of the one step `reduce`: each thread reduces some of the pieces that a
/// run consists of (kernels/array_reduction.h).
class ReducePiecesStep final : public Step {
 public:
  ReducePiecesStep(const graph::Reduce& op, ValueId pieces)
      : Step(&op, Split::over(kAnyRows)), own_(op), pieces_(pieces) {
    operands = {graph::reads(op.x.value, kWhole, kWhole), graph::writes(pieces, kAnyRows, kWhole)};
  }

  std::string kernel() const override { return "pieces"; }

  void run(const ThreadContext& thread) const override {
    const auto kernel = thread.kernels.reduce_rows[index(own_.kind)];
    const Strided x = strided(own_.x, thread);
    const int64_t numbers = x.numbers(), whole = numbers / kReducedRun;
    const Range own = thread.range(kAnyRows, divide_up(numbers, kReducedRun));
    float* const pieces = thread.data(pieces_);
    const int64_t end = std::min(own.end, whole);
    if (own.begin < end) {
      kernel({x.data + own.begin * kReducedRun, kReducedRun, end - own.begin, kReducedRun, pieces + own.begin});
    }
    if (own.end > whole) kernel({x.data + whole * kReducedRun, 0, 1, numbers % kReducedRun, pieces + whole});
  }

 private:
  const graph::Reduce& own_;
  ValueId pieces_;
};

/// The second: one thread combines what the pieces gave, in their order.
class CombinePiecesStep final : public Step {
 public:
  CombinePiecesStep(const graph::Reduce& op, ValueId pieces)
      : Step(&op, Split::one_thread()), own_(op), pieces_(pieces) {
    operands = {graph::reads(pieces, kWhole, kWhole), graph::writes(op.y.value, kWhole, kWhole)};
  }

  std::string kernel() const override { return "combine pieces"; }

  void run(const ThreadContext& thread) const override {
    const float* const pieces = thread.data(pieces_);
    float total = pieces[0];
    const int64_t count = divide_up(strided(own_.x, thread).numbers(), kReducedRun);
    for (int64_t i = 1; i < count; ++i) total = formulas::combine(own_.kind, total, pieces[i]);
    *strided(own_.y, thread).data = total;
  }

 private:
  const graph::Reduce& own_;
  ValueId pieces_;
};

ValueId add_pieces(Scheduler& scheduler, const graph::Reduce& op) {
  const int64_t most = graph::element_count(op.x.shape, scheduler.max_rows());
  return scheduler.add_scratch(1, divide_up(most, kReducedRun));
}

/// Whether threads share the pieces of all numbers of an array, which lie side by side. A batch of one sample has some.
bool shares_pieces(const Scheduler& scheduler, const graph::Reduce& op) {
  const bool reduces_all = op.axes.size() == op.x.shape.size() && !gives_index(op.kind);
  return reduces_all && scheduler.threads() > 1 && scheduler.one_team() && !scheduler.is_copied(op.x.value) &&
         scheduler.value(op.x.value).kind == graph::Value::Kind::kArray &&
         graph::element_count(op.x.shape, scheduler.max_rows()) > kLargeInput &&
         graph::element_count(op.x.shape, 1) > 0;
}

// ---- Numbers of a map ---------------------------------------------------------------------------------------------

/// Numbers of a map that are reduced together: some pieces of a run, or of rows.
constexpr int64_t kPiecesAtOnce = 4, kAtOnce = kPiecesAtOnce * kReducedRun;

/// A reduction of a map that nothing else reads: its numbers are reduced while they are in a cache, and never stored.
class ReduceMapStep : public Step {
 public:
  ReduceMapStep(Scheduler& scheduler, const graph::Reduce& op, const graph::Map& map, Split split)
      : Step(&op, split), own_(op), map_(map, scheduler) {
    scratch_ = scheduler.step_scratch(kAtOnce + kLineFloats + map_.scratch_floats());
  }

  void run(const ThreadContext& thread) const override {
    float* const buffer = thread.data(scratch_);
    MapRun map(map_, thread, buffer + kAtOnce + kLineFloats);
    map.prepare();
    reduce(thread, map, buffer);
  }

 protected:
  virtual void reduce(const ThreadContext& thread, MapRun& map, float* buffer) const = 0;

  void set_operands(const Operand& written, bool by_row) { operands = map_.operands({written}, by_row); }

  /// results[i] = piece first + i of the run of n numbers that begins with number `begin` of the map
  void reduce_pieces(const ThreadContext& thread, MapRun& map, float* buffer, int64_t begin, int64_t n, int64_t first,
                     int64_t count, float* results) const {
    const auto kernel = thread.kernels.reduce_rows[index(own_.kind)];
    for (int64_t i = 0; i < count; i += kPiecesAtOnce) {
      const int64_t from = (first + i) * kReducedRun;
      const int64_t numbers = std::min({kAtOnce, (count - i) * kReducedRun, n - from});
      map.compute(begin + from, numbers, buffer);
      const int64_t whole = numbers / kReducedRun, left = numbers % kReducedRun;
      kernel({buffer, kReducedRun, whole, kReducedRun, results + i});
      if (left > 0) kernel({buffer + whole * kReducedRun, 0, 1, left, results + i + whole});
    }
  }

  const graph::Reduce& own_;

 private:
  MapBlocks map_;
  ValueId scratch_;
};

/// All numbers of a map, in two steps as those of an array.
class ReduceMapPiecesStep final : public ReduceMapStep {
 public:
  ReduceMapPiecesStep(Scheduler& scheduler, const graph::Reduce& op, const graph::Map& map, ValueId pieces)
      : ReduceMapStep(scheduler, op, map, Split::over(kAnyRows)), pieces_(pieces) {
    set_operands(graph::writes(pieces, kAnyRows, kWhole), false);
  }

  std::string kernel() const override { return "pieces of a map"; }

 private:
  void reduce(const ThreadContext& thread, MapRun& map, float* buffer) const override {
    const int64_t numbers = graph::element_count(own_.x.shape, thread.batch.rows);
    const Range own = thread.range(kAnyRows, divide_up(numbers, kReducedRun));
    reduce_pieces(thread, map, buffer, 0, numbers, own.begin, own.end - own.begin, thread.data(pieces_) + own.begin);
  }

  ValueId pieces_;
};

/// The first axes of a map.
class ReduceMapColumnsStep final : public ReduceMapStep {
 public:
  ReduceMapColumnsStep(Scheduler& scheduler, const graph::Reduce& op, const graph::Map& map)
      : ReduceMapStep(scheduler, op, map, Split::over(kAnyRows)) {
    set_operands(op.operands().front(), false);
  }

  std::string kernel() const override { return "columns of a map"; }

 private:
  void reduce(const ThreadContext& thread, MapRun& map, float* buffer) const override {
    const int64_t columns = graph::element_count(own_.y.shape, thread.batch.rows);
    const Range own = thread.range(kAnyRows, columns);
    if (empty(own)) return;
    const int64_t rows = graph::element_count(own_.x.shape, thread.batch.rows) / columns;
    float* const y = strided(own_.y, thread).data;
    for (int64_t j = own.begin, count; j < own.end; j += count) {
      count = std::min(kColumns, own.end - j);
      ColumnChains chains(thread.kernels, own_.kind, count);
      const int64_t most = kReducedRun / count;
      for (int64_t i = 0, n; i < rows; i += n) {
        n = std::min(most, rows - i);
        if (count == columns) {
          map.compute(i * columns, n * columns, buffer);
        } else {
          for (int64_t k = 0; k < n; ++k) map.compute((i + k) * columns + j, count, buffer + k * count);
        }
        chains.add(buffer, count, n);
      }
      std::copy_n(chains.total(), count, y + j);
    }
  }
};

/// The last axes of a map, of which threads share the first one.
class ReduceMapRowsStep final : public ReduceMapStep {
 public:
  ReduceMapRowsStep(Scheduler& scheduler, const graph::Reduce& op, const graph::Map& map)
      : ReduceMapStep(scheduler, op, map, Split::over(op.rows)) {
    set_operands(op.operands().front(), true);
    may_be_tiled = split.shares(graph::kRows);
  }

  std::string kernel() const override { return "rows of a map"; }

 private:
  void reduce(const ThreadContext& thread, MapRun& map, float* buffer) const override {
    const Strided y = strided(own_.y, thread);
    const int64_t each = y.numbers(1);  // rows of the map for each of the first axis
    if (y.is_empty()) return;
    const int64_t n = graph::element_count(own_.x.shape, thread.batch.rows) / y.numbers();
    const Range own = own_rows(thread, own_.y, own_.rows);
    const Range rows{own.begin * each, own.end * each};
    if (n <= kReducedRun) {
      const int64_t most = std::max(kReducedRun / n, kPiecesAtOnce);
      for (int64_t i = rows.begin, count; i < rows.end; i += count) {
        count = std::min(most, rows.end - i);
        map.compute(i * n, count * n, buffer);
        thread.kernels.reduce_rows[index(own_.kind)]({buffer, n, count, n, y.data + i});
      }
      return;
    }
    const int64_t pieces = divide_up(n, kReducedRun);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      float results[kPiecesAtOnce];
      for (int64_t first = 0; first < pieces; first += kPiecesAtOnce) {
        const int64_t count = std::min(kPiecesAtOnce, pieces - first);
        reduce_pieces(thread, map, buffer, i * n, n, first, count, results);
        for (int64_t k = 0; k < count; ++k) {
          y.data[i] = first + k == 0 ? results[0] : formulas::combine(own_.kind, y.data[i], results[k]);
        }
      }
    }
  }
};

/// Columns of a map that each thread must have to reduce them: a run of so many takes longer than to begin with it.
constexpr int64_t kColumnsPerThread = 256;

/// The reduction that alone reads what a map computes; null where there is none, or it needs an array of it.
const graph::Reduce* reduction_of(const Scheduler& scheduler, const graph::Map& map) {
  const auto lies_alone = [&](ValueId value) {
    return scheduler.value(value).kind == graph::Value::Kind::kArray && !scheduler.graph().is_output(value);
  };
  const auto& readers = scheduler.readers(map.y().value);
  if (!scheduler.one_team() || map.outputs.size() != 1 || readers.size() != 1 || !lies_alone(map.y().value)) {
    return nullptr;
  }
  const auto* const op = dynamic_cast<const graph::Reduce*>(readers.front());
  const bool fits = op && !gives_index(op->kind) && op->x.shape == map.y().shape && lies_alone(op->y.value) &&
                    graph::element_count(op->x.shape, 1) > 0;
  return fits && MapBlocks(map, scheduler).computes_result() ? op : nullptr;
}

/// Whether the reduced axes are the first ones, or the last ones.
bool reduces_first(const graph::Reduce& op) { return op.axes.back() == static_cast<int>(op.axes.size()) - 1; }
bool reduces_last(const graph::Reduce& op) {
  return op.axes.front() == static_cast<int>(op.x.shape.size() - op.axes.size());
}

void schedule_reduce(Scheduler& scheduler, const graph::Reduce& op) {
  if (shares_pieces(scheduler, op)) {
    const ValueId pieces = add_pieces(scheduler, op);
    scheduler.add<ReducePiecesStep>(op, pieces);
    scheduler.add<CombinePiecesStep>(op, pieces);
    return;
  }
  auto& step = scheduler.add<SimpleStep<graph::Reduce>>(op, split_reduce(scheduler, op), reduce);
  step.may_be_tiled = step.split.shares(graph::kRows);
}

// ---- Gradient of a product --------------------------------------------------------------------------------------

/// The same axes, from their last elements to their first
Strided reversed(Strided axes) {
  for (int i = 0; i < axes.axes; ++i) {
    axes.data += (axes.length[i] - 1) * axes.stride[i];
    axes.stride[i] = -axes.stride[i];
  }
  return axes;
}

/// dx first gets the product of all numbers before, then it is multiplied by the derivative of the product of those
/// behind, in the direction v.
void product_gradient_along(const Strided& x, const Strided& v, const Strided& dx, float dy) {
  float product = 1.0f, derivative = 0.0f;
  for (Walk<2> walk({&dx, &x}, x.axes); !walk.done(); walk.next()) {
    *walk.data(0) = product;
    product *= *walk.data(1);
  }
  const Strided x_back = reversed(x), v_back = reversed(v), dx_back = reversed(dx);
  product = 1.0f;
  for (Walk<3> walk({&dx_back, &x_back, &v_back}, x.axes); !walk.done(); walk.next()) {
    *walk.data(0) = *walk.data(0) * derivative * dy;
    derivative = derivative * *walk.data(1) + product * *walk.data(2);
    product *= *walk.data(1);
  }
}

/// dx first gets the product of all numbers before, then that of those behind.
void product_gradient_of_run(const Strided& x, const Strided& dx, float dy) {
  float product = 1.0f;
  for (Walk<2> walk({&dx, &x}, x.axes); !walk.done(); walk.next()) {
    *walk.data(0) = product;
    product *= *walk.data(1);
  }
  const Strided x_back = reversed(x), dx_back = reversed(dx);
  product = 1.0f;
  for (Walk<2> walk({&dx_back, &x_back}, x.axes); !walk.done(); walk.next()) {
    *walk.data(0) = *walk.data(0) * product * dy;
    product *= *walk.data(1);
  }
}

bool contains(const std::vector<int>& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

void product_gradient(const graph::ProductGradient& op, const ThreadContext& thread) {
  const bool along = op.direction.value != graph::kNoValue;
  const Strided x = strided(op.x, thread), dx = strided(op.dx, thread), dy = strided(op.dy, thread);
  const Strided v = along ? strided(op.direction, thread) : x;
  Strided kept_x = x, kept_dx = dx, kept_dy = dy, kept_v = v, run_x = x, run_dx = dx, run_v = v;
  Strided* const all[] = {&kept_x, &kept_dx, &kept_dy, &kept_v, &run_x, &run_dx, &run_v};
  for (Strided* each : all) each->axes = 0;
  int axis_of_y = 0;
  for (int i = 0; i < static_cast<int>(op.x.shape.size()); ++i) {
    if (contains(op.axes, i)) {
      run_x.append(x.length[i], x.stride[i]);
      run_dx.append(dx.length[i], dx.stride[i]);
      run_v.append(v.length[i], v.stride[i]);
      continue;
    }
    kept_x.append(x.length[i], x.stride[i]);
    kept_dx.append(dx.length[i], dx.stride[i]);
    kept_v.append(v.length[i], v.stride[i]);
    kept_dy.append(dy.length[axis_of_y], dy.stride[axis_of_y]);
    ++axis_of_y;
  }
  for (Strided* each : all) {
    if (each->axes == 0) each->append(1, 1);
  }
  if (run_x.is_empty()) return;
  if (!op.x.shape.empty() && !contains(op.axes, 0)) {
    const Range own = own_rows(thread, op.dx, kWhole);
    for (Strided* each : {&kept_x, &kept_dx, &kept_dy, &kept_v}) each->restrict_to(0, own);
  }
  for (Walk<4> walk({&kept_x, &kept_dx, &kept_dy, &kept_v}, kept_x.axes); !walk.done(); walk.next()) {
    const Strided own_x = moved(run_x, walk.data(0)), own_dx = moved(run_dx, walk.data(1));
    const float own_dy = *walk.data(2);
    if (!along) {
      product_gradient_of_run(own_x, own_dx, own_dy);
    } else if (op.part == graph::ProductGradient::Part::kBehind) {
      product_gradient_along(own_x, moved(run_v, walk.data(3)), own_dx, own_dy);
    } else {
      product_gradient_along(reversed(own_x), reversed(moved(run_v, walk.data(3))), reversed(own_dx), own_dy);
    }
  }
}

/// Threads share the first axis, unless it is one of the product.
Split without_shared(const Split& split) { return split.shares(kAnyRows) ? Split::one_thread() : split; }

void schedule_product_gradient(Scheduler& scheduler, const graph::ProductGradient& op) {
  const Split split = split_array(scheduler, op, op.dx, kWhole);
  const bool shares = !op.x.shape.empty() && !contains(op.axes, 0);
  scheduler.add<SimpleStep<graph::ProductGradient>>(op, shares ? split : without_shared(split), product_gradient);
}

// ---- Cumulative sums --------------------------------------------------------------------------------------------

void cumulative_sum(const graph::CumulativeSum& op, const ThreadContext& thread) {
  Strided x = strided(op.x, thread), y = strided(op.y, thread);
  if (op.axis != 0) {
    const Range own = own_rows(thread, op.y, op.rows);
    x.restrict_to(0, own);
    y.restrict_to(0, own);
  }
  if (y.is_empty()) return;
  int64_t x_step = x.stride[op.axis], y_step = y.stride[op.axis];
  const int64_t n = x.length[op.axis];
  if (op.reverse) {
    x.data += (n - 1) * x_step;
    y.data += (n - 1) * y_step;
    x_step = -x_step;
    y_step = -y_step;
  }
  x.erase(op.axis);
  y.erase(op.axis);
  if (x.axes == 0) {
    x.append(1, 1);
    y.append(1, 1);
  }
  merge_axes(x, y);
  const int last = x.last();
  const bool contiguous = x.stride[last] == 1 && y.stride[last] == 1 && x.length[last] > 1;
  if (contiguous) {
    for (Walk<2> walk({&x, &y}, last); !walk.done(); walk.next()) {
      thread.kernels.accumulate_rows({walk.data(0), x_step, n, x.length[last], walk.data(1), y_step});
    }
    return;
  }
  for (Walk<2> walk({&x, &y}, x.axes); !walk.done(); walk.next()) {
    float sum = 0.0f;
    for (int64_t i = 0; i < n; ++i) {
      sum += walk.data(0)[i * x_step];
      walk.data(1)[i * y_step] = sum;
    }
  }
}

void schedule_cumulative_sum(Scheduler& scheduler, const graph::CumulativeSum& op) {
  const Split split = split_array(scheduler, op, op.y, op.rows);
  scheduler.add<SimpleStep<graph::CumulativeSum>>(op, op.axis != 0 ? split : without_shared(split), cumulative_sum);
}

}  // namespace

bool schedule_reduction_of(Scheduler& scheduler, const graph::Map& map) {
  const graph::Reduce* const op = reduction_of(scheduler, map);
  if (!op) return false;
  const bool one = scheduler.threads() == 1;
  const bool large = graph::element_count(op->x.shape, scheduler.max_rows()) > kLargeInput;
  if (op->y.shape.empty() && (one || large)) {
    const ValueId pieces = add_pieces(scheduler, *op);
    scheduler.add<ReduceMapPiecesStep>(scheduler, *op, map, pieces);
    scheduler.add<CombinePiecesStep>(*op, pieces);
  } else if (!op->y.shape.empty() && reduces_last(*op) && op->rows != kWhole) {
    scheduler.add<ReduceMapRowsStep>(scheduler, *op, map);
  } else if (!op->y.shape.empty() && reduces_first(*op) &&
             (one || (large && graph::element_count(op->y.shape, scheduler.max_rows()) >=
                                   kColumnsPerThread * scheduler.threads()))) {
    scheduler.add<ReduceMapColumnsStep>(scheduler, *op, map);
  } else {
    return false;
  }
  scheduler.leave_out(map.y().value);
  scheduler.set_scheduled(*op);
  return true;
}

void add_reductions(OperationRegistry& all) {
  all.add<graph::Reduce>(schedule_reduce);
  all.add<graph::ProductGradient>(schedule_product_gradient);
  all.add<graph::CumulativeSum>(schedule_cumulative_sum);
}

}  // namespace engine::cpu
