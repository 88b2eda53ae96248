#include "cpu/schedule.h"

#include <algorithm>

namespace engine {

void Step::forget(ValueId value) {
  operands.erase(
      std::remove_if(operands.begin(), operands.end(), [&](const Operand& each) { return each.value == value; }),
      operands.end());
}

ValueView Schedule::view(float* scratch, ValueId value) const {
  const Placement& place = placement(value);
  return {scratch + place.offset, place.ld, place.groups, place.columns};
}

namespace {

std::string to_text(const Split& split, int threads) {
  if (threads == 1) return {};
  switch (split.kind) {
    case Split::Kind::kOneThread:
      return "  by one thread";
    case Split::Kind::kEveryThread:
      return "  by every thread, into copies";
    case Split::Kind::kLoop:
      break;
  }
  return split.loop == kSamples ? "  split by samples" : std::string("  split over ") + split.loop;
}

}  // namespace

std::string Schedule::to_text() const {
  std::string text;
  for (const auto& step : steps_) {
    if (step->barrier && threads() > 1) text += "---- all threads wait for each other ----\n";
    const std::string kernel = step->kernel();
    text += step->operation ? graph::to_text(graph(), *step->operation) : std::string("(preparation)");
    if (!kernel.empty()) text += "  kernel " + kernel;
    text += engine::to_text(step->split, threads()) + "\n";
  }
  return text;
}

}  // namespace engine
