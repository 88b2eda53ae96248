// Dataset: arrays that Python owns, as a pass reads them.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "bindings/convert.h"
#include "runtime/device.h"
#include "runtime/fork.h"
#include "runtime/sparse_rows.h"

namespace engine::bindings {

/// Arrays referenced for the length of a pass.
class Dataset {
 public:
  /// `y` and `sample_weight` are arrays or None, or tuples of them for several outputs. `records` says whether
  /// sparse_rows() may take the memory that records need.
  Dataset(const py::object& x, const py::object& y, const py::object& sample_weight, bool records);
  const DatasetView& view() const { return view_; }
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

  py::object x_, y_, sample_weight_;
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
