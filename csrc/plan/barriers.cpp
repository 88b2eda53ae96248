// Where threads must meet: before a step that may touch what another thread has touched since the last time.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "plan/accesses.h"
#include "plan/costs.h"

namespace engine {
namespace {

bool conflict(const Access& a, const Access& b) {
  if (a.resource != b.resource || !(a.writes || b.writes)) return false;
  return a.slice != b.slice || a.slice == Slice::kAll;
}

bool conflicts(const std::vector<Access>& pending, const std::vector<Access>& next) {
  for (const Access& a : pending) {
    for (const Access& b : next) {
      if (conflict(a, b)) return true;
    }
  }
  return false;
}

}  // namespace

void separate_columns(Plan& plan) {
  if (plan.threads == 1) return;
  const auto buffers = plan.buffers.size();
  std::vector<bool> own(buffers, false), shared(buffers, false);
  for (const Step& step : plan.steps) {
    if (is_host(step.kind)) return;  // the team after it may be another one
    for (const Access& access : accesses_of(plan, step)) {
      const auto buffer = static_cast<std::size_t>(access.resource);
      if (buffer >= buffers) continue;
      (access.slice == Slice::kColumns ? own : shared)[buffer] = true;
    }
  }
  for (std::size_t i = 0; i < buffers; ++i) {
    const Buffer& buffer = plan.buffers[i];
    if (!own[i] || shared[i] || !pays_to_separate(buffer.rows * buffer.ld, plan.threads)) continue;
    give_copies(plan, static_cast<int>(i));
  }
}

void place_barriers(Plan& plan) {
  std::vector<Access> pending;
  // The second lap finds what one batch must wait for from the one before.
  for (int lap = 0; lap < 2; ++lap) {
    // The next batch uses the other halves; for the one after that, each batch has a barrier between the halves'
    // writers and readers.
    pending.erase(std::remove_if(pending.begin(), pending.end(),
                                 [&](const Access& access) {
                                   const auto buffer = static_cast<std::size_t>(access.resource);
                                   return buffer < plan.buffers.size() && plan.buffers[buffer].alternates;
                                 }),
                  pending.end());
    // The batches may differ in size, and then in who owns which sample.
    for (Access& access : pending) {
      if (access.slice == Slice::kSamples) access.slice = Slice::kAll;
    }
    for (Step& step : plan.steps) {
      const std::vector<Access> accesses = accesses_of(plan, step);
      step.barrier = step.barrier || conflicts(pending, accesses);
      if (step.barrier || is_host(step.kind)) pending.clear();
      pending.insert(pending.end(), accesses.begin(), accesses.end());
    }
  }
}

}  // namespace engine
