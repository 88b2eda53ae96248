// Arrays: values under a shape. Operations of traced functions read and write arrays.
#pragma once
#include <string>
#include <vector>

#include "graph/graph.h"

namespace engine::graph {

/// The most axes of an array.
inline constexpr size_t kMostAxes = 32;

/// The numbers of a value in their order, under a shape. Several operations may read one value under different shapes.
struct Array {
  ValueId value = kNoValue;
  Shape shape;
};

/// Numbers in an array for so many samples.
int64_t numbers_in(const Shape& shape, int64_t samples);

/// Whether two shapes have the same number of elements, whatever the number of samples is.
bool equally_large(const Shape& a, const Shape& b);

/// Whether an array of this shape has one element.
bool is_single(const Shape& shape);

/// How many rows of the first axis belong to each sample; 0 where the first axis does not run over samples, or a later
/// one does. Where all batches have `batch` samples (0: any number), an axis runs over samples if they divide its
/// length.
int64_t rows_per_sample(const Shape& shape, int64_t batch);

/// Whether the first axis runs over samples, once or several times.
inline bool has_sample_axis(const Shape& shape, int64_t batch) { return rows_per_sample(shape, batch) > 0; }

/// Numbers for each sample of an array whose first axis runs over samples.
int64_t numbers_per_sample(const Shape& shape, int64_t batch);

/// `shape` with numbers in place of extents, where all batches have `batch` samples. For 0 the shape as it is.
Shape resolved(const Shape& shape, int64_t batch);

/// Such as "(b, 10)" or "(2b, 3)".
std::string text_of(const Shape& shape);

/// A new value of this shape. Matrices whose rows belong to samples are batches, which layers can read; others are
/// arrays.
Array add_array(Graph& graph, const Shape& shape);

/// `array`, or a copy of it whose numbers lie side by side. Of the result, each axis has a stride: the distance in
/// memory between neighbours along it. The rows of a batch have gaps between them, so that not every shape has.
Array strided(Graph& graph, const Array& array);

/// A copy of `array`, which has strides, in a value of kind kArray and shape `shape`.
ValueId laid_out_as_array(Graph& graph, const Array& array, const Shape& shape);

/// A copy of `array` in a value that is laid out like `like`, or `array.value` itself if it has that layout already.
ValueId laid_out_like(Graph& graph, const Array& array, ValueId like);

/// The shape that a value has by itself: (samples * groups, columns) for batches.
Shape shape_of(const Graph& graph, ValueId value);

/// The letter of the loop over the rows of an array that is no batch. Equal letters mean equal rows for each thread, so
/// that only arrays with equal first axes have it.
inline constexpr Loop kRows = 'r';

/// The letter of the loop over the first axis of an array: kSamples, kRows, or kWhole where threads can't share it.
Loop row_loop(const Graph& graph, const Array& array);

}  // namespace engine::graph
