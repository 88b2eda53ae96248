// Dataset: arrays that Python owns, as a pass reads them.
#pragma once
#include <memory>
#include <mutex>
#include <optional>

#include "bindings/convert.h"
#include "plan/fork.h"

namespace engine::bindings {

/// Arrays referenced for the length of a pass.
class Dataset {
 public:
  /// `records`: whether sparse_rows() may take the memory that records need.
  Dataset(const py::object& x, const py::object& y, const py::object& sample_weight, bool records);
  const DatasetView& view() const { return view_; }
  /// Numbers of dense targets by sample.
  int64_t outputs() const { return outputs_; }
  /// Class indices by sample.
  int64_t labels() const { return labels_; }
  /// Weights by sample.
  int64_t weights() const { return weights_; }
  // What follows is found out on first use, without the GIL, by one of the threads that ask.

  /// Records of the rows times `scale`; null where they don't pay.
  std::shared_ptr<const SparseRows> sparse_rows(float scale) const;
  /// Whether all dense targets are 0 or 1.
  bool binary() const;

 private:
  py::object x_, y_, sample_weight_;
  DatasetView view_;
  int64_t outputs_ = 0, labels_ = 0, weights_ = 1;
  bool records_;
  struct Found {
    std::mutex mutex;  // of what follows
    std::shared_ptr<const SparseRows> sparse;
    std::optional<bool> binary;

    static void start_over(void* found);
  };
  mutable Found found_;
  ChildReset reset_{&found_, &Found::start_over};
};

}  // namespace engine::bindings
