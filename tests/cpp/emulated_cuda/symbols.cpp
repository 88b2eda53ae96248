#include "emulated/symbols.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace emulated {
namespace {

struct Function {
  uint64_t end;
  std::string name;
};

/// The functions of a program or library, by their address in the file.
struct Module {
  bool relocated = true;  // loaded at another address than the file says
  std::map<uint64_t, Function> functions;
};

/// Reads the table of all symbols, since dladdr knows only those that other modules may use.
Module read(const std::string& path) {
  Module module;
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < sizeof(Elf64_Ehdr)) return module;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(bytes.data());
  module.relocated = header->e_type != ET_EXEC;
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(bytes.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const char* names = bytes.data() + sections[sections[i].sh_link].sh_offset;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(bytes.data() + sections[i].sh_offset);
    for (size_t s = 0; s < sections[i].sh_size / sizeof(Elf64_Sym); ++s) {
      if (ELF64_ST_TYPE(symbols[s].st_info) != STT_FUNC || symbols[s].st_size == 0) continue;
      module.functions[symbols[s].st_value] = {symbols[s].st_value + symbols[s].st_size, names + symbols[s].st_name};
    }
  }
  return module;
}

struct Found {
  std::string name;  // empty if unknown
  uint64_t in_file;  // the address in the file
};

Found find(const void* address) {
  static std::map<std::string, Module> modules;
  Dl_info info{};
  const auto value = reinterpret_cast<uint64_t>(address);
  if (dladdr(address, &info) == 0) return {"", value};
  std::string path = info.dli_fname;
  if (path.find('/') == std::string::npos) path = "/proc/self/exe";
  auto module = modules.find(path);
  if (module == modules.end()) module = modules.emplace(path, read(path)).first;
  const uint64_t in_file = module->second.relocated ? value - reinterpret_cast<uint64_t>(info.dli_fbase) : value;
  auto function = module->second.functions.upper_bound(in_file);
  if (function == module->second.functions.begin()) return {"", in_file};
  --function;
  if (in_file >= function->second.end) return {"", in_file};
  char* demangled = abi::__cxa_demangle(function->second.name.c_str(), nullptr, nullptr, nullptr);
  std::string name = demangled != nullptr ? demangled : function->second.name;
  std::free(demangled);
  return {name, in_file};
}

std::string hexadecimal(uint64_t value) {
  char text[2 + 16 + 1];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

std::string function_name(const void* address) {
  const Found found = find(address);
  return found.name.empty() ? hexadecimal(found.in_file) : found.name;
}

std::string code_place(const void* address) {
  const Found found = find(address);
  return (found.name.empty() ? "" : found.name + " at ") + hexadecimal(found.in_file);
}

}  // namespace emulated
