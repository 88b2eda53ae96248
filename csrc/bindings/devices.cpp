#include "bindings/devices.h"

#include <pybind11/stl.h>

#include <atomic>
#include <optional>

#include "bindings/convert.h"
#include "bindings/register.h"
#include "cpu/device.h"
#include "cuda/device.h"

namespace engine::bindings {
namespace {

std::atomic<Device*> of_process{nullptr};
thread_local Device* of_thread = nullptr;

/// Chooses a device for this thread alone, or, with None, that of the process again. Returns the former choice.
std::optional<std::string> choose_for_thread(const std::optional<std::string>& name) {
  std::optional<std::string> former;
  if (of_thread) former = of_thread->name();
  of_thread = name ? &find_device(*name) : nullptr;
  return former;
}

}  // namespace

Device& find_device(const std::string& name) {
  if (name == "cpu") return cpu::device();
  const size_t colon = name.find(':');
  const std::string kind = name.substr(0, colon);
  const bool is_gpu = kind == "cuda" || kind == "gpu";
  if (is_gpu && colon == std::string::npos) return cuda_device(0);
  const std::string digits = is_gpu ? name.substr(colon + 1) : "";
  constexpr size_t kMaxDigits = 3;
  const bool is_number =
      !digits.empty() && digits.size() <= kMaxDigits && digits.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number) throw py::value_error("a device is 'cpu', 'cuda' or 'cuda:0', 'cuda:1', ...; got '" + name + "'");
  return cuda_device(std::stoi(digits));
}

Device& device_of_new_programs() {
  Device* const chosen = of_thread ? of_thread : of_process.load();
  return chosen ? *chosen : cpu::device();
}

void register_devices(py::module_& m) {
  m.def("set_device", [](const std::string& name) { of_process = &find_device(name); }, py::arg("name"));
  m.def("get_device", [] { return device_of_new_programs().name(); });
  m.def("choose_for_thread", &choose_for_thread, py::arg("name").none(true));
  m.def("cuda_products", &cuda_products_state);
  m.def("set_cuda_library_candidates", &set_cuda_library_candidates, py::arg("files"));
}

}  // namespace engine::bindings
