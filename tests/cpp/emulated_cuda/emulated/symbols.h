// Names of functions for messages.
#pragma once
#include <string>

namespace emulated {

/// The name of the function that starts at, or contains, `address`.
std::string function_name(const void* address);

/// The same with the address as `addr2line -Cie PROGRAM` wants it.
std::string code_place(const void* address);

}  // namespace emulated
