#include "cpu/schedule.h"

#include <algorithm>

#include "cpu/strides.h"
#include "graph/print.h"

namespace engine::cpu {

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
  switch (split.kind) {
    case Split::Kind::kOneThread:
      return "thread " + std::to_string(split.thread % threads);
    case Split::Kind::kEveryThread:
      return "each";
    case Split::Kind::kLoop:
      break;
  }
  return std::string("share ") + split.loop;
}

/// Rows of cells, padded so that columns begin at the same place. A row of one cell is left as it is.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    if (row.size() == 1) continue;
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) text += row[i] + std::string(widths[i] + 2 - row[i].size(), ' ');
    text += row.back() + "\n";
  }
  return text;
}

std::string plural(int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string reason_of(const Conflict& conflict, const std::vector<std::string>& names) {
  if (conflict.value == kNoValue) return "threads go on together";
  const auto name_of = [&](ValueId id) { return names[static_cast<size_t>(id)]; };
  return "other threads " + std::string(conflict.is_written ? "wrote " : "may still read ") + name_of(conflict.other) +
         (conflict.other != conflict.value ? ", in the memory of " + name_of(conflict.value) : "") +
         (conflict.is_of_previous_batch ? ", in the batch before" : "");
}

}  // namespace

/// The names of all values; scratch of steps is no value of the graph, and numbered in the order of its first use.
std::vector<std::string> Schedule::names_with_scratch(const graph::ValueNames& names) const {
  std::vector<std::string> all(values_.size());
  const auto in_graph = static_cast<size_t>(graph().value_count());
  for (size_t id = 0; id < in_graph; ++id) all[id] = names[static_cast<ValueId>(id)];
  int scratch = 0;
  for (const auto& step : steps_) {
    for (const Operand& operand : step->operands) {
      const auto id = static_cast<size_t>(operand.value);
      if (id >= in_graph && all[id].empty()) all[id] = "scratch " + std::to_string(scratch++);
    }
  }
  return all;
}

/// The loops over the rows and columns of an operand, such as `[b,n]`; one of them where there is only one axis.
std::string Schedule::loops_text(const Operand& operand) const {
  using Kind = graph::Value::Kind;
  const graph::Value& own = value(operand.value);
  const bool is_vector =
      own.kind == Kind::kConstant || (own.variable >= 0 && graph().variables()[own.variable].shape.size() == 1);
  if (own.kind == Kind::kPerRow) return std::string("[") + operand.rows + "]";
  if (is_vector && operand.rows == kWhole) return std::string("[") + operand.columns + "]";
  return std::string("[") + operand.rows + "," + operand.columns + "]";
}

std::string Schedule::to_text(const graph::ValueNames& names) const {
  const bool one = threads() == 1;
  const std::vector<std::string> all = names_with_scratch(names);
  const auto name_of = [&](ValueId id) { return all[static_cast<size_t>(id)]; };
  std::vector<std::vector<std::string>> rows;
  bool has_copies = false, has_parts = false, has_any_rows = false, has_host = false, has_scratch = false;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = *steps_[i];
    if (step.barrier) {
      rows.push_back({"---- barrier: " + reason_of(step.conflict, all) + " ----"});
    }
    if (step.tile.steps > 0) {
      const std::string last = std::to_string(static_cast<int64_t>(i) + step.tile.steps - 1);
      rows.push_back({"---- steps " + std::to_string(i) + " to " + last + " in turns, for " +
                      std::to_string(step.tile.rows) + " rows r at a time ----"});
    }
    for (const Operand& operand : step.operands) has_scratch = has_scratch || operand.value >= graph().value_count();
    const std::string kernel = step.operation ? step.kernel() : std::string();
    const std::string name = step.operation ? step.operation->name() : step.kernel();
    has_copies = has_copies || step.split.is_every_thread();
    has_parts = has_parts || step.split.kind == Split::Kind::kLoop;
    has_any_rows = has_any_rows || step.split.shares(kAnyRows);
    has_host = has_host || hosts_[i];
    std::vector<std::string> cells{std::to_string(i)};
    if (!one) cells.push_back(hosts_[i] ? "caller" : cpu::to_text(step.split, threads()));
    cells.push_back(hosts_[i] ? "Python" : kernel);
    cells.push_back(graph::to_text(name, step.operands, step.operation ? step.operation->attributes() : "",
                                   [&](const Operand& each) { return name_of(each.value) + loops_text(each); }));
    rows.push_back(std::move(cells));
  }
  std::vector<std::string> headings{"step", "kernel", "operation"};
  if (!one) headings.insert(headings.begin() + 1, "threads");
  rows.insert(rows.begin(), headings);
  std::string legend =
      "Schedule: how " + plural(threads(), "thread") + " of this CPU compute" + (one ? "s" : "") +
      " it, in batches of up to " + plural(max_rows(), "sample") +
      ".\n"
      "The letters in brackets are the loops over the rows and columns of a value, as in einsum. An axis\n"
      "marked * is in no loop.";
  if (has_scratch) legend += " Scratch is what steps\npass to each other beside the values of the graph.";
  if (!one && has_parts) legend += "\nshare n: each thread has its own part of loop n.";
  if (!one && has_any_rows) legend += "\nshare w: each thread has its own rows of what the step writes.";
  if (!one && has_copies) legend += "\neach: each thread does all of the step, and writes into a copy of its own.";
  if (has_host) legend += "\nPython: the threads stop, and the caller does the step.";
  return legend + "\n\n" + aligned(rows);
}

}  // namespace engine::cpu
