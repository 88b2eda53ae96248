#include "graph/operations/input_output.h"

#include "graph/print.h"

namespace engine::graph {

std::string ReadInput::attributes() const {
  std::string text;
  const auto add = [&](const char* name, const std::string& number) {
    text += (text.empty() ? "" : " ") + std::string(name) + "=" + number;
  };
  if (first_column != 0) add("first_column", std::to_string(first_column));
  if (scale != 1.0f) add("scale", short_number(scale));
  if (offset != 0.0f) add("offset", short_number(offset));
  return text;
}

}  // namespace engine::graph
