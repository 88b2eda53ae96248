// Stands in for CUDA's header of the same name, so that csrc/cuda compiles for the host and runs without a card.
// README.md says what is emulated truly and what is not.
#pragma once

#include "emulated/card.h"
#include "emulated/device_functions.h"
#include "emulated/runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
// Dynamic shared memory is emulated::dynamic_shared_memory(). An array that is declared shared does not compile.
#define __shared__ emulated_cuda_has_dynamic_shared_memory_only

// These headers of GCC write __noinline__ in attributes, so they have to come before the macro.
#include <memory>
#include <string>
#define __noinline__ __attribute__((noinline))
