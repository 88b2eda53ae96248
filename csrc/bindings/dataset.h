// Dataset: arrays that Python owns, as a pass reads them.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "bindings/convert.h"
#include "bindings/device_array.h"
#include "runtime/device.h"
#include "runtime/fork.h"
#include "runtime/sparse_rows.h"

namespace engine::bindings {

/// Arrays referenced for the length of a pass.
class Dataset {
 public:
  /// `y` and `sample_weight` are arrays or None, or tuples of them for several outputs. Arrays are NumPy's, or
  /// DeviceArrays of one GPU. `records` says whether sparse_rows() may take the memory that records need.
  Dataset(const py::object& x, const py::object& y, const py::object& sample_weight, bool records);
  /// Some of its pointers may be to memory of `gpu()`.
  const DatasetView& view() const { return view_; }
  /// The GPU on which some of the arrays are; null: none is on one.
  const Device* gpu() const { return gpu_; }
  /// Throws py::value_error unless the device can read all arrays.
  void require_readable_by(const Device& device) const;
  /// The weights of the samples of an output, copied for each of their `groups` rows; empty where that isn't necessary.
  std::vector<float> spread_weights(size_t output, int64_t groups) const;
  /// Of each output that there are targets for.
  const std::vector<TargetSizes>& sizes() const { return sizes_; }
  // What follows is found out on first use, without the GIL, by one of the threads that ask.

  /// Records of the rows times `scale`; null where they don't pay.
  std::shared_ptr<const SparseRows> sparse_rows(float scale) const;
  /// Whether all dense targets of an output are 0 or 1.
  bool binary(size_t output) const;
  /// What the device copied of the arrays; it is kept for later passes on the same device.
  std::shared_ptr<const DatasetCopy> copy_on(const Device& device) const;

 private:
  void add_targets(const py::object& y, const py::object& sample_weight);
  /// Notes which GPU an array is on; py::value_error if another one is elsewhere.
  void note_gpu(const DeviceArray* array);

  py::object x_, y_, sample_weight_;
  const Device* gpu_ = nullptr;
  struct OnGpu {
    std::optional<DeviceArray> dense, weights;
  };
  std::vector<OnGpu> on_gpu_;  // of each output
  DatasetView view_;
  std::vector<TargetSizes> sizes_;
  bool records_;
  struct Found {
    std::mutex mutex;  // of what follows
    std::shared_ptr<const SparseRows> sparse;
    std::vector<std::optional<bool>> binary;  // by output
    const Device* device = nullptr;           // which made the copy
    std::shared_ptr<const DatasetCopy> copy;

    static void start_over(void* found);
  };
  mutable Found found_;
  ChildReset reset_{&found_, &Found::start_over};
};

}  // namespace engine::bindings
