// Zeroed storage on cache lines.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "kernels/kinds.h"

namespace engine {

class Arena {
 public:
  Arena() = default;
  explicit Arena(int64_t floats) {
    constexpr size_t kLineBytes = kLane * sizeof(float);
    const size_t bytes = static_cast<size_t>(round_up(floats > 0 ? floats : 1, kLane)) * sizeof(float);
    data_.reset(static_cast<float*>(std::aligned_alloc(kLineBytes, bytes)));
    if (!data_) throw std::bad_alloc();
    std::memset(data_.get(), 0, bytes);
  }
  float* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
};

}  // namespace engine
