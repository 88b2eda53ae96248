#include "cpu/tiles.h"

#include <algorithm>
#include <cstddef>

#include "cpu/thresholds.h"
#include "graph/array.h"

namespace engine::cpu {
namespace {

/// Neighbouring steps that may be done tile by tile.
struct Group {
  std::size_t begin, end;
  graph::Extent rows;  // of all of them
};

class Tiling {
 public:
  Tiling(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<graph::Value>& values,
         std::vector<Placement>& placements, const std::vector<bool>& may_shrink, int64_t max_rows)
      : steps_(steps), values_(values), placements_(placements), may_shrink_(may_shrink), max_rows_(max_rows) {}

  void run() {
    find_uses();
    for (std::size_t i = 0; i < steps_.size();) {
      const Group group = group_from(i);
      if (group.end - group.begin > 1) tile(group);
      i = group.end;
    }
  }

 private:
  /// The steps that touch the memory of a value.
  struct Uses {
    std::size_t first = 0, last = 0;
    bool by_row = true;  // all of them, with the rows of the value as their loop
    bool is_touched = false;
  };

  std::size_t storage_of(ValueId value) const {
    return static_cast<std::size_t>(placements_[static_cast<std::size_t>(value)].storage);
  }

  void find_uses() {
    uses_.resize(values_.size());
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      for (const Operand& operand : steps_[i]->operands) {
        Uses& uses = uses_[storage_of(operand.value)];
        if (!uses.is_touched) uses.first = i;
        if (!uses.is_touched && operand.use != graph::Use::kWrite) uses.by_row = false;
        uses.is_touched = true;
        uses.last = i;
        uses.by_row = uses.by_row && steps_[i]->may_be_tiled && operand.rows == graph::kRows &&
                      may_shrink_[static_cast<std::size_t>(operand.value)];
      }
    }
  }

  static const Operand* row_operand(const Step& step) {
    for (const Operand& operand : step.operands) {
      if (operand.rows == graph::kRows) return &operand;
    }
    return nullptr;
  }

  graph::Extent rows_of(const Step& step) const {
    return values_[static_cast<std::size_t>(row_operand(step)->value)].shape[0];
  }

  Group group_from(std::size_t begin) const {
    Group group{begin, begin + 1, {}};
    if (!steps_[begin]->may_be_tiled) return group;
    group.rows = rows_of(*steps_[begin]);
    for (; group.end < steps_.size(); ++group.end) {
      const Step& next = *steps_[group.end];
      if (!next.may_be_tiled || next.barrier || rows_of(next) != group.rows) break;
      const bool waits = std::any_of(steps_.begin() + static_cast<std::ptrdiff_t>(begin),
                                     steps_.begin() + static_cast<std::ptrdiff_t>(group.end),
                                     [&](const auto& before) { return has_conflict(*before, next, placements_); });
      if (waits) break;
    }
    return group;
  }

  int64_t floats_per_row(std::size_t value) const {
    const graph::Shape& shape = values_[value].shape;
    int64_t floats = 1;
    for (std::size_t k = 1; k < shape.size(); ++k) floats *= std::max<int64_t>(shape[k].at(max_rows_), 1);
    return floats;
  }

  /// Whether nothing outside the group touches the memory of a value.
  bool is_within(const Group& group, std::size_t storage) const {
    const Uses& uses = uses_[storage];
    return uses.by_row && uses.first >= group.begin && uses.last < group.end;
  }

  /// The most floats of a row that steps of the group keep for later ones.
  int64_t floats_in_use(const Group& group) const {
    std::vector<bool> is_counted(values_.size());
    std::vector<int64_t> in_use(group.end - group.begin);
    for (std::size_t i = group.begin; i < group.end; ++i) {
      for (const Operand& operand : steps_[i]->operands) {
        const std::size_t storage = storage_of(operand.value);
        if (operand.rows != graph::kRows || is_counted[storage]) continue;
        is_counted[storage] = true;
        const std::size_t last = std::min(uses_[storage].last, group.end - 1);
        for (std::size_t at = i; at <= last; ++at) in_use[at - group.begin] += floats_per_row(storage);
      }
    }
    return *std::max_element(in_use.begin(), in_use.end());
  }

  void tile(const Group& group) {
    const int64_t most = group.rows.at(max_rows_);
    const int64_t rows = std::max(kTileFloats / floats_in_use(group) / kLineFloats, int64_t{1}) * kLineFloats;
    if (rows >= most) return;
    steps_[group.begin]->tile = {static_cast<int64_t>(group.end - group.begin), rows, group.rows};
    for (std::size_t value = 0; value < values_.size(); ++value) {
      Placement& place = placements_[value];
      const auto storage = static_cast<std::size_t>(place.storage);
      if (!uses_[storage].is_touched || !is_within(group, storage)) continue;
      place.copied = true;
      place.floats_of_row = floats_per_row(value);
      place.columns = rows * place.floats_of_row;
      place.ld = leading_dimension(place.columns);
    }
  }

  const std::vector<std::unique_ptr<Step>>& steps_;
  const std::vector<graph::Value>& values_;
  std::vector<Placement>& placements_;
  const std::vector<bool>& may_shrink_;
  const int64_t max_rows_;
  std::vector<Uses> uses_;  // by value; of values in the same memory, those of the one whose memory it is
};

}  // namespace

void tile_rows(const std::vector<std::unique_ptr<Step>>& steps, const std::vector<graph::Value>& values,
               std::vector<Placement>& placements, const std::vector<bool>& may_shrink, int64_t max_rows) {
  Tiling(steps, values, placements, may_shrink, max_rows).run();
}

}  // namespace engine::cpu
