// Chooses the instruction set whose kernels are used.
#pragma once
#include <string>
#include <vector>

#include "kernels/table.h"

namespace engine::cpu {

/// Returns the names of the instruction sets that kernels were compiled for, the narrowest first.
std::vector<std::string> compiled_isas();
/// Returns those of them that this CPU has.
std::vector<std::string> runnable_isas();

/// Returns the kernels of `isa`. Throws std::invalid_argument if none were compiled or this CPU lacks it.
const KernelTable& kernels_for(const std::string& isa);

/// Returns the kernels that everything runs on: those of the instruction set in the environment variable ENGINE_ISA, or
/// else of the widest that this CPU has. The first call, which is at import, chooses them.
const KernelTable& kernels();

}  // namespace engine::cpu
