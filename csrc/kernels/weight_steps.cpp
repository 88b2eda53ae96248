// Enters into the table what steps, penalizes, constrains and averages weights by means of a stored gradient.
#include "kernels/weight_steps.h"

#include "kernels/constraints.h"
#include "kernels/fill.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Opts>
void fill(KernelTable& table, Types<Opts...>) {
  static_assert(sizeof...(Opts) == kOptimizers);
  ((table.step_weights[index<Opts>()] = step_weights<Opts>), ...);
}

}  // namespace

void fill_weight_steps(KernelTable& table) {
  fill(table, formulas::Optimizers<vf>{});
  table.squared_sums = column_sums<Square>;
  table.magnitude_sums = column_sums<Magnitude>;
  table.penalty_gradient = penalty_gradient;
  table.accumulate = accumulate;
  table.take_mean = take_mean;
  table.subtract = subtract;
  table.non_negative = non_negative;
  table.column_norms = column_norms;
  table.row_norms = row_norms;
  table.average = average;
}

}  // namespace engine::ENGINE_ISA
