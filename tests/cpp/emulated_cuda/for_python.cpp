// What tests in Python call of the emulated card, so that they can play another library that owns memory of it:
// functions of CUDA's runtime, with its arguments, and settings of the card. They are exported by no other build.
#include "emulated/card.h"
#include "emulated/runtime.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int emulated_cudaSetDevice(int device) { return cudaSetDevice(device); }
EXPORTED int emulated_cudaDeviceSynchronize() { return cudaDeviceSynchronize(); }
EXPORTED int emulated_cudaMalloc(void** pointer, size_t bytes) { return cudaMalloc(pointer, bytes); }
EXPORTED int emulated_cudaFree(void* pointer) { return cudaFree(pointer); }
EXPORTED int emulated_cudaMemcpy(void* to, const void* from, size_t bytes, int kind) {
  return cudaMemcpy(to, from, bytes, static_cast<cudaMemcpyKind>(kind));
}
EXPORTED int emulated_cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, cudaStream_t stream) {
  return cudaMemcpyAsync(to, from, bytes, static_cast<cudaMemcpyKind>(kind), stream);
}
EXPORTED int emulated_cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int flags) {
  return cudaStreamCreateWithFlags(stream, flags);
}
EXPORTED int emulated_cudaStreamDestroy(cudaStream_t stream) { return cudaStreamDestroy(stream); }
EXPORTED int emulated_cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  return cudaEventCreateWithFlags(event, flags);
}
EXPORTED int emulated_cudaEventRecord(cudaEvent_t event, cudaStream_t stream) { return cudaEventRecord(event, stream); }
EXPORTED int emulated_cudaEventDestroy(cudaEvent_t event) { return cudaEventDestroy(event); }
EXPORTED int emulated_cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
  return cudaStreamWaitEvent(stream, event, flags);
}

/// Makes work in streams wait until the host asks for it, or no longer.
EXPORTED void emulated_run_late(int late) { emulated::run_late(late != 0); }
/// The bytes of card memory that are allocated.
EXPORTED size_t emulated_memory_in_use() { return emulated::memory_in_use(); }
/// Makes the card's memory smaller or larger, and returns how large it was.
EXPORTED size_t emulated_set_memory(size_t bytes) {
  const size_t before = emulated::card().memory;
  emulated::card().memory = bytes;
  return before;
}
