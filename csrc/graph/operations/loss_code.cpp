#include "graph/operations/loss_code.h"

#include <type_traits>

#include "formulas/losses.h"
#include "graph/operations/recorded_number.h"

namespace engine::graph {
namespace {

/// A row of numbers that are recorded, with what formulas/losses.h says that a formula uses of a row. No gradient is
/// wanted, since it is derived from what is recorded.
class RecordedRow {
 public:
  using V = RecordedNumber;
  using Each = RecordedNumber;

  RecordedRow(const LossSpec& loss, int64_t columns)
      : n(columns), smoothing(loss.label_smoothing), parameters(loss.parameters) {
    code_.inputs = 2;
  }

  V at(int64_t) { return {code_, 0}; }
  V target() { return {code_, 1}; }
  void keep(int64_t, V v) { kept_ = v; }
  V kept(int64_t) const { return kept_; }

  static constexpr bool has_gradient() { return false; }
  void set_gradient(int64_t, V) const {}
  V gradient(int64_t) const { return {}; }

  template <class F>
  void for_columns(F&& f) const {
    f(0);
  }
  template <int N, class F>
  void sum(Each (&totals)[N], F&& add) {
    V terms[N];
    add(0, terms);
    for (int i = 0; i < N; ++i) totals[i] = reduced(RowReduction::kSum, terms[i]);
  }
  template <class F>
  Each largest(F&& value) {
    return reduced(RowReduction::kMax, value(0));
  }
  static V without_pads(int64_t, V v) { return v; }
  template <class F>
  static Each apply(F&& f, Each value) {
    return f(value);
  }

  /// The number that a reduction makes of those of all columns. In the code, a constant keeps its place.
  Each reduced(RowReduction kind, V value) {
    if (value.is_constant()) return value;  // a sum that nothing was added to
    reductions_.push_back({code_.add_constant(0.0f), value.register_in(code_), kind});
    return {code_, reductions_.back().result};
  }

  std::vector<RowInstruction> ending_with(Each result) {
    const int last = result.register_in(code_);
    if (last != code_.registers() - 1) code_.add_copy(last);
    std::vector<RowInstruction> all;
    for (const MapInstruction& each : code_.instructions) all.push_back({each});
    for (const Reduced& each : reductions_) {
      RowInstruction& at = all[static_cast<size_t>(each.result - code_.inputs)];
      at.reduction = each.kind;
      at.map.a = each.of;
    }
    return all;
  }

  int64_t n;
  float smoothing, scale = 1.0f;
  const float* parameters;
  bool binary = false;

 private:
  struct Reduced {
    int result, of;
    RowReduction kind;
  };

  MapCode code_;
  std::vector<Reduced> reductions_;
  V kept_;
};

struct RecordedTarget {
  RecordedRow& row;
  RecordedNumber at(int64_t) const { return row.target(); }
};

// What formulas call with a row. These are found before the templates of formulas/.

/// A mean is a reduction of its own, which knows the number of columns also where that differs from batch to batch.
template <class F>
RecordedNumber mean_row(RecordedRow& row, const RecordedTarget& target, F&& f) {
  RecordedNumber slope;
  return row.reduced(RowReduction::kMean, f(row.at(0), target.at(0), 0, slope));
}

/// As in formulas/row_activations.h. No gradient flows through the largest number, of which the result is independent.
formulas::Exponentials<RecordedNumber> exponentials(RecordedRow& row) {
  const RecordedNumber largest =
      row.reduced(RowReduction::kStopGradient, row.largest([&](int64_t j) { return row.at(j); }));
  row.keep(0, exp(row.at(0) - largest));
  return {largest, row.reduced(RowReduction::kSum, row.kept(0))};
}

template <class... Formulas>
std::vector<RowInstruction> recorded_loss(const LossSpec& loss, int64_t columns, Types<Formulas...>) {
  RecordedRow row(loss, columns);
  const RecordedTarget target{row};
  RecordedNumber result;
  const auto try_one = [&](auto* none) {
    using Formula = std::remove_pointer_t<decltype(none)>;
    if (Formula::kKind == formula(loss)) result = Formula::row(row, target);
  };
  (try_one(static_cast<Formulas*>(nullptr)), ...);
  return row.ending_with(result);
}

}  // namespace

std::vector<RowInstruction> loss_code(const LossSpec& loss, int64_t columns) {
  return recorded_loss(loss, columns, formulas::Losses{});
}

}  // namespace engine::graph
