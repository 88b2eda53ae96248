#include "runtime/optimizer_state.h"

#include <algorithm>
#include <utility>

namespace engine {

OptimizerState::OptimizerState(const Device& device, std::vector<std::shared_ptr<WeightArray>> arrays,
                               std::vector<Variable> variables, const OptimizerSpec& optimizer)
    : device_(device), optimizer_(optimizer), arrays_(std::move(arrays)), variables_(std::move(variables)) {
  int64_t floats = 0;
  for (size_t v = 0; v < variables_.size(); ++v) {
    offsets_.push_back(floats);
    floats += device.memory_of(variables_[v]);
    locks_.push_back(arrays_[v]->lock());
  }
  locks_ = in_order(std::move(locks_));
  for (int s = 0; s < slot_count(optimizer.kind); ++s) {
    slots_[s] = device.allocate(floats, s == 0 ? static_cast<float>(optimizer.initial_slot) : 0.0f);
  }
  if (optimizer.accumulate > 1) accumulated_ = device.allocate(floats);
  if (optimizer.averages) averages_ = device.allocate(floats);
}

int64_t OptimizerState::offset(const WeightArray* array) const {
  const auto is_it = [&](const auto& each) { return each.get() == array; };
  const auto found = std::find_if(arrays_.begin(), arrays_.end(), is_it);
  return found == arrays_.end() ? -1 : offsets_[static_cast<size_t>(found - arrays_.begin())];
}

OptimizerStateView OptimizerState::view() const {
  OptimizerStateView view;
  for (int s = 0; s < kMaxSlots; ++s) view.slots[s] = slots_[s].data();
  view.accumulated = accumulated_.data();
  view.averages = averages_.data();
  return view;
}

bool OptimizerState::suits(const OptimizerSpec& optimizer) const {
  for (int s = 0; s < slot_count(optimizer.kind); ++s) {
    if (!slots_[s].data()) return false;
  }
  return (optimizer.accumulate == 1 || accumulated_.data()) && (!optimizer.averages || averages_.data());
}

}  // namespace engine
