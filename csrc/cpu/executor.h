#pragma once
#include "plan/executor.h"

namespace engine {

/// The executor for CPUs, one per process.
Executor& cpu_executor();

}  // namespace engine
