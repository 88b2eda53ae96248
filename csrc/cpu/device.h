// The CPU as a device.
#pragma once
#include "runtime/device.h"

namespace engine {

/// The one of this process.
Device& cpu_device();

}  // namespace engine
