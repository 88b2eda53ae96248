#include "graph/operations/activation_code.h"

#include <type_traits>

#include "formulas/activations.h"
#include "graph/operations/recorded_number.h"

namespace engine::graph {
namespace {

using Numbers = std::vector<RecordedNumber>;

/// What `record(formula)` returns for the formula of an activation, made from its parameters.
template <class Record, class... Formulas>
MapCode code_of(Activation activation, const ActivationParameters& parameters, Record&& record, Types<Formulas...>) {
  MapCode code;
  const auto try_one = [&](auto* none) {
    using Formula = std::remove_pointer_t<decltype(none)>;
    if (Formula::kKind != activation) return;
    if constexpr (std::is_constructible_v<Formula, const float*>) {
      code = record(Formula(parameters.data()));
    } else {
      code = record(Formula{});
    }
  };
  (try_one(static_cast<Formulas*>(nullptr)), ...);
  return code;
}

}  // namespace

MapCode activation_code(Activation activation, const ActivationParameters& parameters) {
  const auto record = [](const auto& formula) {
    return recorded_code(1, [&](const Numbers& x) { return formula.forward(x[0]); });
  };
  return code_of(activation, parameters, record, formulas::ElementwiseActivations<RecordedNumber>{});
}

MapCode activation_gradient_code(Activation activation, const ActivationParameters& parameters) {
  const auto record = [](const auto& formula) {
    return recorded_code(2, [&](const Numbers& x) { return formula.backward(x[1], x[0]); });
  };
  return code_of(activation, parameters, record, formulas::ElementwiseActivations<RecordedNumber>{});
}

}  // namespace engine::graph
