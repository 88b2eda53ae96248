// How kernels are started whose blocks work in teams.
#pragma once
#include "cuda/chains/network.h"
#include "cuda/execution_choice.h"

namespace engine::cuda::chains {

inline cudaLaunchConfig_t config_of(int64_t blocks, int64_t shared_bytes) {
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(kBlockThreads);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  return config;
}

inline cudaLaunchAttribute cluster_of(int blocks) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(blocks);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  return attribute;
}

/// Whether the card has refused the launch that ended with `status`. Throws for other errors.
inline bool was_refused(cudaError_t status) {
  if (!is_refusal(status)) return check(status, "starting a kernel"), false;
  cudaGetLastError();
  return true;
}

/// Lets a kernel use all shared memory that a block can have.
template <class Kernel>
void allow_shared_memory(Kernel* kernel, const CardLimits& limits) {
  check(
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(limits.shared_bytes)),
      "asking for shared memory");
}

/// How many clusters of each size run at the same time, whose blocks use all shared memory.
template <class Kernel>
ClustersAtOnce clusters_at_once(Kernel* kernel, const CardLimits& limits) {
  ClustersAtOnce counts{};
  int has_clusters = 0, device = 0;
  check(cudaGetDevice(&device), "asking which it is");
  check(cudaDeviceGetAttribute(&has_clusters, cudaDevAttrClusterLaunch, device), "asking for clusters");
  if (!has_clusters) return counts;
  // Where the driver has compiled the kernel from PTX for cards without clusters, it has none, either.
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, kernel), "asking about a kernel");
  constexpr int kFirstWithClusters = 90;
  if (attributes.ptxVersion < kFirstWithClusters) return counts;
  // More than 8 blocks run on cards whose multiprocessors come in large enough groups.
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), "allowing large clusters");
  for (size_t i = 0; i < counts.size(); ++i) {
    cudaLaunchConfig_t config = config_of(int64_t{2} << i, limits.shared_bytes);
    cudaLaunchAttribute attribute = cluster_of(2 << i);
    config.attrs = &attribute;
    config.numAttrs = 1;
    const cudaError_t status = cudaOccupancyMaxActiveClusters(&counts[i], kernel, &config);
    if (status != cudaSuccess) counts[i] = 0;
    cudaGetLastError();
  }
  return counts;
}

}  // namespace engine::cuda::chains
