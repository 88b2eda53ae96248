// Tests the teams of threads of cpu/thread_pool.h: their work, their barriers, their beginning and end.
#include "cpu/thread_pool.h"

#include <filesystem>
#include <iterator>
#include <thread>
#include <vector>

#include "check.h"

#ifdef __linux__
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace engine::test {
namespace {

using namespace cpu;

constexpr int kRounds = 200, kBarriers = 5;

/// Each thread writes its number, and after a barrier reads those of all others, several times. Returns whether each
/// thread of the team was called once and read what the others had written.
bool works_together(int threads) {
  std::vector<int> written(static_cast<size_t>(threads), -1), calls(written.size()), sums(written.size());
  int members = 0;
  run_team(threads, [&](const Worker& worker) {
    const auto own = static_cast<size_t>(worker.index);
    ++calls[own];
    if (worker.index == 0) members = worker.threads;
    for (int round = 0; round < kBarriers; ++round) {
      written[own] = worker.index + round;
      worker.wait_for_team();
      for (int i = 0; i < worker.threads; ++i) sums[own] += written[static_cast<size_t>(i)];
      worker.wait_for_team();
    }
  });
  bool right = members == threads;
  for (size_t i = 0; i < written.size(); ++i) {
    right &=
        calls[i] == 1 && sums[i] == kBarriers * threads * (threads - 1) / 2 + kBarriers * (kBarriers - 1) / 2 * threads;
  }
  return right;
}

/// Teams of changing sizes, in the same thread.
bool teams_of_all_sizes_work() {
  bool right = true;
  for (int round = 0; round < kRounds; ++round) right &= works_together(1 + round * 5 % 8);
  return right;
}

/// Several threads, each with a team of its own.
bool threads_have_teams_of_their_own() {
  constexpr int kLeaders = 3;
  std::vector<int> right(kLeaders);
  std::vector<std::thread> leaders;
  for (int& result : right) {
    leaders.emplace_back([&] {
      result = 1;
      for (int round = 0; round < kRounds / 4; ++round) result &= works_together(1 + round % 4) ? 1 : 0;
    });
  }
  for (std::thread& leader : leaders) leader.join();
  return right == std::vector<int>(kLeaders, 1);
}

/// Needs a team while the calling thread ends, perhaps after that of the thread has ended.
struct Late {
  bool* right;
  ~Late() { *right = works_together(3); }
};

bool a_thread_that_ends_has_a_team() {
  bool before = false, after = false;
  std::thread([&] {
    static thread_local Late later{&after};  // ends after the team, which begins after it
    works_together(3);
    static thread_local Late earlier{&before};
  }).join();
  return before && after;
}

#ifdef __linux__

std::ptrdiff_t tasks() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

/// Waits, for ever if helpers don't end.
bool helpers_end_with_their_thread() {
  const std::ptrdiff_t before = tasks();
  std::thread([] { works_together(4); }).join();
  while (tasks() > before) std::this_thread::yield();
  return true;
}

bool a_forked_child_has_a_team() {
  works_together(3);
  const pid_t child = fork();
  if (child == 0) _exit(works_together(3) && works_together(5) ? 0 : 1);
  int status = 1;
  waitpid(child, &status, 0);
  return status == 0 && works_together(3);
}

#endif

int run() {
  install_fork_handler();
  bool right = check(teams_of_all_sizes_work(), "teams of all sizes work");
  right &= check(threads_have_teams_of_their_own(), "threads have teams of their own");
#ifdef __linux__
  right &= check(helpers_end_with_their_thread(), "helpers end with their thread");
  right &= check(a_forked_child_has_a_team(), "a forked child has a team");
#endif
  right &= check(a_thread_that_ends_has_a_team(), "a thread that ends has a team");
  return right ? 0 : 1;
}

}  // namespace
}  // namespace engine::test

int main() { return engine::test::run(); }
