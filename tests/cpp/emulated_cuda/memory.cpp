#include "emulated/memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "emulated/calls.h"
#include "emulated/card.h"
#include "emulated/detector.h"
#include "emulated/execution.h"
#include "emulated/runtime.h"

namespace emulated {
namespace {

constexpr size_t kRegionBytes = kSharedBytes + kCardBytes;
constexpr size_t kAlignment = 256;   // of what cudaMalloc returns
constexpr size_t kGap = kAlignment;  // between allocations, to catch overruns
constexpr size_t kHugePage = 2 << 20;
constexpr size_t kLarge = 8 * kHugePage;

size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Memory {
  char* base = nullptr;
  std::map<size_t, Allocation> allocations;  // by offset from the first byte behind the windows
  std::map<const char*, size_t> pinned;      // what cudaMallocHost returned, and the bytes
  size_t in_use = 0;
  int open = 0;  // how many OpenMemory objects there are
  bool guarded = true;
  struct sigaction previous_handler{};

  char* card_base() const { return base + kSharedBytes; }
  /// The bytes from the base on that blocks and allocations use, rounded up.
  size_t used_bytes() const {
    if (allocations.empty()) return kSharedBytes;
    const auto& [offset, last] = *allocations.rbegin();
    return kSharedBytes + round_up(offset + last.bytes + kGap, kHugePage);
  }
};

Memory& memory() {
  static Memory memory;
  return memory;
}

void protect(int protection) {
  Memory& m = memory();
  if (mprotect(m.base, std::min(m.used_bytes(), kRegionBytes), protection) != 0) throw std::bad_alloc();
}

/// Says what the program did wrong, then lets it end as without this handler.
void explain_fault(int signal, siginfo_t* info, void*) {
  Memory& m = memory();
  if (on_card(info->si_addr)) {
    const std::string who = current != nullptr
                                ? describe_thread(current->block->rank, current->rank) + " accesses"
                                : std::string("host code reads or writes card memory outside of kernels and copies,");
    const std::string text = "emulated CUDA: " + who + " " + describe_address(info->si_addr) + "\n";
    if (write(STDERR_FILENO, text.data(), text.size()) < 0) std::abort();
  }
  sigaction(signal, &m.previous_handler, nullptr);
}

/// Reserves the addresses on first use.
char* region() {
  Memory& m = memory();
  if (m.base != nullptr) return m.base;
  void* base = mmap(nullptr, kRegionBytes + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  m.base = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(base), kHugePage));
  reserve_shadow(m.base, kRegionBytes);
  struct sigaction handler{};
  handler.sa_sigaction = explain_fault;
  handler.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &handler, &m.previous_handler);
  return m.base;
}

/// The allocation that holds the address, or the last one before it; null if there is none.
const std::pair<const size_t, Allocation>* allocation_at_or_before(const void* address) {
  Memory& m = memory();
  if (!on_card(address) || static_cast<const char*>(address) < m.card_base()) return nullptr;
  auto after = m.allocations.upper_bound(static_cast<size_t>(static_cast<const char*>(address) - m.card_base()));
  return after == m.allocations.begin() ? nullptr : &*std::prev(after);
}

/// Returns the first gap that is large enough, or the region's size if there is none.
size_t place_for(size_t bytes) {
  size_t place = 0;
  for (const auto& [offset, allocation] : memory().allocations) {
    if (offset >= place + bytes + kGap) return place;
    place = round_up(offset + allocation.bytes + kGap, kAlignment);
  }
  return place + bytes + kGap <= kCardBytes ? place : kCardBytes;
}

cudaError_t allocate(void** pointer, size_t bytes) {
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  Memory& m = memory();
  char* base = region() + kSharedBytes;
  if (bytes > card().memory || m.in_use > card().memory - bytes) return cudaErrorMemoryAllocation;
  const size_t place = place_for(bytes);
  if (place == kCardBytes) return cudaErrorMemoryAllocation;
  m.allocations[place] = {bytes, calls().device};
  m.in_use += bytes;
  const OpenMemory open;
#if defined(MADV_HUGEPAGE)
  // To protect 100 MB in small pages at each launch takes milliseconds. A system without large ones refuses.
  if (bytes >= kLarge) {
    madvise(base + place / kHugePage * kHugePage, round_up(bytes, kHugePage), MADV_HUGEPAGE);
  }
#endif
  std::memset(base + place, kFresh, bytes);
  note_allocated(base + place, bytes);
  *pointer = base + place;
  return cudaSuccess;
}

bool is_start_of_allocation(const void* pointer) {
  const auto* found = allocation_at_or_before(pointer);
  return found != nullptr && memory().card_base() + found->first == pointer;
}

void release(void* pointer) {
  Memory& m = memory();
  const auto* found = allocation_at_or_before(pointer);
  const auto [place, allocation] = *found;
  char* address = m.card_base() + place;
  note_freed(address, allocation.bytes);
  if (allocation.bytes >= 2 * kHugePage) {  // gives whole pages back to the system
    char* first = m.card_base() + round_up(place, kHugePage);
    char* end = m.card_base() + (place + allocation.bytes) / kHugePage * kHugePage;
    madvise(first, static_cast<size_t>(end - first), MADV_DONTNEED);
  }
  protect(PROT_NONE);
  m.in_use -= allocation.bytes;
  m.allocations.erase(place);
  if (m.open > 0 || !m.guarded) protect(PROT_READ | PROT_WRITE);
}

bool is_pinned(const void* pointer) {
  const auto& pinned = memory().pinned;
  auto after = pinned.upper_bound(static_cast<const char*>(pointer));
  if (after == pinned.begin()) return false;
  --after;
  return pointer < after->first + after->second;
}

/// Rows of `width` bytes, whose beginnings lie a pitch apart.
struct Copy {
  char* to;
  size_t to_pitch;
  const char* from;
  size_t from_pitch, width, height;

  void run() const {
    const OpenMemory open;
    for (size_t row = 0; row < height; ++row) {
      std::memmove(to + row * to_pitch, from + row * from_pitch, width);
      if (on_card(to)) note_written(to + row * to_pitch, width);
    }
  }
};

size_t reach(size_t pitch, size_t width, size_t height) { return (height - 1) * pitch + width; }

cudaError_t check(const Copy& copy, cudaMemcpyKind kind) {
  const bool to_card = on_card(copy.to), from_card = on_card(copy.from);
  const bool says_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool says_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && (says_to != to_card || says_from != from_card)) return cudaErrorInvalidValue;
  if (copy.width > copy.to_pitch || copy.width > copy.from_pitch) return cudaErrorInvalidPitchValue;
  if (to_card && !allocated(copy.to, reach(copy.to_pitch, copy.width, copy.height))) return cudaErrorInvalidValue;
  if (from_card && !allocated(copy.from, reach(copy.from_pitch, copy.width, copy.height))) return cudaErrorInvalidValue;
  return cudaSuccess;
}

/// Host memory that is not pinned has been read, or written, when the call returns.
cudaError_t copy(const Copy& copy, cudaMemcpyKind kind, cudaStream_t stream) {
  if (copy.width == 0 || copy.height == 0) return cudaSuccess;
  if (const cudaError_t error = check(copy, kind); error != cudaSuccess) return error;
  if (runs_late(stream) && !on_card(copy.from) && !is_pinned(copy.from)) {
    const size_t bytes = reach(copy.from_pitch, copy.width, copy.height);
    const auto staged = std::make_shared<std::vector<char>>(copy.from, copy.from + bytes);
    Copy later = copy;
    later.from = staged->data();
    return submit(stream, [later, staged] { later.run(); });
  }
  const cudaError_t error = submit(stream, [copy] { copy.run(); });
  if (error == cudaSuccess && runs_late(stream) && !on_card(copy.to) && !is_pinned(copy.to)) drain(stream);
  return error;
}

cudaError_t set(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!allocated(pointer, bytes)) return cudaErrorInvalidValue;
  return submit(stream, [=] {
    const OpenMemory open;
    std::memset(pointer, value, bytes);
    note_written(static_cast<char*>(pointer), bytes);
  });
}

}  // namespace

OpenMemory::OpenMemory() {
  region();
  if (memory().open++ == 0 && memory().guarded) protect(PROT_READ | PROT_WRITE);
}

OpenMemory::~OpenMemory() {
  if (--memory().open == 0 && memory().guarded) protect(PROT_NONE);
}

bool on_card(const void* address) {
  const Memory& m = memory();
  return m.base != nullptr && address >= m.base && address < m.base + kRegionBytes;
}

bool allocated(const void* address, size_t bytes) {
  const auto* found = allocation_at_or_before(address);
  if (found == nullptr) return false;
  const auto within = static_cast<size_t>(static_cast<const char*>(address) - memory().card_base()) - found->first;
  return within <= found->second.bytes && bytes <= found->second.bytes - within;
}

char* open_shared_memory(size_t place, size_t bytes) {
  char* shared = region() + place * kWindowBytes;
  std::memset(shared, kFresh, bytes);
  note_allocated(shared, bytes);
  return shared;
}

void close_shared_memory(char* shared, size_t bytes) { note_freed(shared, bytes); }

std::string describe_address(const void* address) {
  const Memory& m = memory();
  const auto offset = static_cast<size_t>(static_cast<const char*>(address) - m.base);
  if (offset < kSharedBytes) {
    const size_t place = offset / kWindowBytes, byte = offset % kWindowBytes;
    if (running == nullptr || place >= running->blocks().size()) return "shared memory of no block";
    const Block& block = running->blocks()[place];
    const bool ended =
        block.threads_ended == running->shape().block.x * running->shape().block.y * running->shape().block.z;
    return "byte " + std::to_string(byte) + " of the " + std::to_string(running->shape().shared_bytes) +
           " bytes of shared memory of block " + std::to_string(block.rank) + (ended ? ", which has ended" : "");
  }
  const auto* found = allocation_at_or_before(address);
  if (found == nullptr) return "card memory that is not allocated";
  const size_t byte = offset - kSharedBytes - found->first, bytes = found->second.bytes;
  if (byte < bytes) return "byte " + std::to_string(byte) + " of an allocation of " + std::to_string(bytes) + " bytes";
  return "card memory that is not allocated, " + std::to_string(byte - bytes) + " bytes behind an allocation of " +
         std::to_string(bytes) + " bytes";
}

size_t memory_in_use() { return memory().in_use; }

void guard_memory(bool guarded) {
  region();
  memory().guarded = guarded;
  // What is allocated later is made reachable with the next launch or copy, which comes before anyone uses it.
  if (memory().open == 0) protect(guarded ? PROT_NONE : PROT_READ | PROT_WRITE);
}

}  // namespace emulated

using emulated::call;

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return call([&] {
    if (pointer == nullptr) return cudaErrorInvalidValue;
    if (emulated::forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    return emulated::allocate(pointer, bytes);
  });
}

cudaError_t cudaFree(void* pointer) {
  return call([&] {
    if (emulated::forbidden_by_capture()) return cudaErrorStreamCaptureUnsupported;
    if (pointer == nullptr) return cudaSuccess;
    if (!emulated::is_start_of_allocation(pointer)) return cudaErrorInvalidValue;
    emulated::drain_all();
    emulated::release(pointer);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  return call([&] {
    if (emulated::is_captured(stream)) return cudaErrorStreamCaptureUnsupported;
    return emulated::allocate(pointer, bytes);
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return call([&] {
    if (pointer == nullptr) return cudaSuccess;
    if (!emulated::is_start_of_allocation(pointer)) return cudaErrorInvalidValue;
    if (emulated::is_captured(stream)) return cudaErrorStreamCaptureUnsupported;
    return emulated::submit(stream, [=] { emulated::release(pointer); });
  });
}

/// Nothing is kept: memory that is allocated has always the content of new memory.
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return call([&] {
    *pool = nullptr;
    return device >= 0 && device < emulated::card().devices ? cudaSuccess : cudaErrorInvalidDevice;
  });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return call([] { return cudaSuccess; });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return call([&] {
    *pointer = bytes == 0 ? nullptr : std::aligned_alloc(4096, emulated::round_up(bytes, 4096));
    if (bytes != 0 && *pointer == nullptr) return cudaErrorMemoryAllocation;
    if (bytes != 0) emulated::memory().pinned[static_cast<char*>(*pointer)] = bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned int) { return cudaMallocHost(pointer, bytes); }

cudaError_t cudaFreeHost(void* pointer) {
  return call([&] {
    if (pointer == nullptr) return cudaSuccess;
    if (emulated::memory().pinned.count(static_cast<char*>(pointer)) == 0) return cudaErrorInvalidValue;
    emulated::drain_all();
    emulated::memory().pinned.erase(static_cast<char*>(pointer));
    std::free(pointer);
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call([&] {
    *total = emulated::card().memory;
    *free = *total - std::min(*total, emulated::memory_in_use());
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return call([&] {
    auto* p = const_cast<void*>(pointer);
    if (emulated::allocated(pointer, 1)) {
      *attributes = {cudaMemoryTypeDevice, emulated::allocation_at_or_before(pointer)->second.device, p, nullptr};
    } else if (emulated::is_pinned(pointer)) {
      *attributes = {cudaMemoryTypeHost, emulated::calls().device, p, p};
    } else {
      *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, p};
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);  // which runs at once on the default stream
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                         cudaMemcpyKind kind) {
  return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind, nullptr);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&] {
    const emulated::Copy copy{
        static_cast<char*>(to), to_pitch, static_cast<const char*>(from), from_pitch, width, height};
    return emulated::copy(copy, kind, stream);
  });
}

cudaError_t cudaMemset(void* pointer, int value, size_t bytes) {
  return cudaMemsetAsync(pointer, value, bytes, nullptr);
}

cudaError_t cudaMemsetAsync(void* pointer, int value, size_t bytes, cudaStream_t stream) {
  return call([&] { return emulated::set(pointer, value, bytes, stream); });
}
