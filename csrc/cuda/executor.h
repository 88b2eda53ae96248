#pragma once
#include <string>

namespace engine {

/// One sentence on whether CUDA can be used, and why not.
std::string cuda_state();

}  // namespace engine
