// Runs the instructions of a map on a block of numbers that fits the L1 cache: one loop over the block for each
// instruction, or for each chain of instructions, every one of which reads the result of the one before.
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

/// Vectors that pass through a chain together, in half of the CPU's registers: with AVX-512 it has 32 of them.
constexpr int kChainVectors = kWidth == 16 ? 16 : 8;

/// An operand of a chained instruction, vector by vector from number j on.
struct ChainOperand {
  const float* at;
  int64_t step;

  ChainOperand(const MapRegister& from, int64_t j) : at(from.data + j * from.step), step(kWidth * from.step) {}
  ENGINE_INLINE vf next() {
    const vf v = load(at);
    at += step;
    return v;
  }
};

/// results = the instruction, of which `results` are one operand or both
template <MapOp op, Chained chained, int vectors>
ENGINE_INLINE void chain_instruction(vf* results, const MapBlockInstruction& each, const MapRegister* registers,
                                     int64_t j) {
  constexpr int kOperands = operand_count(op);
  constexpr bool kIsA = chained == Chained::kA || chained == Chained::kBoth;
  constexpr bool kIsB = kOperands < 2 || chained == Chained::kB || chained == Chained::kBoth;
  constexpr bool kIsC = kOperands < 3 || chained == Chained::kC;
  ChainOperand a(registers[each.a], j), b(registers[kIsB ? each.a : each.b], j),
      c(registers[kIsC ? each.a : each.c], j);
  // The other operand is one number for all elements: it is loaded once, since a core has few loads in a cycle.
  if (kOperands == 2 && kIsA != kIsB && (kIsA ? b : a).step == 0) {
    const vf number = (kIsA ? b : a).next();
#pragma GCC unroll kChainVectors
    for (int v = 0; v < vectors; ++v) {
      results[v] = map_value<op>(kIsA ? results[v] : number, kIsB ? results[v] : number, number);
    }
    return;
  }
#pragma GCC unroll kChainVectors
  for (int v = 0; v < vectors; ++v) {
    const vf before = results[v];
    results[v] = map_value<op>(kIsA ? before : a.next(), kIsB ? before : b.next(), kIsC ? before : c.next());
  }
}

/// A number for each instruction together with the operands that are chained, for the cases of a switch.
constexpr int chain_case(MapOp op, Chained chained) { return static_cast<int>(op) * 8 + static_cast<int>(chained); }

/// results = the instruction `each`, where `chained` says which operands `results` are. There is a case for everything
/// that `may_be_chained`.
template <int vectors>
ENGINE_INLINE void run_chained(const MapBlockInstruction& each, Chained chained, vf* results,
                               const MapRegister* registers, int64_t j) {
#define ENGINE_CHAINED(op, operand)             \
  case chain_case(MapOp::op, Chained::operand): \
    return chain_instruction<MapOp::op, Chained::operand, vectors>(results, each, registers, j)
#define ENGINE_CHAINED_ANY(op) \
  ENGINE_CHAINED(op, kA);      \
  ENGINE_CHAINED_B(op)
#define ENGINE_CHAINED_B(op) \
  ENGINE_CHAINED(op, kB);    \
  ENGINE_CHAINED(op, kBoth)
  switch (chain_case(each.op, chained)) {
    ENGINE_CHAINED(kNegate, kA);
    ENGINE_CHAINED(kAbs, kA);
    ENGINE_CHAINED(kSqrt, kA);
    ENGINE_CHAINED_ANY(kAdd);
    ENGINE_CHAINED_ANY(kSubtract);
    ENGINE_CHAINED_ANY(kMultiply);
    ENGINE_CHAINED_ANY(kDivide);
    ENGINE_CHAINED_ANY(kMinimum);
    ENGINE_CHAINED_ANY(kMaximum);
    ENGINE_CHAINED_ANY(kEqual);
    ENGINE_CHAINED_ANY(kLess);
    ENGINE_CHAINED_ANY(kLessEqual);
    ENGINE_CHAINED_ANY(kSelect);
    ENGINE_CHAINED(kSelect, kC);
    ENGINE_CHAINED_ANY(kMaximumGradient);
    ENGINE_CHAINED(kMaximumGradient, kC);
  }
#undef ENGINE_CHAINED_ANY
#undef ENGINE_CHAINED_B
#undef ENGINE_CHAINED
  __builtin_unreachable();
}

/// A chain for some vectors from number j on. The first instruction gets its operand a as the result before it.
template <int vectors>
ENGINE_INLINE void run_chain_at(const MapBlockInstruction* begin, const MapBlockInstruction* end,
                                const MapRegister* registers, int64_t j) {
  vf results[vectors];
  ChainOperand first(registers[begin->a], j);
#pragma GCC unroll kChainVectors
  for (int v = 0; v < vectors; ++v) results[v] = first.next();
  for (const MapBlockInstruction* each = begin; each < end; ++each) {
    run_chained<vectors>(*each, each == begin ? Chained::kA : each->chained, results, registers, j);
    if (!each->stores) continue;
    float* const y = registers[each->y].data + j;
#pragma GCC unroll kChainVectors
    for (int v = 0; v < vectors; ++v) store(y + v * kWidth, results[v]);
  }
}

void run_chain(const MapBlockInstruction* begin, const MapBlockInstruction* end, const MapRegister* registers,
               int64_t n) {
  int64_t j = 0;
  for (; j + kChainVectors * kWidth <= n; j += kChainVectors * kWidth) {
    run_chain_at<kChainVectors>(begin, end, registers, j);
  }
  for (; j < n; j += kWidth) run_chain_at<1>(begin, end, registers, j);
}

void run_map(const MapBlock& op) {
  for (const MapBlockInstruction *each = op.begin, *next; each < op.end; each = next) {
    next = each + 1;
    while (next < op.end && next->chained != Chained::kNone) ++next;
    if (next - each > 1) {
      run_chain(each, next, op.registers, op.n);
    } else {
      MapLoops<std::make_integer_sequence<int, kMapOps>>::kByOp[static_cast<int>(each->op)](*each, op.registers, op.n);
    }
  }
}

}  // namespace
}  // namespace engine::ENGINE_ISA
