// How the rows of a batch reach the first product: as records of what is not zero, where they lie in the data set, or
// gathered into floats.
#include <algorithm>

#include "cpu/steps.h"

namespace engine {
namespace {

/// Rows of a batch, and of the next one, that leave most of the L2 cache to weights: they are asked for a batch ahead.
/// Rows of larger ones that are gathered are asked for shortly before.
constexpr int64_t kMostAhead = 256 << 10;
constexpr int64_t kRowsAhead = 4;

/// Bytes of a row that is gone through before a prefetcher has seen where it goes, and how many of them ahead of a
/// product come in time.
constexpr int64_t kShortRow = 2 << 10;
constexpr int64_t kShortRowsAhead = 48;

int64_t row_bytes(const DatasetView& data) {
  constexpr int64_t kBytes[] = {1, 4, 8};
  static_assert(sizeof kBytes / sizeof *kBytes == kRowTypes);
  return data.stride * kBytes[static_cast<size_t>(data.type)];
}

}  // namespace

std::optional<NonZeros> StepRunner::nonzeros(const Step& step) const {
  if (step.nonzeros < 0) return {};
  NonZeros nonzeros(data(step.nonzeros), plan_.max_rows, frame_.model->input_size);
  if (step.records >= 0) {
    const TeamRecords team(data(step.records), plan_.max_rows, frame_.model->input_size, plan_.threads);
    bool sparse = true;
    for (int i = 0; i < worker_.threads; ++i) sparse = sparse && team.dense[i * kLane] == 0;
    *nonzeros.header = {sparse ? RecordValues::kFloats : RecordValues::kNone, nullptr};
    nonzeros.records = team.records;
  }
  return nonzeros;
}

void StepRunner::record(const Step& step, const Batch& batch) const {
  const Buffer& x = shape(step.in);
  const TeamRecords team(data(step.out), plan_.max_rows, x.columns, plan_.threads);
  const Range own = samples(step, batch);
  int64_t bytes = 0;
  if (own.begin < own.end) {
    bytes = kernels_.record_rows[static_cast<size_t>(RowType::kFloat32)](
        {data(step.in), x.ld, nullptr, 0, x.columns, 1.0f, own, data(step.saved), nullptr,
         team.room + own.begin * team.stride, team.records});
  }
  team.dense[worker_.index * kLane] = bytes == kTooManyNonZeros ? 1 : 0;
}

bool StepRunner::in_place(const Step& step) const {
  const Step& gather = plan_.steps.front();
  if (!step.reads_rows || frame_.data.type != RowType::kFloat32) return false;
  if (gather.scale != 1.0f || gather.offset != 0.0f) return false;
  return !frame_.order || step.pointers >= 0;
}

StepRunner::Input StepRunner::input(const Step& step, const Batch& batch) const {
  if (!in_place(step)) return {data(step.in), shape(step.in).ld, nullptr};
  if (frame_.order) return {nullptr, 0, reinterpret_cast<const float* const*>(data(step.pointers))};
  const int64_t ld = frame_.data.stride;
  return {static_cast<const float*>(frame_.data.x) + batch.first * ld, ld, nullptr};
}

Ahead StepRunner::next_rows(const Step& step, const Batch& batch) const {
  const int64_t left = frame_.data.rows - batch.first - batch.rows, bytes = row_bytes(frame_.data);
  if (step.pointers < 0 || !frame_.order || frame_.sparse || plan_.max_rows * bytes > kMostAhead) return {};
  return {reinterpret_cast<const void* const*>(data(step.pointers) + shape(step.pointers).ld),
          left < batch.rows ? left : batch.rows, bytes};
}

Ahead StepRunner::rows_ahead(const Step& step, const Batch& batch, Range rows) const {
  const int64_t bytes = row_bytes(frame_.data), first = rows.begin + kShortRowsAhead;
  if (!frame_.order || !in_place(step) || bytes > kShortRow || plan_.max_rows * bytes <= kMostAhead) return {};
  if (first >= batch.rows) return {};
  return {reinterpret_cast<const void* const*>(data(step.pointers)) + first,
          std::min(rows.end - rows.begin, batch.rows - first), bytes};
}

/// Pointers to the rows of this batch and of the next.
void StepRunner::point(const Step& step, const Batch& batch) const {
  auto* rows = reinterpret_cast<const void**>(data(step.pointers));
  auto* next = reinterpret_cast<const void**>(data(step.pointers) + shape(step.pointers).ld);
  const auto* x = static_cast<const char*>(frame_.data.x);
  const int64_t bytes = row_bytes(frame_.data);
  const auto at = [&](int64_t sample) { return x + frame_.order[sample] * bytes; };
  for (int64_t b = 0; b < batch.rows; ++b) rows[b] = at(batch.first + b);
  const int64_t count = next_rows(step, batch).count;
  for (int64_t b = 0; b < count; ++b) next[b] = at(batch.first + batch.rows + b);
}

CompressedBatch StepRunner::compressed(const Batch& batch) const {
  return {frame_.data.compressed, frame_.order, batch.first, plan_.steps.front().scale};
}

void StepRunner::gather(const Step& step, const Batch& batch) const {
  const Buffer& x = shape(step.out);
  const DatasetView& in = frame_.data;
  prefetch_targets(batch);
  if (step.compressed) return;
  if (plan_.compressed) {
    const CompressedBatch rows = compressed(batch);
    return kernels_.gather_compressed({&rows, data(step.out), x.ld, x.columns, step.offset, samples(step, batch)});
  }
  if (const auto zeros = nonzeros(step); zeros && find_nonzeros(step, batch, *zeros)) return;
  if (step.pointers >= 0 && frame_.order) point(step, batch);
  if (in_place(step)) return;
  const bool prefetched = next_rows(step, batch).bytes > 0;
  // Rows that no product reads are gathered by one thread each, which has the same places in the next batch.
  const bool whole_batch = step.pointers < 0 && plan_.max_rows * row_bytes(in) <= kMostAhead;
  kernels_.gather[static_cast<size_t>(in.type)](
      {in.x, in.stride, frame_.order, batch.first, data(step.out), x.ld, x.columns, step.scale, step.offset,
       samples(step, batch), batch.first + (whole_batch ? batch.rows : kRowsAhead), prefetched ? 0 : in.rows});
}

bool StepRunner::find_nonzeros(const Step& step, const Batch& batch, const NonZeros& nonzeros) const {
  const DatasetView& in = frame_.data;
  const Range rows = samples(step, batch);
  *nonzeros.header = {RecordValues::kNone, nonzeros.own_codes};
  if (plan_.mode == Plan::Mode::kTrain) {
    if (!frame_.sparse) return false;
    *nonzeros.header = {frame_.sparse->values, frame_.sparse->codes, frame_.sparse->bytes_per_row};
    for (int64_t b = rows.begin; b < rows.end; ++b) {
      const int64_t sample = batch.first + b;
      nonzeros.records[b] = frame_.sparse->records[static_cast<size_t>(frame_.order ? frame_.order[sample] : sample)];
    }
    return true;
  }
  auto* scratch = static_cast<float*>(nonzeros.room);
  const int64_t k = shape(step.out).columns;
  auto* out = reinterpret_cast<uint8_t*>(scratch + round_up(k + kLane, kLane));
  const int64_t bytes = kernels_.record_rows[static_cast<size_t>(in.type)](
      {in.x, in.stride, frame_.order, batch.first, k, step.scale, rows, scratch, nullptr, out, nonzeros.records});
  if (bytes == kTooManyNonZeros) return false;
  nonzeros.header->values = in.type == RowType::kUint8 ? RecordValues::kCodes : RecordValues::kFloats;
  fill_codes(step.scale, nonzeros.own_codes);
  return true;
}

/// Targets of shuffled rows lie anywhere; the loss will want those of this thread's samples, or of all. Of wide ones
/// the first line: the prefetchers see what follows.
void StepRunner::prefetch_targets(const Batch& batch) const {
  if (!frame_.order || plan_.gradient < 0) return;
  const bool everyone = shape(plan_.losses).copied;
  const Range own = everyone ? Range{0, batch.rows} : worker_.slice(batch.rows);
  const Targets wanted = targets(batch);
  const int64_t outputs = shape(plan_.gradient).columns;
  for (int64_t b = own.begin * wanted.groups; b < own.end * wanted.groups; ++b) {
    if (wanted.labels) {
      __builtin_prefetch(wanted.labels + wanted.row(b));
    } else if (wanted.dense) {
      __builtin_prefetch(wanted.dense + wanted.row(b) * outputs);
    }
  }
}

}  // namespace engine
