// DeviceArray: an array in memory of a GPU, as Python sees it.
#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "bindings/convert.h"
#include "runtime/device.h"
#include "runtime/tensors.h"

namespace engine::bindings {

class DeviceArray {
 public:
  /// `memory` owns what the view is of. Where `read_only`, other libraries may not write to it.
  DeviceArray(TensorView view, std::shared_ptr<void> memory, int gpu, bool read_only);
  /// A new array, not initialised. Throws std::bad_alloc.
  DeviceArray(std::vector<int64_t> shape, NumberType type, int gpu);

  const TensorView& view() const { return view_; }
  const std::shared_ptr<void>& memory() const { return memory_; }
  int gpu() const { return gpu_; }
  bool read_only() const { return read_only_; }
  Device& device() const { return *device_; }
  py::dtype dtype() const;

  /// Entries [begin, end) of the first axis, without a copy.
  DeviceArray part(int64_t begin, int64_t end) const;
  /// Entry `index` of the first axis, which the result lacks, without a copy.
  DeviceArray entry(int64_t index) const;
  /// Columns [begin, end) of an array (n, columns), without a copy.
  DeviceArray columns(int64_t begin, int64_t end) const;
  /// Some entries of the first axis, in a new array.
  DeviceArray taken(const std::vector<int32_t>& rows) const { return copied(&rows); }
  /// The same numbers with other axes, copied only if they aren't contiguous. py::value_error if there are not as many.
  DeviceArray reshaped(const std::vector<int64_t>& shape) const;
  /// The same numbers as uint8, int32 or float32, contiguous; itself where it is so already.
  DeviceArray converted(NumberType type) const;
  /// The same numbers without gaps; itself where there are none.
  DeviceArray contiguous() const { return view_.is_contiguous() ? *this : copied(nullptr); }
  /// A contiguous copy, of some entries of the first axis or, for null, of all.
  DeviceArray copied(const std::vector<int32_t>* rows) const;
  /// The same numbers in memory of another GPU; itself where it is there already.
  DeviceArray on(int gpu) const;
  /// A copy in memory of the host.
  py::array to_host() const;
  NumberSummary summarize(std::optional<double> ignored) const;

  /// The rows as a pass reads them. py::value_error for arrays that it can't read.
  DatasetView rows() const;

  /// Writes the numbers as float32 to columns of `matrix`, (n, all columns), from column `first` on.
  void write_to(const DeviceArray& matrix, int64_t first) const;

 private:
  TensorView view_;
  std::shared_ptr<void> memory_;
  int gpu_;
  bool read_only_;
  Device* device_;
  const TensorDevice* tensors_;
};

/// The array, or null for any other object.
const DeviceArray* as_device_array(const py::handle& object);

/// The type of numbers with such a name in NumPy's array interface, such as "<f4". Nothing if no kernel reads it.
std::optional<NumberType> type_of(const std::string& name);
/// The name of a type, such as "<f4". bfloat16, for which there is none, is "bfloat16".
const char* name_of(NumberType type);
/// Strides of an array without gaps, whose last axis varies fastest.
std::vector<int64_t> contiguous_strides(const std::vector<int64_t>& shape);

}  // namespace engine::bindings
