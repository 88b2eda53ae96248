// Arrays: values read under a shape. Operations of traced functions read and write arrays.
#pragma once
#include <string>
#include <vector>

#include "graph/graph.h"

namespace engine::graph {

/// The most axes of an array.
inline constexpr size_t kMaxAxes = 32;

/// Throws std::invalid_argument if an array has more axes than that.
void require_axes(size_t count);

/// The numbers of a value in row-major order, seen under a shape. Several operations may read one value under different
/// shapes, so that a reshape copies nothing.
struct Array {
  ValueId value = kNoValue;
  Shape shape;
};

/// Numbers in an array for so many samples.
int64_t element_count(const Shape& shape, int64_t samples);

/// Whether two shapes have the same number of elements, whatever the number of samples is.
bool equally_large(const Shape& a, const Shape& b);

/// Whether an array of this shape has one element.
bool is_single(const Shape& shape);

/// How many rows of the first axis belong to each sample; 0 where the first axis does not run over samples, or a later
/// one does. If all batches have `batch` samples, shapes are numbers, and every length that is divisible by `batch` is
/// taken to run over samples. With `batch` = 0, any number of samples, the extents say what does.
int64_t rows_per_sample(const Shape& shape, int64_t batch);

/// Whether the first axis runs over samples, once or several times.
inline bool has_sample_axis(const Shape& shape, int64_t batch) { return rows_per_sample(shape, batch) > 0; }

/// Numbers for each sample of an array whose first axis runs over samples.
int64_t elements_per_sample(const Shape& shape, int64_t batch);

/// `shape` for batches of `batch` samples, as fixed lengths. For 0, any number of samples, it stays as it is.
Shape resolved(const Shape& shape, int64_t batch);

/// Such as "(b, 10)" or "(2b, 3)".
std::string text_of(const Shape& shape);

/// A new value of this shape. A matrix whose rows belong to samples gets the kind kBatch, which layers can read; all
/// others the kind kArray.
Array add_array(Graph& graph, const Shape& shape);

/// `array` if each of its axes has a stride, which is the distance in memory between neighbours along it; else a
/// contiguous copy. The rows of a batch have gaps between them, so that a shape with an axis across the end of a row,
/// such as (b * rows * columns), has no strides.
Array with_strides(Graph& graph, const Array& array);

/// A copy of `array`, which has strides (see `with_strides`), in a value of kind kArray and the equally large shape
/// `shape`.
ValueId laid_out_as_array(Graph& graph, const Array& array, const Shape& shape);

/// Appends y = x, for two values of the batch whose rows have other lengths: the numbers of a sample keep their order.
void add_copy_of_rows(Graph& graph, ValueId x, ValueId y);

/// A value with the numbers of `array` that is laid out in memory like `like`: `array.value`, or a copy.
ValueId laid_out_like(Graph& graph, const Array& array, ValueId like);

/// Whether each element of one array has the place of that of the other.
bool lie_alike(const Graph& graph, const Array& a, const Array& b);

/// The shape that a value itself has: (samples * groups, columns) for batches.
Shape shape_of(const Graph& graph, ValueId value);

/// A value under its own shape. So layers compute with arrays, and their values keep their memory layout.
inline Array as_array(const Graph& graph, ValueId value) { return {value, shape_of(graph, value)}; }

/// The letter of the loop over the first axis of an array that does not run over samples. Operands with one letter are
/// divided among threads in the same way, so that only values whose own first axis is as long have it.
inline constexpr Loop kRows = 'r';

/// The letter of the loop over the first axis of an array: kSamples, kRows, or kWhole where the rows of the array are
/// no rows of its value.
Loop row_loop(const Graph& graph, const Array& array);

}  // namespace engine::graph
