// What code calls that was compiled with -fsanitize=thread: a function for each access to memory. The thread
// sanitizer's own library is not linked; these functions tell the detector instead.
#include <cstddef>
#include <cstring>

#include "emulated/card.h"
#include "emulated/detector.h"

namespace {

bool checked = false;

}  // namespace

namespace emulated {

bool checks_accesses() { return checked; }

}  // namespace emulated

// check_aligned_access is for accesses whose address must be a multiple of their size.
#define CHECK(check, address, bytes, access) \
  emulated::check(address, bytes, emulated::Access::access, __builtin_return_address(0))

extern "C" {

// The program calls this before main.
void __tsan_init() { checked = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

void __tsan_read1(void* a) { CHECK(check_aligned_access, a, 1, kRead); }
void __tsan_read2(void* a) { CHECK(check_aligned_access, a, 2, kRead); }
void __tsan_read4(void* a) { CHECK(check_aligned_access, a, 4, kRead); }
void __tsan_read8(void* a) { CHECK(check_aligned_access, a, 8, kRead); }
void __tsan_read16(void* a) { CHECK(check_aligned_access, a, 16, kRead); }
void __tsan_write1(void* a) { CHECK(check_aligned_access, a, 1, kWrite); }
void __tsan_write2(void* a) { CHECK(check_aligned_access, a, 2, kWrite); }
void __tsan_write4(void* a) { CHECK(check_aligned_access, a, 4, kWrite); }
void __tsan_write8(void* a) { CHECK(check_aligned_access, a, 8, kWrite); }
void __tsan_write16(void* a) { CHECK(check_aligned_access, a, 16, kWrite); }
void __tsan_unaligned_read2(void* a) { CHECK(check_access, a, 2, kRead); }
void __tsan_unaligned_read4(void* a) { CHECK(check_access, a, 4, kRead); }
void __tsan_unaligned_read8(void* a) { CHECK(check_access, a, 8, kRead); }
void __tsan_unaligned_read16(void* a) { CHECK(check_access, a, 16, kRead); }
void __tsan_unaligned_write2(void* a) { CHECK(check_access, a, 2, kWrite); }
void __tsan_unaligned_write4(void* a) { CHECK(check_access, a, 4, kWrite); }
void __tsan_unaligned_write8(void* a) { CHECK(check_access, a, 8, kWrite); }
void __tsan_unaligned_write16(void* a) { CHECK(check_access, a, 16, kWrite); }
void __tsan_read_range(void* a, size_t bytes) { CHECK(check_access, a, bytes, kRead); }
void __tsan_write_range(void* a, size_t bytes) { CHECK(check_access, a, bytes, kWrite); }

// Clang tells of these when one statement reads and writes, if asked to.
void __tsan_read_write1(void* a) { CHECK(check_access, a, 1, kRead), CHECK(check_access, a, 1, kWrite); }
void __tsan_read_write2(void* a) { CHECK(check_access, a, 2, kRead), CHECK(check_access, a, 2, kWrite); }
void __tsan_read_write4(void* a) { CHECK(check_access, a, 4, kRead), CHECK(check_access, a, 4, kWrite); }
void __tsan_read_write8(void* a) { CHECK(check_access, a, 8, kRead), CHECK(check_access, a, 8, kWrite); }
void __tsan_read_write16(void* a) { CHECK(check_access, a, 16, kRead), CHECK(check_access, a, 16, kWrite); }

// A card treats volatile accesses as atomic ones. The compilers tell them apart if asked to.
void __tsan_volatile_read1(void* a) { CHECK(check_access, a, 1, kAtomic); }
void __tsan_volatile_read2(void* a) { CHECK(check_access, a, 2, kAtomic); }
void __tsan_volatile_read4(void* a) { CHECK(check_access, a, 4, kAtomic); }
void __tsan_volatile_read8(void* a) { CHECK(check_access, a, 8, kAtomic); }
void __tsan_volatile_read16(void* a) { CHECK(check_access, a, 16, kAtomic); }
void __tsan_volatile_write1(void* a) { CHECK(check_access, a, 1, kAtomic); }
void __tsan_volatile_write2(void* a) { CHECK(check_access, a, 2, kAtomic); }
void __tsan_volatile_write4(void* a) { CHECK(check_access, a, 4, kAtomic); }
void __tsan_volatile_write8(void* a) { CHECK(check_access, a, 8, kAtomic); }
void __tsan_volatile_write16(void* a) { CHECK(check_access, a, 16, kAtomic); }

void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}

void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  CHECK(check_access, from, bytes, kRead);
  CHECK(check_access, to, bytes, kWrite);
  return std::memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  CHECK(check_access, from, bytes, kRead);
  CHECK(check_access, to, bytes, kWrite);
  return std::memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  CHECK(check_access, to, bytes, kWrite);
  return std::memset(to, value, bytes);
}

// Atomics of host code, whose threads are no business of the detector. Those of kernels are atomicAdd and the like.
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

}  // extern "C"

#define BITS 8
#include "emulated/compiler_atomics.inc"
#undef BITS
#define BITS 16
#include "emulated/compiler_atomics.inc"
#undef BITS
#define BITS 32
#include "emulated/compiler_atomics.inc"
#undef BITS
#define BITS 64
#include "emulated/compiler_atomics.inc"
#undef BITS
