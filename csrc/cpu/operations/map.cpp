// Elementwise functions: the instructions run on blocks of numbers that stay in the L1 cache.
#include "graph/operations/map.h"

#include "cpu/map_blocks.h"
#include "cpu/operations/reduction.h"

namespace engine::cpu {
namespace {

class MapStep final : public Step {
 public:
  MapStep(const Scheduler& scheduler, const graph::Map& operation, Split split)
      : Step(&operation, split), blocks_(operation, scheduler) {
    const auto& loops = operation.loops;
    operands =
        blocks_.operands({loops.begin(), loops.begin() + static_cast<std::ptrdiff_t>(operation.outputs.size())}, true);
  }

  int64_t scratch_floats() const { return blocks_.scratch_floats(); }
  void set_scratch(ValueId scratch) { scratch_ = scratch; }

  void run(const ThreadContext& thread) const override { MapRun(blocks_, thread, thread.data(scratch_)).all(); }

 private:
  MapBlocks blocks_;
  ValueId scratch_ = kNoValue;
};

/// Like the largest input that threads have divided; if there is none, by the loop over the rows of y.
Split split_map(const Scheduler& scheduler, const graph::Map& op) {
  const graph::Operand& y = op.loops[0];
  if (op.by_column) {
    for (const graph::Array& input : op.inputs) {
      const bool is_matrix = input.shape.size() == 2 && input.shape[1] == op.y().shape[1];
      if (is_matrix && scheduler.is_divided_by_column(input.value)) return Split::over('n');
    }
  }
  const bool all_copied = std::all_of(op.inputs.begin(), op.inputs.end(), [&](const graph::Array& input) {
    return scheduler.is_copied(input.value) || scheduler.is_known(input.value);
  });
  const bool any_copied = std::any_of(op.inputs.begin(), op.inputs.end(), [&](const graph::Array& input) {
    return scheduler.is_copied(input.value) && input.shape == op.y().shape;
  });
  if (all_copied && any_copied) return Split::every_thread();
  return split_array(scheduler, op, op.y(), y.rows);
}

/// Augmented images stay such through a factor: zeros stay zeros.
bool keeps_zeros(const graph::Graph& graph, const graph::Map& op) {
  const auto rescaling = graph::rescaling_of(graph, op);
  return rescaling && rescaling->offset == 0.0f;
}

void schedule_map(Scheduler& scheduler, const graph::Map& op) {
  if (schedule_reduction_of(scheduler, op)) return;
  auto& step = scheduler.add<MapStep>(scheduler, op, split_map(scheduler, op));
  step.may_be_tiled = step.split.shares(graph::kRows);
  step.set_scratch(scheduler.step_scratch(step.scratch_floats()));
  if (keeps_zeros(scheduler.graph(), op) && scheduler.is_augmented(op.inputs[0].value)) {
    scheduler.set_augmented(op.y().value);
  }
}

}  // namespace

void add_maps(OperationRegistry& all) { all.add<graph::Map>(schedule_map); }

}  // namespace engine::cpu
