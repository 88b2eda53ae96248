// Stands in for the room of GPUs in builds without CUDA.
#include <stdexcept>

#include "cuda/device.h"

namespace engine {

Device& cuda_device(int) {
  throw std::invalid_argument(
      "this build runs on the CPU alone: for a GPU, install it from source with ENGINE_CUDA=1 in the environment");
}

bool cuda_is_built() { return false; }

std::optional<int> cuda_device_of(const void*) { return std::nullopt; }

const TensorDevice* cuda_tensors(int) { return nullptr; }

std::string cuda_state() { return "not built: this version runs on the CPU"; }

std::string cuda_products_state() { return {}; }

void set_cuda_library_candidates(std::vector<std::string>) {}

}  // namespace engine
