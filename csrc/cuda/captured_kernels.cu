#include "cuda/captured_kernels.h"

namespace engine::cuda {

void CapturedKernels::launch(const Stream& stream, const Key& key, const std::function<void()>& start) {
  if (key != key_) {
    forget();
    key_ = key;
    return start();
  }
  if (!graph_) capture(stream, start);
  check(cudaGraphLaunch(graph_, stream.get()), "starting a graph of kernels");
}

void CapturedKernels::capture(const Stream& stream, const std::function<void()>& start) {
  cudaGraph_t captured = nullptr;
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "beginning to capture kernels");
  try {
    start();
  } catch (...) {
    cudaStreamEndCapture(stream.get(), &captured);
    if (captured) cudaGraphDestroy(captured);
    throw;
  }
  check(cudaStreamEndCapture(stream.get(), &captured), "capturing kernels");
  const cudaError_t status = cudaGraphInstantiate(&graph_, captured, 0);
  cudaGraphDestroy(captured);
  check(status, "making a graph of kernels");
}

void CapturedKernels::forget() {
  if (graph_) cudaGraphExecDestroy(graph_);
  graph_ = nullptr;
}

}  // namespace engine::cuda
