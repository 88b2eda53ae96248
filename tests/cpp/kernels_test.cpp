// Runs the kernels of one instruction set, which ENGINE_ISA chooses, on fixed numbers, and compares hashes of the
// results with those that every instruction set must give. It needs no Python, so that it can run in an emulator.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "cases.h"
#include "cpu/denormals.h"
#include "cpu/dispatch.h"

namespace engine::test {
namespace {

struct Group {
  const char* name;
  void (*add)(const KernelTable&, Digest&);
  uint64_t expected;
};

/// The expected hashes. After a change that is meant to change bits, copy here what the program prints.
constexpr Group kGroups[] = {
    {"multiply-add, exp, log", add_math, 0x8672c0d5fe4beb1f},
    {"dense layers", add_dense, 0x8b06386cda954d3d},
    {"general products", add_products, 0x022769c3ce9901a7},
    {"activations", add_activations, 0xe7e85edd5b41b428},
    {"losses", add_losses, 0xd348ddfc07e40a9c},
    {"metrics", add_metrics, 0x23bd87e732fdaa19},
    {"updates", add_updates, 0x890c1f21d432b362},
    {"layers", add_layers, 0x7db9a557b188bff0},
    {"arrays", add_arrays, 0xbb896562035fadb0},
    {"random numbers", add_random, 0x2a8ded8a6ec039d9},
    {"trainings", add_training, 0x31fd2bb0dcecee91},
};

/// A result that rounds up to the smallest normal number: x86 keeps it, as it flushes to zero after rounding, and arm64
/// flushes it before. Nothing else differs (docs/explanation/numerical-contract.md).
int check_flushing() {
  const cpu::DenormalsAreZero guard;
  const volatile float a = 0x1.000002p-63f, b = 0x1.fffffcp-64f, c = 0x1p-63f;
#if defined(__aarch64__)
  const float expected = 0.0f;
#else
  const float expected = 0x1p-126f;
#endif
  const float rounded_up = a * b, below = b * c;
  if (rounded_up == expected && below == 0.0f) return 0;
  std::printf("the smallest numbers: got %a and %a, expected %a and 0\n", static_cast<double>(rounded_up),
              static_cast<double>(below), static_cast<double>(expected));
  return 1;
}

/// The exit status by which CTest knows a skipped test.
constexpr int kSkipped = 77;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

int run() {
  const char* wanted = std::getenv("ENGINE_ISA");
  if (wanted && contains(cpu::compiled_isas(), wanted) && !contains(cpu::runnable_isas(), wanted)) {
    std::printf("skipped: this CPU has no %s\n", wanted);
    return kSkipped;
  }
  const KernelTable& table = cpu::kernels();
  int failures = 0;
  for (const Group& group : kGroups) {
    Digest digest;
    {
      const cpu::DenormalsAreZero guard;
      group.add(table, digest);
    }
    const bool right = digest.value() == group.expected;
    std::printf("%-8s  %-24s 0x%016" PRIx64 "%s\n", table.isa, group.name, digest.value(), right ? "" : "  WRONG");
    failures += right ? 0 : 1;
  }
  {
    const cpu::DenormalsAreZero guard;
    failures += compare_formulas_in_float(table);
  }
  failures += check_flushing();
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace engine::test

int main() {
  try {
    return engine::test::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
  }
}
