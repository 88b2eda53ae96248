// A library that, if it is preloaded, makes chosen allocations fail, or the start of threads beyond a number. Python
// calls the functions at the end. It needs Linux with glibc.
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <new>

extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* p, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
}

namespace {

struct Range {
  uintptr_t begin, end;
  size_t least;  // smaller allocations from this module are not counted
};
constexpr int kMostRanges = 16;
Range ranges[kMostRanges];
std::atomic<int> range_count{0};
std::atomic<bool> armed{false};
std::atomic<long> seen{0}, failing{-1}, failing_for{0};
std::atomic<int> thread_limit{-1}, living{0};
std::atomic<long> starts_left{-1};  // negative: any number

bool counts(const void* caller, size_t size) {
  const auto address = reinterpret_cast<uintptr_t>(caller);
  for (int i = 0; i < range_count.load(std::memory_order_relaxed); ++i) {
    if (address >= ranges[i].begin && address < ranges[i].end) return size >= ranges[i].least;
  }
  return false;
}

bool fails() {
  if (!armed.load(std::memory_order_relaxed)) return false;
  const long number = seen.fetch_add(1), first = failing.load();
  return first >= 0 && number >= first && number < first + failing_for.load();
}

bool fails_for(const void* caller, size_t size) {
  return armed.load(std::memory_order_relaxed) && counts(caller, size) && fails();
}

void* allocate(size_t size, size_t alignment) {
  void* const p = fails() ? nullptr : alignment ? __libc_memalign(alignment, size) : __libc_malloc(size ? size : 1);
  if (!p) throw std::bad_alloc();
  return p;
}

void* no_memory() {
  errno = ENOMEM;
  return nullptr;
}

struct Watched {
  const char* name;
  size_t least;
};

int add_ranges(dl_phdr_info* info, size_t, void* given) {
  const auto& watched = *static_cast<const Watched*>(given);
  if (!strstr(info->dlpi_name, watched.name)) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X) || range_count == kMostRanges) continue;
    const uintptr_t begin = info->dlpi_addr + segment.p_vaddr;
    ranges[range_count++] = {begin, begin + segment.p_memsz, watched.least};
  }
  return 0;
}

struct Start {
  void* (*routine)(void*);
  void* argument;
};

void leave(void*) { --living; }

void* run_thread(void* given) {
  const Start start = *static_cast<Start*>(given);
  free(given);
  void* result = nullptr;
  pthread_cleanup_push(leave, nullptr);
  result = start.routine(start.argument);
  pthread_cleanup_pop(1);
  return result;
}

}  // namespace

void* operator new(size_t size) { return allocate(size, 0); }
void* operator new[](size_t size) { return allocate(size, 0); }
void* operator new(size_t size, std::align_val_t alignment) { return allocate(size, static_cast<size_t>(alignment)); }
void* operator new[](size_t size, std::align_val_t alignment) { return allocate(size, static_cast<size_t>(alignment)); }

extern "C" {

void* malloc(size_t size) { return fails_for(__builtin_return_address(0), size) ? no_memory() : __libc_malloc(size); }

void* calloc(size_t count, size_t size) {
  return fails_for(__builtin_return_address(0), count * size) ? no_memory() : __libc_calloc(count, size);
}

void* realloc(void* p, size_t size) {
  return fails_for(__builtin_return_address(0), size) ? no_memory() : __libc_realloc(p, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
  return fails_for(__builtin_return_address(0), size) ? no_memory() : __libc_memalign(alignment, size);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*routine)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  const int limit = thread_limit;
  if (limit >= 0 && living >= limit) return EAGAIN;
  if (starts_left == 0) return EAGAIN;
  if (starts_left > 0) --starts_left;
  auto* const start = static_cast<Start*>(__libc_malloc(sizeof(Start)));
  if (!start) return EAGAIN;
  *start = {routine, argument};
  ++living;
  const int error = create(thread, attributes, run_thread, start);
  if (error != 0) {
    --living;
    free(start);
  }
  return error;
}

/// Begins to count allocations of at least `least` bytes by modules with `name` in their path, and all by C++.
void faults_watch(const char* name, size_t least) {
  Watched watched{name, least};
  dl_iterate_phdr(add_ranges, &watched);
}

/// Makes `count` allocations fail, beginning with number `first` from now on; none if `first` is negative.
void faults_arm(long first, long count) {
  seen = 0;
  failing = first;
  failing_for = count;
  armed = true;
}

/// Returns the number of allocations since `faults_arm`, after which none fails.
long faults_disarm() {
  armed = false;
  return seen;
}

/// Limits the number of threads that can be started in addition to those that exist now.
void faults_limit_threads(int limit) { thread_limit = living + limit; }

/// Lets `starts` more threads start, and none after them, whether or not some have ended: others took their places. A
/// negative number ends this.
void faults_limit_starts(long starts) { starts_left = starts; }
}
