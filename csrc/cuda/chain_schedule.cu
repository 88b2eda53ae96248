#include <algorithm>

#include "cuda/chain_schedule.h"
#include "cuda/chains/data_parallel_kernels.h"
#include "cuda/chains/network_of_run.h"
#include "cuda/chains/persistent_kernel.h"

namespace engine::cuda {

ChainSchedule::ChainSchedule(Schedule& schedule, const CardLimits& limits) : refuses_teams_(limits.refuses_teams) {
  std::string why_not;
  chain_ = chains::find_chain(schedule.graph(), why_not);
  if (!chain_) {
    bytes_.reason = floats_.reason = why_not;
    return;
  }
  const auto kernels = static_cast<int64_t>(schedule.kernels().size());
  int64_t scratch = 0;
  for (const bool is_bytes : {false, true}) {
    ExecutionChoice& choice = is_bytes ? bytes_ : floats_;
    choice = choose_execution(*chain_, schedule.graph(), limits, schedule.max_rows(), is_bytes, kernels);
    if (!choice.plan) continue;
    scratch = std::max(scratch, choice.plan->way == Way::kDataParallel
                                    ? chains::scratch_of_data_parallel_kernels(*choice.plan)
                                    : chains::scratch_of_persistent_kernel(*choice.plan));
  }
  scratch_ = schedule.add_scratch(scratch);
}

Way ChainSchedule::way(const RunArguments& arguments, const DatasetView& data) const {
  const ExecutionChoice& choice = choice_for(data.type);
  // Only the steps divide penalties by the number of samples.
  if (!choice.plan || is_refused(choice) || arguments.training->losses[0].divides_penalties) return Way::kSteps;
  return choice.plan->way;
}

int64_t ChainSchedule::batches_together(const RunArguments& arguments, const DatasetView& data) const {
  constexpr double kCyclesOfLaunch = 3e7;  // about 20 ms
  constexpr int64_t kMost = 4096, kLeast = 32;
  const auto wanted = static_cast<int64_t>(kCyclesOfLaunch / choice_for(data.type).plan->cycles);
  const int64_t there_are = (arguments.data.rows + arguments.batch_size - 1) / arguments.batch_size;
  return std::clamp(std::min(wanted, there_are), kLeast, kMost);
}

bool ChainSchedule::remember_refusal(bool was_started, const ChainPlan& plan) const {
  if (!was_started && plan.team != TeamKind::kOneBlock) *refuses_teams_ = true;
  return was_started;
}

bool ChainSchedule::train_persistent(const Stream& stream, const RunMemory& memory, const Batch* batches,
                                     int64_t count) const {
  const ChainPlan& plan = *choice_for(memory.data.type).plan;
  const chains::Network network = chains::network_of_run(plan, *chain_, memory);
  return remember_refusal(chains::launch_persistent_kernel(stream, plan, network, scratch(memory), batches, count),
                          plan);
}

bool ChainSchedule::train_data_parallel(cudaStream_t stream, const RunMemory& memory, const Batch* batch,
                                        int64_t samples) const {
  const ChainPlan& plan = *choice_for(memory.data.type).plan;
  const chains::Network network = chains::network_of_run(plan, *chain_, memory);
  return remember_refusal(chains::launch_data_parallel_kernels(stream, plan, network, scratch(memory), batch, samples),
                          plan);
}

std::string ChainSchedule::to_text(const ExecutionChoice& choice) const {
  if (is_refused(choice)) return "a kernel for each step: this GPU refused to start " + choice.reason + ".";
  return choice.plan ? choice.reason + "." : "a kernel for each step: " + choice.reason + ".";
}

std::string ChainSchedule::to_text() const {
  const std::string of_bytes = to_text(bytes_), of_floats = to_text(floats_);
  if (of_bytes == of_floats) return of_bytes;
  return "for samples of uint8, " + of_bytes + " For samples of floats, " + of_floats;
}

}  // namespace engine::cuda
