// What a thread knows of the past of others that no barrier tells it. If thread A writes, calls __threadfence and
// changes a word by an atomic, and thread B reads the word by an atomic and calls __threadfence, then B knows all that
// A did or knew before its fence. Barriers pass it on.
#pragma once
#include <algorithm>
#include <cstdint>
#include <map>

namespace emulated {

/// The detector's times up to which accesses are known: of all threads of a block, and of single threads.
struct Knowledge {
  std::map<uint32_t, uint32_t> of_block, of_thread;  // by rank in the grid; by block * kMaxThreads + thread

  bool empty() const { return of_block.empty() && of_thread.empty(); }
  void clear() {
    of_block.clear();
    of_thread.clear();
  }
  static void add(std::map<uint32_t, uint32_t>& times, uint32_t key, uint32_t time) {
    uint32_t& known = times[key];
    known = std::max(known, time);
  }
  void add(const Knowledge& other) {
    for (const auto& [block, time] : other.of_block) add(of_block, block, time);
    for (const auto& [thread, time] : other.of_thread) add(of_thread, thread, time);
  }
};

/// What the threads of a block or cluster know, and what those bring that arrive at its barrier.
struct SharedKnowledge {
  Knowledge known, arriving;

  void clear() {
    known.clear();
    arriving.clear();
  }
  void bring(const Knowledge& knowledge) {
    if (!knowledge.empty()) arriving.add(knowledge);
  }
  /// After a barrier.
  void absorb() {
    if (arriving.empty()) return;
    known.add(arriving);
    arriving.clear();
  }
};

}  // namespace emulated
