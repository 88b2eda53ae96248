#include "bindings/views.h"

#include <algorithm>
#include <vector>

namespace engine::bindings {

BatchViews::BatchViews(const std::shared_ptr<Workspace>& workspace, int64_t rows)
    : workspace_(*workspace), rows_(rows), owner_(new std::shared_ptr<Workspace>(workspace), [](void* p) {
        delete static_cast<std::shared_ptr<Workspace>*>(p);
      }) {}

py::array_t<float> BatchViews::matrix(graph::ValueId value) const {
  const ValueView at = workspace_.view(value);
  return view(at.data, rows_ * at.groups, at.columns, at.ld, owner_);
}

py::array_t<float> BatchViews::vector(graph::ValueId value, int64_t count) const {
  return py::array_t<float>(count, workspace_.view(value).data, owner_);
}

py::array_t<float> BatchViews::array(const graph::Array& array) const {
  std::vector<py::ssize_t> lengths;
  for (const graph::Extent& extent : array.shape) lengths.push_back(std::max<int64_t>(extent.at(rows_), 0));
  return py::array_t<float>(lengths, workspace_.view(array.value).data, owner_);
}

py::array_t<float> BatchViews::gradient(graph::ValueId value) const {
  const graph::Graph& graph = workspace_.executable->graph();
  const Variable& variable = graph.variables()[graph.value(value).variable];
  return py::array_t<float>(variable.shape, workspace_.view(value).data, owner_);
}

}  // namespace engine::bindings
