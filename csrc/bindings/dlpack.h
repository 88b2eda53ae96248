// The structs by which libraries hand arrays to each other, as DLPack 1.0 specifies them
// (https://dmlc.github.io/dlpack/latest/c_api.html). Their layout is fixed; the names of fields are this project's.
#pragma once
#include <cstdint>

namespace engine::bindings::dlpack {

/// The kinds of devices that matter here.
enum DeviceType : int32_t { kCpu = 1, kCuda = 2, kCudaManaged = 13 };

struct Device {
  int32_t type;
  int32_t index;
};

enum TypeCode : uint8_t { kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };

struct Type {
  uint8_t code;
  uint8_t bits;    // of one number
  uint16_t lanes;  // numbers in an element; 1 here
};

struct Tensor {
  void* data;
  Device device;
  int32_t axes;
  Type type;
  int64_t* shape;
  int64_t* strides;  // in numbers; null: the last axis varies fastest, without gaps
  uint64_t byte_offset;
};

/// An array with what frees it: the struct of versions before 1.0, in capsules named "dltensor".
struct ManagedTensor {
  Tensor tensor;
  void* context;  // of the owner
  void (*deleter)(ManagedTensor*);
};

struct Version {
  uint32_t major, minor;
};

constexpr uint32_t kMajorVersion = 1, kMinorVersion = 0;
constexpr uint64_t kReadOnly = 1, kIsCopied = 2;  // flags

/// The struct of version 1, in capsules named "dltensor_versioned".
struct VersionedTensor {
  Version version;
  void* context;
  void (*deleter)(VersionedTensor*);
  uint64_t flags;
  Tensor tensor;
};

// The names of capsules, before and after their array was taken out.
constexpr const char *kName = "dltensor", *kUsedName = "used_dltensor";
constexpr const char *kVersionedName = "dltensor_versioned", *kUsedVersionedName = "used_dltensor_versioned";

}  // namespace engine::bindings::dlpack
