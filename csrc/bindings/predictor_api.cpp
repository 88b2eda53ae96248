#include "bindings/predictor_api.h"

#include <memory>
#include <new>
#include <utility>

#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/register.h"
#include "cpu/device.h"
#include "runtime/predictor.h"

namespace engine::bindings {
namespace {

static_assert(static_cast<int>(Predictor::Answer::kNotFinite) == ENGINE_NOT_FINITE);
static_assert(static_cast<int>(Predictor::Answer::kNoToken) == ENGINE_NO_TOKEN);

Predictor& of(void* predictor) { return *static_cast<Predictor*>(predictor); }
const Predictor& of(const void* predictor) { return *static_cast<const Predictor*>(predictor); }

void* open(void* program, long long together) {
  try {
    auto given = py::handle(static_cast<PyObject*>(program)).cast<std::shared_ptr<Program>>();
    const Unlocked unlocked;  // a training may hold the lock on the weights
    return std::make_unique<Predictor>(std::move(given), together).release();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

constexpr engine_predictor_api kApi{
    open,
    [](const void* predictor) -> long long { return of(predictor).inputs(); },
    [](const void* predictor) -> long long { return of(predictor).outputs(); },
    [](void* predictor) { of(predictor).refresh(); },
    [](void* predictor, const float* x, long long rows, float* out) {
      return static_cast<int>(of(predictor).predict(x, rows, out));
    },
    [](void* predictor) { delete &of(predictor); },
};

}  // namespace

void register_predictor(py::module_& m) { m.attr("predictor_api") = py::capsule(&kApi, "engine._core.predictor_api"); }

}  // namespace engine::bindings
