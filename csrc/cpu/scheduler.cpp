#include "cpu/scheduler.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "cpu/kernel_choice.h"
#include "cpu/tiles.h"
#include "graph/operations/function.h"
#include "kernels/packed_blocks.h"
#include "runtime/batch_sizes.h"
#include "runtime/memory_reuse.h"

namespace engine::cpu {
namespace {

OperationRegistry make_implementations() {
  OperationRegistry all;
  add_activations(all);
  add_arrangements(all);
  add_array_sources(all);
  add_batch_normalization(all);
  add_contractions(all);
  add_dense(all);
  add_embedding(all);
  add_host(all);
  add_image_augmentation(all);
  add_input_output(all);
  add_losses(all);
  add_maps(all);
  add_optimizers(all);
  add_penalties(all);
  add_pooling(all);
  add_random_noise(all);
  add_reductions(all);
  add_sorting(all);
  add_row_normalization(all);
  add_traced_losses(all);
  return all;
}

}  // namespace

void OperationRegistry::schedule(Scheduler& scheduler, const graph::Operation& operation) const {
  const auto found = table_.find(typeid(operation));
  if (found == table_.end()) {
    throw std::logic_error(std::string("the CPU has no implementation of '") + operation.name() + "'");
  }
  found->second(scheduler, operation);
}

Scheduler::Scheduler(Schedule& schedule) : schedule_(schedule) {
  for (ValueId id = 0; id < graph().value_count(); ++id) add_value(graph().value(id));
  readers_.resize(static_cast<size_t>(graph().value_count()));
  for (const auto& operation : graph().operations()) {
    for (const Operand& operand : operation->operands()) {
      if (operand.value == kNoValue || operand.use == graph::Use::kWrite) continue;
      readers_[static_cast<size_t>(operand.value)].push_back(operation.get());
    }
  }
}

ValueId Scheduler::add_value(const graph::Value& value) {
  using Kind = graph::Value::Kind;
  const auto id = static_cast<ValueId>(schedule_.values_.size());
  Placement place;
  place.groups = value.groups;
  place.columns = value.columns;
  place.double_buffered = value.double_buffered;
  place.in_scratch = value.kind != Kind::kVariable && value.kind != Kind::kConstant;
  place.storage = id;
  switch (value.kind) {
    case Kind::kBatch:
      place.rows = max_rows() * value.groups;
      break;
    case Kind::kArray:  // side by side
      place.rows = value.double_buffered ? 2 : 1;
      place.columns = max_elements(value.shape, max_rows());
      break;
    case Kind::kPerRow:  // side by side
      place.rows = 1;
      place.columns = max_rows() * value.groups;
      break;
    case Kind::kConstant:
      place.rows = 1;
      break;
    case Kind::kFixed:
    case Kind::kVariable:
      place.rows = value.rows * (value.double_buffered ? 2 : 1);
      break;
    case Kind::kGradient:  // in panels, like the variable
      place.rows = 1;
      place.columns = Panels(value.rows, value.columns).floats();
      break;
  }
  place.ld = leading_dimension(place.columns);
  if (place.rows * (place.ld / kLineFloats) > kMaxScratch / kLineFloats) refuse_scratch(max_rows());
  schedule_.values_.push_back(value);
  schedule_.placements_.push_back(place);
  divisions_.push_back(Division::kOther);
  if (value.kind == Kind::kConstant) set_numbers(id, *value.numbers);
  return id;
}

void Scheduler::set_numbers(ValueId value, const std::vector<float>& numbers) {
  Placement& place = schedule_.placements_[static_cast<size_t>(value)];
  std::vector<float> padded = numbers;
  if (this->value(value).kind == graph::Value::Kind::kBatch) {
    const size_t columns = static_cast<size_t>(place.columns), ld = static_cast<size_t>(place.ld);
    padded.assign(numbers.size() / columns * ld, 0.0f);
    for (size_t i = 0; i < numbers.size(); ++i) padded[i / columns * ld + i % columns] = numbers[i];
  }
  // Kernels read whole vectors, from any number on; copies of the last number behind it are as harmless as any.
  padded.resize(static_cast<size_t>(round_up(static_cast<int64_t>(padded.size()), kLineFloats) + kLineFloats),
                numbers.empty() ? 0.0f : numbers.back());
  place.in_scratch = false;
  place.numbers = schedule_.constants_.emplace(value, std::move(padded)).first->second.data();
}

bool Scheduler::may_lie_outside(ValueId value) const {
  const Placement& place = schedule_.placements_[static_cast<size_t>(value)];
  return this->value(value).kind == graph::Value::Kind::kArray && one_team() && place.in_scratch && !place.copied &&
         !place.double_buffered;
}

bool Scheduler::place_in_argument(ValueId value, int argument) {
  if (!schedule_.arguments_in_place() || !may_lie_outside(value)) return false;
  Placement& place = schedule_.placements_[static_cast<size_t>(value)];
  place.in_scratch = false;
  place.argument = argument;
  return true;
}

bool Scheduler::place_in_result(ValueId value, int result) {
  // Others may read whole vectors, and so behind the end of the result.
  const auto& all = readers(value);
  const bool is_only_returned = std::all_of(all.begin(), all.end(), [](const graph::Operation* operation) {
    return dynamic_cast<const graph::WriteResult*>(operation) != nullptr;
  });
  if (!is_only_returned || !may_lie_outside(value)) return false;
  Placement& place = schedule_.placements_[static_cast<size_t>(value)];
  place.in_scratch = false;
  place.result = result;
  return true;
}

ValueId Scheduler::add_scratch(int64_t rows, int64_t columns) {
  graph::Value value;
  value.kind = graph::Value::Kind::kFixed;
  value.rows = rows;
  value.columns = columns;
  return add_value(value);
}

ValueId Scheduler::add_thread_scratch(int64_t rows, int64_t columns) {
  const ValueId id = add_scratch(rows, columns);
  give_copies(id);
  return id;
}

ValueId Scheduler::packing_scratch(int64_t rows) {
  const bool more = rows > kBlockRows;
  ValueId& scratch = packing_[more ? 1 : 0];
  if (scratch == kNoValue) {
    const int64_t gradient = differentiates() ? kGradientRows * kGradientStride : 0;
    scratch = add_thread_scratch(1, packing_floats(more ? rows : kBlockRows) + gradient);
  }
  return scratch;
}

ValueId Scheduler::step_scratch(int64_t floats) {
  if (step_scratch_ == kNoValue) step_scratch_ = add_thread_scratch(1, floats);
  Placement& place = schedule_.placements_[static_cast<size_t>(step_scratch_)];
  if (floats > kMaxScratch) refuse_scratch(max_rows());
  if (floats > place.columns) {
    place.columns = floats;
    place.ld = leading_dimension(floats);
  }
  return step_scratch_;
}

const graph::Gather* Scheduler::gather(ValueId value) const {
  const auto found = gathers_.find(value);
  return found == gathers_.end() ? nullptr : found->second;
}

Split Scheduler::split_like(const graph::Operation& operation, ValueId value) const {
  const Division division = divisions_[static_cast<size_t>(value)];
  if (division == Division::kCopies) return Split::every_thread();
  for (const Operand& operand : operation.operands()) {
    if (operand.value != value) continue;
    const Loop loop = division == Division::kColumns ? operand.columns : operand.rows;
    if (loop != kWhole && division != Division::kOther) return Split::over(loop);
  }
  return Split::over(kSamples);
}

const ReadInputStep* Scheduler::input_step(ValueId value) const {
  const auto found = inputs_.find(value);
  return found == inputs_.end() ? nullptr : found->second;
}

const RecordNonzerosStep* Scheduler::recording(ValueId value) const {
  const auto found = recordings_.find(value);
  return found == recordings_.end() ? nullptr : found->second;
}

void Scheduler::append(std::unique_ptr<Step> step) {
  auto& operands = step->operands;
  operands.erase(
      std::remove_if(operands.begin(), operands.end(), [](const Operand& each) { return each.value == kNoValue; }),
      operands.end());
  for (const Operand& operand : operands) {
    if (operand.use != graph::Use::kWrite) continue;
    if (step->split.is_every_thread()) give_copies(operand.value);
    divisions_[static_cast<size_t>(operand.value)] = step->split.is_every_thread()         ? Division::kCopies
                                                     : step->split.shares(operand.rows)    ? Division::kRows
                                                     : step->split.shares(operand.columns) ? Division::kColumns
                                                                                           : Division::kOther;
  }
  schedule_.hosts_.push_back(dynamic_cast<const graph::HostOperation*>(step->operation));
  schedule_.steps_.push_back(std::move(step));
}

void Scheduler::run() {
  static const OperationRegistry implementations = make_implementations();
  for (const auto& operation : graph().operations()) {
    if (scheduled_.count(operation.get()) == 0) implementations.schedule(*this, *operation);
  }
  place_in_place();
  if (threads() > 1) {
    separate_columns(schedule_.steps_, schedule_.placements_, threads());
    place_barriers(schedule_.steps_, schedule_.placements_);
  }
  // Between two steps the caller may look at any value.
  if (one_team()) {
    tile_rows();
    reuse_memory();
  }
  place_values();
}

/// Lets outputs take the memory of inputs that nothing reads later.
void Scheduler::place_in_place() {
  std::vector<size_t> last_use(schedule_.values_.size(), 0);
  for (size_t i = 0; i < schedule_.steps_.size(); ++i) {
    for (const Operand& operand : schedule_.steps_[i]->operands) last_use[static_cast<size_t>(operand.value)] = i;
  }
  for (size_t i = 0; i < schedule_.steps_.size(); ++i) {
    const graph::Operation* operation = schedule_.steps_[i]->operation;
    if (!operation) continue;
    const graph::InPlace pair = operation->in_place();
    if (pair.input == kNoValue || pair.output == kNoValue || input_step(pair.input)) continue;
    const auto& operands = schedule_.steps_[i]->operands;
    const bool once = std::count_if(operands.begin(), operands.end(),
                                    [&](const Operand& operand) { return operand.value == pair.input; }) == 1;
    const auto input = static_cast<size_t>(pair.input), output = static_cast<size_t>(pair.output);
    const Placement& from = schedule_.placements_[input];
    Placement& to = schedule_.placements_[output];
    const bool same = from.rows == to.rows && from.columns == to.columns && from.copied == to.copied &&
                      from.in_scratch && to.in_scratch;
    if (once && same && last_use[input] == i) to.storage = from.storage;
  }
}

/// Whether something other than the steps' operands may use the memory of a value, or it may have to outlive a batch.
bool Scheduler::must_last(ValueId id) const {
  using Kind = graph::Value::Kind;
  const Placement& place = schedule_.placements_[static_cast<size_t>(id)];
  const Kind kind = value(id).kind;
  const bool is_scratch_of_steps = id >= graph().value_count();
  const bool is_of_batch = kind == Kind::kBatch || kind == Kind::kArray || is_scratch_of_steps;
  return !is_of_batch || !place.in_scratch || place.double_buffered || input_step(id) || graph().is_output(id);
}

void Scheduler::tile_rows() {
  std::vector<bool> may_shrink;
  for (ValueId id = 0; id < schedule_.value_count(); ++id) {
    const graph::Value& own = value(id);
    const bool has_fixed_rows = own.kind == graph::Value::Kind::kArray && !own.shape.empty() &&
                                std::all_of(own.shape.begin() + 1, own.shape.end(),
                                            [](const graph::Extent& extent) { return extent.per_sample == 0; });
    may_shrink.push_back(has_fixed_rows && !must_last(id) && !is_copied(id));
  }
  cpu::tile_rows(schedule_.steps_, schedule_.values_, schedule_.placements_, may_shrink, max_rows());
}

/// Lets values use the same memory one after the other.
void Scheduler::reuse_memory() {
  std::vector<ValueMemory> memory;
  for (ValueId id = 0; id < schedule_.value_count(); ++id) {
    const Placement& place = schedule_.placements_[static_cast<size_t>(id)];
    memory.push_back({place.storage, place.rows * place.ld, place.copied, must_last(id)});
  }
  std::vector<StepUses> steps;
  for (const auto& step : schedule_.steps_) steps.push_back({step->operands, step->barrier});
  for (size_t i = 0; i < steps.size(); ++i) {
    for (int64_t k = 0; k < schedule_.steps_[i]->tile.steps; ++k) {
      const auto each = i + static_cast<size_t>(k);
      steps[each].to_first = static_cast<size_t>(k);
      steps[each].to_last = static_cast<size_t>(schedule_.steps_[i]->tile.steps - 1 - k);
    }
  }
  engine::reuse_memory(steps, memory, threads());
  for (size_t i = 0; i < memory.size(); ++i) schedule_.placements_[i].storage = memory[i].storage;
}

void Scheduler::place_values() {
  int64_t shared = 0, own = 0;
  for (size_t i = 0; i < schedule_.placements_.size(); ++i) {
    Placement& place = schedule_.placements_[i];
    if (!place.in_scratch || place.storage != static_cast<ValueId>(i)) continue;
    int64_t& end = place.copied ? own : shared;
    place.offset = end;
    // Rows of two values should not share the sets of a cache.
    end += leading_dimension(place.rows * place.ld);
    if (shared + threads() * own > kMaxScratch) refuse_scratch(max_rows());
  }
  const int64_t copies = shared + kThreadGap;
  for (Placement& place : schedule_.placements_) {
    if (place.in_scratch) place.offset = schedule_.placements_[static_cast<size_t>(place.storage)].offset;
  }
  for (Placement& place : schedule_.placements_) place.offset += place.copied ? copies : 0;
  schedule_.copy_stride_ = own + kThreadGap;
  schedule_.scratch_floats_ = copies + threads() * schedule_.copy_stride_;
}

}  // namespace engine::cpu
