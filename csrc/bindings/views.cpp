#include "bindings/views.h"

namespace engine::bindings {

BatchViews::BatchViews(const std::shared_ptr<Workspace>& workspace, int64_t rows)
    : workspace_(*workspace), rows_(rows), owner_(new std::shared_ptr<Workspace>(workspace), [](void* p) {
        delete static_cast<std::shared_ptr<Workspace>*>(p);
      }) {}

py::array_t<float> BatchViews::matrix(int buffer) const {
  const Buffer& shape = workspace_.plan->buffers[static_cast<size_t>(buffer)];
  return view(workspace_.buffer(buffer), rows_ * shape.groups, shape.columns, shape.ld, owner_);
}

py::array_t<float> BatchViews::vector(int buffer, int64_t count) const {
  return py::array_t<float>(count, workspace_.buffer(buffer), owner_);
}

py::array_t<float> BatchViews::gradient(const Variable& variable, int arena) const {
  return py::array_t<float>(variable.shape, workspace_.buffer(arena) + variable.offset, owner_);
}

}  // namespace engine::bindings
