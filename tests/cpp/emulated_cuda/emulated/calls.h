// What all functions of the runtime have in common: one at a time, refused without a device, the last error.
#pragma once
#include <functional>
#include <mutex>

#include "emulated/runtime_types.h"

namespace emulated {

struct Calls {
  std::recursive_mutex mutex;
  cudaError_t last_error = cudaSuccess;
  int device = 0;        // the current one
  int calls_to_failure;  // if `failure` is set
  cudaError_t failure = cudaSuccess;

  /// Why the runtime refuses every call, or this one.
  cudaError_t refusal();
};

Calls& calls();

cudaDeviceProp device_properties();

/// Runs `body`, which returns an error or cudaSuccess.
template <class F>
cudaError_t call(F&& body) {
  Calls& all = calls();
  const std::lock_guard<std::recursive_mutex> lock(all.mutex);
  cudaError_t error = all.refusal();
  if (error == cudaSuccess) error = body();
  if (error != cudaSuccess && error != cudaErrorNotReady) all.last_error = error;
  return error;
}

/// Runs `work` in the stream's turn, or records it if the stream is being captured.
cudaError_t submit(cudaStream_t stream, std::function<void()> work);

/// Whether any stream is being captured in a way that forbids calls like cudaMalloc; such a call spoils the capture.
bool forbidden_by_capture();

bool is_captured(cudaStream_t stream);

/// Whether work in this stream may run after the call that submits it has returned.
bool runs_late(cudaStream_t stream);

/// Runs what was submitted to the stream, or to all.
void drain(cudaStream_t stream);
void drain_all();

}  // namespace emulated
