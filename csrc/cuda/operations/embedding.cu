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

/// y[p,:] = table[x[p],:] for each place p that holds a token
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

/// dtable[t,:] = the sum of dy[p,:] over the places p that hold token t, in their order: stored, or stepped by at once.
/// The warp of the first of these places does it, so that the order of the terms depends on nothing.
struct EmbedGradient {
  static constexpr int64_t kColumns = 4;  // of a row, for each lane, that are summed in one walk over the places

  const float *x, *dy;
  float* dtable;  // null where the optimizer steps the rows
  Weights table;
  Optimizer rule;
  float limit;  // of the gradient's elements
  int64_t places_of_sample, max_rows, tokens, columns;

  int64_t blocks() const { return blocks_for_warps(places_of_sample * max_rows); }
  int64_t shared_bytes() const { return 0; }

  /// Calls f(p) for the places in [begin, end) that hold `token`, in their order, until it returns false. Each lane
  /// looks at one of 32 places.
  template <class F>
  __device__ void for_places(int64_t token, int64_t begin, int64_t end, F&& f) const {
    for (int64_t first = begin; first < end; first += kWarp) {
      const int64_t p = first + threadIdx.x % kWarp;
      unsigned found = __ballot_sync(0xffffffffu, p < end && token_of(x[p < end ? p : begin], tokens) == token);
      for (; found != 0; found &= found - 1) {
        if (!f(first + __ffs(static_cast<int>(found)) - 1)) return;
      }
    }
  }

  __device__ void run(const Batch& batch) const {
    const int64_t places = places_of_sample * batch.rows;
    for_each_by_warp(places, [&](int64_t place) {
      const int64_t token = token_of(x[place], tokens);
      bool is_first = true;
      for_places(token, 0, place, [&](int64_t) { return is_first = false; });
      if (!is_first) return;
      for (int64_t j0 = threadIdx.x % kWarp; j0 - threadIdx.x % kWarp < columns; j0 += kColumns * kWarp) {
        float sums[kColumns] = {};
        for_places(token, place, places, [&](int64_t p) {
          ENGINE_UNROLL(4)
          for (int64_t c = 0; c < kColumns; ++c) {
            const int64_t j = j0 + c * kWarp;
            if (j < columns) sums[c] = sums[c] + dy[p * columns + j];
          }
          return true;
        });
        for (int64_t c = 0; c < kColumns; ++c) {
          const int64_t j = j0 + c * kWarp, at = token * columns + j;
          if (j >= columns) break;
          if (dtable) {
            dtable[at] = sums[c];
          } else {
            step_weight<AllOptimizers>(rule, table, at,
                                       sums[c] > limit    ? limit
                                       : sums[c] < -limit ? -limit
                                                          : sums[c],
                                       batch);
          }
        }
      }
    });
  }
};

struct ClearTable {
  float* dtable;
  __device__ void operator()(int64_t i, const Batch&) const { dtable[i] = 0.0f; }
};

void schedule_embed_gradient(Schedule& schedule, const graph::EmbedGradient& op) {
  if (!op.steps) {
    schedule.add(op, [&op](const RunMemory& memory) {
      return for_weights(memory, op.dtable, ClearTable{memory.scratch(op.dtable)});
    });
  }
  schedule.add(op, [&op](const RunMemory& memory) {
    const OptimizerSpec& optimizer = memory.training().optimizer;
    const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
    const Variable& table = memory.schedule.variable(op.dtable);
    const Placement& x = memory.schedule.placement(op.x);
    return EmbedGradient{memory.scratch(op.x),
                         memory.scratch(op.dy),
                         op.steps ? nullptr : memory.scratch(op.dtable),
                         memory.weights(op.steps ? op.table : kNoValue),
                         optimizer.kind,
                         by_value ? static_cast<float>(optimizer.limit) : formulas::kInfinity,
                         x.groups * x.columns,
                         memory.schedule.max_rows(),
                         table.rows,
                         table.columns};
  });
}

/// y[b,t] = how often x[b,:] holds token t, or only whether it does
struct EncodeTokens {
  const float* x;
  float* y;
  int64_t columns, tokens;
  bool counts;
  __device__ void operator()(int64_t i, const Batch&) const {
    const float* const row = x + i / tokens * columns;
    float found = 0.0f;
    for (int64_t j = 0; j < columns; ++j) {
      if (token_of(row[j], tokens) == i % tokens) found = counts ? found + 1.0f : 1.0f;
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

void add_embedding(Implementations& all) {
  all.add<graph::Embed>(schedule_embed);
  all.add<graph::EmbedGradient>(schedule_embed_gradient);
  all.add<graph::EncodeTokens>(schedule_encode);
}

}  // namespace engine::cuda
