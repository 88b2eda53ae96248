// Embeddings and encodings of tokens.
#include "graph/operations/embedding.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/scheduler.h"

namespace engine::cpu {
namespace {

void embed(const graph::Embed& op, const ThreadContext& thread) {
  const Variable& table = thread.variable(op.table);
  const Placement& x = thread.placement(op.x);
  thread.kernels.embed({thread.data(op.x), x.ld, x.columns, thread.weights(op.table).values, table.rows, table.columns,
                        thread.data(op.y), thread.placement(op.y).ld, thread.samples()});
}

/// Steps the row of each token of the batch. A gradient becomes 0 once it has been used, so that a further step of the
/// same row changes nothing.
void step_rows(const graph::EmbedGradient& op, const ThreadContext& thread) {
  const Variable& table = thread.variable(op.table);
  const Placement& x = thread.placement(op.x);
  const OptimizerSpec& optimizer = thread.optimizer();
  const bool by_value = optimizer.clip == OptimizerSpec::Clip::kValue;
  const auto limit = by_value ? static_cast<float>(optimizer.limit) : std::numeric_limits<float>::infinity();
  const OptimizerStep& step = thread.optimizer_step();
  const Weights weights = thread.weights(op.table);
  const auto run = thread.kernels.step_weights[index(optimizer.kind)];
  const float last = static_cast<float>(table.rows - 1);
  Panels(table.rows, table.columns).each(thread.padded('n', table.columns), [&](const Panel& panel) {
    float* const gradient = thread.data(op.dtable) + panel.offset;
    const auto bytes = static_cast<size_t>(panel.columns.end - panel.columns.begin) * sizeof(float);
    for (int64_t b = 0; b < thread.batch.rows; ++b) {
      for (int64_t i = 0; i < x.columns; ++i) {
        const float given = thread.data(op.x)[b * x.ld + i];
        const auto token = static_cast<int64_t>(given > 0.0f ? std::min(given, last) : 0.0f);
        run({shifted(weights, panel.offset),
             gradient,
             panel.width,
             {token, token + 1},
             panel.columns,
             step,
             1.0f,
             limit});
        std::memset(gradient + token * panel.width + panel.columns.begin, 0, bytes);
      }
    }
  });
}

void embed_gradient(const graph::EmbedGradient& op, const ThreadContext& thread) {
  const Variable& table = thread.variable(op.dtable);
  const Placement& x = thread.placement(op.x);
  thread.kernels.embed_backward({thread.data(op.x), x.ld, x.columns, thread.data(op.dy), thread.placement(op.dy).ld,
                                 thread.data(op.dtable), table.rows, table.columns, thread.batch.rows,
                                 thread.padded('n', table.columns), op.steps});
  if (op.steps) step_rows(op, thread);
}

void encode_tokens(const graph::EncodeTokens& op, const ThreadContext& thread) {
  const Placement& x = thread.placement(op.x);
  thread.kernels.encode({thread.data(op.x), x.ld, x.columns, thread.data(op.y), thread.placement(op.y).ld, op.tokens,
                         op.counts, thread.own_rows(op.y)});
}

}  // namespace

void add_embedding(OperationRegistry& all) {
  all.add<graph::Embed>(embed, by_samples);
  all.add<graph::EmbedGradient>(embed_gradient, over<'n'>);
  all.add<graph::EncodeTokens>(encode_tokens, by_samples);
}

}  // namespace engine::cpu
