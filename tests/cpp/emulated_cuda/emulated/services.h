// What another library can do on the emulated card. A stream leads to it, as NVIDIA's streams lead its libraries to the
// driver: a stream's memory begins with a pointer to the services.
#pragma once
#include <cstddef>
#include <functional>

#include "emulated/runtime_types.h"

namespace emulated {

struct Services {
  /// Does work in the stream's turn, or records it if the stream is being captured.
  cudaError_t (*submit)(cudaStream_t stream, std::function<void()> work);
  /// Whether the bytes lie within one allocation of card memory.
  bool (*allocated)(const void* memory, size_t bytes);
  /// Calls `access` while the host can reach card memory.
  void (*with_memory)(const std::function<void()>& access);
  /// Says that bytes of card memory have been written.
  void (*note_written)(const void* memory, size_t bytes);
};

inline const Services& services_of(cudaStream_t stream) { return **reinterpret_cast<const Services* const*>(stream); }

}  // namespace emulated
