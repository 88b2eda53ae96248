// Numbers of attributes as text.
#pragma once
#include <string>

namespace engine::graph {

/// Six significant digits at most, without zeros at the end.
std::string short_number(double number);

}  // namespace engine::graph
