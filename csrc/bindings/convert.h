// From Python's mappings and arrays to the structs of the graph, with checks of their types, shapes and entries.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <vector>

#include "graph/model.h"
#include "graph/training_spec.h"
#include "runtime/data.h"

namespace engine::bindings {

namespace py = pybind11;

/// A model of layers, each a mapping. `inputs` in it are the layers that it reads (-1 - i: input number i of the
/// model); without it, it reads the layer before. `input_size` is a number, or one for each input. `outputs` are pairs
/// of a layer and the rows of its output; where they are empty, the last layer is the only output, with `output_rows`
/// rows.
graph::ModelSpec to_model(const py::object& input_size, const py::sequence& layers, int64_t output_rows,
                          const py::sequence& outputs);
/// A function of layers, whose results are the outputs of some of them, for `batch` samples.
graph::ModelSpec to_function(const py::sequence& layers, const std::vector<int>& results, int64_t batch);
/// The function of a loss or metric of kind "traced": entries "nodes" (as layers of a model), "value" (the node whose
/// output is the result) and, if targets have another size than outputs, "target_size" (numbers by sample). The model's
/// output has `rows` rows of `columns` numbers by sample.
std::shared_ptr<const graph::TracedFunction> to_traced_function(const py::dict& mapping, int64_t rows, int64_t columns,
                                                                Target target);
/// Whether a loss or metric is a function that a user wrote.
bool is_traced(const py::dict& mapping);
LossSpec to_loss(const py::dict& loss);
OptimizerSpec to_optimizer(const py::dict& optimizer);
/// ValueError unless what is said variable by variable is said of so many.
void require_variables(const OptimizerSpec& optimizer, size_t variables);
MetricSpec to_metric(const py::dict& metric);

/// Activation and its constants, as a layer names them. `graph::read_activation` does the same for layers, but looks
/// for each key twice, which takes too long for a call of a single operation.
Activation to_activation(const py::dict& layer, float (&parameters)[kMaxActivationParameters]);
/// ValueError unless there is a formula for such targets.
void require_formula(const LossSpec& loss, Target target);
/// The same, and unless the one output that a metric may look at is one of `outputs`.
void require_suitable(const MetricSpec& metric, int64_t outputs, Target target);

/// `name` as an index into `names`; ValueError that lists them.
int to_index(const std::string& name, const char* const* names, int count, const char* what);

/// How an array must lie in memory for the kernels.
inline constexpr int kReadable = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
void require_readable(const py::array& array, const char* name);

/// Views the rows of a C-contiguous (n, ...) array of uint8, float32 or float64. Keeps no reference.
DatasetView view_rows(const py::array& x);

/// A float32 array over memory that `owner` keeps alive.
py::array_t<float> view(float* data, int64_t rows, int64_t columns, int64_t ld, const py::object& owner);

}  // namespace engine::bindings
