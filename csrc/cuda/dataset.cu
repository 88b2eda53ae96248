#include <atomic>

#include "cuda/dataset.h"

namespace engine::cuda {

bool is_readable_here(const void* data) {
  constexpr uintptr_t kWidestLoad = 16;  // bytes
  cudaPointerAttributes attributes = {};
  if (cudaPointerGetAttributes(&attributes, data) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeDevice && attributes.device == current_card() &&
         reinterpret_cast<uintptr_t>(data) % kWidestLoad == 0;
}

template <class T>
const T* DatasetOnCard::keep(const Stream& stream, const T* from, int64_t count) {
  if (!from || is_readable_here(from)) return from;
  const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
  memory_.push_back(allocate(bytes, "fit on a part of the data at a time"));
  stream.copy(memory_.back().get(), from, bytes);
  return static_cast<const T*>(memory_.back().get());
}

DatasetOnCard::DatasetOnCard(const DatasetView& data, const std::vector<TargetSizes>& sizes, const Stream& stream)
    : view_(data) {
  static std::atomic<int64_t> copies{0};
  number_ = ++copies;
  view_.x = keep(stream, static_cast<const char*>(data.x), data.rows * data.stride * bytes_of(data.type));
  for (size_t i = 0; i < data.targets.size(); ++i) {
    const TargetView& from = data.targets[i];
    TargetView& to = view_.targets[i];
    to.labels = keep(stream, from.labels, data.rows * sizes[i].labels);
    to.dense = keep(stream, from.dense, data.rows * sizes[i].outputs);
    to.sample_weight = keep(stream, from.sample_weight, data.rows * sizes[i].weights);
  }
  stream.wait();
}

}  // namespace engine::cuda
