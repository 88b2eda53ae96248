// Checks where the panels of kernels and the values of schedules lie in memory: they must not overlap, and there must
// be a distance of kThreadGap between what different threads write.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "cpu/device.h"
#include "cpu/schedule.h"
#include "graph/build.h"
#include "models.h"
#include "runtime/memory_reuse.h"

namespace engine::test {
namespace {

using namespace cpu;

struct Block {
  int owner;
  int64_t begin, end;
};

/// Returns the least distance, in floats, between blocks of different owners; a negative number if any two overlap.
int64_t least_gap(const std::vector<Block>& blocks) {
  int64_t least = kThreadGap;
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = i + 1; j < blocks.size(); ++j) {
      const Block &a = blocks[i], &b = blocks[j];
      const int64_t gap = a.begin < b.begin ? b.begin - a.end : a.begin - b.end;
      if ((gap < 0 || a.owner != b.owner) && gap < least) least = gap;
    }
  }
  return least;
}

bool check_panels() {
  bool disjoint = true, within = true, whole = true;
  for (const int64_t rows : {1, 2, 15, 64, 784}) {
    for (const int64_t columns : {1, 16, 17, 32, 33, 64, 65, 128, 130, 512, 1000, 8192, 10000}) {
      const Panels panels(rows, columns);
      std::vector<Block> blocks;
      panels.each({0, panels.columns}, [&](const Panel& panel) {
        blocks.push_back({0, panel.offset, panel.offset + rows * panel.width});
        within = within && panel.offset >= 0 && blocks.back().end <= panels.floats();
        whole = whole && (rows > 1 || panel.offset == panel.first);
      });
      disjoint = disjoint && least_gap(blocks) >= 0;
    }
  }
  return check(disjoint, "panels do not overlap") & check(within, "panels lie in the room of their kernel") &
         check(whole, "a row's columns follow each other");
}

graph::Model network() {
  return graph::Model(chain(784, {dense(512, "gelu"), dense(128, "relu"), dense(10, "softmax")}));
}

/// Layers of one width, whose values fit in each other's memory.
graph::Model deep_network() {
  std::vector<LayerCase> layers(6, dense(128, "relu"));
  layers.push_back(dense(10, "softmax"));
  return graph::Model(chain(64, layers));
}

std::shared_ptr<const Executable> schedule(const graph::Model& model, graph::Mode mode, int64_t rows, int threads) {
  return cpu::device().compile(graph::build_graph(model, classification(), mode), {false, rows, threads});
}

bool check_values() {
  bool disjoint = true, within = true, apart = true, copies = true;
  for (const graph::Mode mode : {graph::Mode::kTrain, graph::Mode::kEvaluate, graph::Mode::kPredict}) {
    for (const int threads : {1, 2, 3, 8}) {
      for (const int64_t rows : {1, 32, 512}) {
        const auto executable = schedule(network(), mode, rows, threads);
        const auto& plan = static_cast<const Schedule&>(*executable);
        constexpr int kEveryThread = -1;
        std::vector<Block> blocks;
        bool has_copies = false;
        for (ValueId id = 0; id < plan.value_count(); ++id) {
          const Placement& place = plan.placement(id);
          if (!place.in_scratch || place.storage != id) continue;
          const int64_t floats = place.rows * place.ld;
          has_copies = has_copies || (place.copied && place.rows > 1);
          for (int thread = 0; thread < (place.copied ? plan.threads() : 1); ++thread) {
            const int64_t begin = place.offset + thread * plan.copy_stride();
            blocks.push_back({place.copied ? thread : kEveryThread, begin, begin + floats});
            within = within && begin >= 0 && begin + floats <= plan.scratch_floats();
          }
        }
        copies = copies && (mode != graph::Mode::kTrain || plan.threads() == 1 || has_copies);
        const int64_t gap = least_gap(blocks);
        disjoint = disjoint && gap >= 0;
        apart = apart && gap >= kThreadGap;
      }
    }
  }
  return check(disjoint, "values do not overlap") & check(within, "values lie in the scratch memory") &
         check(apart, "copies of two threads lie apart") & check(copies, "threads that train have copies");
}

/// The first and the last step that touches a value; first > last if none does.
struct Steps {
  int64_t first, last;
};

Steps steps_of(const Schedule& plan, ValueId value) {
  Steps steps{plan.steps(), -1};
  for (int64_t i = 0; i < plan.steps(); ++i) {
    for (const Operand& operand : plan.step(i).operands) {
      if (operand.value == value) steps = {std::min(steps.first, i), i};
    }
  }
  return steps;
}

/// Barriers before steps after `begin` and up to `end`.
int64_t barriers(const Schedule& plan, int64_t begin, int64_t end) {
  int64_t count = 0;
  for (int64_t i = begin + 1; i <= end; ++i) count += plan.step(i).barrier ? 1 : 0;
  return count;
}

/// Values in the same memory: no step may touch one of them before another one's last step, except the step that turns
/// one into the other, and threads must wait in between, also until the next batch.
bool check_reuse() {
  bool in_turn = true, waits = true, reused = true;
  for (const graph::Mode mode : {graph::Mode::kTrain, graph::Mode::kEvaluate, graph::Mode::kPredict}) {
    for (const int threads : {1, 2, 3, 8}) {
      for (const int64_t rows : {32, 2048}) {
        const auto executable = schedule(deep_network(), mode, rows, threads);
        const auto& plan = static_cast<const Schedule&>(*executable);
        int pairs = 0;
        for (ValueId a = 0; a < plan.value_count(); ++a) {
          for (ValueId b = 0; b < plan.value_count(); ++b) {
            const Steps before = steps_of(plan, a), after = steps_of(plan, b);
            const bool same = a != b && plan.placement(a).storage == plan.placement(b).storage;
            if (!same || before.first >= after.first) continue;
            const graph::Operation* next = plan.step(after.first).operation;
            if (before.last == after.first && next && next->in_place().output == b) continue;
            ++pairs;
            in_turn = in_turn && before.last < after.first;
            const int64_t until_next_batch =
                barriers(plan, after.last, plan.steps() - 1) + barriers(plan, -1, before.first);
            waits = waits && (plan.threads() == 1 || plan.placement(a).copied ||
                              (barriers(plan, before.last, after.first) > 0 && until_next_batch > 0));
          }
        }
        reused = reused && (pairs > 0 || mode != graph::Mode::kTrain);
      }
    }
  }
  return check(in_turn, "values use the same memory one after the other") &
         check(waits, "threads wait before they use the memory of another value") &
         check(reused, "values of a training use the memory of others");
}

/// What steps use, and where the values lie.
struct Memory {
  std::vector<std::vector<Operand>> operands;
  std::vector<bool> barriers;
  std::vector<ValueMemory> values;
  size_t in_turns = 0;  // the first so many steps are done in turns

  /// In whose memory each value lies then.
  std::vector<ValueId> storages(int threads) {
    std::vector<StepUses> steps;
    for (size_t i = 0; i < operands.size(); ++i) steps.push_back({operands[i], barriers[i]});
    for (size_t i = 0; i < in_turns; ++i) {
      steps[i].to_first = i;
      steps[i].to_last = in_turns - 1 - i;
    }
    reuse_memory(steps, values, threads);
    std::vector<ValueId> storages;
    for (const ValueMemory& value : values) storages.push_back(value.storage);
    return storages;
  }
};

bool check_reuse_by_hand() {
  const auto written = [](ValueId v) { return graph::writes(v, kSamples, kWhole); };
  const auto read = [](ValueId v) { return graph::reads(v, kSamples, kWhole); };
  const std::vector<ValueMemory> values{{0, 64}, {1, 64}, {2, 64}};
  const std::vector<std::vector<Operand>> chain{{written(0)}, {read(0), written(1)}, {read(1), written(2)}, {read(2)}};
  const std::vector<bool> none(4), all(4, true);
  using Storages = std::vector<ValueId>;
  bool right = true;
  right &= check(Memory{chain, none, values}.storages(1) == Storages{0, 1, 0},
                 "the third value takes the first one's memory");
  right &= check(Memory{chain, all, values}.storages(2) == Storages{0, 1, 0}, "also if threads wait in between");
  right &= check(Memory{chain, none, values}.storages(2) == Storages{0, 1, 2}, "but not if they don't");
  right &= check(Memory{chain, {true, false, true, false}, values}.storages(2) == Storages{0, 1, 0} &&
                     Memory{chain, {true, true, false, false}, values}.storages(2) == Storages{0, 1, 2},
                 "they must wait between the last use and the first");
  right &= check(Memory{chain, {false, false, true, false}, values}.storages(2) == Storages{0, 1, 2},
                 "and before the next batch uses it");
  right &= check(Memory{chain, none, values, 3}.storages(1) == Storages{0, 1, 2},
                 "in turns with the step that writes the third, another one still needs the first");
  right &=
      check(Memory{chain, none, values, 2}.storages(1) == Storages{0, 1, 0}, "but not if only those before take turns");
  auto larger = values, kept = values, copied = values, all_copied = values;
  for (ValueMemory& each : all_copied) each.copied = true;
  right &= check(Memory{chain, none, all_copied, 3}.storages(2) == Storages{0, 1, 0},
                 "nor if each thread has a copy of all, which belongs to one turn alone");
  larger[2].floats = 65;
  kept[0].lasts = true;
  copied[2].copied = true;
  right &= check(Memory{chain, all, larger}.storages(1) == Storages{0, 1, 2}, "not if it is larger");
  right &= check(Memory{chain, all, kept}.storages(1) == Storages{0, 1, 2}, "nor if the first one lasts");
  right &= check(Memory{chain, all, copied}.storages(1) == Storages{0, 1, 2}, "nor if each thread has a copy of it");
  auto before_write = chain, read_again = chain;
  before_write[2] = {read(1), read(2)};
  read_again[3].push_back(read(0));
  right &=
      check(Memory{before_write, all, values}.storages(1) == Storages{0, 1, 2}, "nor if a batch reads the one before");
  right &=
      check(Memory{read_again, all, values}.storages(1) == Storages{0, 1, 2}, "nor if the first one is read later");
  return right;
}

bool check_variables() {
  const graph::Model model = network();
  bool apart = true;
  for (const Variable& v : model.variables().all) {
    apart = apart && cpu::device().memory_of(v) >= Panels(v.rows, v.columns).floats() + kThreadGap;
  }
  return check(apart, "variables lie apart");
}

/// For the first batch size a single value is too large, and for the second the sum of all values.
bool check_limit() {
  int refused = 0;
  for (const int power : {40, 30}) {
    try {
      schedule(network(), graph::Mode::kTrain, int64_t{1} << power, 2);
    } catch (const std::length_error&) {
      ++refused;
    }
  }
  return check(refused == 2, "batches that no machine has room for are refused");
}

}  // namespace
}  // namespace engine::test

int main() {
  using namespace engine::test;
  const bool right =
      check_panels() & check_variables() & check_values() & check_reuse() & check_reuse_by_hand() & check_limit();
  return right ? 0 : 1;
}
