// What is computed sample by sample: losses.
#include "kernels/fill.h"
#include "kernels/narrow_rows.h"

namespace engine::ENGINE_ISA {
namespace {

template <class... Ls>
void fill_losses(KernelTable& table, Types<Ls...>) {
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

void fill_rows(KernelTable& table) { fill_losses(table, formulas::Losses{}); }

}  // namespace engine::ENGINE_ISA
