// The data set's side of a batch: its rows, as products read them, and the predictions that it gives back.
#include "cpu/operations/input_output.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "cpu/kernel_choice.h"
#include "cpu/thresholds.h"
#include "graph/operations/dense.h"

namespace engine::cpu {
namespace {

int64_t row_bytes(const DatasetView& data) { return data.stride * bytes_of(data.type); }

bool is_product(const graph::Operation* operation) {
  return dynamic_cast<const graph::Dense*>(operation) || dynamic_cast<const graph::DenseWeightGradient*>(operation);
}

/// Units of the narrowest product that reads `x`; 0 where there is none.
int64_t fewest_units(const Scheduler& scheduler, ValueId x) {
  int64_t fewest = 0;
  for (const graph::Operation* reader : scheduler.readers(x)) {
    if (const auto* dense = dynamic_cast<const graph::Dense*>(reader)) {
      const int64_t units = scheduler.value(dense->y).columns;
      fewest = fewest == 0 ? units : std::min(fewest, units);
    }
  }
  return fewest;
}

bool reads_whole_rows(const Scheduler& scheduler) {
  const auto& operations = scheduler.graph().operations();
  return std::count_if(operations.begin(), operations.end(), [](const auto& operation) {
           return dynamic_cast<const graph::ReadInput*>(operation.get()) != nullptr;
         }) == 1;
}

/// Where every thread reads every sample, each gathers a copy of its own: the conversion is cheap against fetching half
/// of the lines from another core's cache, and saves two barriers per batch. Not around a step of the caller's: the
/// team after it may be larger than the one that gathered. With more threads than units / kUnitsPerCopy no thread sees
/// whole batches in a training; zeros are then read like other numbers.
void schedule_input(Scheduler& scheduler, const graph::ReadInput& operation) {
  const auto& readers = scheduler.readers(operation.x);
  const bool products = !readers.empty() && std::all_of(readers.begin(), readers.end(), is_product);
  const bool feeds_products = products && scheduler.one_team();
  const int64_t units = fewest_units(scheduler, operation.x), inputs = scheduler.value(operation.x).columns;
  const Split forward = split_dense(scheduler.graph(), scheduler.max_rows(), units, scheduler.threads());
  const bool copies = feeds_products && forward.shares('n') &&
                      pays_to_copy_rows(scheduler.max_rows(), inputs, units, scheduler.threads());
  auto& step = scheduler.add<ReadInputStep>(operation, copies ? Split::every_thread() : Split::over(kSamples));
  scheduler.set_input_step(operation.x, step);
  step.leaves_compressed = scheduler.compressed() && products && operation.offset == 0.0f;
  if (step.leaves_compressed) return step.forget(operation.x);
  step.feeds_products_alone = feeds_products && !scheduler.compressed();
  if (!step.feeds_products_alone) return;
  const bool all_rows = copies || scheduler.threads() == 1;
  const bool sees_rows = all_rows || (!scheduler.differentiates() && forward.shares(kSamples));
  if (operation.offset == 0.0f && sees_rows && pays_to_find_zeros(units) && reads_whole_rows(scheduler)) {
    step.nonzeros.emplace(scheduler, operation.x);
    scheduler.set_sparse_scale(operation.scale);
  }
  if (scheduler.differentiates()) {
    constexpr auto kFloats = static_cast<int64_t>(sizeof(void*) / sizeof(float));
    step.pointers = scheduler.add_thread_scratch(2, scheduler.max_rows() * kFloats);
  }
}

void write_output(const graph::WriteOutput& operation, const ThreadContext& thread) {
  const Placement& y = thread.placement(operation.y);
  const graph::Graph& graph = thread.schedule.graph();
  const graph::Output& last = graph.outputs.back();
  const Placement& last_y = thread.placement(last.y_pred);
  const int64_t stride = last.first_column + last_y.groups * last_y.columns;  // numbers of all outputs of a sample
  const Range own = thread.samples();
  for (int64_t b = own.begin; b < own.end; ++b) {
    float* to = thread.run.output + (thread.batch.first + b) * stride + operation.first_column;
    for (int64_t g = 0; g < y.groups; ++g, to += y.columns) {
      std::memcpy(to, thread.data(operation.y) + (b * y.groups + g) * y.ld,
                  static_cast<size_t>(y.columns) * sizeof(float));
    }
  }
}

}  // namespace

std::string ReadInputStep::kernel() const {
  if (leaves_compressed) return "left compressed";
  const bool may_stay = feeds_products_alone && own_.scale == 1.0f && own_.offset == 0.0f;
  return std::string(may_stay ? "gather, or float32 in place" : "gather") + (nonzeros ? "; skip zeros" : "");
}

bool ReadInputStep::in_place(const ThreadContext& thread) const {
  if (!feeds_products_alone || thread.run.data.type != RowType::kFloat32) return false;
  if (own_.scale != 1.0f || own_.offset != 0.0f) return false;
  return !thread.run.order || pointers != kNoValue;
}

DenseInput ReadInputStep::input(const ThreadContext& thread) const {
  if (!in_place(thread)) return {thread.data(own_.x), thread.placement(own_.x).ld, nullptr};
  if (thread.run.order) return {nullptr, 0, reinterpret_cast<const float* const*>(thread.data(pointers))};
  const int64_t ld = thread.run.data.stride;
  return {static_cast<const float*>(thread.run.data.x) + thread.batch.first * ld + own_.first_column, ld, nullptr};
}

CompressedBatch ReadInputStep::compressed(const ThreadContext& thread) const {
  return {thread.run.data.compressed, thread.run.order, thread.batch.first, own_.scale};
}

std::optional<NonZeros> ReadInputStep::nonzeros_of(const ThreadContext& thread) const {
  if (!nonzeros) return {};
  return nonzeros->of(thread);
}

RowsToPrefetch ReadInputStep::next_rows(const ThreadContext& thread) const {
  const DatasetView& data = thread.run.data;
  const int64_t left = data.rows - thread.batch.first - thread.batch.rows, bytes = row_bytes(data);
  if (pointers == kNoValue || !thread.run.order || thread.run.sparse ||
      thread.schedule.max_rows() * bytes > kMaxAhead) {
    return {};
  }
  return {reinterpret_cast<const void* const*>(thread.data(pointers) + thread.placement(pointers).ld),
          std::min(left, thread.batch.rows), bytes};
}

RowsToPrefetch ReadInputStep::rows_ahead(const ThreadContext& thread, Range rows) const {
  const int64_t bytes = row_bytes(thread.run.data), first = rows.begin + kShortRowsAhead;
  if (!thread.run.order || !in_place(thread) || bytes > kShortRow || thread.schedule.max_rows() * bytes <= kMaxAhead) {
    return {};
  }
  if (first >= thread.batch.rows) return {};
  return {reinterpret_cast<const void* const*>(thread.data(pointers)) + first,
          std::min(rows.end - rows.begin, thread.batch.rows - first), bytes};
}

/// Sets the pointers to the rows of this batch and of the next.
void ReadInputStep::point(const ThreadContext& thread) const {
  auto* rows = reinterpret_cast<const void**>(thread.data(pointers));
  auto* next = reinterpret_cast<const void**>(thread.data(pointers) + thread.placement(pointers).ld);
  const DatasetView& data = thread.run.data;
  const auto* x = static_cast<const char*>(data.x) + own_.first_column * bytes_of(data.type);
  const int64_t bytes = row_bytes(data);
  const auto at = [&](int64_t sample) { return x + thread.run.order[sample] * bytes; };
  for (int64_t b = 0; b < thread.batch.rows; ++b) rows[b] = at(thread.batch.first + b);
  const int64_t count = next_rows(thread).count;
  for (int64_t b = 0; b < count; ++b) next[b] = at(thread.batch.first + thread.batch.rows + b);
}

void ReadInputStep::run(const ThreadContext& thread) const {
  prefetch_targets(thread);
  if (leaves_compressed) return;
  const Placement& x = thread.placement(own_.x);
  const DatasetView& in = thread.run.data;
  if (in.is_compressed()) {
    const CompressedBatch rows = compressed(thread);
    return thread.kernels.gather_compressed(
        {&rows, thread.data(own_.x), x.ld, x.columns, own_.offset, thread.samples()});
  }
  if (const auto zeros = nonzeros_of(thread); zeros && find_nonzeros(thread, *zeros)) return;
  if (pointers != kNoValue && thread.run.order) point(thread);
  if (in_place(thread)) return;
  const bool prefetched = next_rows(thread).bytes > 0;
  // Rows that no product reads in place are gathered by one thread each, which has the same places in the next batch.
  const bool whole_batch = pointers == kNoValue && thread.schedule.max_rows() * row_bytes(in) <= kMaxAhead;
  const auto* first = static_cast<const char*>(in.x) + own_.first_column * bytes_of(in.type);
  thread.kernels.gather[index(in.type)]({first, in.stride, thread.run.order, thread.batch.first, thread.data(own_.x),
                                         x.ld, x.columns, own_.scale, own_.offset, thread.samples(),
                                         thread.batch.first + (whole_batch ? thread.batch.rows : kRowsAhead),
                                         prefetched ? 0 : in.rows});
}

/// Returns whether the batch is in `nonzeros` now, so that no floats need to be gathered.
bool ReadInputStep::find_nonzeros(const ThreadContext& thread, const NonZeros& nonzeros) const {
  const DatasetView& in = thread.run.data;
  const Range rows = thread.samples();
  *nonzeros.header = {RecordValues::kNone, nonzeros.codes_of_bytes};
  if (thread.schedule.mode() == graph::Mode::kTrain) {
    const SparseRows* sparse = thread.run.sparse;
    if (!sparse) return false;
    *nonzeros.header = {sparse->values, sparse->codes, sparse->bytes_per_row};
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      const int64_t sample = thread.batch.first + b;
      nonzeros.records[b] = sparse->records[static_cast<size_t>(thread.run.order ? thread.run.order[sample] : sample)];
    }
    return true;
  }
  auto* scratch = static_cast<float*>(nonzeros.storage);
  const int64_t k = thread.placement(own_.x).columns;
  auto* out = reinterpret_cast<uint8_t*>(scratch + round_up(k + kLineFloats, kLineFloats));
  const int64_t bytes =
      thread.kernels.record_rows[index(in.type)]({in.x, in.stride, thread.run.order, thread.batch.first, k, own_.scale,
                                                  rows, scratch, nullptr, out, nonzeros.records});
  if (bytes == kTooManyNonZeros) return false;
  nonzeros.header->values = in.type == RowType::kUint8 ? RecordValues::kCodes : RecordValues::kFloats;
  fill_codes(own_.scale, nonzeros.codes_of_bytes);
  return true;
}

/// Targets of shuffled rows lie anywhere. The loss will want those of this thread's samples, or of all samples where
/// every thread computes it. Of wide targets the first line is fetched: the prefetcher of the CPU sees what follows.
void ReadInputStep::prefetch_targets(const ThreadContext& thread) const {
  if (!thread.run.order) return;
  const auto& outputs = thread.schedule.graph().outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].gradient == kNoValue) continue;
    const bool every_thread = thread.placement(outputs[i].losses).copied;
    const Range own = every_thread ? Range{0, thread.batch.rows} : thread.worker.slice(thread.batch.rows);
    const Placement& gradient = thread.placement(outputs[i].gradient);
    const Targets wanted = thread.targets(static_cast<int>(i), gradient.groups);
    for (int64_t b = own.begin * wanted.groups; b < own.end * wanted.groups; ++b) {
      if (wanted.labels) {
        __builtin_prefetch(wanted.labels + wanted.row(b));
      } else if (wanted.dense) {
        __builtin_prefetch(wanted.dense + wanted.row(b) * gradient.columns);
      }
    }
  }
}

NonZerosScratch::NonZerosScratch(Scheduler& scheduler, ValueId x)
    : x_(x),
      scratch_(scheduler.add_thread_scratch(
          1, NonZeros::scratch(scheduler.max_rows(), scheduler.value(x).columns, scheduler.differentiates()))) {
  const graph::Operation* first = nullptr;
  for (const graph::Operation* reader : scheduler.readers(x)) {  // in the order of the batch
    if (!first && dynamic_cast<const graph::Dense*>(reader)) first = reader;
    if (dynamic_cast<const graph::DenseWeightGradient*>(reader)) {
      if (!first) throw std::logic_error("a weight gradient comes before every product that reads its input");
      filler_ = first;
      clearer_ = reader;
    }
  }
}

NonZeros NonZerosScratch::of(const ThreadContext& thread) const {
  return NonZeros(thread.data(scratch_), thread.schedule.max_rows(), thread.placement(x_).columns);
}

bool NonZerosScratch::is_cleared(const ThreadContext& thread) const {
  const float* const begin = thread.data(scratch_);
  const auto* const transpose = static_cast<const float*>(of(thread).storage);
  return std::all_of(transpose, begin + thread.placement(scratch_).columns,
                     [](float element) { return element == 0.0f; });
}

RecordNonzerosStep::RecordNonzerosStep(ValueId x, ValueId team_records, ValueId row_scratch,
                                       const NonZerosScratch& nonzeros)
    : Step(nullptr, Split::over(kSamples)),
      x_(x),
      team_records_(team_records),
      row_scratch_(row_scratch),
      nonzeros_(nonzeros) {
  operands = {graph::writes(team_records, kSamples, kWhole), graph::reads(x, kSamples, kWhole)};
}

void RecordNonzerosStep::run(const ThreadContext& thread) const {
  const Placement& x = thread.placement(x_);
  const TeamRecords team(thread.data(team_records_), thread.schedule.max_rows(), x.columns, thread.schedule.threads());
  const Range own = thread.samples();
  int64_t bytes = 0;
  if (!empty(own)) {
    bytes = thread.kernels.record_rows[index(RowType::kFloat32)](
        {thread.data(x_), x.ld, nullptr, 0, x.columns, 1.0f, own, thread.data(row_scratch_), nullptr,
         team.storage + own.begin * team.stride, team.records});
  }
  team.dense[thread.worker.index * kLineFloats] = bytes == kTooManyNonZeros ? 1 : 0;
}

NonZeros RecordNonzerosStep::nonzeros_of(const ThreadContext& thread) const {
  NonZeros nonzeros = nonzeros_.of(thread);
  const TeamRecords team(thread.data(team_records_), thread.schedule.max_rows(), thread.placement(x_).columns,
                         thread.schedule.threads());
  bool sparse = true;
  for (int i = 0; i < thread.worker.threads; ++i) sparse = sparse && team.dense[i * kLineFloats] == 0;
  *nonzeros.header = {sparse ? RecordValues::kFloats : RecordValues::kNone, nullptr};
  nonzeros.records = team.records;
  return nonzeros;
}

void record_nonzeros(Scheduler& scheduler, ValueId x) {
  if (scheduler.recording(x)) return;
  const int64_t units = fewest_units(scheduler, x);
  const Split forward = split_dense(scheduler.graph(), scheduler.max_rows(), units, scheduler.threads());
  const bool all_rows = scheduler.threads() == 1 || forward.shares('n');
  if (!scheduler.differentiates() || !scheduler.one_team() || !all_rows || !pays_to_find_zeros(units)) return;
  const int64_t inputs = scheduler.value(x).columns, rows = scheduler.max_rows();
  const ValueId records = scheduler.add_scratch(1, TeamRecords::scratch(rows, inputs, scheduler.threads()));
  const ValueId row = scheduler.add_thread_scratch(1, inputs + kLineFloats);
  const NonZerosScratch nonzeros(scheduler, x);
  scheduler.set_recording(x, scheduler.add<RecordNonzerosStep>(x, records, row, nonzeros));
}

void add_input_output(OperationRegistry& all) {
  all.add<graph::ReadInput>(schedule_input);
  all.add<graph::WriteOutput>(write_output, by_samples);
}

}  // namespace engine::cpu
