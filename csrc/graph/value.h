// What the operations of a graph read and write: values, and how an operation uses each of them.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace engine::graph {

/// The number of a value in its graph; kNoValue where an operand is left out.
using ValueId = int;
inline constexpr ValueId kNoValue = -1;

/// The length of an axis: `fixed + per_sample * samples`. The number of samples is that of a batch.
struct Extent {
  int64_t fixed = 0, per_sample = 0;

  int64_t at(int64_t samples) const { return fixed + per_sample * samples; }
  bool operator==(const Extent& other) const { return fixed == other.fixed && per_sample == other.per_sample; }
  bool operator!=(const Extent& other) const { return !(*this == other); }
};

/// The axes of an array, the first of which varies slowest. No axes at all: one number.
using Shape = std::vector<Extent>;

/// A matrix, or an array of any shape. How many rows the values of a batch have is known only when the graph is
/// scheduled for a batch size.
struct Value {
  enum class Kind {
    kBatch,     // (batch * groups, columns): `groups` rows for each sample of the batch
    kArray,     // an array of the shape `shape`; its numbers lie side by side
    kPerRow,    // one number for each of `groups` rows of a sample, such as its loss; the numbers lie side by side
    kFixed,     // (rows, columns), whatever the batch size is
    kVariable,  // the weights of variable `variable`, with what the optimizer keeps for each weight
    kConstant,  // (1, columns) numbers that never change: `numbers`
    kGradient,  // a gradient of the loss by variable `variable`, laid out in memory like the variable
  };
  Kind kind = Kind::kBatch;
  int64_t groups = 1;
  int64_t rows = 0;
  int64_t columns = 0;
  int variable = -1;
  Shape shape;  // of an array
  std::shared_ptr<const std::vector<float>> numbers;
  /// Whether consecutive batches use different memory for it, so that a thread which is one batch ahead overwrites
  /// nothing that another thread still reads.
  bool double_buffered = false;
};

/// What an operation does to an operand.
enum class Use { kRead, kWrite, kUpdate };

/// The loops of an operation have letters, as the indices of `einsum` have. An operand says which loop runs over its
/// rows and which over its columns. For a product, x[b,k] kernel[k,n] -> y[b,n]. If threads share the loop `n`, each
/// of them needs all of x, its own columns of the kernel, and writes its own columns of y. That is all that anybody
/// needs to know in order to place barriers.
using Loop = char;
/// The axis belongs to no loop: whoever runs a share of the operation uses it in full.
inline constexpr Loop kWhole = '*';
/// The loop over the samples of a batch, in every operation.
inline constexpr Loop kSamples = 'b';

struct Operand {
  ValueId value;
  Use use;
  Loop rows, columns;
};

inline Operand reads(ValueId value, Loop rows, Loop columns) { return {value, Use::kRead, rows, columns}; }
inline Operand writes(ValueId value, Loop rows, Loop columns) { return {value, Use::kWrite, rows, columns}; }
inline Operand updates(ValueId value, Loop rows, Loop columns) { return {value, Use::kUpdate, rows, columns}; }

/// An output that may take the memory of an input. A device may do so if nothing reads that input later, and if it is
/// no other operand of the same operation.
struct InPlace {
  ValueId input = kNoValue, output = kNoValue;
};

}  // namespace engine::graph
