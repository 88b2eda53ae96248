// What each step reads and writes, and whether a thread stays within its own slice of it.
#pragma once
#include <vector>

#include "plan/plan.h"

namespace engine {

/// Which part of a buffer or variable one thread touches. Equal slices of one resource have equal owners.
enum class Slice { kAll, kSamples, kColumns, kRows, kFirstThread };

struct Access {
  int resource;
  bool writes;
  Slice slice;
};

/// Of buffers, and then of variables, gradients and what else threads share. Copies of one's own are left out.
std::vector<Access> accesses_of(const Plan& plan, const Step& step);

}  // namespace engine
