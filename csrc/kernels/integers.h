// Conversions between integers and float32.
#pragma once
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

template <class T>
IntegerRange integers_to_floats(const T* from, float* to, int64_t n) {
  constexpr int64_t kLanes = ENGINE_VECTOR_BYTES / sizeof(T);
  typedef T Integers __attribute__((vector_size(ENGINE_VECTOR_BYTES)));
  typedef float Converted __attribute__((vector_size(kLanes * sizeof(float))));
  T least = from[0], largest = from[0];
  Integers least_of_lane = least - Integers{}, largest_of_lane = least_of_lane;
  int64_t j = 0;
  for (; j + kLanes <= n; j += kLanes) {
    Integers numbers;
    std::memcpy(&numbers, from + j, sizeof numbers);
    const Converted floats = __builtin_convertvector(numbers, Converted);
    std::memcpy(to + j, &floats, sizeof floats);
    least_of_lane = numbers < least_of_lane ? numbers : least_of_lane;
    largest_of_lane = numbers > largest_of_lane ? numbers : largest_of_lane;
  }
  const auto compare = [&](T low, T high) {
    least = low < least ? low : least;
    largest = high > largest ? high : largest;
  };
  for (int64_t lane = 0; lane < kLanes; ++lane) compare(least_of_lane[lane], largest_of_lane[lane]);
  for (; j < n; ++j) {
    to[j] = static_cast<float>(from[j]);
    compare(from[j], from[j]);
  }
  return {least, largest};
}

bool floats_to_integers(const float* from, int32_t* to, int64_t n) {
  constexpr float kEnd = 2147483648.0f;
  vi fit = vi{} == 0;
  for (int64_t j = 0; j < n; j += kWidth) {
    const int64_t left = n - j;
    const vf v = left >= kWidth ? load(from + j) : load_partial(from + j, left);
    const vi fits = (v >= broadcast(-kEnd)) & (v < broadcast(kEnd));
    fit = fit & fits;
    // The least integer stands for what is none, as it does in NumPy on x86.
    const vf whole = from_bits(__builtin_convertvector(choose(fits, v, broadcast(-kEnd)), vi));
    auto* const written = reinterpret_cast<float*>(to + j);
    if (left >= kWidth) {
      store(written, whole);
    } else {
      store_partial(written, whole, left);
    }
  }
  return !Number<vf>::any(~fit);
}

}  // namespace
}  // namespace engine::ENGINE_ISA
