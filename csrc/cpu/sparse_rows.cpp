#include "cpu/sparse_rows.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "cpu/thread_pool.h"

namespace engine::cpu {
namespace {

/// So many rows are recorded in one call, which stops if less than half of their numbers are zero.
constexpr int64_t kChunkRows = 64;

/// Returns the most bytes that are ever written: those of `rows` rows of which half of the numbers are zero, and of one
/// more chunk without any zero, which ends the attempt.
int64_t most_bytes(int64_t rows, int64_t inputs, int64_t value_bytes) {
  const int64_t blocks = record_blocks(inputs), filled = blocks * (kRecordStride - 1);
  return rows * record_bytes(blocks, inputs / 2 + filled, value_bytes) +
         kChunkRows * record_bytes(blocks, inputs, value_bytes) + kLineFloats * static_cast<int64_t>(sizeof(float));
}

/// Consecutive rows that one thread records. It assigns codes to the numbers that it meets in a codebook of its own.
struct Share {
  Range rows;
  std::vector<float> scratch;
  std::unique_ptr<void, FreeStorage> storage;
  Codebook book;
  int64_t bytes = 0;  // that the records take so far
};

std::vector<Share> make_shares(const DatasetView& data, int64_t value_bytes, int threads) {
  std::vector<Share> shares(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    Share& share = shares[static_cast<size_t>(i)];
    share.rows = {data.rows * i / threads, data.rows * (i + 1) / threads};
    share.scratch.resize(static_cast<size_t>(data.stride + kLineFloats));
    share.storage = allocate(most_bytes(share.rows.end - share.rows.begin, data.stride, value_bytes));
  }
  return shares;
}

/// Calls f(share) for each share, on a team of threads.
template <class F>
void for_each(std::vector<Share>& shares, F&& f) {
  run_team(static_cast<int>(shares.size()), [&](const Worker& worker) {
    for (auto i = static_cast<size_t>(worker.index); i < shares.size(); i += static_cast<size_t>(worker.threads)) {
      f(shares[i]);
    }
  });
}

/// Makes the records of all shares. Returns 0, or the negative number by which the kernel says why it made none.
int64_t record(const KernelTable& kernels, const DatasetView& data, SparseRows& result, std::vector<Share>& shares) {
  const bool finds_codes = result.values == RecordValues::kCodes && data.type != RowType::kUint8;
  std::atomic<int64_t> outcome{0};
  for_each(shares, [&](Share& share) {
    auto* const begin = static_cast<uint8_t*>(share.storage.get());
    for (int64_t first = share.rows.begin; first < share.rows.end; first += kChunkRows) {
      if (outcome.load(std::memory_order_relaxed) != 0) return;
      const Range rows{0, std::min(kChunkRows, share.rows.end - first)};
      const int64_t bytes = kernels.record_rows[static_cast<size_t>(data.type)](
          {data.x, data.stride, nullptr, first, data.stride, result.scale, rows, share.scratch.data(),
           finds_codes ? &share.book : nullptr, begin + share.bytes, result.records.data() + first});
      if (bytes < 0) return outcome.store(bytes);
      share.bytes += bytes;
    }
  });
  return outcome.load();
}

/// Replaces each code in the records of a share by codes[code].
void recode(const Share& share, int64_t blocks, const std::vector<uint8_t>& codes) {
  auto* record = static_cast<uint8_t*>(share.storage.get());
  for (int64_t row = share.rows.begin; row < share.rows.end; ++row) {
    const int64_t n = Record(record, blocks).ends[blocks - 1];
    uint8_t* values = record + record_values_offset(blocks, n);
    for (int64_t i = 0; i < n; ++i) values[i] = codes[values[i]];
    record += record_bytes(blocks, n, 1);
  }
}

/// Merges the codebooks of the shares into `result.codes` and rewrites the records with its codes. Returns
/// kTooManyValues if one codebook can't hold all numbers, and else 0.
int64_t join_codes(const DatasetView& data, std::vector<Share>& shares, SparseRows& result) {
  std::vector<float> numbers{0.0f};
  std::vector<std::vector<uint8_t>> codes;  // of each share: new code by old code
  for (const Share& share : shares) {
    auto& code = codes.emplace_back(static_cast<size_t>(share.book.count));
    for (size_t own = 1; own < code.size(); ++own) {
      const auto found = std::find(numbers.begin(), numbers.end(), share.book.numbers[own]);
      code[own] = static_cast<uint8_t>(found - numbers.begin());
      if (found == numbers.end()) numbers.push_back(share.book.numbers[own]);
    }
    if (numbers.size() > static_cast<size_t>(kCodes)) return kTooManyValues;
  }
  std::copy(numbers.begin(), numbers.end(), result.codes);
  for_each(shares, [&](const Share& share) {
    const auto& code = codes[static_cast<size_t>(&share - shares.data())];
    for (size_t own = 0; own < code.size(); ++own) {
      if (code[own] != own) return recode(share, record_blocks(data.stride), code);
    }
  });
  return 0;
}

/// Makes records of the kind `result.values`. Returns 0, or the negative number that says why there are none.
int64_t try_records(const KernelTable& kernels, const DatasetView& data, int threads, SparseRows& result) {
  const bool codes = result.values == RecordValues::kCodes;
  std::vector<Share> shares = make_shares(data, codes ? 1 : sizeof(float), threads);
  int64_t outcome = record(kernels, data, result, shares);
  if (outcome == 0 && codes && data.type != RowType::kUint8) outcome = join_codes(data, shares, result);
  int64_t bytes = 0;
  for (Share& share : shares) {
    bytes += share.bytes;
    result.storage.push_back(std::move(share.storage));
  }
  result.bytes_per_row = bytes / data.rows;
  return outcome;
}

}  // namespace

SparseRows make_sparse_rows(const KernelTable& kernels, const DatasetView& data, float scale, int threads) {
  SparseRows result;
  result.scale = scale;
  result.records.resize(static_cast<size_t>(data.rows));
  if (data.type == RowType::kUint8) fill_codes(scale, result.codes);
  for (const RecordValues values : {RecordValues::kCodes, RecordValues::kFloats}) {
    result.values = values;
    result.storage.clear();
    const int64_t outcome = try_records(kernels, data, threads, result);
    if (outcome == 0) return result;
    if (outcome == kTooManyNonZeros) break;
  }
  return SparseRows{RecordValues::kNone, scale, {}, 0, {}, {}};
}

}  // namespace engine::cpu
