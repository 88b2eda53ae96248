#include "runtime/memory_reuse.h"

#include <algorithm>
#include <cstddef>

namespace engine {
namespace {

using graph::kNoValue;
using graph::Operand;
using graph::ValueId;

/// The steps that touch a piece of memory.
struct Lifetime {
  bool is_touched = false;
  bool begins_with_write = true;  // the first step does nothing but write it
  bool lasts = false;             // whatever the steps say
  std::size_t first_touch = 0;
  std::size_t first = 0, last = 0;  // also steps that are done in turns with one that touches it
};

/// The lifetime of the memory of each value; of values in the same memory, that of one alone.
std::vector<Lifetime> lifetimes_of(const std::vector<StepUses>& steps, const std::vector<ValueMemory>& values) {
  std::vector<Lifetime> lifetimes(values.size());
  const auto of = [&](ValueId value) -> Lifetime& {
    return lifetimes[static_cast<std::size_t>(values[static_cast<std::size_t>(value)].storage)];
  };
  for (std::size_t v = 0; v < values.size(); ++v) {
    if (values[v].lasts) of(static_cast<ValueId>(v)).lasts = true;
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    for (const Operand& operand : steps[i].operands) {
      Lifetime& life = of(operand.value);
      // While one of the steps in turns touches it, others are still to run for later rows. A copy lasts for one turn.
      const bool copied = values[static_cast<std::size_t>(operand.value)].copied;
      if (!life.is_touched) {
        life.first = copied ? i : i - steps[i].to_first;
        life.first_touch = i;
      }
      if (life.first_touch == i && operand.use != graph::Use::kWrite) life.begins_with_write = false;
      life.is_touched = true;
      life.last = std::max(life.last, copied ? i : i + steps[i].to_last);
    }
  }
  return lifetimes;
}

/// Memory that values use one after the other.
struct SharedMemory {
  ValueId owner;  // the first of them, and the largest
  int64_t floats;
  bool copied;              // every thread has a copy of its own
  std::size_t first, last;  // the first and the last step that touches it
};

/// Whether threads wait for each other between two uses of the same memory.
class Waits {
 public:
  Waits(const std::vector<StepUses>& steps, int threads) : threads_(threads) {
    for (const StepUses& step : steps) {
      before_.push_back((before_.empty() ? 0 : before_.back()) + (step.barrier ? 1 : 0));
    }
  }

  /// Whether a value of steps `first` to `last` may use the memory after those that use it now, and those that use it
  /// now may use it after that value, in the next batch.
  bool allow(const SharedMemory& memory, std::size_t first, std::size_t last) const {
    if (memory.copied || threads_ == 1) return memory.last < first;
    const bool within_batch = before_[first] > before_[memory.last];
    const bool between_batches = before_[memory.first] > 0 || before_.back() > before_[last];
    return within_batch && between_batches;
  }

 private:
  int threads_;
  std::vector<int> before_;  // by step: the barriers up to it, the one before it included
};

}  // namespace

void reuse_memory(const std::vector<StepUses>& steps, std::vector<ValueMemory>& values, int threads) {
  const std::vector<Lifetime> lifetimes = lifetimes_of(steps, values);
  std::vector<std::size_t> reusable;
  for (std::size_t v = 0; v < values.size(); ++v) {
    if (lifetimes[v].is_touched && lifetimes[v].begins_with_write && !lifetimes[v].lasts) reusable.push_back(v);
  }
  std::stable_sort(reusable.begin(), reusable.end(),
                   [&](std::size_t a, std::size_t b) { return lifetimes[a].first < lifetimes[b].first; });
  const Waits waits(steps, threads);
  std::vector<SharedMemory> memories;
  std::vector<ValueId> owners(values.size(), kNoValue);
  for (const std::size_t v : reusable) {
    const ValueMemory& value = values[v];
    const Lifetime& life = lifetimes[v];
    SharedMemory* best = nullptr;
    for (SharedMemory& memory : memories) {
      const bool fits = memory.floats >= value.floats && memory.copied == value.copied;
      if (!fits || !waits.allow(memory, life.first, life.last)) continue;
      // Of equal memories the one used last, which is most likely to be in a cache.
      const bool better =
          !best || memory.floats < best->floats || (memory.floats == best->floats && memory.last > best->last);
      if (better) best = &memory;
    }
    if (best) {
      best->last = life.last;
      owners[v] = best->owner;
    } else {
      memories.push_back({static_cast<ValueId>(v), value.floats, value.copied, life.first, life.last});
    }
  }
  for (ValueMemory& value : values) {
    const ValueId owner = owners[static_cast<std::size_t>(value.storage)];
    if (owner != kNoValue) value.storage = owner;
  }
}

}  // namespace engine
