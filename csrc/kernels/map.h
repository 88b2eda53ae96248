// Runs the instructions of a map on a block of numbers that fits the L1 cache: one loop over the block for each.
#pragma once
#include <utility>

#include "formulas/map_functions.h"
#include "kernels/simd.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Arithmetic takes no longer than to count its vectors one by one.
constexpr int kUnrolledMap = 4;

template <MapOp op>
void run_instruction(const MapBlockInstruction& each, const MapRegister* registers, int64_t n) {
  constexpr int kOperands = operand_count(op);
  // In variables of the function: a vector may be stored over anything that lies in memory.
  const MapRegister a = registers[each.a], b = registers[kOperands > 1 ? each.b : each.a],
                    c = registers[kOperands > 2 ? each.c : each.a];
  float* const y = registers[each.y].data;
#pragma GCC unroll kUnrolledMap
  for (int64_t j = 0; j < n; j += kWidth) {
    store(y + j, map_value<op>(load(a.data + j * a.step), load(b.data + j * b.step), load(c.data + j * c.step)));
  }
}

using MapLoop = void (*)(const MapBlockInstruction&, const MapRegister*, int64_t);

template <class Ops>
struct MapLoops;
template <int... ops>
struct MapLoops<std::integer_sequence<int, ops...>> {
  static constexpr MapLoop kByOp[] = {run_instruction<static_cast<MapOp>(ops)>...};
};

void run_map(const MapBlock& op) {
  for (const MapBlockInstruction* each = op.begin; each < op.end; ++each) {
    MapLoops<std::make_integer_sequence<int, kMapOps>>::kByOp[static_cast<int>(each->op)](*each, op.registers, op.n);
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
