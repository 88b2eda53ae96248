// Layers whose inputs are tokens: embeddings, one-hot and multi-hot codes, counts.
#include "cuda/elements.h"
#include "cuda/steps.h"
#include "cuda/warp_rows.h"
#include "graph/operations/embedding.h"

namespace engine::cuda {
namespace {

/// A token, which is stored as a float. The bindings refuse tokens that a table does not have; should one arrive here
/// nevertheless, it becomes the nearest that exists.
__device__ int64_t token_of(float x, int64_t tokens) {
  const auto last = static_cast<float>(tokens - 1);
  return static_cast<int64_t>(x > 0.0f ? x < last ? x : last : 0.0f);
}

/// y[p,:] = table[x[p],:] for each position p of the samples
struct Embed {
  const float *x, *table;
  float* y;
  int64_t tokens, columns;
  __device__ void operator()(int64_t i, const Batch&) const {
    y[i] = table[token_of(x[i / columns], tokens) * columns + i % columns];
  }
};

void schedule_embed(Schedule& schedule, const graph::Embed& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Variable& table = memory.schedule.variable(op.table);
    return for_elements(
        memory.schedule, op.y,
        Embed{memory.scratch(op.x), memory.numbers(op.table), memory.scratch(op.y), table.rows, table.columns});
  });
}

// ---- Gradient of a table --------------------------------------------------------------------------------------------
// dtable[t,:] = the sum of dy[p,:] over the positions p that hold token t, in their order. The positions are sorted by
// token, so that those of a token are neighbours: first runs of 512 by a block each, which are merged in pairs until
// one is left. The sorted positions are cut into pieces of 64. A token within one piece is summed by a warp. One that
// many positions hold, such as that of padding, has a sum in each of its pieces, which one warp adds in their order.

/// A token and a position that holds it. They are ordered by token, then by position.
using TokenKey = uint64_t;
constexpr int kPositionBits = 32;
__device__ TokenKey first_key(int64_t token) { return static_cast<TokenKey>(token) << kPositionBits; }
__device__ int64_t token_in(TokenKey key) { return static_cast<int64_t>(key >> kPositionBits); }
__device__ int64_t position_in(TokenKey key) { return static_cast<int64_t>(key & 0xffffffffu); }

/// The first index in [begin, end) whose key is not less than `key`; `end` if there is none.
__device__ int64_t lower_bound(const TokenKey* keys, int64_t begin, int64_t end, TokenKey key) {
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    if (keys[middle] < key) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

/// Sorts runs of positions, each by a block: the place of a key in its run is the number of smaller ones.
struct SortRuns {
  static constexpr int64_t kLength = 512;

  const float* x;
  TokenKey* keys;
  int64_t positions_of_sample, max_rows, tokens;

  int64_t blocks() const { return (positions_of_sample * max_rows + kLength - 1) / kLength; }
  int64_t shared_bytes() const { return kLength * static_cast<int64_t>(sizeof(TokenKey)); }
  __device__ void run(const Batch& batch) const {
    const int64_t positions = positions_of_sample * batch.rows;
    auto* const unsorted = reinterpret_cast<TokenKey*>(shared_memory());
    for (int64_t first = blockIdx.x * kLength; first < positions; first += gridDim.x * kLength) {
      const int64_t count = first + kLength < positions ? kLength : positions - first;
      for (int64_t i = threadIdx.x; i < count; i += kThreads) {
        unsorted[i] = first_key(token_of(x[first + i], tokens)) | static_cast<TokenKey>(first + i);
      }
      __syncthreads();
      for (int64_t i = threadIdx.x; i < count; i += kThreads) {
        int64_t smaller = 0;
        for (int64_t j = 0; j < count; ++j) smaller += unsorted[j] < unsorted[i] ? 1 : 0;
        keys[first + smaller] = unsorted[i];
      }
      __syncthreads();
    }
  }
};

/// Merges sorted runs in pairs: a key goes behind the smaller ones of its own run and of the other one.
struct MergeRuns {
  const TokenKey* from;
  TokenKey* to;
  int64_t length;  // of a run
  int64_t positions_of_sample;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    const int64_t positions = positions_of_sample * batch.rows, run = i / length, first = run / 2 * 2 * length;
    const int64_t begin = run % 2 == 0 ? first + length : first, end = begin + length;
    const int64_t smaller =
        begin < positions ? lower_bound(from, begin, end < positions ? end : positions, from[i]) - begin : 0;
    to[first + i % length + smaller] = from[i];
  }
};

/// Rows of dy in the order of the sorted keys, and their columns. A warp adds rows of 128 columns: 4 of each lane.
struct SortedRows {
  static constexpr int64_t kPiece = 64;  // keys
  static constexpr int kColumns = 4;
  static constexpr int64_t kColumnsOfWarp = kColumns * kWarp;

  const TokenKey* keys;
  const float* dy;
  float* partial_sums;  // (pieces, 2, columns): see AddRowsOfPieces
  int64_t positions_of_sample, max_rows, columns;

  __device__ int64_t positions(const Batch& batch) const { return positions_of_sample * batch.rows; }
  int64_t max_positions() const { return positions_of_sample * max_rows; }
  ENGINE_DEVICE int64_t column_groups() const { return (columns + kColumnsOfWarp - 1) / kColumnsOfWarp; }
  __device__ float* partial_sum(int64_t piece, int of_last) const {
    return partial_sums + (2 * piece + of_last) * columns;
  }

  /// Calls f(i, first column of the lane) for each i below n and each group of columns, by a warp.
  template <class F>
  __device__ void for_each_row(int64_t n, F&& f) const {
    const int64_t groups = column_groups();
    for_each_by_warp(n * groups, [&](int64_t i) { f(i / groups, i % groups * kColumnsOfWarp + threadIdx.x % kWarp); });
  }

  /// sums[c] += row(i)[j0 + 32 c] for i from `begin` to before `end`, in order
  template <class F>
  __device__ void add(int64_t begin, int64_t end, int64_t j0, float (&sums)[kColumns], F&& row) const {
    ENGINE_UNROLL(4)
    for (int64_t i = begin; i < end; ++i) {
      const float* const numbers = row(i);
      ENGINE_UNROLL(4)
      for (int c = 0; c < kColumns; ++c) {
        const int64_t j = j0 + c * kWarp;
        if (j < columns) sums[c] = sums[c] + numbers[j];
      }
    }
  }
  __device__ void add_rows(int64_t begin, int64_t end, int64_t j0, float (&sums)[kColumns]) const {
    add(begin, end, j0, sums, [&](int64_t i) { return dy + position_in(keys[i]) * columns; });
  }
};

/// The sums within each piece that are only a part of a token's: that of its first token, if this begins in an earlier
/// piece, and that of its last one, if this begins here and goes on in the next piece.
struct AddRowsOfPieces {
  SortedRows rows;

  int64_t blocks() const {
    return blocks_for_warps((rows.max_positions() / SortedRows::kPiece + 1) * rows.column_groups());
  }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const int64_t positions = rows.positions(batch);
    const TokenKey* const keys = rows.keys;
    rows.for_each_row((positions + SortedRows::kPiece - 1) / SortedRows::kPiece, [&](int64_t piece, int64_t j0) {
      const int64_t begin = piece * SortedRows::kPiece;
      const int64_t end = begin + SortedRows::kPiece < positions ? begin + SortedRows::kPiece : positions;
      const int64_t first = token_in(keys[begin]), last = token_in(keys[end - 1]);
      const bool comes_in = begin > 0 && token_in(keys[begin - 1]) == first;
      const bool goes_on = end < positions && token_in(keys[end]) == last;
      if (comes_in) store(piece, 0, begin, lower_bound(keys, begin, end, first_key(first + 1)), j0);
      if (goes_on && !(comes_in && first == last)) {
        store(piece, 1, lower_bound(keys, begin, end, first_key(last)), end, j0);
      }
    });
  }

  __device__ void store(int64_t piece, int of_last, int64_t begin, int64_t end, int64_t j0) const {
    float sums[SortedRows::kColumns] = {};
    rows.add_rows(begin, end, j0, sums);
    for (int c = 0; c < SortedRows::kColumns; ++c) {
      const int64_t j = j0 + c * kWarp;
      if (j < rows.columns) rows.partial_sum(piece, of_last)[j] = sums[c];
    }
  }
};

/// The sum of each token that the batch holds: stored, or stepped by at once. The warp of its first key does it.
struct EmbedGradient {
  SortedRows rows;
  float* dtable;  // null where the optimizer steps the rows
  CardWeights table;
  Optimizer rule;
  ValueClip clip;

  int64_t blocks() const { return blocks_for_warps(rows.max_positions() * rows.column_groups()); }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const int64_t positions = rows.positions(batch);
    const TokenKey* const keys = rows.keys;
    rows.for_each_row(positions, [&](int64_t i, int64_t j0) {
      const int64_t token = token_in(keys[i]), piece = i / SortedRows::kPiece;
      if (i > 0 && token_in(keys[i - 1]) == token) return;
      float sums[SortedRows::kColumns] = {};
      const int64_t next = (piece + 1) * SortedRows::kPiece;
      if (next < positions && token_in(keys[next]) == token) {
        const int64_t last = (lower_bound(keys, next, positions, first_key(token + 1)) - 1) / SortedRows::kPiece;
        rows.add(piece, last + 1, j0, sums, [&](int64_t p) { return rows.partial_sum(p, p == piece ? 1 : 0); });
      } else {
        const int64_t end = lower_bound(keys, i, next < positions ? next : positions, first_key(token + 1));
        rows.add_rows(i, end, j0, sums);
      }
      for (int c = 0; c < SortedRows::kColumns; ++c) {
        const int64_t j = j0 + c * kWarp;
        if (j < rows.columns) take(token * rows.columns + j, sums[c], batch);
      }
    });
  }

  __device__ void take(int64_t at, float sum, const Batch& batch) const {
    if (dtable) {
      dtable[at] = sum;
    } else {
      step_weight<AllOptimizers>(rule, table, at, clip(sum), batch);
    }
  }
};

/// Appends the kernels that sort the positions of x by token; returns where in scratch the keys are.
int64_t add_sorted_positions(Schedule& schedule, const graph::EmbedGradient& op) {
  const Placement& x = schedule.placement(op.x);
  const int64_t of_sample = x.groups * x.columns, most = of_sample * schedule.max_rows();
  const auto keys_at = [](const RunMemory& memory, int64_t at) {
    return reinterpret_cast<TokenKey*>(memory.arguments.scratch + at);
  };
  const auto add_keys = [&] {
    return schedule.add_scratch(most * static_cast<int64_t>(sizeof(TokenKey) / sizeof(float)));
  };
  int64_t keys = add_keys();
  schedule.add(op, [=, &op](const RunMemory& memory) {
    return SortRuns{memory.scratch(op.x), keys_at(memory, keys), of_sample, memory.schedule.max_rows(),
                    memory.schedule.variable(op.dtable).rows};
  });
  if (most <= SortRuns::kLength) return keys;
  int64_t merged = add_keys();
  for (int64_t length = SortRuns::kLength; length < most; length *= 2) {
    schedule.add(op, [=](const RunMemory& memory) {
      return for_samples(memory.schedule, of_sample,
                         MergeRuns{keys_at(memory, keys), keys_at(memory, merged), length, of_sample});
    });
    std::swap(keys, merged);
  }
  return keys;
}

void schedule_embed_gradient(Schedule& schedule, const graph::EmbedGradient& op) {
  if (!op.steps) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return for_weights(memory, op.dtable, SetToZero{memory.scratch(op.dtable)});
    });
  }
  const Placement& x = schedule.placement(op.x);
  const int64_t of_sample = x.groups * x.columns, columns = schedule.variable(op.dtable).columns;
  const int64_t pieces = of_sample * schedule.max_rows() / SortedRows::kPiece + 1;
  const int64_t keys = add_sorted_positions(schedule, op), partial = schedule.add_scratch(pieces * 2 * columns);
  const auto sorted_rows = [=, &op](const RunMemory& memory) {
    return SortedRows{reinterpret_cast<const TokenKey*>(memory.arguments.scratch + keys),
                      memory.scratch(op.dy),
                      memory.arguments.scratch + partial,
                      of_sample,
                      memory.schedule.max_rows(),
                      columns};
  };
  schedule.add(op, [=](const RunMemory& memory) { return AddRowsOfPieces{sorted_rows(memory)}; });
  schedule.add(op, [=, &op](const RunMemory& memory) {
    const OptimizerSpec& optimizer = memory.training().optimizer;
    return EmbedGradient{sorted_rows(memory), op.steps ? nullptr : memory.scratch(op.dtable),
                         memory.weights(op.steps ? op.table : kNoValue), optimizer.kind, value_clip(optimizer)};
  });
}

// ---- Codes ----------------------------------------------------------------------------------------------------------

/// y[b,t] = how often x[b,:] holds token t, or only whether it does
struct EncodeTokens {
  const float* x;
  float* y;
  int64_t columns, tokens;
  bool counts_tokens;  // how often, and not only whether
  __device__ void operator()(int64_t i, const Batch&) const {
    const float* const row = x + i / tokens * columns;
    float found = 0.0f;
    for (int64_t j = 0; j < columns; ++j) {
      if (token_of(row[j], tokens) == i % tokens) found = counts_tokens ? found + 1.0f : 1.0f;
    }
    y[i] = found;
  }
};

void schedule_encode(Schedule& schedule, const graph::EncodeTokens& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.y,
                        EncodeTokens{memory.scratch(op.x), memory.scratch(op.y),
                                     memory.schedule.placement(op.x).columns, op.tokens, op.counts});
  });
}

}  // namespace

void add_embedding(OperationRegistry& all) {
  all.add<graph::Embed>(schedule_embed);
  all.add<graph::EmbedGradient>(schedule_embed_gradient);
  all.add<graph::EncodeTokens>(schedule_encode);
}

}  // namespace engine::cuda
