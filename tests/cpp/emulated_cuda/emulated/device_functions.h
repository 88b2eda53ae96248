// What kernels call: indices, barriers, shuffles, atomics and a few instructions.
#pragma once
#include <cmath>
#include <cstring>
#include <type_traits>

#include "emulated/vector_types.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace emulated {

constexpr int kWarp = 32;

struct Votes {
  unsigned int yes, participants;  // a bit for each lane
};

int lane();
/// Exchanges up to 8 bytes among the lanes of `mask`; `result` gets those of lane `source`.
void shuffle(unsigned int mask, const void* value, size_t bytes, int source, void* result);
Votes vote(unsigned int mask, bool yes);
/// Lets other threads run, maybe.
void maybe_yield();

template <class T>
T shuffle(unsigned int mask, T value, int source) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "shuffles exchange up to 8 bytes");
  T result;
  shuffle(mask, &value, sizeof value, source, &result);
  return result;
}

}  // namespace emulated

// ---- Synchronisation. The place in the source is named in messages.
void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE());
void __syncwarp(unsigned int mask = 0xffffffff, const char* file = __builtin_FILE(), int line = __builtin_LINE());
void __threadfence();
void __threadfence_block();
void __nanosleep(unsigned int nanoseconds);
[[noreturn]] void __trap();
/// The lanes of the warp that have not ended; a card may return fewer.
unsigned int __activemask();

// ---- Shuffles within `width` lanes, a power of two
template <class T>
T __shfl_sync(unsigned int mask, T value, int source, int width = emulated::kWarp) {
  const int first = emulated::lane() & ~(width - 1);
  return emulated::shuffle(mask, value, first + (source & (width - 1)));
}
template <class T>
T __shfl_up_sync(unsigned int mask, T value, unsigned int distance, int width = emulated::kWarp) {
  const int lane = emulated::lane(), source = lane - static_cast<int>(distance);
  return emulated::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source);
}
template <class T>
T __shfl_down_sync(unsigned int mask, T value, unsigned int distance, int width = emulated::kWarp) {
  const int lane = emulated::lane(), source = lane + static_cast<int>(distance);
  return emulated::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source);
}
template <class T>
T __shfl_xor_sync(unsigned int mask, T value, int bits, int width = emulated::kWarp) {
  const int lane = emulated::lane(), source = lane ^ bits;
  return emulated::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source);
}

inline unsigned int __ballot_sync(unsigned int mask, int yes) { return emulated::vote(mask, yes != 0).yes; }
inline int __any_sync(unsigned int mask, int yes) { return emulated::vote(mask, yes != 0).yes != 0; }
inline int __all_sync(unsigned int mask, int yes) {
  const emulated::Votes votes = emulated::vote(mask, yes != 0);
  return votes.yes == votes.participants;
}

// ---- Atomics return what was there before. Other threads may run between two of them.
int atomicAdd(int* address, int value);
unsigned int atomicAdd(unsigned int* address, unsigned int value);
unsigned long long atomicAdd(unsigned long long* address, unsigned long long value);
float atomicAdd(float* address, float value);
int atomicExch(int* address, int value);
unsigned int atomicExch(unsigned int* address, unsigned int value);
int atomicCAS(int* address, int expected, int value);
unsigned int atomicCAS(unsigned int* address, unsigned int expected, unsigned int value);
int atomicMax(int* address, int value);
unsigned int atomicMax(unsigned int* address, unsigned int value);

// ---- Loads and stores with cache hints
template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  emulated::maybe_yield();
  return *address;
}
template <class T>
void __stcg(T* address, T value) {
  *address = value;
}

// ---- Instructions
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float rsqrtf(float a) { return 1 / std::sqrt(a); }
inline int __float_as_int(float a) {
  int bits;
  std::memcpy(&bits, &a, sizeof bits);
  return bits;
}
inline float __int_as_float(int bits) {
  float a;
  std::memcpy(&a, &bits, sizeof a);
  return a;
}
inline unsigned int __float_as_uint(float a) { return static_cast<unsigned int>(__float_as_int(a)); }
inline float __uint_as_float(unsigned int bits) { return __int_as_float(static_cast<int>(bits)); }
inline int __popc(unsigned int a) { return __builtin_popcount(a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __clz(int a) { return a == 0 ? 32 : __builtin_clz(static_cast<unsigned int>(a)); }
inline unsigned int __umulhi(unsigned int a, unsigned int b) {
  return static_cast<unsigned int>((static_cast<unsigned long long>(a) * b) >> 32);
}
