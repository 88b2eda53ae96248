// Kernels that are started again and again with the same arguments, as graphs of CUDA's: starting one takes the host a
// tenth of the time that it takes to start the kernels one by one.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "cuda/runtime.h"
#include "formulas/kinds.h"

namespace engine::cuda {

class CapturedKernels {
 public:
  /// What the arguments of the kernels depend on.
  using Key = std::array<const void*, 7 + kMaxSlots>;

  /// Batches that are started together. All have as many samples as the first, except for the last.
  struct Group {
    int64_t batches, first_samples, last_samples;
    bool is_data_parallel;  // whether other kernels than those of the steps compute it

    bool operator==(const Group& other) const {
      return batches == other.batches && first_samples == other.first_samples && last_samples == other.last_samples &&
             is_data_parallel == other.is_data_parallel;
    }
  };

  /// Starts the kernels of a group's batches on the stream. Returns of how many: the card may refuse the others.
  using Start = std::function<int64_t()>;

  /// Starts the kernels of a group by `start`, and returns of how many batches. When such a group is started for the
  /// second time with the same key, the kernels are captured as a graph, which takes their place from then on until the
  /// key changes.
  int64_t launch(const Stream& stream, const Key& key, const Group& group, const Start& start);

 private:
  struct Captured {
    Group group;
    std::shared_ptr<CUgraphExec_st> graph;  // null until the second time
  };
  /// A pass has groups of one size and a smaller one at its end; the first pass begins with smaller ones, too.
  static constexpr size_t kMaxGraphs = 4;

  /// The graph of the kernels that `start` starts for all batches of the group; null where they could not be captured.
  static std::shared_ptr<CUgraphExec_st> capture(const Stream& stream, const Group& group, const Start& start);

  Key key_{};
  std::vector<Captured> captured_;  // the oldest first
};

}  // namespace engine::cuda
