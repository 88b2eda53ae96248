// The card's properties, and errors.
#include "emulated/card.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "emulated/calls.h"
#include "emulated/execution.h"
#include "emulated/runtime.h"

namespace emulated {
namespace {

constexpr int kVersion = 13000;  // of CUDA, in thousands and tens
constexpr int kRegisters = 65536;
constexpr size_t kSharedWithoutAsking = 48 * 1024;
constexpr size_t kReservedShared = 1024;  // of each block, by the system

struct ErrorText {
  const char *name, *text;
};

const ErrorText& text_of(cudaError_t error) {
  static const std::map<cudaError_t, ErrorText> texts = {
      {cudaSuccess, {"cudaSuccess", "no error"}},
      {cudaErrorInvalidValue, {"cudaErrorInvalidValue", "invalid argument"}},
      {cudaErrorMemoryAllocation, {"cudaErrorMemoryAllocation", "out of memory"}},
      {cudaErrorInitializationError, {"cudaErrorInitializationError", "initialization error"}},
      {cudaErrorInvalidConfiguration, {"cudaErrorInvalidConfiguration", "invalid configuration argument"}},
      {cudaErrorInvalidPitchValue, {"cudaErrorInvalidPitchValue", "invalid pitch argument"}},
      {cudaErrorInvalidMemcpyDirection, {"cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"}},
      {cudaErrorInsufficientDriver,
       {"cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"}},
      {cudaErrorInvalidDeviceFunction, {"cudaErrorInvalidDeviceFunction", "invalid device function"}},
      {cudaErrorNoDevice, {"cudaErrorNoDevice", "no CUDA-capable device is detected"}},
      {cudaErrorInvalidDevice, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
      {cudaErrorNoKernelImageForDevice,
       {"cudaErrorNoKernelImageForDevice", "no kernel image is available for execution on the device"}},
      {cudaErrorInvalidResourceHandle, {"cudaErrorInvalidResourceHandle", "invalid resource handle"}},
      {cudaErrorNotReady, {"cudaErrorNotReady", "device not ready"}},
      {cudaErrorIllegalAddress, {"cudaErrorIllegalAddress", "an illegal memory access was encountered"}},
      {cudaErrorLaunchOutOfResources, {"cudaErrorLaunchOutOfResources", "too many resources requested for launch"}},
      {cudaErrorLaunchFailure, {"cudaErrorLaunchFailure", "unspecified launch failure"}},
      {cudaErrorCooperativeLaunchTooLarge,
       {"cudaErrorCooperativeLaunchTooLarge", "too many blocks in cooperative launch"}},
      {cudaErrorNotSupported, {"cudaErrorNotSupported", "operation not supported"}},
      {cudaErrorStreamCaptureUnsupported,
       {"cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"}},
      {cudaErrorStreamCaptureInvalidated,
       {"cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"}},
      {cudaErrorIllegalState, {"cudaErrorIllegalState", "the operation cannot be performed in the present state"}},
      {cudaErrorInvalidClusterSize, {"cudaErrorInvalidClusterSize", "Invalid cluster size"}},
      {cudaErrorUnknown, {"cudaErrorUnknown", "unknown error"}}};
  const auto found = texts.find(error);
  static const ErrorText unknown{"unrecognized error code", "unrecognized error code"};
  return found == texts.end() ? unknown : found->second;
}

}  // namespace

cudaDeviceProp device_properties() {
  const Card& c = card();
  cudaDeviceProp p{};
  std::strncpy(p.name, "Emulated H100", sizeof p.name - 1);
  p.totalGlobalMem = c.memory;
  p.sharedMemPerBlock = kSharedWithoutAsking;
  p.regsPerBlock = p.regsPerMultiprocessor = kRegisters;
  p.warpSize = kWarp;
  p.memPitch = 0x7fffffff;
  p.maxThreadsPerBlock = kMaxThreads;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = kMaxThreads;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.totalConstMem = 65536;
  p.major = c.major;
  p.minor = c.minor;
  p.multiProcessorCount = c.multiprocessors;
  p.canMapHostMemory = p.concurrentKernels = p.unifiedAddressing = p.cooperativeLaunch = p.memoryPoolsSupported = 1;
  p.clusterLaunch = c.major >= 9;
  p.asyncEngineCount = 3;
  p.memoryBusWidth = 5120;
  p.l2CacheSize = 50 << 20;
  p.maxThreadsPerMultiProcessor = c.threads_per_multiprocessor;
  p.sharedMemPerMultiprocessor = c.shared_memory_per_multiprocessor;
  p.sharedMemPerBlockOptin = c.shared_memory_per_block;
  p.maxBlocksPerMultiProcessor = c.blocks_per_multiprocessor;
  p.reservedSharedMemPerBlock = kReservedShared;
  return p;
}

namespace {

/// Returns the attribute, or -1 if it is not one of those that are emulated.
int attribute_of(const cudaDeviceProp& p, cudaDeviceAttr attribute) {
  const std::map<cudaDeviceAttr, int> values = {
      {cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock},
      {cudaDevAttrMaxBlockDimX, p.maxThreadsDim[0]},
      {cudaDevAttrMaxBlockDimY, p.maxThreadsDim[1]},
      {cudaDevAttrMaxBlockDimZ, p.maxThreadsDim[2]},
      {cudaDevAttrMaxGridDimX, p.maxGridSize[0]},
      {cudaDevAttrMaxGridDimY, p.maxGridSize[1]},
      {cudaDevAttrMaxGridDimZ, p.maxGridSize[2]},
      {cudaDevAttrMaxSharedMemoryPerBlock, static_cast<int>(p.sharedMemPerBlock)},
      {cudaDevAttrTotalConstantMemory, static_cast<int>(p.totalConstMem)},
      {cudaDevAttrWarpSize, p.warpSize},
      {cudaDevAttrMaxRegistersPerBlock, p.regsPerBlock},
      {cudaDevAttrClockRate, 1980000},
      {cudaDevAttrMultiProcessorCount, p.multiProcessorCount},
      {cudaDevAttrMemoryClockRate, 2619000},
      {cudaDevAttrGlobalMemoryBusWidth, p.memoryBusWidth},
      {cudaDevAttrL2CacheSize, p.l2CacheSize},
      {cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor},
      {cudaDevAttrComputeCapabilityMajor, p.major},
      {cudaDevAttrComputeCapabilityMinor, p.minor},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, static_cast<int>(p.sharedMemPerMultiprocessor)},
      {cudaDevAttrMaxRegistersPerMultiprocessor, p.regsPerMultiprocessor},
      {cudaDevAttrCooperativeLaunch, p.cooperativeLaunch},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, static_cast<int>(p.sharedMemPerBlockOptin)},
      {cudaDevAttrMaxBlocksPerMultiprocessor, p.maxBlocksPerMultiProcessor},
      {cudaDevAttrReservedSharedMemoryPerBlock, static_cast<int>(p.reservedSharedMemPerBlock)},
      {cudaDevAttrMemoryPoolsSupported, p.memoryPoolsSupported},
      {cudaDevAttrClusterLaunch, p.clusterLaunch}};
  const auto found = values.find(attribute);
  return found == values.end() ? -1 : found->second;
}

/// Returns what the environment variable says, or `otherwise`.
uint64_t variable(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

}  // namespace

Card& card() {
  static Card card;
  return card;
}

namespace {

bool read_environment() {
  Card& c = card();
  c.devices = static_cast<int>(variable("EMULATED_CUDA_DEVICES", static_cast<uint64_t>(c.devices)));
  c.memory = variable("EMULATED_CUDA_MEMORY", c.memory);
  c.multiprocessors =
      static_cast<int>(variable("EMULATED_CUDA_MULTIPROCESSORS", static_cast<uint64_t>(c.multiprocessors)));
  c.shared_memory_per_block = variable("EMULATED_CUDA_SHARED_MEMORY", c.shared_memory_per_block);
  const uint64_t capability = variable("EMULATED_CUDA_CAPABILITY", 90);
  c.major = static_cast<int>(capability / 10);
  c.minor = static_cast<int>(capability % 10);
  c.refuses_teams = variable("EMULATED_CUDA_REFUSES_TEAMS", 0);
  set_seed(variable("EMULATED_CUDA_SEED", 1));
  run_late(variable("EMULATED_CUDA_LATE", 0) != 0);
  return true;
}

[[maybe_unused]] const bool environment_was_read = read_environment();  // before main

}  // namespace

Calls& calls() {
  static Calls calls;
  return calls;
}

cudaError_t Calls::refusal() {
  if (card().driver != cudaSuccess) return card().driver;
  if (card().devices == 0) return cudaErrorNoDevice;
  if (failure == cudaSuccess || calls_to_failure-- > 0) return cudaSuccess;
  return std::exchange(failure, cudaSuccess);
}

void set_seed(uint64_t seed) { schedule_random.seed(seed); }

void fail_after(int count, cudaError_t error) {
  calls().calls_to_failure = count;
  calls().failure = error;
}

namespace {

/// The cards that have a context.
std::set<int> contexts;

int context_state(int device, unsigned* flags, int* active) {
  *flags = 0;
  *active = contexts.count(device) != 0 ? 1 : 0;
  return 0;
}

}  // namespace

}  // namespace emulated

using emulated::call, emulated::calls, emulated::card;

const char* cudaGetErrorName(cudaError_t error) { return emulated::text_of(error).name; }

const char* cudaGetErrorString(cudaError_t error) { return emulated::text_of(error).text; }

cudaError_t cudaGetLastError() { return std::exchange(calls().last_error, cudaSuccess); }

cudaError_t cudaPeekAtLastError() { return calls().last_error; }

/// 0 if there is no driver.
cudaError_t cudaDriverGetVersion(int* version) {
  *version = card().devices == 0 ? 0 : card().driver == cudaErrorInsufficientDriver ? 11000 : emulated::kVersion;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = emulated::kVersion;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 0;
  return call([&] {
    *count = card().devices;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return call([&] {
    if (device < 0 || device >= card().devices) return cudaErrorInvalidDevice;
    calls().device = device;
    emulated::contexts.insert(device);
    return cudaSuccess;
  });
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned int, unsigned long long,
                                             cudaDriverEntryPointQueryResult* found) {
  return call([&] {
    const bool known = std::strcmp(symbol, "cuDevicePrimaryCtxGetState") == 0;
    *function = known ? reinterpret_cast<void*>(&emulated::context_state) : nullptr;
    *found = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return call([&] {
    *device = calls().device;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return call([&] {
    if (device < 0 || device >= card().devices) return cudaErrorInvalidDevice;
    *properties = emulated::device_properties();
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return call([&] {
    if (device < 0 || device >= card().devices) return cudaErrorInvalidDevice;
    *value = emulated::attribute_of(emulated::device_properties(), attribute);
    return *value < 0 ? cudaErrorInvalidValue : cudaSuccess;
  });
}
