// Checks each access of a kernel to card or shared memory. For each word of four bytes, shadow memory tells which bytes
// are allocated and written, and which threads accessed it last, when. An access races with an earlier one by another
// thread if one of them writes and no barrier lies between that both threads reach.
//
// Time counts barriers: what happens before a barrier ends has an earlier time than what happens after.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emulated {

struct WarpArgs;

enum class Access : uint8_t { kRead, kWrite, kAtomic };

/// Checks an access by the current thread, which the code before `code` makes.
void check_access(const void* address, size_t bytes, Access access, const void* code);

/// The same where the address must be a multiple of the size.
void check_aligned_access(const void* address, size_t bytes, Access access, const void* code);

/// Returns the time and lets the next moment begin.
uint32_t tick();

/// The lanes in `mask` have met in __syncwarp.
void synchronize_lanes(WarpArgs& warp, uint32_t mask);

/// The current thread calls __threadfence.
void note_fence();

void begin_kernel(size_t blocks);
/// Throws a KernelError if the kernel made errors.
void end_kernel();

/// Makes room for what is known of the memory from `base` on, if accesses are checked.
void reserve_shadow(const char* base, size_t bytes);
void note_allocated(const char* address, size_t bytes);
void note_freed(const char* address, size_t bytes);
void note_written(const char* address, size_t bytes);

}  // namespace emulated
