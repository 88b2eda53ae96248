#include <algorithm>

#include "cuda/persistent/launch.h"
#include "cuda/persistent_schedule.h"

namespace engine::cuda {

PersistentSchedule::PersistentSchedule(Schedule& schedule, const CardLimits& limits)
    : refuses_teams_(limits.refuses_teams) {
  std::string why_not;
  chain_ = persistent::find_chain(schedule.graph(), why_not);
  if (!chain_) {
    bytes_.reason = floats_.reason = why_not;
    return;
  }
  const auto kernels = static_cast<int64_t>(schedule.kernels().size());
  int64_t scratch = 0;
  for (const bool is_bytes : {false, true}) {
    ExecutionChoice& choice = is_bytes ? bytes_ : floats_;
    choice = choose_execution(*chain_, schedule.graph(), limits, schedule.max_rows(), is_bytes, kernels);
    if (choice.persistent) scratch = std::max(scratch, persistent::scratch_floats(*choice.persistent));
  }
  scratch_ = schedule.add_scratch(scratch);
}

bool PersistentSchedule::runs(const RunArguments& arguments, const DatasetView& data) const {
  const ExecutionChoice& choice = choice_for(data.type);
  if (!choice.persistent || is_refused(choice)) return false;
  // Only the steps divide penalties by the number of samples.
  return !arguments.training->losses[0].divides_penalties;
}

int64_t PersistentSchedule::batches_together(const RunArguments& arguments, const DatasetView& data) const {
  constexpr double kCyclesOfLaunch = 3e7;  // about 20 ms
  constexpr int64_t kMost = 4096, kLeast = 32;
  const double cycles = choice_for(data.type).persistent->cycles;
  const auto wanted = static_cast<int64_t>(kCyclesOfLaunch / cycles);
  const int64_t there_are = (arguments.data.rows + arguments.batch_size - 1) / arguments.batch_size;
  return std::clamp(std::min(wanted, there_are), kLeast, kMost);
}

bool PersistentSchedule::launch(const Stream& stream, const RunMemory& memory, const Batch* batches,
                                int64_t count) const {
  const PersistentPlan& plan = *choice_for(memory.data.type).persistent;
  const persistent::Network network =
      persistent::network_of_run(plan, *chain_, memory, memory.arguments.scratch + scratch_);
  const bool was_started = persistent::launch(stream, plan, network, batches, count);
  if (!was_started && plan.exchange != Exchange::kNone) *refuses_teams_ = true;
  return was_started;
}

std::string PersistentSchedule::to_text(const ExecutionChoice& choice) const {
  if (is_refused(choice)) return "a kernel for each step: this GPU refused to start " + choice.reason + ".";
  return choice.persistent ? choice.reason + "." : "a kernel for each step: " + choice.reason + ".";
}

std::string PersistentSchedule::to_text() const {
  const std::string of_bytes = to_text(bytes_), of_floats = to_text(floats_);
  if (of_bytes == of_floats) return of_bytes;
  return "for samples of uint8, " + of_bytes + " For samples of floats, " + of_floats;
}

}  // namespace engine::cuda
