// A GPU as a device.
#pragma once
#include <string>

#include "runtime/device.h"

namespace engine {

/// The first GPU of this machine; null where there is none, or the engine was built without CUDA.
Device* cuda_device();

/// One sentence on whether CUDA can be used, and why not.
std::string cuda_state();

}  // namespace engine
