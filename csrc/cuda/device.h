// GPUs as devices.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/tensors.h"

namespace engine {

/// GPU number `index` of this machine. Throws std::invalid_argument, which says why, where there is none.
Device& cuda_device(int index);

/// Whether this build has code for GPUs.
bool cuda_is_built();

/// The number of the GPU that the memory at an address belongs to; nothing for all other addresses.
std::optional<int> cuda_device_of(const void* address);

/// What GPU number `index`, which there is, does with arrays of other libraries; null in builds without CUDA.
const TensorDevice* cuda_tensors(int index);

/// One sentence on whether there are GPUs, and why not.
std::string cuda_state();

/// Who computes large products of matrices on GPUs, a library or the kernels of this project, and why; empty where
/// there is no GPU.
std::string cuda_products_state();

/// Files that may be the library for large products, such as those of packages for pip, the best first.
void set_cuda_library_candidates(std::vector<std::string> files);

}  // namespace engine
