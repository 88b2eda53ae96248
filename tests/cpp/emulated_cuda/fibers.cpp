#include "emulated/fibers.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

// A function's caller expects these registers as they were. So they are pushed, and popped from the other stack.
#if defined(__x86_64__)
asm(R"(
  .text
  .globl emulated_cuda_switch
  .type emulated_cuda_switch, @function
emulated_cuda_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size emulated_cuda_switch, . - emulated_cuda_switch
)");
#elif defined(__aarch64__)
asm(R"(
  .text
  .globl emulated_cuda_switch
  .type emulated_cuda_switch, %function
emulated_cuda_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
  .size emulated_cuda_switch, . - emulated_cuda_switch
)");
#else
#error "emulated CUDA knows how to switch stacks on x86-64 and arm64 alone"
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes)
#endif

extern "C" __attribute__((visibility("hidden"))) void emulated_cuda_switch(void** from, void* to);

namespace emulated {
namespace {

constexpr size_t kLine = 64;
// Kernels keep tiles of sums in local memory. The five lines keep the tops of the stacks out of the same cache sets.
constexpr size_t kStackBytes = 64 * 1024 + 5 * kLine;
constexpr uint64_t kUntouched = 0x5afe57ac5afe57ac;  // at the lowest address of each stack
constexpr size_t kKeptBytes = size_t{256} << 20;

}  // namespace

void switch_fiber(Fiber* from, Fiber to) { emulated_cuda_switch(from, to); }

Stacks::~Stacks() { release(); }

void Stacks::release() {
  if (memory_ != nullptr) munmap(memory_, count_ * kStackBytes);
  memory_ = nullptr;
  count_ = 0;
}

void Stacks::reserve(size_t count) {
  if (count <= count_) return;
  release();
  void* memory = mmap(nullptr, count * kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
  count_ = count;
}

Fiber Stacks::start(size_t i, void (*entry)()) const {
  char* bottom = memory_ + i * kStackBytes;
  char* top = bottom + kStackBytes;
  ASAN_UNPOISON_MEMORY_REGION(bottom, kStackBytes);  // the last fiber here may have been given up
  std::memcpy(bottom, &kUntouched, sizeof kUntouched);
  auto** stack = reinterpret_cast<void**>(top - kLine * 4);
  std::memset(stack, 0, kLine * 4);
#if defined(__x86_64__)
  stack[6] = reinterpret_cast<void*>(entry);  // above six registers; the stack is aligned as after a call
#else
  stack[11] = reinterpret_cast<void*>(entry);  // x30
#endif
  return stack;
}

bool Stacks::overflowed(size_t i) const {
  return std::memcmp(memory_ + i * kStackBytes, &kUntouched, sizeof kUntouched) != 0;
}

void Stacks::shrink() const {
  const size_t bytes = count_ * kStackBytes;
  if (bytes > kKeptBytes) madvise(memory_ + kKeptBytes, (bytes - kKeptBytes) / 4096 * 4096, MADV_DONTNEED);
}

}  // namespace emulated
