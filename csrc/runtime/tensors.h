// Arrays of any library in memory of a GPU: what describes one, and the interface of what a GPU does with it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace engine {

/// The types of numbers that libraries exchange. Complex numbers can only be copied.
enum class NumberType {
  kBool,
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kUint64,
  kInt64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
  kComplex64,
  kComplex128
};

/// Bytes of one number.
inline constexpr int64_t bytes_of(NumberType type) {
  switch (type) {
    case NumberType::kBool:
    case NumberType::kUint8:
    case NumberType::kInt8:
      return 1;
    case NumberType::kUint16:
    case NumberType::kInt16:
    case NumberType::kFloat16:
    case NumberType::kBfloat16:
      return 2;
    case NumberType::kUint32:
    case NumberType::kInt32:
    case NumberType::kFloat32:
      return 4;
    case NumberType::kComplex128:
      return 16;
    default:
      return 8;
  }
}

/// An array in memory of a GPU, which somebody else owns.
struct TensorView {
  const void* data = nullptr;
  NumberType type = NumberType::kFloat32;
  std::vector<int64_t> shape, strides;  // strides in numbers, an entry for each axis

  int64_t size() const {
    int64_t numbers = 1;
    for (const int64_t length : shape) numbers *= length;
    return numbers;
  }
  /// Whether the last axis varies fastest and there are no gaps.
  bool is_contiguous() const {
    if (size() == 0) return true;
    int64_t stride = 1;
    for (size_t axis = shape.size(); axis-- > 0;) {
      if (shape[axis] != 1 && strides[axis] != stride) return false;
      stride *= shape[axis];
    }
    return true;
  }
};

/// What is known of all numbers of an array.
struct NumberSummary {
  double lowest, highest, smallest;  // `smallest` of the absolute values; infinite, negative for `highest`, if none is
  bool whole, finite;                // finite: as a float32
};

/// What a GPU does with arrays in its memory. All functions return when the work is done.
class TensorDevice {
 public:
  virtual ~TensorDevice() = default;

  /// CUDA's number of the stream by which the functions below work, for which other libraries make their data ready.
  virtual uintptr_t stream() const = 0;
  /// Waits for a stream, by CUDA's number of it; nothing: for all work of the GPU.
  virtual void wait_for(std::optional<uintptr_t> stream) const = 0;
  /// Whether the bytes `first` and `last` are memory of this GPU.
  virtual bool holds(const void* first, const void* last) const = 0;

  /// Memory, not initialised, that is freed with its last owner, once all work of the GPU has ended: other libraries
  /// may let go of it before their kernels have read it. Throws std::bad_alloc.
  virtual std::shared_ptr<void> allocate(int64_t bytes) const = 0;
  /// Copies bytes from memory of any GPU or of the host to memory of any.
  virtual void copy_bytes(void* to, const void* from, int64_t bytes) const = 0;
  /// Writes the numbers of an array, converted to `type` (uint8, uint16, int32, uint64 or float32), to rows of a
  /// matrix: `columns` of them to each row, whose beginnings are `to_stride` numbers apart. `rows` says which entries
  /// of the first axis to take; null: all.
  virtual void convert(const TensorView& from, const std::vector<int32_t>* rows, NumberType type, void* to,
                       int64_t columns, int64_t to_stride) const = 0;
  /// Looks at all numbers but those that equal `ignored`.
  virtual NumberSummary summarize(const TensorView& array, std::optional<double> ignored) const = 0;
};

}  // namespace engine
