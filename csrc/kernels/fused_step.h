// The fused step: the epilogue of a weight gradient that steps the weights by a tile of it, so that the gradient is
// never stored.
#pragma once
#include <type_traits>

#include "kernels/optimizers.h"
#include "kernels/table.h"

namespace engine::ENGINE_ISA {
namespace {

/// Shrinks weights as Keras does: the gradient of an L2 penalty is added to the gradient, and decoupled weight decay
/// (Loshchilov & Hutter 2019) is applied before the step. Factors of zero change no bit.
template <Shrinkage Kind>
struct Shrink {
  vf l2_slope{}, decay{};

  Shrink(const Weights& w, const OptimizerStep& step) {
    if constexpr (Kind == Shrinkage::kSome) {
      l2_slope = constant(2.0 * w.l2);
      decay = constant(step.learning_rate * w.decay);
    }
  }
  ENGINE_INLINE void operator()(vf& value, vf& gradient) const {
    if constexpr (Kind == Shrinkage::kSome) {
      gradient = fma(l2_slope, value, gradient);
      value = fma(-decay, value, value);
    }
  }
};

/// The step of one array of weights.
template <class Opt, Shrinkage Kind>
struct Update {
  Weights weights;
  typename Opt::Coefficients coefficients;
  Shrink<Kind> shrink;

  Update(const Weights& w, const typename Opt::Coefficients& c, const OptimizerStep& step)
      : weights(w), coefficients(c), shrink(w, step) {}

  /// Steps one vector. Adding +0 makes the bits independent of whether zero terms were skipped (microtile.h).
  static ENGINE_INLINE void step_vector(const Weights& w, int64_t at, vf sum, const Shrink<Kind>& shrink,
                                        const typename Opt::Coefficients& c) {
    constexpr int kSlots = Opt::kSlots;
    vf slots[kMaxSlots];
#pragma GCC unroll 2
    for (int s = 0; s < kSlots; ++s) slots[s] = load(w.slots[s] + at);
    vf value = load(w.values + at), gradient = sum + 0.0f;
    shrink(value, gradient);
    store(w.values + at, Opt::update(value, slots, gradient, c));
#pragma GCC unroll 2
    for (int s = 0; s < kSlots; ++s) store(w.slots[s] + at, slots[s]);
  }

  /// Steps `vectors` vectors in each of `rows` rows, `ld` apart, from offset `at` on, by gradient (rows, vectors).
  ENGINE_INLINE void step_rows(int64_t at, int64_t ld, const vf* gradient, int rows, int vectors) const {
    const auto c = coefficients;
    const auto shrinks = shrink;
    const Weights w = weights;
    for (int r = 0; r < rows; ++r, at += ld) {
      for (int v = 0; v < vectors; ++v, ++gradient) step_vector(w, at + v * kWidth, *gradient, shrinks, c);
    }
  }

  /// Steps `inputs` rows of `columns` columns, `ld` apart, by the outer product of x (inputs,) and dz (columns,).
  ENGINE_INLINE void step_outer(int64_t at, int64_t ld, const float* x, int64_t inputs, const float* dz,
                                int64_t columns) const {
    const auto c = coefficients;
    const auto shrinks = shrink;
    const Weights w = weights;
    for (int64_t u = 0; u < inputs; ++u, at += ld) {
      const vf factor = broadcast(x[u]);
      for (int64_t j = 0; j < columns; j += kWidth) step_vector(w, at + j, factor * load(dz + j), shrinks, c);
    }
  }
};

/// Steps a tile, in a function of its own.
template <class Opt, Shrinkage Kind>
__attribute__((noinline)) void step_tile(const Update<Opt, Kind>& update, int64_t at, int64_t ld, const vf* gradient,
                                         int rows, int vectors) {
  update.step_rows(at, ld, gradient, rows, vectors);
}

constexpr int floor_log2(int n) { return n < 2 ? 0 : 1 + floor_log2(n / 2); }

/// The functions of one `Update`, the first argument of each. They are not inlined into products: with the coefficients
/// in registers a vector takes 8 cycles, the time of its square root and division; among the values of a product they
/// are spilled, and it takes 14.
struct StepFunctions {
  static constexpr int kWidths = floor_log2(kTileVectors) + 1;

  using Tile = void(const void* update, int64_t at, int64_t ld, const vf* gradient);
  Tile* tile[kTileRows + 1][kWidths];  // of so many rows, and of 1, 2, 4 ... vectors
  void (*rows)(const void* update, int64_t at, int64_t ld, const vf* gradient, int rows, int vectors);
  void (*outer)(const void* update, int64_t at, int64_t ld, const float* x, int64_t inputs, const float* dz,
                int64_t columns);

  template <class U>
  static constexpr StepFunctions of() {
    StepFunctions all{};
    all.add_tiles<U, kTileRows, kTileVectors>();
    all.rows = [](const void* update, int64_t at, int64_t ld, const vf* gradient, int rows, int vectors) {
      static_cast<const U*>(update)->step_rows(at, ld, gradient, rows, vectors);
    };
    all.outer = [](const void* update, int64_t at, int64_t ld, const float* x, int64_t inputs, const float* dz,
                   int64_t columns) { static_cast<const U*>(update)->step_outer(at, ld, x, inputs, dz, columns); };
    return all;
  }

 private:
  /// The sizes that `sweep` and `sweep_vectors` have.
  template <class U, int Rows, int Vectors>
  constexpr void add_tiles() {
    add_widths<U, Rows, Vectors>();
    if constexpr (Rows > 1) add_tiles<U, Rows / 2, Vectors>();
  }
  template <class U, int Rows, int Vectors>
  constexpr void add_widths() {
    tile[Rows][floor_log2(Vectors)] = [](const void* update, int64_t at, int64_t ld, const vf* gradient) {
      static_cast<const U*>(update)->step_rows(at, ld, gradient, Rows, Vectors);
    };
    if constexpr (Vectors > kVectorsPerLine) add_widths<U, Rows, Vectors / 2>();
  }
};

/// An `Update` of any kind, so that products of dense rows exist once, and not for each optimizer. It has a
/// function for each size of a tile, as constant sizes save 9 % of the instructions of a step.
class AnyUpdate {
 public:
  template <class U>
  explicit AnyUpdate(const U& update) : update_(&update), functions_(&kFunctions<U>) {}

  /// Steps a tile of the weights from offset `at` on, whose rows are `ld` apart.
  template <int Rows, int Vectors>
  ENGINE_INLINE void step_tile(int64_t at, int64_t ld, const vf* gradient) const {
    using Any = Update<StoreGradient, Shrinkage::kNone>;
    static_assert(StepFunctions::of<Any>().tile[Rows][floor_log2(Vectors)] != nullptr);
    functions_->tile[Rows][floor_log2(Vectors)](update_, at, ld, gradient);
  }
  ENGINE_INLINE void step_rows(int64_t at, int64_t ld, const vf* gradient, int rows, int vectors) const {
    functions_->rows(update_, at, ld, gradient, rows, vectors);
  }
  ENGINE_INLINE void step_outer(int64_t at, int64_t ld, const float* x, int64_t inputs, const float* dz,
                                int64_t columns) const {
    functions_->outer(update_, at, ld, x, inputs, dz, columns);
  }

 private:
  template <class U>
  static constexpr StepFunctions kFunctions = StepFunctions::of<U>();

  const void* update_;
  const StepFunctions* functions_;
};

}  // namespace
}  // namespace engine::ENGINE_ISA
