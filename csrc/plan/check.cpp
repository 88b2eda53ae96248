#include "plan/check.h"

#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "plan/operations.h"

namespace engine {
namespace {

using Kind = LayerSpec::Kind;

/// Numbers of a sample, or weights: 4 TiB. Larger is a slip of the pen, and would overflow the arithmetic of offsets.
constexpr int64_t kMost = int64_t{1} << 40;
/// Numbers of a row: kernels tell them from its padding by lane numbers of 32 bits.
constexpr int64_t kMostInRow = std::numeric_limits<int32_t>::max() - kLane;

[[noreturn]] void refuse(const std::string& why) { throw std::invalid_argument(why); }

/// a * b for sizes that are not negative, or more than kMost.
int64_t times(int64_t a, int64_t b) { return b > 0 && a > kMost / b ? kMost + 1 : a * b; }

/// Numbers in an array of this shape; 0 where an axis has none.
int64_t numbers_in(const std::vector<int64_t>& shape) {
  int64_t numbers = 1;
  for (const int64_t axis : shape) numbers = axis < 1 ? 0 : times(numbers, axis);
  return numbers;
}

/// Goes through the layers with the numbers that each of them gets.
class Checker {
 public:
  explicit Checker(int64_t input_size) : size_(input_size) { require_size(input_size); }

  void add(const LayerSpec& layer) {
    inputs_ = row_of(layer.groups, "a sample");
    require_indices(layer);
    require_fitting_rows(layer);
    if (layer.kind == Kind::kWarp) require_image(layer.warp);
    if (layer.kind == Kind::kEmbedding || layer.kind == Kind::kEncoding) refuse_learning("one that takes tokens");
    add_weights(layer);
    learning_ = learning_ || learns(layer);
    const bool one_each = layer.kind == Kind::kEmbedding, counts = layer.kind == Kind::kEncoding;
    require_size(times(one_each ? size_ : layer.groups, counts ? layer.tokens : layer.units));
    size_ = size_after(layer, size_);
    require_size(size_);
    if (layer.mask_rows != 0) row_of(layer.mask_rows, "an output");
  }

  void finish(int64_t groups) const { row_of(groups, "an output"); }

 private:
  static void require_size(int64_t size) {
    if (size > kMost) refuse("a layer is larger than 2**40 numbers");
  }

  /// Numbers in each of so many rows.
  int64_t row_of(int64_t groups, const char* what) const {
    if (groups < 1 || size_ % groups != 0) {
      refuse(std::string(what) + " of " + std::to_string(size_) + " numbers can't be cut into " +
             std::to_string(groups) + " rows");
    }
    const int64_t row = size_ / groups;
    if (row > kMostInRow) {
      refuse("rows of " + std::to_string(row) + " numbers are too long: at most " + std::to_string(kMostInRow));
    }
    return row;
  }

  void require_indices(const LayerSpec& layer) const {
    const bool noise = layer.kind == Kind::kNoise;
    const auto count = static_cast<int64_t>(layer.take.size());
    if (noise && count != 0 && count != size_) {
      refuse("'from' has " + std::to_string(count) + " indices for rows of " + std::to_string(size_));
    }
    for (const int32_t from : layer.take) {
      if (from < -1 || from >= (noise ? layer.noises : size_)) refuse("an index of `take` lies beyond the input");
    }
  }

  /// What is given or shown by row has as many numbers as a row.
  void require_fitting_rows(const LayerSpec& layer) const {
    for (const std::vector<float>& constants : layer.constants) {
      if (!constants.empty() && static_cast<int64_t>(constants.size()) != round_up(inputs_, kLane)) {
        refuse("a layer with rows of " + std::to_string(inputs_) + " numbers needs as many constants");
      }
    }
    if (layer.shaped && numbers_in(layer.shape) != inputs_) refuse("`shape` doesn't hold a row of the layer");
  }

  void require_image(const Warp& warp) const {
    refuse_learning("one that changes images");
    if (numbers_in({warp.height, warp.width, warp.channels}) != size_) {
      refuse("a sample is no image of that height, width and number of channels");
    }
  }

  void refuse_learning(const char* layer) const {
    if (learning_) refuse(std::string("a layer that learns can't come before ") + layer);
  }

  void add_weights(const LayerSpec& layer) {
    if (layer.kind == Kind::kDense) add_matrix("kernel", inputs_, layer.units);
    if (layer.kind == Kind::kEmbedding) add_matrix("table", layer.tokens, layer.units);
    for (const LayerSpec::Custom& variable : layer.variables) {
      const int64_t numbers = numbers_in(variable.shape);
      weights_ += numbers;
      if (numbers == 0 || weights_ > kMost) refuse("a variable has an odd shape");
    }
  }

  void add_matrix(const char* what, int64_t rows, int64_t columns) {
    weights_ += times(rows, columns);
    if (weights_ <= kMost) return;
    refuse(std::string("a ") + what + " of (" + std::to_string(rows) + ", " + std::to_string(columns) +
           ") makes the model larger than 2**40 weights");
  }

  int64_t size_, inputs_ = 0, weights_ = 0;
  bool learning_ = false;
};

}  // namespace

void check(const ModelSpec& model) {
  Checker checker(model.input_size);
  for (size_t i = 0; i < model.layers.size(); ++i) {
    const LayerSpec& layer = model.layers[i];
    const auto first = static_cast<size_t>(layer.first);
    if (layer.first >= 0 && (first >= i || model.layers[first].kind != layer.kind)) {
      refuse("'first' must be an earlier layer of the same kind");
    }
    checker.add(layer);
  }
  checker.finish(model.output_groups);
}

}  // namespace engine
