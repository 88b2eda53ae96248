#include "cpu/dispatch.h"

#include <cstdlib>
#include <functional>
#include <iterator>
#include <mutex>
#include <stdexcept>

// Each instruction set's objects in csrc/kernels/ define one of these.
namespace engine::baseline {
void fill_table(KernelTable& table);
}
namespace engine::neon {
void fill_table(KernelTable& table);
}
namespace engine::avx2 {
void fill_table(KernelTable& table);
}
namespace engine::avx512 {
void fill_table(KernelTable& table);
}

namespace engine::cpu {
namespace {

struct Isa {
  const char* name;
  bool (*runs_here)();
  void (*fill_table)(KernelTable&);
};

#if defined(ENGINE_HAS_AVX2) || defined(ENGINE_HAS_AVX512)
/// Whether the compiler may use what -march=x86-64-v3 allows. Every CPU with these also has the rest of it: LZCNT,
/// MOVBE and F16C. __builtin_cpu_supports also checks that the operating system saves the wide registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
         __builtin_cpu_supports("bmi2");
}
#endif

// The narrowest comes first.
constexpr Isa kIsas[] = {
#ifdef ENGINE_HAS_BASELINE
    {"baseline", [] { return true; }, baseline::fill_table},
#endif
#ifdef ENGINE_HAS_NEON
    {"neon", [] { return true; }, neon::fill_table},
#endif
#ifdef ENGINE_HAS_AVX2
    {"avx2", has_avx2, avx2::fill_table},
#endif
#ifdef ENGINE_HAS_AVX512
    {"avx512",
     [] {
       return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
     },
     avx512::fill_table},
#endif
};

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const KernelTable& choose() {
  const char* wanted = std::getenv("ENGINE_ISA");
  if (!wanted || !*wanted) {
    const auto runnable = runnable_isas();
    return kernels_for(runnable.empty() ? kIsas[0].name
                                        : runnable.back());  // if none runs, this throws and says what is missing
  }
  try {
    return kernels_for(wanted);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("ENGINE_ISA: " + std::string(error.what()) + "; set another or unset it");
  }
}

}  // namespace

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) names.emplace_back(isa.name);
  return names;
}

std::vector<std::string> runnable_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : kIsas) {
    if (isa.runs_here()) names.emplace_back(isa.name);
  }
  return names;
}

const KernelTable& kernels_for(const std::string& name) {
  static KernelTable tables[std::size(kIsas)];
  static std::once_flag filled[std::size(kIsas)];
  for (size_t i = 0; i < std::size(kIsas); ++i) {
    const Isa& isa = kIsas[i];
    if (name != isa.name) continue;
    if (isa.runs_here()) {
      std::call_once(filled[i], isa.fill_table, std::ref(tables[i]));
      return tables[i];
    }
    throw std::invalid_argument("this CPU has no " + name + "; it runs " + join(runnable_isas()));
  }
  throw std::invalid_argument("no instruction set named '" + name + "' is compiled in; there are " +
                              join(compiled_isas()));
}

const KernelTable& kernels() {
  static const KernelTable& table = choose();
  return table;
}

}  // namespace engine::cpu
