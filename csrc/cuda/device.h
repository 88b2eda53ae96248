// GPUs as devices.
#pragma once
#include <string>
#include <vector>

#include "runtime/device.h"

namespace engine {

/// GPU number `index` of this machine. Throws std::invalid_argument, which says why, where there is none.
Device& cuda_device(int index);

/// One sentence on whether there are GPUs, and why not.
std::string cuda_state();

/// Who computes large products of matrices on GPUs, a library or the kernels of this project, and why; empty where
/// there is no GPU.
std::string cuda_products_state();

/// Files that may be the library for large products, such as those of packages for pip, the best first.
void set_cuda_library_candidates(std::vector<std::string> files);

}  // namespace engine
