// Enters the losses into the table.
#include "kernels/fill.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Ls>
void fill(KernelTable& table, Types<Ls...>) {
  static_assert(sizeof...(Ls) == kLosses);
  ((table.loss[index<Ls>()][index(Target::kDense)] = losses<Ls, Target::kDense>), ...);
  const auto fill_sparse = [&](auto loss) {
    using L = decltype(loss);
    if constexpr (exists(L::kKind, Target::kSparse)) {
      table.loss[index<L>()][index(Target::kSparse)] = losses<L, Target::kSparse>;
    }
  };
  (fill_sparse(Ls{}), ...);
}

}  // namespace

void fill_losses(KernelTable& table) { fill(table, formulas::Losses{}); }

}  // namespace engine::ENGINE_ISA
