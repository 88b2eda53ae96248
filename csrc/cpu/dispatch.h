// Which instruction sets were compiled, which this CPU has, which one is used.
#pragma once
#include <string>
#include <vector>

#include "kernels/table.h"

namespace engine {

std::vector<std::string> compiled_isas();
std::vector<std::string> runnable_isas();

/// The kernels of `isa`. Throws std::invalid_argument when it is not compiled in or this CPU lacks it.
const KernelTable& kernels_for(const std::string& isa);

/// The kernels in force: those named by ENGINE_ISA, or else the widest that this CPU runs. Chosen at the first
/// call, which is at import.
const KernelTable& kernels();

}  // namespace engine
