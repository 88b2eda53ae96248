#include "cpu/records.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "cpu/team.h"

namespace engine {
namespace {

/// Rows after which it is checked that at least half of them is zero.
constexpr int64_t kChunkRows = 64;
/// Values to look through that pay for one more thread: about 10 us of memory traffic.
constexpr int64_t kValuesPerThread = 1 << 17;

/// Bytes of the records of `rows`, half of which is zero, and of a chunk that turns out to be all else.
int64_t most_bytes(int64_t rows, int64_t inputs, int64_t value_bytes) {
  const int64_t blocks = record_blocks(inputs), filled = blocks * (kRecordStride - 1);
  return rows * record_bytes(blocks, inputs / 2 + filled, value_bytes) +
         kChunkRows * record_bytes(blocks, inputs, value_bytes) + kLane * static_cast<int64_t>(sizeof(float));
}

}  // namespace

SparseRows make_sparse_rows(const KernelTable& kernels, const DatasetView& data, float scale, int threads) {
  SparseRows result;
  result.scale = scale;
  fill_codes(scale, result.codes);
  const int64_t inputs = data.stride;
  const auto team = static_cast<int>(std::clamp<int64_t>(data.rows * inputs / kValuesPerThread, 1, threads));
  const auto share = [&](int index) { return data.rows * index / team; };
  std::vector<std::vector<float>> scratch;
  result.records.resize(static_cast<size_t>(data.rows));
  for (int i = 0; i < team; ++i) {
    const int64_t bytes = most_bytes(share(i + 1) - share(i), inputs, data.type == RowType::kUint8 ? 1 : sizeof(float));
    result.storage.push_back(allocate(bytes));
    scratch.emplace_back(static_cast<size_t>(inputs + kLane));
  }
  std::atomic<bool> dense{false};
  std::atomic<int64_t> total{0};
  const auto record = [&](int index) {
    const auto own = static_cast<size_t>(index);
    auto* out = static_cast<uint8_t*>(result.storage[own].get());
    const int64_t end = share(index + 1);
    for (int64_t first = share(index); first < end && !dense.load(std::memory_order_relaxed); first += kChunkRows) {
      const int64_t bytes = kernels.record_rows[static_cast<size_t>(data.type)]({data.x,
                                                                                 inputs,
                                                                                 nullptr,
                                                                                 first,
                                                                                 inputs,
                                                                                 scale,
                                                                                 {0, std::min(kChunkRows, end - first)},
                                                                                 scratch[own].data(),
                                                                                 out,
                                                                                 result.records.data() + first});
      if (bytes == kTooManyNonZeros) {
        dense.store(true);
      } else {
        out += bytes;
        total += bytes;
      }
    }
  };
  run_team(team, [&](const Worker& worker) {
    for (int index = worker.index; index < team; index += worker.threads) record(index);
  });
  if (dense.load()) return SparseRows{RecordValues::kNone, scale, {}, 0, {}, {}};
  result.bytes_per_row = total.load() / data.rows;
  result.values = data.type == RowType::kUint8 ? RecordValues::kCodes : RecordValues::kFloats;
  return result;
}

}  // namespace engine
