// The threads, warps, blocks and clusters that are alive, and the loop that lets them run in turn. A thread runs until
// it has to wait; then any other that can run does, chosen at random.
#pragma once
#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "emulated/device_functions.h"
#include "emulated/fibers.h"
#include "emulated/knowledge.h"

namespace emulated {

constexpr uint32_t kMaxThreads = 1024;  // of a block

struct Block;
struct Thread;

struct Random {
  uint64_t state = 1;
  void seed(uint64_t seed);
  uint32_t below(uint32_t end);
};

/// A place in the source.
struct Place {
  const char* file = "";
  int line = 0;
};

enum class Wait : uint8_t { kNothing, kBlockBarrier, kClusterBarrier, kGridBarrier, kWarp, kEnded };

/// The numbers of threads that have to arrive, and have. Its phase ends when all have arrived.
struct Barrier {
  uint32_t expected = 0, arrived = 0;
  uint32_t phase = 0;     // how many have ended
  uint32_t ended_at = 0;  // the detector's time when the last one ended
  Place place;            // where the first thread of this phase arrived
  std::vector<Thread*> waiting;

  void reset(uint32_t threads);
};

/// What lanes of a warp do together.
struct Collective {
  enum class Kind : uint8_t { kSync, kShuffle, kVote };
  Kind kind;
  uint32_t mask, arrived;  // a bit for each lane
};

struct WarpArgs {
  Thread* lanes = nullptr;  // the threads of a warp lie side by side
  uint32_t alive = 0;       // a bit for each lane that has not ended
  std::vector<Collective> collectives;
  /// The detector's time up to which accesses of lane [j] lie before those that lane [i] makes now, by __syncwarp.
  std::array<std::array<uint32_t, kWarp>, kWarp> seen;
};

struct Cluster {
  Barrier barrier;
  std::vector<Block*> blocks;
  SharedKnowledge knowledge;
};

struct Block {
  uint3 index;
  uint32_t rank;  // in the grid
  uint32_t rank_in_cluster;
  Cluster* cluster;
  char* shared;  // its shared memory
  Thread* threads;
  uint32_t threads_ended;
  Barrier barrier;
  SharedKnowledge knowledge;
  std::vector<WarpArgs> warps;
};

struct Thread {
  Fiber fiber;
  Block* block;
  WarpArgs* warp;
  uint3 index;
  uint32_t rank;  // in the block
  int lane;
  Wait wait;
  Place place;  // where it waits
  // The current collective: what the lane gives, whose value it wants, what it gets.
  std::array<unsigned char, 8> given, received;
  int source;
  // The barrier of the cluster: phases that this thread has arrived for and waited for, and the detector's times of
  // its last arrivals, [phase % 4], since another thread may be two phases ahead.
  uint32_t arrivals, waits;
  std::array<uint32_t, 4> arrival_times;
  // What other threads learn if they read a word that this thread changes by an atomic: what was so at its last fence.
  Knowledge released;
  // What this thread has read of others by atomics, and, since its last fence, may rely on.
  Knowledge acquiring, acquired;
};

struct LaunchShape {
  dim3 grid, block, cluster;
  size_t shared_bytes;  // dynamic, per block
  bool cooperative;
  const void* kernel;
};

/// The kernel that runs.
class Execution {
 public:
  Execution(const LaunchShape& shape, const std::function<void()>& body);
  ~Execution();
  void run();

  const LaunchShape& shape() const { return shape_; }
  /// The detector's time at which the kernel began or the last barrier of the grid ended.
  uint32_t ordered_until() const { return grid_barrier_.ended_at; }
  /// The block with this rank in the grid, or null if it isn't alive.
  const Block* block(uint32_t rank) const { return by_rank_[rank]; }
  const std::vector<Block>& blocks() const { return blocks_; }
  Barrier& grid_barrier() { return grid_barrier_; }

  // What the current thread does.
  void arrive(Barrier& barrier, Place place);
  void wait(Barrier& barrier, Wait wait, Place place);
  void synchronize(Barrier& barrier, Wait wait, Place place);
  void join(Collective::Kind kind, uint32_t mask, Place place);
  void yield();
  void maybe_yield(uint32_t one_in);
  [[noreturn]] void fail(const std::string& message);
  [[noreturn]] void end_thread();
  void run_body() { body_(); }
  void set_failure(std::exception_ptr failure) { failure_ = std::move(failure); }

 private:
  void make_team(const std::vector<uint3>& clusters);
  void make_block(Block& block, Cluster& cluster, uint3 index, size_t place);
  void run_team();
  void choose_next();
  void suspend();
  void make_ready(Thread* thread);
  void note_progress();
  void finish(WarpArgs& warp, size_t collective);
  std::string waiting_threads() const;

  const LaunchShape& shape_;
  const std::function<void()>& body_;
  uint32_t block_threads_, warps_;
  Barrier grid_barrier_;
  std::vector<Cluster> clusters_;
  std::vector<Block> blocks_;
  std::vector<Thread> threads_;
  std::vector<const Block*> by_rank_;
  std::vector<Thread*> ready_;
  std::vector<Thread*> yielding_;  // run when no other thread can, and sometimes before, so that none waits for them
  size_t threads_ended_ = 0;
  // Since a thread ended or a barrier did:
  int64_t yields_ = 0;
  int64_t rounds_ = 0;  // how often none could run but those that yield
  Fiber scheduler_ = nullptr;
  std::exception_ptr failure_;
};

/// The thread that runs and its kernel; null while the host runs.
extern Thread* current;
extern Execution* running;
extern Random schedule_random;

/// "thread 5 of block 3", with all indices where there are several dimensions.
std::string describe_thread(uint32_t block, uint32_t thread);

}  // namespace emulated
