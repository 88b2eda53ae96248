// Where threads must wait for each other: before a step that touches what another thread may have touched since the
// last wait. Nothing here knows any kind of operation.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "cpu/kernel_choice.h"
#include "cpu/schedule.h"
#include "graph/array.h"

namespace engine::cpu {
namespace {

/// The region of a value that a thread touches. Equal regions of one value belong to the same thread.
struct Region {
  enum class Kind { kAll, kSamples, kArrayRows, kRows, kColumns, kThread };
  Kind kind;
  int thread = 0;  // kThread: the only one that touches the value

  bool operator==(const Region& other) const { return kind == other.kind && thread == other.thread; }
};

struct Access {
  ValueId value, storage;
  bool writes;
  Region region;
  bool is_of_previous_batch = false;
};

bool conflict(const Access& a, const Access& b) {
  if (a.storage != b.storage || !(a.writes || b.writes)) return false;
  return !(a.region == b.region) || a.region.kind == Region::Kind::kAll;
}

/// The first conflict between what has been touched since the last wait and what a step touches.
Conflict find_conflict(const std::vector<Access>& pending, const std::vector<Access>& next) {
  for (const Access& a : pending) {
    for (const Access& b : next) {
      if (conflict(a, b)) return {b.value, a.value, a.writes, a.is_of_previous_batch};
    }
  }
  return {};
}

Region region_of(const Split& split, const Operand& operand) {
  if (split.kind == Split::Kind::kOneThread) return {Region::Kind::kThread, split.thread};
  const bool by_row = split.shares(operand.rows), by_column = split.shares(operand.columns);
  if (!by_row && !by_column) return {Region::Kind::kAll};
  if (split.loop == kSamples) return {Region::Kind::kSamples};
  if (split.loop == graph::kRows) return {Region::Kind::kArrayRows};
  return {by_row ? Region::Kind::kRows : Region::Kind::kColumns};
}

/// What the step touches; copies of a thread's own are left out.
std::vector<Access> accesses_of(const Step& step, const std::vector<Placement>& placements) {
  std::vector<Access> accesses;
  for (const Operand& operand : step.operands) {
    const auto value = static_cast<std::size_t>(operand.value);
    if (placements[value].copied) continue;
    accesses.push_back(
        {operand.value, placements[value].storage, operand.use != graph::Use::kRead, region_of(step.split, operand)});
  }
  return accesses;
}

bool is_host(const Step& step) { return dynamic_cast<const graph::HostOperation*>(step.operation) != nullptr; }

}  // namespace

bool has_conflict(const Step& before, const Step& step, const std::vector<Placement>& placements) {
  return find_conflict(accesses_of(before, placements), accesses_of(step, placements)).value != kNoValue;
}

void separate_columns(const std::vector<std::unique_ptr<Step>>& steps, std::vector<Placement>& placements,
                      int threads) {
  std::vector<bool> by_column(placements.size()), otherwise(placements.size());
  for (const auto& step : steps) {
    if (is_host(*step)) return;  // the number of threads may differ after it
    for (const Operand& operand : step->operands) {
      const auto storage = static_cast<std::size_t>(placements[static_cast<std::size_t>(operand.value)].storage);
      (step->split.shares(operand.columns) ? by_column : otherwise)[storage] = true;
    }
  }
  for (Placement& placement : placements) {
    const auto storage = static_cast<std::size_t>(placement.storage);
    const Placement& whole = placements[storage];
    if (placement.in_scratch && by_column[storage] && !otherwise[storage] &&
        pays_to_separate(whole.rows * whole.ld, threads)) {
      placement.copied = true;
    }
  }
}

void place_barriers(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<Placement>& placements) {
  std::vector<std::vector<Access>> accesses;
  for (const auto& step : steps) accesses.push_back(accesses_of(*step, placements));
  std::vector<Access> pending;
  // The second lap finds what a batch must wait for from the batch before.
  for (int lap = 0; lap < 2; ++lap) {
    // The next batch uses the other half of a double-buffered value. The batch after that comes behind a barrier which
    // every batch has between those who write the half and those who read it.
    pending.erase(std::remove_if(pending.begin(), pending.end(),
                                 [&](const Access& access) {
                                   return placements[static_cast<std::size_t>(access.storage)].double_buffered;
                                 }),
                  pending.end());
    // Batches may differ in size, and then samples, and rows of arrays whose lengths depend on it, have other owners.
    for (Access& access : pending) {
      access.is_of_previous_batch = true;
      const Region::Kind kind = access.region.kind;
      if (kind == Region::Kind::kSamples || kind == Region::Kind::kArrayRows) access.region.kind = Region::Kind::kAll;
    }
    for (std::size_t i = 0; i < steps.size(); ++i) {
      Step& step = *steps[i];
      if (!step.barrier) step.conflict = find_conflict(pending, accesses[i]);
      step.barrier = step.conflict.value != kNoValue;
      if (step.barrier || is_host(step)) pending.clear();
      pending.insert(pending.end(), accesses[i].begin(), accesses[i].end());
    }
  }
  // Once in a batch, all threads must learn from one of them whether the run goes on (device.cpp).
  const bool waits = std::any_of(steps.begin(), steps.end(), [](const auto& step) { return step->barrier; });
  if (!waits && !steps.empty()) steps.front()->barrier = true;
}

}  // namespace engine::cpu
