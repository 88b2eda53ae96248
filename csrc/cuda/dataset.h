// A data set in memory of the card.
#pragma once
#include <memory>
#include <vector>

#include "cuda/runtime.h"
#include "runtime/device.h"

namespace engine::cuda {

/// Whether kernels can read an array where it lies: in memory of the current card, aligned for their widest loads.
bool is_readable_here(const void* data);

class DatasetOnCard final : public DatasetCopy {
 public:
  /// Copies the arrays of a data set, whose rows are not compressed. Those that kernels can read where they lie are not
  /// copied, and must stay there.
  DatasetOnCard(const DatasetView& data, const std::vector<TargetSizes>& sizes, const Stream& stream);

  /// The same as the view that was copied, with pointers to memory of the card.
  const DatasetView& view() const { return view_; }
  /// No other copy of this process has the same.
  int64_t number() const { return number_; }

 private:
  template <class T>
  const T* keep(const Stream& stream, const T* from, int64_t count);

  DatasetView view_;
  int64_t number_;
  std::vector<std::shared_ptr<void>> memory_;
};

}  // namespace engine::cuda
