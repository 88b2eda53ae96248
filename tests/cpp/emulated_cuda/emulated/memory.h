// The emulated card's memory: one region of addresses that the host cannot reach while no kernel or copy runs. In front
// lie windows, one for the shared memory of each block that is alive, then what cudaMalloc returns.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace emulated {

constexpr size_t kWindowBytes = 256 * 1024;  // more than the shared memory of a block: the rest catches overruns
constexpr size_t kWindows = 8192;            // blocks that can be alive at once
constexpr size_t kSharedBytes = kWindows * kWindowBytes;
constexpr size_t kCardBytes = size_t{16} << 30;

/// All bits set: a NaN in each format of floating point, and -1. Memory that nobody has written holds it.
constexpr int kFresh = 0xff;

struct Allocation {
  size_t bytes;
  int device;
};

/// Lets the host reach the region while the object lives.
class OpenMemory {
 public:
  OpenMemory();
  ~OpenMemory();
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;
};

/// Whether the address lies in the region.
bool on_card(const void* address);

/// Whether the bytes lie within one allocation.
bool allocated(const void* address, size_t bytes);

/// The shared memory of the block in this place among those that are alive.
char* open_shared_memory(size_t place, size_t bytes);
void close_shared_memory(char* shared, size_t bytes);

/// "byte 16 of an allocation of 4096 bytes"
std::string describe_address(const void* address);

}  // namespace emulated
