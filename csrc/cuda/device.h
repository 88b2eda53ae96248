// GPUs as devices.
#pragma once
#include <string>

#include "runtime/device.h"

namespace engine {

/// GPU number `index` of this machine. Throws std::invalid_argument, which says why, where there is none.
Device& cuda_device(int index);

/// One sentence on whether there are GPUs, and why not.
std::string cuda_state();

}  // namespace engine
