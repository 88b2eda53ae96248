// A guard that makes the CPU treat denormal numbers as zero.
#pragma once
#if defined(__SSE__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace engine::cpu {

/// While the object lives, the calling thread reads and writes denormal numbers as zero; then its mode is as before.
/// Arithmetic on denormals is slow: Adam's average m of an input that is rarely non-zero decays into them, which costs
/// 11 % of a step at batch 32.
class DenormalsAreZero {
 public:
  DenormalsAreZero() : before_(read()) { write(before_ | kFlags); }
  ~DenormalsAreZero() { write(before_); }
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
#if defined(__SSE__)
  using Word = unsigned;
  static constexpr Word kFlags = 0x8040;  // the bits FTZ and DAZ of MXCSR
  static Word read() { return _mm_getcsr(); }
  static void write(Word word) { _mm_setcsr(word); }
#elif defined(__aarch64__)
  using Word = uint64_t;
  static constexpr Word kFlags = uint64_t{1} << 24;  // the bit FZ of FPCR
  static Word read() {
    Word word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
  }
  static void write(Word word) { __asm__ volatile("msr fpcr, %0" : : "r"(word)); }
#else
  using Word = unsigned;
  static constexpr Word kFlags = 0;
  static Word read() { return 0; }
  static void write(Word) {}
#endif
  Word before_;
};

}  // namespace engine::cpu
