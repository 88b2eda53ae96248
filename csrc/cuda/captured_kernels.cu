#include <algorithm>

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
  check(cudaGraphLaunch(found->graph.get(), stream.get()), "starting a graph of kernels");
}

std::shared_ptr<CUgraphExec_st> CapturedKernels::capture(const Stream& stream, const std::function<void()>& start) {
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
  cudaGraphExec_t graph = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&graph, captured, 0);
  cudaGraphDestroy(captured);
  check(status, "making a graph of kernels");
  return {graph, [card = stream.card()](cudaGraphExec_t p) { release_on(card, [p] { cudaGraphExecDestroy(p); }); }};
}

}  // namespace engine::cuda
