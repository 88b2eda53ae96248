#include <algorithm>
#include <exception>
#include <mutex>
#include <shared_mutex>

#include "cuda/captured_kernels.h"

namespace engine::cuda {

int64_t CapturedKernels::launch(const Stream& stream, const Key& key, const Group& group, const Start& start) {
  if (key != key_) {
    captured_.clear();
    key_ = key;
  }
  const auto found =
      std::find_if(captured_.begin(), captured_.end(), [&](const Captured& each) { return each.group == group; });
  if (found == captured_.end()) {
    if (captured_.size() == kMaxGraphs) captured_.erase(captured_.begin());
    captured_.push_back({group, nullptr});
    return start();
  }
  if (!found->graph) found->graph = capture(stream, group, start);
  if (!found->graph) return start();
  const cudaError_t status = cudaGraphLaunch(found->graph.get(), stream.get());
  if (is_refusal(status)) {
    cudaGetLastError();
    found->graph = nullptr;
    return start();
  }
  check(status, "starting a graph of kernels");
  return group.batches;
}

/// Another thread, perhaps of another library, that waits for the whole card makes a capture invalid, and the card may
/// refuse the kernels. Nothing has been started then.
std::shared_ptr<CUgraphExec_st> CapturedKernels::capture(const Stream& stream, const Group& group, const Start& start) {
  const std::shared_lock<std::shared_mutex> lock(capturing());
  cudaGraph_t captured = nullptr;
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "beginning to capture kernels");
  std::exception_ptr error;
  int64_t started = 0;
  try {
    started = start();
  } catch (...) {
    error = std::current_exception();
  }
  const cudaError_t ended = cudaStreamEndCapture(stream.get(), &captured);
  if (ended == cudaErrorStreamCaptureInvalidated) {
    cudaGetLastError();
    return nullptr;
  }
  if (error) {
    if (captured) cudaGraphDestroy(captured);
    std::rethrow_exception(error);
  }
  check(ended, "capturing kernels");
  cudaGraphExec_t graph = nullptr;
  const bool is_whole = started == group.batches;
  const cudaError_t status = is_whole ? cudaGraphInstantiate(&graph, captured, 0) : cudaErrorLaunchOutOfResources;
  cudaGraphDestroy(captured);
  if (is_refusal(status)) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "making a graph of kernels");
  return {graph, [card = stream.card()](cudaGraphExec_t p) { release_on(card, [p] { cudaGraphExecDestroy(p); }); }};
}

}  // namespace engine::cuda
