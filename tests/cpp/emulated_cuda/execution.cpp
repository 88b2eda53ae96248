#include "emulated/execution.h"

#include <algorithm>
#include <map>
#include <utility>

#include "emulated/card.h"
#include "emulated/detector.h"
#include "emulated/memory.h"
#include "emulated/symbols.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulated {

Thread* current = nullptr;
Execution* running = nullptr;
Random schedule_random;

namespace {

// Threads that wait for a word to change yield again and again. Threads that yield so often, and are alone so often,
// while no barrier and no thread ends, wait for ever. No kernel with a sensible number of atomics between barriers does
// so.
constexpr int64_t kMaxYields = 20'000'000;
constexpr int64_t kMaxRounds = 20'000;
constexpr uint32_t kYieldingRunEarly = 64;  // one in so many choices
constexpr size_t kBlocksInMessage = 4;

Stacks& stacks() {
  static Stacks stacks;
  return stacks;
}

void thread_main() {
  try {
    running->run_body();
  } catch (...) {
    running->set_failure(std::current_exception());
  }
  running->end_thread();
}

std::string describe(uint3 index, dim3 size) {
  if (size.y == 1 && size.z == 1) return std::to_string(index.x);
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

uint3 index_of(uint32_t rank, dim3 size) { return {rank % size.x, rank / size.x % size.y, rank / size.x / size.y}; }

/// "3 threads (0-1, 7)"
std::string describe(const std::vector<uint32_t>& threads) {
  std::string text;
  for (size_t i = 0; i < threads.size();) {
    size_t last = i;
    while (last + 1 < threads.size() && threads[last + 1] == threads[last] + 1) ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(threads[i]);
    if (last > i) text += "-" + std::to_string(threads[last]);
    i = last + 1;
  }
  return std::to_string(threads.size()) + (threads.size() == 1 ? " thread (" : " threads (") + text + ")";
}

std::string describe(Wait wait, Place place) {
  static const std::map<Wait, const char*> kinds = {{Wait::kNothing, "can run"},
                                                    {Wait::kBlockBarrier, "wait at __syncthreads"},
                                                    {Wait::kClusterBarrier, "wait at the barrier of the cluster"},
                                                    {Wait::kGridBarrier, "wait at the barrier of the grid"},
                                                    {Wait::kWarp, "wait for other lanes of their warp"},
                                                    {Wait::kEnded, "have ended"}};
  std::string text = kinds.at(wait);
  if (place.line > 0) text += " in " + std::string(place.file) + ":" + std::to_string(place.line);
  return text;
}

}  // namespace

std::string describe_thread(uint32_t block, uint32_t thread) {
  const LaunchShape& shape = running->shape();
  return "thread " + describe(index_of(thread, shape.block), shape.block) + " of block " +
         describe(index_of(block, shape.grid), shape.grid);
}

namespace {

std::string this_thread() { return describe_thread(current->block->rank, current->rank); }

}  // namespace

void Random::seed(uint64_t seed) { state = seed * 0x9e3779b97f4a7c15 + 1; }

uint32_t Random::below(uint32_t end) {
  state = state * 6364136223846793005 + 1442695040888963407;
  return static_cast<uint32_t>(((state >> 32) * end) >> 32);
}

void Barrier::reset(uint32_t threads) {
  expected = threads;
  arrived = phase = ended_at = 0;
  waiting.clear();
}

Execution::Execution(const LaunchShape& shape, const std::function<void()>& body)
    : shape_(shape),
      body_(body),
      block_threads_(shape.block.x * shape.block.y * shape.block.z),
      warps_((block_threads_ + kWarp - 1) / kWarp),
      by_rank_(size_t{shape.grid.x} * shape.grid.y * shape.grid.z) {
  running = this;
  gridDim = shape.grid;
  blockDim = shape.block;
  grid_barrier_.reset(static_cast<uint32_t>(by_rank_.size() * block_threads_));
}

Execution::~Execution() {
  for (const Block& block : blocks_) close_shared_memory(block.shared, shape_.shared_bytes);
  current = nullptr;
  running = nullptr;
  stacks().shrink();
}

/// The blocks of a cooperative grid are alive together, otherwise those of one cluster after the other.
void Execution::run() {
  begin_kernel(by_rank_.size());
  grid_barrier_.ended_at = tick();
  const dim3 counts(shape_.grid.x / shape_.cluster.x, shape_.grid.y / shape_.cluster.y,
                    shape_.grid.z / shape_.cluster.z);
  std::vector<uint3> clusters;
  for (uint32_t i = 0; i < counts.x * counts.y * counts.z; ++i) clusters.push_back(index_of(i, counts));
  for (uint32_t i = static_cast<uint32_t>(clusters.size()); i > 1; --i) {
    std::swap(clusters[i - 1], clusters[schedule_random.below(i)]);
  }
  if (shape_.cooperative) {
    make_team(clusters);
    run_team();
  } else {
    for (const uint3 cluster : clusters) {
      make_team({cluster});
      run_team();
    }
  }
  end_kernel();
}

void Execution::make_team(const std::vector<uint3>& clusters) {
  const dim3 size = shape_.cluster;
  const uint32_t cluster_blocks = size.x * size.y * size.z;
  const size_t count = clusters.size() * cluster_blocks;
  for (const Block& block : blocks_) by_rank_[block.rank] = nullptr;
  clusters_.resize(clusters.size());
  blocks_.resize(count);
  threads_.resize(count * block_threads_);
  stacks().reserve(threads_.size());
  ready_.clear();
  yielding_.clear();
  threads_ended_ = 0;
  for (size_t c = 0; c < clusters.size(); ++c) {
    Cluster& cluster = clusters_[c];
    cluster.barrier.reset(cluster_blocks * block_threads_);
    cluster.blocks.clear();
    cluster.knowledge.clear();
    for (uint32_t b = 0; b < cluster_blocks; ++b) {
      const uint3 within = index_of(b, size);
      Block& block = blocks_[c * cluster_blocks + b];
      block.rank_in_cluster = b;
      make_block(
          block, cluster,
          {clusters[c].x * size.x + within.x, clusters[c].y * size.y + within.y, clusters[c].z * size.z + within.z},
          c * cluster_blocks + b);
    }
  }
}

void Execution::make_block(Block& block, Cluster& cluster, uint3 index, size_t place) {
  block.index = index;
  block.rank = index.x + shape_.grid.x * (index.y + shape_.grid.y * index.z);
  block.cluster = &cluster;
  cluster.blocks.push_back(&block);
  by_rank_[block.rank] = &block;
  block.shared = open_shared_memory(place, shape_.shared_bytes);
  block.threads = &threads_[place * block_threads_];
  block.threads_ended = 0;
  block.barrier.reset(block_threads_);
  block.knowledge.clear();
  block.warps.resize(warps_);
  for (uint32_t w = 0; w < warps_; ++w) {
    WarpArgs& warp = block.warps[w];
    const uint32_t lanes = std::min<uint32_t>(kWarp, block_threads_ - w * kWarp);
    warp.lanes = block.threads + size_t{w} * kWarp;
    warp.alive = lanes == kWarp ? ~0u : (1u << lanes) - 1;
    warp.collectives.clear();
    for (auto& seen : warp.seen) seen.fill(0);
  }
  for (uint32_t t = 0; t < block_threads_; ++t) {
    Thread& thread = block.threads[t];
    thread = {};
    thread.fiber = stacks().start(place * block_threads_ + t, thread_main);
    thread.block = &block;
    thread.warp = &block.warps[t / kWarp];
    thread.index = index_of(t, shape_.block);
    thread.rank = t;
    thread.lane = static_cast<int>(t % kWarp);
    ready_.push_back(&thread);
  }
}

void Execution::run_team() {
  while (!ready_.empty() || !yielding_.empty()) {
    choose_next();
    threadIdx = current->index;
    blockIdx = current->block->index;
    switch_fiber(&scheduler_, current->fiber);
    if (failure_) std::rethrow_exception(failure_);
  }
  current = nullptr;
  if (threads_ended_ < threads_.size()) {
    throw KernelError("kernel " + function_name(shape_.kernel) + ": not all threads reach a barrier" +
                      waiting_threads());
  };
}

void Execution::choose_next() {
  if (ready_.empty()) {
    ready_.swap(yielding_);
    ++rounds_;
  }
  const bool early = !yielding_.empty() && schedule_random.below(kYieldingRunEarly) == 0;
  std::vector<Thread*>& from = early ? yielding_ : ready_;
  Thread*& chosen = from[schedule_random.below(static_cast<uint32_t>(from.size()))];
  current = chosen;
  chosen = from.back();
  from.pop_back();
}

void Execution::note_progress() { yields_ = rounds_ = 0; }

void Execution::suspend() { switch_fiber(&current->fiber, scheduler_); }

void Execution::make_ready(Thread* thread) {
  thread->wait = Wait::kNothing;
  ready_.push_back(thread);
}

/// Ends the kernel. No exception may pass through the code of a kernel, whose compiler expects none from a barrier or
/// from the detector, so the host throws it.
void Execution::fail(const std::string& message) {
  failure_ = std::make_exception_ptr(KernelError("kernel " + function_name(shape_.kernel) + ": " + message));
  suspend();
  __builtin_unreachable();
}

void Execution::end_thread() {
  Thread& thread = *current;
  if (stacks().overflowed(static_cast<size_t>(&thread - threads_.data()))) fail("a thread has used up its stack");
  thread.wait = Wait::kEnded;
  note_progress();
  ++threads_ended_;
  Block& block = *thread.block;
  if (++block.threads_ended == block_threads_) close_shared_memory(block.shared, shape_.shared_bytes);
  WarpArgs& warp = *thread.warp;
  warp.alive &= ~(1u << thread.lane);
  for (size_t i = warp.collectives.size(); i-- > 0;) {
    const Collective& c = warp.collectives[i];
    if ((c.mask & warp.alive & ~c.arrived) == 0) finish(warp, i);
  }
  suspend();
  __builtin_unreachable();
}

void Execution::arrive(Barrier& barrier, Place place) {
  if (barrier.arrived == 0) barrier.place = place;
  if (++barrier.arrived < barrier.expected) return;
  barrier.arrived = 0;
  ++barrier.phase;
  barrier.ended_at = tick();
  note_progress();
  for (Thread* thread : barrier.waiting) make_ready(thread);
  barrier.waiting.clear();
}

void Execution::wait(Barrier& barrier, Wait wait, Place place) {
  current->wait = wait;
  current->place = place;
  barrier.waiting.push_back(current);
  suspend();
}

/// Arrives and waits. The last thread that arrives has to wait for its turn as well.
void Execution::synchronize(Barrier& barrier, Wait wait, Place place) {
  const bool last = barrier.arrived + 1 == barrier.expected;
  arrive(barrier, place);
  if (last) {
    make_ready(current);
    suspend();
  } else {
    this->wait(barrier, wait, place);
  }
}

void Execution::yield() {
  if (++yields_ > kMaxYields && rounds_ > kMaxRounds) {
    fail("threads wait for a change of memory that no thread makes" + waiting_threads());
  }
  yielding_.push_back(current);
  suspend();
}

void Execution::maybe_yield(uint32_t one_in) {
  if (schedule_random.below(one_in) == 0) yield();
}

void Execution::join(Collective::Kind kind, uint32_t mask, Place place) {
  Thread& thread = *current;
  WarpArgs& warp = *thread.warp;
  const uint32_t self = 1u << thread.lane;
  if ((mask & self) == 0) fail(this_thread() + " is not in the mask of lanes that it gives");
  size_t i = 0;
  while (i < warp.collectives.size() && warp.collectives[i].mask != mask) ++i;
  if (i == warp.collectives.size()) warp.collectives.push_back({kind, mask, 0});
  Collective& c = warp.collectives[i];
  if (c.kind != kind) fail("lanes of the warp of " + this_thread() + " do different things");
  c.arrived |= self;
  if ((mask & warp.alive & ~c.arrived) == 0) {
    finish(warp, i);  // makes this thread ready, too
  } else {
    thread.wait = Wait::kWarp;
    thread.place = place;
  }
  suspend();
}

/// Hands the lanes their results and lets them run.
void Execution::finish(WarpArgs& warp, size_t collective) {
  const Collective c = warp.collectives[collective];
  warp.collectives.erase(warp.collectives.begin() + static_cast<std::ptrdiff_t>(collective));
  Votes votes{0, c.arrived};
  if (c.kind == Collective::Kind::kSync) synchronize_lanes(warp, c.arrived);
  for (int lane = 0; lane < kWarp; ++lane) {
    if (c.arrived >> lane & 1 && warp.lanes[lane].given[0] != 0) votes.yes |= 1u << lane;
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((c.arrived >> lane & 1) == 0) continue;
    Thread& thread = warp.lanes[lane];
    if (c.kind == Collective::Kind::kVote) {
      std::memcpy(thread.received.data(), &votes, sizeof votes);
    } else if (c.arrived >> thread.source & 1) {
      thread.received = warp.lanes[thread.source].given;
    } else {
      thread.received.fill(0xff);  // undefined on a card
    }
    make_ready(&thread);
  }
}

std::string Execution::waiting_threads() const {
  std::string text;
  size_t blocks = 0;
  for (const Block& block : blocks_) {
    if (block.threads_ended == block_threads_) continue;
    if (++blocks > kBlocksInMessage) continue;
    std::map<std::string, std::vector<uint32_t>> groups;
    for (uint32_t t = 0; t < block_threads_; ++t) {
      const Thread& thread = block.threads[t];
      groups[describe(thread.wait, thread.wait == Wait::kEnded ? Place{} : thread.place)].push_back(t);
    }
    text += "\n  block " + describe(block.index, shape_.grid) + ":";
    for (const auto& [what, threads] : groups) text += " " + describe(threads) + " " + what + ";";
    text.back() = '.';
  }
  if (blocks > kBlocksInMessage) text += "\n  " + std::to_string(blocks - kBlocksInMessage) + " more blocks wait.";
  return text;
}

// ---- What kernels call

int lane() { return current->lane; }

void shuffle(unsigned int mask, const void* value, size_t bytes, int source, void* result) {
  std::memcpy(current->given.data(), value, bytes);
  current->source = source;
  running->join(Collective::Kind::kShuffle, mask, {});
  std::memcpy(result, current->received.data(), bytes);
}

Votes vote(unsigned int mask, bool yes) {
  current->given[0] = yes;
  running->join(Collective::Kind::kVote, mask, {});
  Votes votes;
  std::memcpy(&votes, current->received.data(), sizeof votes);
  return votes;
}

void maybe_yield() { running->maybe_yield(16); }

void* dynamic_shared_memory() { return current->block->shared; }

unsigned int cluster_rank() { return current->block->rank_in_cluster; }

unsigned int cluster_blocks() { return static_cast<unsigned int>(current->block->cluster->blocks.size()); }

void* map_shared_rank(void* address, unsigned int rank) {
  const Block& block = *current->block;
  if (rank >= block.cluster->blocks.size()) {
    running->fail(this_thread() + " asks for the shared memory of block " + std::to_string(rank) + " of a cluster of " +
                  std::to_string(block.cluster->blocks.size()));
  }
  return block.cluster->blocks[rank]->shared + (static_cast<char*>(address) - block.shared);
}

void arrive_at_cluster_barrier(const char* file, int line) {
  Thread& thread = *current;
  if (thread.arrivals != thread.waits) {
    running->fail(this_thread() + " arrives twice at a barrier of its cluster");
  }
  thread.arrival_times[thread.arrivals++ % 4] = tick();
  thread.block->cluster->knowledge.bring(thread.acquired);
  running->arrive(thread.block->cluster->barrier, {file, line});
}

void wait_at_cluster_barrier(const char* file, int line) {
  Thread& thread = *current;
  Barrier& barrier = thread.block->cluster->barrier;
  if (thread.arrivals == thread.waits) {
    running->fail(this_thread() + " waits at a barrier of its cluster without arriving");
  }
  if (barrier.phase == thread.waits) {
    running->wait(barrier, Wait::kClusterBarrier, {file, line});
  }
  ++thread.waits;
  thread.block->cluster->knowledge.absorb();
}

void wait_at_grid_barrier(const char* file, int line) {
  if (!running->shape().cooperative) running->fail("a barrier of the grid needs a cooperative launch");
  running->synchronize(running->grid_barrier(), Wait::kGridBarrier, {file, line});
}

}  // namespace emulated

void __syncthreads(const char* file, int line) {
  using emulated::current, emulated::running;
  emulated::Barrier& barrier = current->block->barrier;
  if (barrier.arrived > 0 && (barrier.place.line != line || std::strcmp(barrier.place.file, file) != 0)) {
    running->fail("threads of a block stand at different barriers: " + std::string(barrier.place.file) + ":" +
                  std::to_string(barrier.place.line) + " and, " + emulated::this_thread() + ", " + file + ":" +
                  std::to_string(line));
  }
  emulated::SharedKnowledge& knowledge = current->block->knowledge;
  knowledge.bring(current->acquired);
  running->synchronize(barrier, emulated::Wait::kBlockBarrier, {file, line});
  knowledge.absorb();
}

void __syncwarp(unsigned int mask, const char* file, int line) {
  emulated::running->join(emulated::Collective::Kind::kSync, mask, {file, line});
}

void __threadfence() {
  emulated::note_fence();
  emulated::maybe_yield();
}
void __threadfence_block() { __threadfence(); }
void __nanosleep(unsigned int) { emulated::running->yield(); }
void __trap() { emulated::running->fail("a thread has called __trap"); }
unsigned int __activemask() { return emulated::current->warp->alive; }

namespace {

template <class T, class F>
T change(T* address, F&& changed) {
  emulated::running->maybe_yield(4);
  emulated::check_access(address, sizeof(T), emulated::Access::kAtomic, __builtin_return_address(0));
  const T before = *address;
  *address = changed(before);
  return before;
}

}  // namespace

int atomicAdd(int* address, int value) {
  return change(address,
                [=](int x) { return static_cast<int>(static_cast<unsigned>(x) + static_cast<unsigned>(value)); });
}
unsigned int atomicAdd(unsigned int* address, unsigned int value) {
  return change(address, [=](unsigned int x) { return x + value; });
}
unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
  return change(address, [=](unsigned long long x) { return x + value; });
}
float atomicAdd(float* address, float value) {
  return change(address, [=](float x) { return x + value; });
}
int atomicExch(int* address, int value) {
  return change(address, [=](int) { return value; });
}
unsigned int atomicExch(unsigned int* address, unsigned int value) {
  return change(address, [=](unsigned int) { return value; });
}
int atomicCAS(int* address, int expected, int value) {
  return change(address, [=](int x) { return x == expected ? value : x; });
}
unsigned int atomicCAS(unsigned int* address, unsigned int expected, unsigned int value) {
  return change(address, [=](unsigned int x) { return x == expected ? value : x; });
}
int atomicMax(int* address, int value) {
  return change(address, [=](int x) { return std::max(x, value); });
}
unsigned int atomicMax(unsigned int* address, unsigned int value) {
  return change(address, [=](unsigned int x) { return std::max(x, value); });
}
