// Prints the result of a check.
#pragma once
#include <cstdio>

namespace engine::test {

inline bool check(bool right, const char* what) {
  std::printf("%-60s %s\n", what, right ? "ok" : "WRONG");
  return right;
}

}  // namespace engine::test
