#pragma once
#include <memory>
#include <string>

#include "plan/executor.h"

namespace engine {

/// One sentence on whether CUDA can be used, and why not.
std::string cuda_state();

}  // namespace engine
