// Which values lie in the same memory, one after the other: a batch then needs less memory, and more of that is still
// in a cache. Nothing here knows any kind of operation or any device.
#pragma once
#include <cstddef>
#include <vector>

#include "graph/value.h"

namespace engine {

/// A step of a batch, as far as it concerns memory.
struct StepUses {
  const std::vector<graph::Operand>& operands;  // none of which is kNoValue
  bool barrier = false;                         // whether threads wait for each other before the step
  /// Neighbouring steps that are done again and again in turns: how far it is to the first and to the last of them.
  std::size_t to_first = 0, to_last = 0;
};

/// The memory of a value.
struct ValueMemory {
  graph::ValueId storage;  // the value in whose memory it lies, at first often itself
  int64_t floats = 0;
  bool copied = false;  // whether every thread has a copy of its own
  bool lasts = false;   // whether it keeps its memory for itself, whatever the steps say
};

/// Lets values take the memory of others that no step touches any more, where threads wait for each other in between:
/// no barrier is added. It changes their `storage`.
void reuse_memory(const std::vector<StepUses>& steps, std::vector<ValueMemory>& values, int threads);

}  // namespace engine
