// Looks where panels of kernels and buffers of plans lie: none on another one's place, and what two threads write
// apart.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "models.h"
#include "plan/plan.h"

namespace engine::test {
namespace {

struct Block {
  int owner;
  int64_t begin, end;
};

/// The fewest floats between blocks of two owners, negative where two blocks of anybody share some.
int64_t least_gap(const std::vector<Block>& blocks) {
  int64_t least = kApart;
  for (size_t i = 0; i < blocks.size(); ++i) {
    for (size_t j = i + 1; j < blocks.size(); ++j) {
      const Block &a = blocks[i], &b = blocks[j];
      const int64_t gap = a.begin < b.begin ? b.begin - a.end : a.begin - b.end;
      if ((gap < 0 || a.owner != b.owner) && gap < least) least = gap;
    }
  }
  return least;
}

bool check_panels() {
  bool disjoint = true, within = true, whole = true;
  for (const int64_t rows : {1, 2, 15, 64, 784}) {
    for (const int64_t columns : {1, 16, 17, 32, 33, 64, 65, 128, 130, 512, 1000, 8192, 10000}) {
      const Panels panels(rows, columns);
      std::vector<Block> blocks;
      panels.each({0, panels.columns}, [&](const Panel& panel) {
        blocks.push_back({0, panel.offset, panel.offset + rows * panel.width});
        within = within && panel.offset >= 0 && blocks.back().end <= panels.floats();
        whole = whole && (rows > 1 || panel.offset == panel.first);
      });
      disjoint = disjoint && least_gap(blocks) >= 0;
    }
  }
  return check(disjoint, "panels do not overlap") & check(within, "panels lie in the room of their kernel") &
         check(whole, "a row's columns follow each other");
}

ModelSpec network() {
  ModelSpec model;
  model.input_size = 784;
  model.layers = {dense(512, Activation::kGelu), dense(128, Activation::kRelu), dense(10, Activation::kSoftmax)};
  return model;
}

bool check_buffers() {
  const ModelSpec model = network();
  const Parameters parameters = lay_out(model);
  bool disjoint = true, within = true, apart = true, copies = true;
  for (const Plan::Mode mode : {Plan::Mode::kTrain, Plan::Mode::kEvaluate, Plan::Mode::kPredict}) {
    for (const int threads : {1, 2, 3, 8}) {
      for (const int64_t rows : {1, 32, 512}) {
        const Plan plan = compile(model, parameters, classification(), mode, false, rows, threads);
        constexpr int kEverybody = -1;
        std::vector<Block> blocks;
        for (const Buffer& buffer : plan.buffers) {
          const int64_t floats = buffer.rows * buffer.ld;
          for (int thread = 0; thread < (buffer.copied ? plan.threads : 1); ++thread) {
            const int64_t begin = buffer.offset + thread * plan.copy_stride;
            blocks.push_back({buffer.copied ? thread : kEverybody, begin, begin + floats});
            within = within && begin >= 0 && begin + floats <= plan.arena_size;
          }
        }
        const bool shares = mode == Plan::Mode::kTrain && plan.threads > 1;
        copies = copies && (!shares || std::any_of(plan.buffers.begin(), plan.buffers.end(), [](const Buffer& buffer) {
                   return buffer.copied && buffer.rows > 1;
                 }));
        const int64_t gap = least_gap(blocks);
        disjoint = disjoint && gap >= 0;
        apart = apart && gap >= kApart;
      }
    }
  }
  return check(disjoint, "buffers do not overlap") & check(within, "buffers lie in their arena") &
         check(apart, "copies of two threads lie apart") & check(copies, "threads that train have copies");
}

bool check_variables() {
  const Parameters parameters = lay_out(network());
  std::vector<Block> blocks;
  for (const Variable& v : parameters.variables) {
    const auto owner = static_cast<int>(blocks.size());
    blocks.push_back({owner, v.offset, v.offset + Panels(v.rows, v.columns).floats()});
  }
  return check(least_gap(blocks) >= kApart, "variables lie apart") &
         check(blocks.back().end <= parameters.size, "variables lie in their arena");
}

/// One buffer of the first batch is too large, and of the second all together.
bool check_limit() {
  const ModelSpec model = network();
  const Parameters parameters = lay_out(model);
  int refused = 0;
  for (const int power : {40, 30}) {
    try {
      compile(model, parameters, classification(), Plan::Mode::kTrain, false, int64_t{1} << power, 2);
    } catch (const std::length_error&) {
      ++refused;
    }
  }
  return check(refused == 2, "batches that no machine has room for are refused");
}

}  // namespace
}  // namespace engine::test

int main() {
  using namespace engine::test;
  const bool right = check_panels() & check_variables() & check_buffers() & check_limit();
  return right ? 0 : 1;
}
