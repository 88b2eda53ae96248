// Devices by their names, and the one that new programs are made for.
#pragma once
#include <string>

#include "runtime/device.h"

namespace engine::bindings {

/// The device "cpu", "cuda" (the first GPU), "cuda:0", ...; "gpu" is another name for "cuda". Throws ValueError where
/// there is none.
Device& find_device(const std::string& name);

/// The device that Python chose for this thread, or else for the process; at first the CPU.
Device& device_of_new_programs();

}  // namespace engine::bindings
