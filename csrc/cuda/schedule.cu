#include <algorithm>
#include <stdexcept>

#include "cuda/arrays.h"
#include "cuda/chain_schedule.h"
#include "cuda/schedule.h"
#include "graph/operations/function.h"
#include "graph/operations/input_output.h"
#include "graph/operations/loss.h"
#include "graph/print.h"
#include "runtime/batch_sizes.h"
#include "runtime/memory_reuse.h"

namespace engine::cuda {
namespace {

/// Values begin at multiples of so many floats, so that threads of a warp read whole segments of memory.
constexpr int64_t kAlignment = 32;

OperationRegistry make_implementations() {
  OperationRegistry all;
  add_activations(all);
  add_arrangements(all);
  add_array_sources(all);
  add_batch_normalization(all);
  add_contractions(all);
  add_dense(all);
  add_embedding(all);
  add_image_augmentation(all);
  add_input_output(all);
  add_losses(all);
  add_maps(all);
  add_metric_sums(all);
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

/// Sum and weight of each metric behind the losses.
TotalsLayout lay_out_totals(const graph::Graph& graph) {
  TotalsLayout layout;
  layout.count = layout.output_losses + static_cast<int64_t>(graph.outputs.size());
  for (const auto& operation : graph.operations()) {
    if (const auto* sums = dynamic_cast<const graph::MetricOfSums*>(operation.get())) {
      layout.metrics_of_sums.push_back(sums->metric);
    }
    const auto* metric = dynamic_cast<const graph::AddMetric*>(operation.get());
    if (!metric) continue;
    layout.metrics.resize(std::max(layout.metrics.size(), static_cast<size_t>(metric->metric) + 1), -1);
    layout.metrics[static_cast<size_t>(metric->metric)] = layout.count;
    layout.count += 2;
  }
  return layout;
}

}  // namespace

void OperationRegistry::schedule(Schedule& to, const graph::Operation& operation) const {
  const auto found = table_.find(typeid(operation));
  if (found == table_.end()) {
    throw std::invalid_argument(std::string("a GPU can't run '") + operation.name() +
                                "' yet, which this model needs: build and train it on the CPU, after "
                                "engine.config.set_device('cpu')");
  }
  found->second(to, operation);
}

float* RunMemory::scratch(ValueId value) const {
  if (value == kNoValue) return nullptr;
  const Placement& place = schedule.placement(value);
  // Of constants, which nobody writes.
  if (place.numbers) return const_cast<float*>(place.numbers);
  if (!place.in_scratch) throw std::logic_error("a variable has no place in scratch memory");
  return arguments.scratch + place.offset;
}

float* RunMemory::shared_scratch() const { return arguments.scratch + schedule.shared_scratch(); }

const float* RunMemory::numbers(ValueId value) const {
  if (value == kNoValue) return nullptr;
  const Placement& place = schedule.placement(value);
  return place.in_scratch || place.numbers ? scratch(value) : weights(value).values;
}

int64_t RunMemory::metric_sums_size(int metric) const {
  return static_cast<int64_t>(arguments.totals->metrics[static_cast<size_t>(metric)].size());
}

double* RunMemory::metric_sums(int metric) const {
  double* at = totals + schedule.totals().count;
  for (const int each : schedule.totals().metrics_of_sums) {
    if (each == metric) break;
    at += metric_sums_size(each);
  }
  return at;
}

CardWeights RunMemory::weights(ValueId variable) const {
  CardWeights w;
  if (variable == kNoValue) return w;
  const int v = schedule.value(variable).variable;
  w.values = arguments.weights[v];
  for (int s = 0; s < kMaxSlots; ++s) {
    float* const slots = arguments.state.slots[s];
    w.slots[s] = slots ? slots + arguments.state.offsets[v] : nullptr;
  }
  w.l2_slope = static_cast<float>(2.0 * schedule.variable(variable).spec.l2);
  w.decay = arguments.training ? training().optimizer.decay(v) : 0.0;
  return w;
}

Schedule::Schedule(std::shared_ptr<const graph::Graph> scheduled, const CompileOptions& options,
                   const CardLimits& limits)
    : Executable(std::move(scheduled), options), multiprocessors_(limits.multiprocessors) {
  if (options.compressed) {
    throw std::invalid_argument(
        "a GPU reads no compressed rows yet: pass `x` as an array (scipy's `x.toarray()`), or use the CPU, after "
        "engine.config.set_device('cpu')");
  }
  totals_ = lay_out_totals(graph());
  place_values();
  schedule_operations();
  chain_ = std::make_unique<const ChainSchedule>(*this, limits);
}

Schedule::~Schedule() = default;

/// Copies of what an operation writes are old when it begins, and those of what it updates when it has ended.
void Schedule::schedule_operations() {
  static const OperationRegistry& implementations = *new OperationRegistry(make_implementations());
  const auto forget_copies = [&](const std::vector<graph::Operand>& operands, graph::Use use) {
    for (const graph::Operand& operand : operands) {
      if (operand.use != use) continue;
      rounded_.erase({operand.value, Precision::kBfloat16});
      rounded_.erase({operand.value, Precision::kFloat16});
    }
  };
  for (const auto& operation : graph().operations()) {
    const std::vector<graph::Operand> operands = operation->operands();
    forget_copies(operands, graph::Use::kWrite);
    implementations.schedule(*this, *operation);
    forget_copies(operands, graph::Use::kUpdate);
  }
  shared_scratch_ = add_scratch(shared_floats_);
}

int64_t Schedule::add_scratch(int64_t floats) {
  if (floats > kMaxScratch - scratch_floats_) refuse_scratch(max_rows());
  const int64_t offset = scratch_floats_;
  scratch_floats_ += (floats + kAlignment - 1) / kAlignment * kAlignment;
  return offset;
}

int64_t Schedule::output_size() const {
  int64_t numbers = 0;
  for (const auto& operation : graph().operations()) {
    const auto* output = dynamic_cast<const graph::WriteOutput*>(operation.get());
    if (output) numbers += placement(output->y).groups * placement(output->y).columns;
  }
  return numbers;
}

void Schedule::place_constants(ValueId id, const std::vector<float>& numbers) {
  constants_.push_back(copy_to_card(numbers));
  Placement& place = placements_[static_cast<size_t>(id)];
  place.in_scratch = false;
  place.numbers = constants_.back().get();
}

void Schedule::place_values() {
  using Kind = graph::Value::Kind;
  for (ValueId id = 0; id < graph().value_count(); ++id) {
    const graph::Value& own = value(id);
    Placement place;
    place.columns = own.columns;
    switch (own.kind) {
      case Kind::kBatch:
      case Kind::kPerRow:
        place.groups = own.groups;
        place.rows = own.groups * max_rows();
        if (own.kind == Kind::kPerRow) place.columns = 1;
        break;
      case Kind::kArray:
        require_few_axes(own.shape);
        place.rows = 1;
        place.columns = engine::max_elements(own.shape, max_rows());
        break;
      case Kind::kFixed:
        place.rows = own.rows;
        break;
      case Kind::kGradient:
        place.rows = graph().variables()[own.variable].rows;
        place.columns = graph().variables()[own.variable].columns;
        break;
      case Kind::kVariable:
      case Kind::kConstant:
        break;
    }
    place.in_scratch = own.kind != Kind::kVariable && own.kind != Kind::kConstant;
    if (place.in_scratch && place.columns > 0 && place.rows > kMaxScratch / place.columns) refuse_scratch(max_rows());
    placements_.push_back(place);
    if (own.kind == Kind::kConstant) place_constants(id, *own.numbers);
  }
  const std::vector<ValueId> storages = share_memory();
  for (ValueId id = 0; id < graph().value_count(); ++id) {
    Placement& place = placements_[static_cast<size_t>(id)];
    const ValueId storage = storages[static_cast<size_t>(id)];
    if (place.in_scratch && storage == id) place.offset = add_scratch(place.rows * place.columns);
  }
  for (size_t i = 0; i < storages.size(); ++i) placements_[i].offset = placement(storages[i]).offset;
}

/// Lets values use the same memory one after the other, except those that more than the operations of a batch use: what
/// a function gets and returns is copied before and after all kernels.
std::vector<ValueId> Schedule::share_memory() const {
  using Kind = graph::Value::Kind;
  std::vector<ValueMemory> memory;
  for (ValueId id = 0; id < graph().value_count(); ++id) {
    const Placement& place = placement(id);
    const bool is_of_batch = value(id).kind == Kind::kBatch || value(id).kind == Kind::kArray;
    const bool lasts = !is_of_batch || !place.in_scratch || value(id).double_buffered || graph().is_output(id);
    memory.push_back({id, place.rows * place.columns, false, lasts});
  }
  std::vector<std::vector<graph::Operand>> operands;
  for (const auto& operation : graph().operations()) {
    operands.push_back(operation->operands());
    auto& all = operands.back();
    all.erase(std::remove_if(all.begin(), all.end(), [](const auto& each) { return each.value == kNoValue; }),
              all.end());
    const auto* const read = dynamic_cast<const graph::ReadArgument*>(operation.get());
    const auto* const write = dynamic_cast<const graph::WriteResult*>(operation.get());
    if (read) memory[static_cast<size_t>(read->y.value)].lasts = true;
    if (write) memory[static_cast<size_t>(write->x.value)].lasts = true;
  }
  std::vector<StepUses> steps;
  for (const auto& each : operands) steps.push_back({each});
  reuse_memory(steps, memory, 1);
  std::vector<ValueId> storages;
  for (const ValueMemory& each : memory) storages.push_back(each.storage);
  return storages;
}

std::string Schedule::to_text(const graph::ValueNames& names) const {
  std::string text = "Execution: " + chain().to_text() + "\n\n";
  text += "Schedule: the kernels that a GPU runs one after the other for a batch of up to " +
          std::to_string(max_rows()) + (max_rows() == 1 ? " sample.\n\n" : " samples.\n\n");
  for (size_t i = 0; i < steps_.size(); ++i) {
    const graph::Operation& operation = steps_[i]->operation;
    text += std::to_string(i) + "  " +
            graph::to_text(operation.name(), operation.operands(), operation.attributes(),
                           [&](const graph::Operand& each) { return names[each.value]; });
    const std::string by_whom = steps_[i]->by_whom();
    text += (by_whom.empty() ? "" : "  by " + by_whom) + "\n";
  }
  return text;
}

}  // namespace engine::cuda
