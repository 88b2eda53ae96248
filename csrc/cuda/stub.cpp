// Stands in for the CUDA room where it is not built (ENGINE_CUDA=OFF).
#include "cuda/device.h"

namespace engine {

Device* cuda_device() { return nullptr; }

std::string cuda_state() { return "not built: this version runs on the CPU"; }

}  // namespace engine
