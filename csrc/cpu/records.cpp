#include "cpu/records.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "cpu/team.h"

namespace engine {
namespace {

/// Rows recorded in scratch before they are copied to memory of the size that they turned out to need.
constexpr int64_t kChunkRows = 64;
/// Values to look through that pay for one more thread: about 10 us of memory traffic.
constexpr int64_t kValuesPerThread = 1 << 17;

/// Makes the records of one chunk of rows after the other.
class Recorder {
 public:
  Recorder(const KernelTable& kernels, const DatasetView& data, float scale)
      : record_rows_(kernels.record_rows[static_cast<size_t>(data.type)]),
        data_(data),
        scale_(scale),
        values_(static_cast<size_t>(data.stride + kLane)),
        records_(static_cast<size_t>(kChunkRows)),
        scratch_(new uint8_t[static_cast<size_t>(
            kChunkRows * record_bytes(record_blocks(data.stride), data.stride, sizeof(float)) +
            kLane * static_cast<int64_t>(sizeof(float)))]) {}

  /// The storage of the records of `rows`, to which `records` then point; null if there are too many elements, or no
  /// memory.
  std::unique_ptr<uint8_t[]> record(Range rows, const uint8_t** records) {
    const int64_t count = rows.end - rows.begin;
    const int64_t bytes = record_rows_({data_.x,
                                        data_.stride,
                                        nullptr,
                                        rows.begin,
                                        data_.stride,
                                        scale_,
                                        {0, count},
                                        values_.data(),
                                        scratch_.get(),
                                        records_.data()});
    if (bytes == kTooManyNonZeros) return nullptr;
    std::unique_ptr<uint8_t[]> kept(new (std::nothrow) uint8_t[static_cast<size_t>(bytes)]);
    if (!kept) return nullptr;
    std::memcpy(kept.get(), scratch_.get(), static_cast<size_t>(bytes));
    for (int64_t i = 0; i < count; ++i) records[i] = kept.get() + (records_[static_cast<size_t>(i)] - scratch_.get());
    return kept;
  }

 private:
  int64_t (*record_rows_)(const RecordRows&);
  const DatasetView& data_;
  float scale_;
  std::vector<float> values_;
  std::vector<const uint8_t*> records_;
  std::unique_ptr<uint8_t[]> scratch_;
};

}  // namespace

SparseRows make_sparse_rows(const KernelTable& kernels, const DatasetView& data, float scale, int threads) {
  SparseRows result;
  result.scale = scale;
  const int64_t chunks = (data.rows + kChunkRows - 1) / kChunkRows;
  result.records.resize(static_cast<size_t>(data.rows));
  result.storage.resize(static_cast<size_t>(chunks));
  fill_codes(scale, result.codes);
  std::atomic<bool> dense{false};
  const int64_t worthwhile = std::clamp<int64_t>(data.rows * data.stride / kValuesPerThread, 1, threads);
  std::vector<Recorder> recorders;
  for (int64_t i = 0; i < worthwhile; ++i) recorders.emplace_back(kernels, data, scale);
  run_team(static_cast<int>(worthwhile), [&](const Worker& worker) {
    Recorder& recorder = recorders[static_cast<size_t>(worker.index)];
    const int64_t end = chunks * (worker.index + 1) / worker.threads;
    for (int64_t chunk = chunks * worker.index / worker.threads; chunk < end && !dense.load(); ++chunk) {
      const Range rows{chunk * kChunkRows, std::min((chunk + 1) * kChunkRows, data.rows)};
      auto& storage = result.storage[static_cast<size_t>(chunk)];
      storage = recorder.record(rows, result.records.data() + rows.begin);
      if (!storage) dense.store(true);
    }
  });
  if (dense.load()) return SparseRows{RecordValues::kNone, scale, {}, {}, {}};
  result.values = data.type == RowType::kUint8 ? RecordValues::kCodes : RecordValues::kFloats;
  return result;
}

}  // namespace engine
