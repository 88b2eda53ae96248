// Sums over the rows of a batch, in double precision. A block adds a piece of the rows; where there are several pieces,
// a second kernel adds their sums in order. So the order of a sum depends on the number of its rows alone.
#pragma once
#include <algorithm>
#include <utility>

#include "cuda/kernel.h"
#include "cuda/schedule.h"

namespace engine::cuda {

/// Rows of a piece: 16 for each thread of a block.
inline constexpr int64_t kPieceRows = 16 * kThreads;

ENGINE_DEVICE inline int64_t pieces_of(int64_t rows) { return (rows + kPieceRows - 1) / kPieceRows; }

/// Calls finish(sums) in one thread of the block, with the sums of each thread's numbers over all threads.
template <int N, class F>
__device__ inline void with_sums_of_block(const double (&of_thread)[N], F&& finish) {
  double sums[N];
  for (int s = 0; s < N; ++s) sums[s] = sum_of_block(of_thread[s]);
  if (threadIdx.x == 0) finish(sums);
}

/// The sums of all pieces. `Sums` is a struct with
///     static constexpr int kSums;
///     bool is_wanted();             // on the host; false: nothing is computed
///     int64_t rows(const Batch&);
///     void add(int64_t b, const Batch&, double (&sums)[kSums]);  // the terms of row b
///     void finish(const double (&sums)[kSums], const Batch&);    // takes the sums over all rows, in one thread
template <class Sums>
struct SumPieces {
  static constexpr int kSums = Sums::kSums;

  Sums all;
  int64_t max_pieces;
  double* partial_sums;  // (pieces, kSums); not used where there is one piece

  int64_t blocks() const { return all.is_wanted() ? max_pieces : 0; }
  int64_t shared_bytes() const { return kSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t rows = all.rows(batch);
    const auto sum_piece = [&](int64_t piece, auto&& finish) {
      const int64_t begin = piece * kPieceRows, end = begin + kPieceRows < rows ? begin + kPieceRows : rows;
      double of_thread[kSums] = {};
      for (int64_t b = begin + threadIdx.x; b < end; b += kThreads) all.add(b, batch, of_thread);
      with_sums_of_block(of_thread, finish);
    };
    if (max_pieces == 1) {
      return sum_piece(0, [&](const double (&sums)[kSums]) { all.finish(sums, batch); });
    }
    for (int64_t piece = blockIdx.x; piece < pieces_of(rows); piece += gridDim.x) {
      sum_piece(piece, [&](const double (&sums)[kSums]) {
        for (int s = 0; s < kSums; ++s) partial_sums[piece * kSums + s] = sums[s];
      });
    }
  }
};

/// The sums over all rows from those of the pieces.
template <class Sums>
struct AddPieces {
  static constexpr int kSums = Sums::kSums;

  Sums all;
  const double* partial_sums;

  int64_t blocks() const { return all.is_wanted() ? 1 : 0; }
  int64_t shared_bytes() const { return kSumBytes; }
  __device__ void run(const Batch& batch) const {
    const int64_t pieces = pieces_of(all.rows(batch));
    double of_thread[kSums] = {};
    for_each(pieces, [&](int64_t piece) {
      for (int s = 0; s < kSums; ++s) of_thread[s] += partial_sums[piece * kSums + s];
    });
    with_sums_of_block(of_thread, [&](const double (&sums)[kSums]) { all.finish(sums, batch); });
  }
};

/// Appends the kernels that compute sums over up to `max_rows` rows: `make` gives a struct as SumPieces describes, for
/// the memory of a run.
template <class Make>
void add_batch_sums(Schedule& schedule, const graph::Operation& op, int64_t max_rows, Make make) {
  using Sums = decltype(make(std::declval<const RunMemory&>()));
  const int64_t pieces = std::max<int64_t>(pieces_of(max_rows), 1);
  const auto floats = static_cast<int64_t>(sizeof(double) / sizeof(float)) * pieces * Sums::kSums;
  const int64_t partial = pieces == 1 ? 0 : schedule.add_scratch(floats);
  const auto partial_sums = [partial](const RunMemory& memory) {
    return reinterpret_cast<double*>(memory.arguments.scratch + partial);
  };
  schedule.add(op,
               [=](const RunMemory& memory) { return SumPieces<Sums>{make(memory), pieces, partial_sums(memory)}; });
  if (pieces == 1) return;
  schedule.add(op, [=](const RunMemory& memory) { return AddPieces<Sums>{make(memory), partial_sums(memory)}; });
}

}  // namespace engine::cuda
