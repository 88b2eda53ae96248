#pragma once
#include "plan/executor.h"

namespace engine {

/// Returns the executor for CPUs, of which a process has one.
Executor& cpu_executor();

}  // namespace engine
