// Checks launches against the card's limits, and runs kernels.
#include <algorithm>
#include <map>
#include <utility>

#include "emulated/calls.h"
#include "emulated/card.h"
#include "emulated/execution.h"
#include "emulated/memory.h"
#include "emulated/runtime.h"

namespace emulated {
namespace {

constexpr uint32_t kPortableCluster = 8, kLargestCluster = 16;  // blocks

struct KernelSettings {
  int shared_bytes = 48 * 1024;
  int carveout = -1;
  bool large_clusters = false;
};

KernelSettings& settings(const void* kernel) {
  static std::map<const void*, KernelSettings> all;
  return all[kernel];
}

int64_t kernels = 0;
uint64_t teams = 0;  // launches of clusters and cooperative grids

uint64_t volume(dim3 d) { return uint64_t{d.x} * d.y * d.z; }

LaunchShape shape_of(const cudaLaunchConfig_t& config, const void* kernel) {
  LaunchShape shape{config.gridDim, config.blockDim, {}, config.dynamicSmemBytes, false, kernel};
  for (unsigned int i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    if (attribute.id == cudaLaunchAttributeCooperative) shape.cooperative = attribute.val.cooperative != 0;
    if (attribute.id == cudaLaunchAttributeClusterDimension) {
      shape.cluster = {attribute.val.clusterDim.x, attribute.val.clusterDim.y, attribute.val.clusterDim.z};
    }
  }
  return shape;
}

int blocks_per_multiprocessor(uint64_t threads, size_t shared_bytes) {
  const cudaDeviceProp p = device_properties();
  const uint64_t warps = (threads + kWarp - 1) / kWarp;
  if (threads == 0 || threads > kMaxThreads || shared_bytes > p.sharedMemPerBlockOptin) return 0;
  uint64_t blocks = static_cast<uint64_t>(p.maxThreadsPerMultiProcessor) / (warps * kWarp);
  blocks = std::min(blocks, static_cast<uint64_t>(p.maxBlocksPerMultiProcessor));
  blocks = std::min<uint64_t>(blocks, p.sharedMemPerMultiprocessor / (shared_bytes + p.reservedSharedMemPerBlock));
  const auto registers = static_cast<uint64_t>(card().registers_per_thread);
  return static_cast<int>(
      std::min(blocks, static_cast<uint64_t>(p.regsPerMultiprocessor) / (registers * warps * kWarp)));
}

/// The clusters that are alive at once. Each runs on the multiprocessors of one of the card's groups of them; those
/// are not all of the same size.
int active_clusters(uint64_t cluster_blocks, int blocks) {
  const int groups = card().processing_clusters, total = card().multiprocessors;
  int clusters = 0;
  for (int group = 0; group < groups; ++group) {
    const int pairs = total / 2 / groups + (group < total / 2 % groups ? 1 : 0);  // they come in twos
    clusters += static_cast<int>(static_cast<uint64_t>(pairs * 2 * blocks) / cluster_blocks);
  }
  return clusters;
}

cudaError_t check_cluster(const LaunchShape& shape) {
  const uint64_t blocks = volume(shape.cluster);
  if (blocks == 1) return cudaSuccess;
  if (blocks == 0 || card().major < 9) return cudaErrorInvalidClusterSize;
  if (blocks > (settings(shape.kernel).large_clusters ? kLargestCluster : kPortableCluster)) {
    return cudaErrorInvalidClusterSize;
  }
  const dim3 grid = shape.grid, cluster = shape.cluster;
  if (grid.x % cluster.x != 0 || grid.y % cluster.y != 0 || grid.z % cluster.z != 0) {
    return cudaErrorInvalidClusterSize;
  }
  return cudaSuccess;
}

/// What the runtime says of a launch that the card cannot do.
cudaError_t check(const LaunchShape& shape) {
  const cudaDeviceProp p = device_properties();
  const dim3 grid = shape.grid, block = shape.block;
  const uint64_t threads = volume(block);
  if (shape.kernel == nullptr) return cudaErrorInvalidDeviceFunction;
  if (volume(grid) == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    return cudaErrorInvalidConfiguration;
  }
  if (threads == 0 || threads > kMaxThreads || block.z > 64) return cudaErrorInvalidConfiguration;
  if (shape.shared_bytes > static_cast<size_t>(settings(shape.kernel).shared_bytes)) return cudaErrorInvalidValue;
  if (const cudaError_t error = check_cluster(shape); error != cudaSuccess) return error;
  const int blocks = blocks_per_multiprocessor(threads, shape.shared_bytes);
  if (blocks == 0) return cudaErrorLaunchOutOfResources;
  const uint64_t cluster = volume(shape.cluster);
  const uint64_t alive = cluster == 1 ? static_cast<uint64_t>(blocks) * static_cast<uint64_t>(p.multiProcessorCount)
                                      : static_cast<uint64_t>(active_clusters(cluster, blocks)) * cluster;
  if (shape.cooperative && volume(grid) > alive) return cudaErrorCooperativeLaunchTooLarge;
  if (alive == 0) return cudaErrorInvalidClusterSize;
  return cudaSuccess;
}

}  // namespace

int64_t kernels_run() { return kernels; }

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> thread) {
  return call([&] {
    const LaunchShape shape = shape_of(config, kernel);
    if (const cudaError_t error = check(shape); error != cudaSuccess) return error;
    const bool is_team = shape.cooperative || volume(shape.cluster) > 1;
    if (is_team && card().refuses_teams > 0 && teams + 1 >= card().refuses_teams) return cudaErrorLaunchOutOfResources;
    if (is_team) ++teams;
    return submit(config.stream, [shape, thread = std::move(thread)] {
      ++kernels;
      const OpenMemory open;
      Execution(shape, thread).run();
    });
  });
}

}  // namespace emulated

using emulated::call, emulated::settings;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return call([&] {
    emulated::KernelSettings& to = settings(kernel);
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
      if (value < 0 || static_cast<size_t>(value) > emulated::card().shared_memory_per_block) {
        return cudaErrorInvalidValue;
      }
      to.shared_bytes = value;
    } else if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
      if (value < -1 || value > 100) return cudaErrorInvalidValue;
      to.carveout = value;
    } else if (attribute == cudaFuncAttributeNonPortableClusterSizeAllowed) {
      to.large_clusters = value != 0;
    } else {
      return cudaErrorInvalidValue;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  return call([&] {
    const emulated::KernelSettings& of = settings(kernel);
    *attributes = {};
    attributes->maxThreadsPerBlock = emulated::kMaxThreads;
    attributes->numRegs = emulated::card().registers_per_thread;
    attributes->ptxVersion = attributes->binaryVersion = emulated::card().major * 10 + emulated::card().minor;
    attributes->maxDynamicSharedSizeBytes = of.shared_bytes;
    attributes->preferredShmemCarveout = of.carveout;
    attributes->nonPortableClusterSizeAllowed = of.large_clusters;
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          size_t shared_bytes) {
  return call([&] {
    if (kernel == nullptr || threads <= 0) return cudaErrorInvalidValue;
    *blocks = emulated::blocks_per_multiprocessor(static_cast<uint64_t>(threads), shared_bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void* kernel, const cudaLaunchConfig_t* config) {
  return call([&] {
    const emulated::LaunchShape shape = emulated::shape_of(*config, kernel);
    if (const cudaError_t error = emulated::check_cluster(shape); error != cudaSuccess) return error;
    const int blocks = emulated::blocks_per_multiprocessor(emulated::volume(shape.block), shape.shared_bytes);
    *clusters = emulated::active_clusters(emulated::volume(shape.cluster), blocks);
    return cudaSuccess;
  });
}
