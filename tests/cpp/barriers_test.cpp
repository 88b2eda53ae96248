// Checks the barriers of schedules: of steps made by hand, and of whole networks, whose barriers are compared with what
// each thread really touches. Nothing may be missing, and nothing may be there in vain.
#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cpu/device.h"
#include "cpu/schedule.h"
#include "cpu/thread_pool.h"
#include "graph/array.h"
#include "graph/build.h"
#include "models.h"

namespace engine::test {
namespace {

using namespace cpu;
using graph::reads;
using graph::updates;
using graph::writes;

// ---- Steps made by hand --------------------------------------------------------------------------------------------

struct EmptyStep final : Step {
  EmptyStep(Split split, std::vector<Operand> used) : Step(nullptr, split) { operands = std::move(used); }
  void run(const ThreadContext&) const override {}
};

/// A batch of steps, and values with one placement each.
class Steps {
 public:
  explicit Steps(int values) : placements_(static_cast<size_t>(values)) {
    for (int v = 0; v < values; ++v) placements_[static_cast<size_t>(v)].storage = v;
  }
  Placement& placement(ValueId value) { return placements_[static_cast<size_t>(value)]; }
  Steps& add(Split split, std::vector<Operand> operands) {
    steps_.push_back(std::make_unique<EmptyStep>(split, std::move(operands)));
    return *this;
  }
  /// A sign for each step: "|" where threads wait before it, "." where they don't.
  std::string barriers() {
    place_barriers(steps_, placements_);
    std::string signs;
    for (const auto& step : steps_) signs += step->barrier ? '|' : '.';
    return signs;
  }

 private:
  std::vector<std::unique_ptr<Step>> steps_;
  std::vector<Placement> placements_;
};

bool expect(const std::string& barriers, const std::string& expected, const char* what) {
  if (barriers != expected) std::printf("expected %s, found %s\n", expected.c_str(), barriers.c_str());
  return check(barriers == expected, what);
}

bool steps_by_hand() {
  const Split units = Split::over('n'), samples = Split::over(kSamples);
  const auto whole = [](ValueId v) { return reads(v, kWhole, kWhole); };
  bool right = true;
  right &= expect(Steps(1).add(units, {writes(0, kSamples, 'n')}).add(units, {reads(0, kSamples, 'n')}).barriers(),
                  "|.", "threads that read their own columns only agree to go on");
  right &= expect(Steps(1).add(units, {writes(0, kSamples, 'n')}).add(units, {whole(0)}).barriers(), "||",
                  "one that reads all columns waits, and so does the next batch");
  right &=
      expect(Steps(2).add(units, {writes(0, kSamples, 'n')}).add(units, {whole(0)}).add(units, {whole(0)}).barriers(),
             "||.", "a second reader of the same value doesn't");
  right &= expect(Steps(1).add(units, {writes(0, kWhole, kWhole)}).add(units, {whole(0)}).barriers(), "||",
                  "also if all threads use all of it");
  right &= expect(Steps(1).add(samples, {writes(0, kSamples, 'n')}).add(samples, {reads(0, kSamples, 'n')}).barriers(),
                  "|.", "in a batch, each sample has one thread");
  right &= expect(Steps(2)
                      .add(samples, {writes(0, kSamples, 'n')})
                      .add(units, {writes(1, kSamples, 'n')})
                      .add(units, {whole(1)})
                      .add(samples, {reads(0, kSamples, 'n')})
                      .barriers(),
                  "|.|.", "in a batch of another size, it may have another one");
  right &= expect(Steps(2)
                      .add(samples, {writes(0, kSamples, 'n')})
                      .add(units, {reads(0, kSamples, 'n'), writes(1, kSamples, 'n')})
                      .barriers(),
                  "||", "rows and columns of one value are other parts of it");
  right &= expect(Steps(1).add(units, {whole(0)}).add(Split::one_thread(), {updates(0, kWhole, kWhole)}).barriers(),
                  "||", "an update waits for readers, and readers for it");
  right &= expect(
      Steps(1).add(Split::one_thread(1), {writes(0, kWhole, kWhole)}).add(Split::one_thread(1), {whole(0)}).barriers(),
      "|.", "a thread does not wait for itself");
  right &= expect(
      Steps(1).add(Split::one_thread(0), {writes(0, kWhole, kWhole)}).add(Split::one_thread(1), {whole(0)}).barriers(),
      "||", "but for another one");
  Steps copies(1);
  copies.placement(0).copied = true;
  right &= expect(copies.add(Split::every_thread(), {writes(0, kWhole, kWhole)}).add(units, {whole(0)}).barriers(),
                  "|.", "copies need no barrier");
  // Without the two halves, the first step would have to wait for the last one of the batch before.
  const auto sums = [&](bool double_buffered) {
    Steps batch(2);
    batch.placement(0).double_buffered = double_buffered;
    return batch.add(units, {writes(0, kWhole, 'n')}).add(units, {whole(0)}).barriers();
  };
  right &=
      expect(sums(true), ".|", "two halves in turn save the barrier between batches") & expect(sums(false), "||", "");
  Steps in_place(2);
  in_place.placement(1).storage = 0;
  right &= expect(in_place.add(units, {reads(0, kSamples, 'n')}).add(samples, {writes(1, kSamples, kWhole)}).barriers(),
                  "||", "a value in the memory of another one waits for its readers");
  return right;
}

// ---- Networks ------------------------------------------------------------------------------------------------------

struct Interval {
  int64_t begin, end;
};

bool meet(const Interval& a, const Interval& b) { return a.begin < b.end && b.begin < a.end; }

/// What a thread touches in a batch of a certain size: rows and columns of a value.
struct Region {
  ValueId storage;
  bool writes;
  Interval rows, columns;
};

constexpr Interval kAll{0, int64_t{1} << 40};

Interval times(const Range& range, int64_t factor) { return {range.begin * factor, range.end * factor}; }

/// This thread's rows of an operand.
Interval rows_of(const Schedule& plan, const Operand& operand, int64_t samples, const Worker& worker) {
  const graph::Value& value = plan.value(operand.value);
  if (operand.rows == kSamples) {
    const int64_t each =
        value.kind == graph::Value::Kind::kArray ? graph::rows_per_sample(value.shape, 0) : value.groups;
    return times(worker.slice(samples), each);
  }
  const int64_t rows = value.kind == graph::Value::Kind::kArray ? value.shape[0].at(samples) : value.rows;
  return times(worker.slice(rows), 1);
}

std::vector<Region> regions_of(const Schedule& plan, const Step& step, int64_t samples, const Worker& worker) {
  std::vector<Region> regions;
  const bool idle = step.split.kind == Split::Kind::kOneThread && step.split.thread % worker.threads != worker.index;
  for (const Operand& operand : step.operands) {
    const Placement& place = plan.placement(operand.value);
    if (idle || place.copied) continue;
    Region region{place.storage, operand.use != graph::Use::kRead, kAll, kAll};
    if (step.split.shares(operand.rows)) region.rows = rows_of(plan, operand, samples, worker);
    if (step.split.shares(operand.columns)) region.columns = times(worker.slice(place.columns), 1);
    regions.push_back(region);
  }
  return regions;
}

/// A step of one of three batches that follow each other; the last one is smaller.
struct Turn {
  int batch;
  const Step* step;
  std::vector<std::vector<Region>> by_thread;
};

std::vector<Turn> turns_of(const Schedule& plan, int64_t samples) {
  std::vector<Turn> turns;
  for (int batch = 0; batch < 3; ++batch) {
    for (int64_t i = 0; i < plan.steps(); ++i) {
      Turn turn{batch, &plan.step(i), {}};
      for (int thread = 0; thread < plan.threads(); ++thread) {
        turn.by_thread.push_back(
            regions_of(plan, *turn.step, batch == 2 ? samples / 2 + 1 : samples, {thread, plan.threads(), nullptr}));
      }
      turns.push_back(std::move(turn));
    }
  }
  return turns;
}

/// Whether two threads touch the same numbers, and one of them writes.
bool conflict(const Schedule& plan, const Turn& a, const Turn& b) {
  for (size_t t = 0; t < a.by_thread.size(); ++t) {
    for (size_t u = 0; u < b.by_thread.size(); ++u) {
      if (t == u) continue;
      for (const Region& x : a.by_thread[t]) {
        const bool halves = plan.placement(x.storage).double_buffered && (b.batch - a.batch) % 2 != 0;
        for (const Region& y : b.by_thread[u]) {
          const bool same = x.storage == y.storage && !halves && (x.writes || y.writes);
          if (same && meet(x.rows, y.rows) && meet(x.columns, y.columns)) return true;
        }
      }
    }
  }
  return false;
}

/// Pairs of steps with a conflict, as places among the turns.
std::vector<std::pair<size_t, size_t>> conflicts_of(const Schedule& plan, const std::vector<Turn>& turns) {
  std::vector<std::pair<size_t, size_t>> pairs;
  for (size_t i = 0; i < turns.size(); ++i) {
    for (size_t j = i + 1; j < turns.size(); ++j) {
      if (conflict(plan, turns[i], turns[j])) pairs.emplace_back(i, j);
    }
  }
  return pairs;
}

/// Whether threads wait between the steps of each pair, also without the barrier before `removed`.
bool wait_for_all(const std::vector<std::pair<size_t, size_t>>& pairs, const std::vector<Turn>& turns,
                  const Step* removed) {
  return std::all_of(pairs.begin(), pairs.end(), [&](const auto& pair) {
    return std::any_of(turns.begin() + static_cast<std::ptrdiff_t>(pair.first) + 1,
                       turns.begin() + static_cast<std::ptrdiff_t>(pair.second) + 1,
                       [&](const Turn& turn) { return turn.step->barrier && turn.step != removed; });
  });
}

bool networks() {
  const std::vector<std::vector<LayerCase>> cases{
      {dense(128, "relu"), dense(10, "softmax")},
      {dense(512, "gelu"), dense(128, "relu", 0.1), dense(64, "softmax")},
      {dense(256, "tanh"),
       {"dropout", Described({{"rate", 0.5}, {"seed", 1.0}})},
       dense(256, "relu"),
       dense(32, "linear")},
  };
  bool enough = true, needed = true;
  for (const auto& layers : cases) {
    const graph::Model model(chain(784, layers));
    for (const graph::Mode mode : {graph::Mode::kTrain, graph::Mode::kEvaluate, graph::Mode::kPredict}) {
      for (const int threads : {2, 3, 8}) {
        for (const int64_t samples : {32, 256, 2048}) {
          const auto executable =
              device().compile(graph::build_graph(model, classification(), mode), {false, samples, threads});
          const auto& plan = static_cast<const Schedule&>(*executable);
          if (plan.threads() == 1) continue;
          const std::vector<Turn> turns = turns_of(plan, samples);
          const auto pairs = conflicts_of(plan, turns);
          enough = enough && wait_for_all(pairs, turns, nullptr);
          int64_t barriers = 0;
          for (int64_t i = 0; i < plan.steps(); ++i) barriers += plan.step(i).barrier ? 1 : 0;
          for (int64_t i = 0; i < plan.steps() && barriers > 1; ++i) {
            const bool vain = plan.step(i).barrier && wait_for_all(pairs, turns, &plan.step(i));
            if (vain)
              std::printf("in vain: step %d (%s) of %d threads, %d samples\n", static_cast<int>(i),
                          plan.step(i).operation ? plan.step(i).operation->name() : "", plan.threads(),
                          static_cast<int>(samples));
            needed = needed && !vain;
          }
        }
      }
    }
  }
  return check(enough, "threads wait before they use what others have used") &
         check(needed, "and no barrier is there in vain");
}

}  // namespace
}  // namespace engine::test

int main() {
  using namespace engine::test;
  return (steps_by_hand() & networks()) ? 0 : 1;
}
