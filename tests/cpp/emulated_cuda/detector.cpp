#include "emulated/detector.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "emulated/card.h"
#include "emulated/execution.h"
#include "emulated/memory.h"
#include "emulated/symbols.h"

namespace emulated {
namespace {

constexpr size_t kWord = 4;                  // bytes of card memory that share their shadow
constexpr size_t kMaxBlocks = 1 << 17;       // their number in an Accessor
constexpr uint32_t kLateTime = 0x80000000u;  // before a kernel begins: time to start again
constexpr size_t kMaxReports = 8;            // of a kernel

/// Who accessed which bytes of a word: 17 bits for the block, 10 for the thread, 4 for the bytes, 1 if it is atomic.
class Accessor {
 public:
  Accessor() = default;
  Accessor(uint32_t block, uint32_t thread, uint32_t bytes, bool atomic)
      : bits_(block << 15 | thread << 5 | bytes << 1 | (atomic ? 1 : 0)) {}
  uint32_t block() const { return bits_ >> 15; }
  uint32_t thread() const { return bits_ >> 5 & 1023; }
  uint32_t bytes() const { return bits_ >> 1 & 15; }
  bool atomic() const { return bits_ & 1; }
  bool same_thread(Accessor other) const { return bits_ >> 5 == other.bits_ >> 5; }

 private:
  uint32_t bits_ = 0;
};

struct Record {
  uint32_t time = 0;  // 0: there was no access
  Accessor who;
  int32_t code = 0;  // relative to check_access
};

struct Cell {
  Record write;
  std::array<Record, 2> reads;  // by threads as far apart as possible, as a barrier may order one and not the other
};

struct Shadow {
  uintptr_t base = 0;
  size_t bytes = 0;
  uint8_t* states = nullptr;  // for each word: low half, bytes that were written; high half, bytes that are allocated
  Cell* cells = nullptr;
};

Shadow shadow;
uint32_t now = 1;
std::unordered_map<size_t, Knowledge> released_by_word;  // what those have released who changed the word by an atomic
std::vector<std::string> reports;
std::set<std::tuple<char, int32_t, int32_t>> reported;  // what, where, and where the earlier access was

template <class T>
T* reserve(size_t count) {
  void* memory =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<T*>(memory);
}

int32_t relative(const void* code) {
  return static_cast<int32_t>(reinterpret_cast<intptr_t>(code) - reinterpret_cast<intptr_t>(&check_access));
}

std::string place(int32_t code) {
  // One byte before the address to which the call of the detector returns.
  return code_place(reinterpret_cast<const void*>(reinterpret_cast<intptr_t>(&check_access) + code - 1));
}

bool known(const Knowledge& knowledge, const Record& access) {
  if (knowledge.empty()) return false;
  const auto block = knowledge.of_block.find(access.who.block());
  if (block != knowledge.of_block.end() && access.time <= block->second) return true;
  const auto thread = knowledge.of_thread.find(access.who.block() * kMaxThreads + access.who.thread());
  return thread != knowledge.of_thread.end() && access.time <= thread->second;
}

/// Whether barriers, or fences and atomics, order the access before what the current thread does now.
bool ordered(const Record& earlier) {
  if (earlier.time <= running->ordered_until()) return true;
  const Thread& thread = *current;
  const Block& block = *thread.block;
  const uint32_t rank = earlier.who.thread();
  if (earlier.who.block() == block.rank) {
    if (rank == thread.rank || earlier.time <= block.barrier.ended_at) return true;
    if (rank / kWarp == thread.rank / kWarp &&
        earlier.time <= thread.warp->seen[static_cast<size_t>(thread.lane)][rank % kWarp]) {
      return true;
    }
  }
  const Block* other = running->block(earlier.who.block());
  if (other != nullptr && other->cluster == block.cluster && thread.waits > 0 &&
      earlier.time <= other->threads[rank].arrival_times[(thread.waits - 1) % 4]) {
    return true;
  }
  return known(thread.acquired, earlier) || known(block.knowledge.known, earlier) ||
         known(block.cluster->knowledge.known, earlier);
}

/// How many kinds of barriers do not reach both threads.
int distance(Accessor a, Accessor b) {
  if (a.block() != b.block()) {
    const Block *left = running->block(a.block()), *right = running->block(b.block());
    return left != nullptr && right != nullptr && left->cluster == right->cluster ? 3 : 4;
  }
  return a.thread() / kWarp == b.thread() / kWarp ? 1 : 2;
}

/// The same without a look at what lanes of a warp know of each other: quick if many threads of a block read a word.
bool surely_ordered(const Record& earlier) {
  if (earlier.time <= running->ordered_until()) return true;
  const Block& block = *current->block;
  return earlier.who.block() == block.rank ? earlier.time <= block.barrier.ended_at : ordered(earlier);
}

void keep_read(std::array<Record, 2>& reads, const Record& read) {
  for (Record& old : reads) {
    if (old.who.same_thread(read.who) || surely_ordered(old)) {
      old = read;
      return;
    }
  }
  if (distance(reads[0].who, read.who) > distance(reads[0].who, reads[1].who)) reads[1] = read;
}

const char* verb(Access access) {
  return access == Access::kRead ? "reads" : access == Access::kWrite ? "writes" : "changes atomically";
}

const void* address_of(size_t word, uint32_t bytes) {
  return reinterpret_cast<const void*>(shadow.base + word * kWord + static_cast<size_t>(__builtin_ctz(bytes)));
}

std::string actor(Access access, int32_t code) {
  return describe_thread(current->block->rank, current->rank) + " " + verb(access) + " in " + place(code);
}

void report(char kind, int32_t code, int32_t earlier, const std::function<std::string()>& text) {
  if (reports.size() < kMaxReports && reported.emplace(kind, code, earlier).second) reports.push_back(text());
}

void report_race(const Record& earlier, bool was_write, Access access, size_t word, int32_t code) {
  report('r', code, earlier.code, [&] {
    const char* did = !was_write ? "read" : earlier.who.atomic() ? "changed atomically" : "wrote";
    return "race on " + describe_address(address_of(word, earlier.who.bytes())) + ": " + actor(access, code) +
           " what " + describe_thread(earlier.who.block(), earlier.who.thread()) + " " + did + " in " +
           place(earlier.code) + ", and no barrier orders the two";
  });
}

std::string all_reports() {
  std::string text;
  for (const std::string& report : reports) text += "\n  " + report;
  return text;
}

/// Ends the kernel, as a card does.
[[noreturn]] void fail_with(const std::string& text) {
  reports.push_back(text);
  running->fail(all_reports());
}

void release_and_acquire(size_t word) {
  Knowledge& released = released_by_word[word];
  current->acquiring.add(released);
  released.add(current->released);
}

void check_word(size_t word, uint32_t bytes, Access access, int32_t code) {
  uint8_t& state = shadow.states[word];
  if ((state >> 4 & bytes) != bytes) {
    fail_with("out of bounds: " + actor(access, code) + ", " +
              describe_address(address_of(word, bytes & ~(static_cast<uint32_t>(state) >> 4))));
  }
  if (access != Access::kWrite && (state & bytes) != bytes) {
    report('u', code, 0, [&] {
      return "uninitialised: " + actor(access, code) + " " + describe_address(address_of(word, bytes & ~state)) +
             ", which nobody has written";
    });
  }
  state = static_cast<uint8_t>(state | bytes);

  Cell& cell = shadow.cells[word];
  const bool atomic = access == Access::kAtomic;
  const auto races = [&](const Record& earlier) {
    return (earlier.who.bytes() & bytes) != 0 && !(atomic && earlier.who.atomic()) && !ordered(earlier);
  };
  if (races(cell.write)) report_race(cell.write, true, access, word, code);
  const Record record{now, Accessor(current->block->rank, current->rank, bytes, atomic), code};
  if (access == Access::kRead) {
    keep_read(cell.reads, record);
    return;
  }
  for (const Record& read : cell.reads) {
    if (races(read)) report_race(read, false, access, word, code);
  }
  cell.write = record;
  if (atomic) release_and_acquire(word);
}

/// A block must know that another one has begun before it touches its shared memory.
void check_remote(size_t place, Access access, int32_t code) {
  const Block& block = *current->block;
  if (place >= running->blocks().size() || &running->blocks()[place] == &block) return;
  if (current->waits > 0 || running->grid_barrier().phase > 0) return;
  fail_with("too early: " + actor(access, code) + " shared memory of block " +
            std::to_string(running->blocks()[place].rank) +
            ", which may not have begun; there was no barrier of the cluster yet");
}

/// Calls f(word, bytes of it, as bits) for each word that holds some of the bytes.
template <class F>
void each_word(size_t offset, size_t bytes, F&& f) {
  size_t word = offset / kWord, first = offset % kWord;
  while (bytes > 0) {
    const size_t count = std::min(kWord - first, bytes);
    f(word, static_cast<uint32_t>(((1u << count) - 1) << first));
    bytes -= count;
    first = 0;
    ++word;
  }
}

size_t offset_of(const char* address) { return reinterpret_cast<uintptr_t>(address) - shadow.base; }

}  // namespace

void check_access(const void* address, size_t bytes, Access access, const void* code) {
  const uintptr_t offset = reinterpret_cast<uintptr_t>(address) - shadow.base;
  if (offset >= shadow.bytes || current == nullptr) return;
  const int32_t where = relative(code);
  if (offset < kSharedBytes) check_remote(offset / kWindowBytes, access, where);
  each_word(offset, bytes, [&](size_t word, uint32_t part) { check_word(word, part, access, where); });
}

void check_aligned_access(const void* address, size_t bytes, Access access, const void* code) {
  const auto value = reinterpret_cast<uintptr_t>(address);
  if (value % bytes != 0 && value - shadow.base < shadow.bytes && current != nullptr) {
    fail_with("misaligned: " + actor(access, relative(code)) + " " + std::to_string(bytes) + " bytes from " +
              describe_address(address) + " on; their address must be a multiple of " + std::to_string(bytes));
  }
  check_access(address, bytes, access, code);
}

uint32_t tick() { return now++; }

/// What one of the lanes has seen, all see now, and what each has done.
void synchronize_lanes(WarpArgs& warp, uint32_t mask) {
  if (shadow.bytes == 0) return;
  const uint32_t time = tick();
  std::array<uint32_t, kWarp> all{};
  for (size_t lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    for (size_t other = 0; other < kWarp; ++other) all[other] = std::max(all[other], warp.seen[lane][other]);
  }
  for (size_t lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1) all[lane] = time;
  }
  for (size_t lane = 0; lane < kWarp; ++lane) {
    if (mask >> lane & 1) warp.seen[lane] = all;
  }
}

void note_fence() {
  if (shadow.bytes == 0) return;
  Thread& thread = *current;
  const Block& block = *thread.block;
  thread.acquired.add(thread.acquiring);
  thread.acquiring.clear();
  Knowledge& released = thread.released;
  released.add(thread.acquired);
  released.add(block.knowledge.known);
  released.add(block.cluster->knowledge.known);
  Knowledge::add(released.of_block, block.rank, block.barrier.ended_at);
  Knowledge::add(released.of_thread, block.rank * kMaxThreads + thread.rank, tick());
  const Barrier& barrier = block.cluster->barrier;
  if (barrier.phase != thread.waits) return;
  for (const Block* other : block.cluster->blocks) Knowledge::add(released.of_block, other->rank, barrier.ended_at);
}

void begin_kernel(size_t blocks) {
  released_by_word.clear();
  reports.clear();
  reported.clear();
  if (shadow.bytes == 0) return;
  if (blocks > kMaxBlocks) {
    throw std::length_error("a kernel of " + std::to_string(blocks) + " blocks; accesses can be checked of at most " +
                            std::to_string(kMaxBlocks));
  }
  if (now > kLateTime) {
    madvise(shadow.cells, shadow.bytes / kWord * sizeof(Cell), MADV_DONTNEED);
    now = 1;
  }
}

void end_kernel() {
  if (!reports.empty()) throw KernelError("kernel " + function_name(running->shape().kernel) + ":" + all_reports());
}

void reserve_shadow(const char* base, size_t bytes) {
  if (!checks_accesses()) return;
  shadow.states = reserve<uint8_t>(bytes / kWord);
  shadow.cells = reserve<Cell>(bytes / kWord);
  shadow.base = reinterpret_cast<uintptr_t>(base);
  shadow.bytes = bytes;
}

void note_allocated(const char* address, size_t bytes) {
  if (shadow.bytes == 0) return;
  const size_t word = offset_of(address) / kWord;
  std::fill_n(shadow.states + word, bytes / kWord, static_cast<uint8_t>(0xf0));
  if (bytes % kWord != 0) shadow.states[word + bytes / kWord] = static_cast<uint8_t>(((1u << bytes % kWord) - 1) << 4);
  // Other blocks of the same kernel may have used the same memory as theirs.
  if (word < kSharedBytes / kWord) std::fill_n(shadow.cells + word, (bytes + kWord - 1) / kWord, Cell{});
}

void note_freed(const char* address, size_t bytes) {
  if (shadow.bytes == 0) return;
  std::fill_n(shadow.states + offset_of(address) / kWord, (bytes + kWord - 1) / kWord, static_cast<uint8_t>(0));
}

void note_written(const char* address, size_t bytes) {
  if (shadow.bytes == 0) return;
  each_word(offset_of(address), bytes,
            [](size_t word, uint32_t part) { shadow.states[word] = static_cast<uint8_t>(shadow.states[word] | part); });
}

}  // namespace emulated
