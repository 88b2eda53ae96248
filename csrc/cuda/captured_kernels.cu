#include <algorithm>
#include <exception>
#include <mutex>
#include <shared_mutex>

#include "cuda/captured_kernels.h"

namespace engine::cuda {

void CapturedKernels::launch(const Stream& stream, const Key& key, const Group& group,
                             const std::function<void()>& start) {
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
  if (!found->graph) found->graph = capture(stream, start);
  if (!found->graph) return start();
  check(cudaGraphLaunch(found->graph.get(), stream.get()), "starting a graph of kernels");
}

/// Another thread, perhaps of another library, that waits for the whole card makes a capture invalid. Nothing has been
/// started then.
std::shared_ptr<CUgraphExec_st> CapturedKernels::capture(const Stream& stream, const std::function<void()>& start) {
  const std::shared_lock<std::shared_mutex> lock(capturing());
  cudaGraph_t captured = nullptr;
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "beginning to capture kernels");
  std::exception_ptr error;
  try {
    start();
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
  const cudaError_t status = cudaGraphInstantiate(&graph, captured, 0);
  cudaGraphDestroy(captured);
  check(status, "making a graph of kernels");
  return {graph, [card = stream.card()](cudaGraphExec_t p) { release_on(card, [p] { cudaGraphExecDestroy(p); }); }};
}

}  // namespace engine::cuda
