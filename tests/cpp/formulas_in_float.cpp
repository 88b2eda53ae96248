// Compares the formulas, computed with plain floats, with the kernels of one instruction set: every number must have
// the same bits. This shows that a formula depends on no vector type and no device.
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "cases.h"
#include "check.h"
#include "formulas/activations.h"
#include "formulas/losses.h"
#include "formulas/map_functions.h"
#include "formulas/optimizers.h"
#include "formulas/random.h"
#include "kernels/table.h"

namespace engine::test {
namespace {

/// All NaNs are equal here, since x86-64 and arm64 make different ones.
bool same_bits(float a, float b) { return (a != a && b != b) || std::memcmp(&a, &b, sizeof a) == 0; }

/// Counts differences, and prints the result when it is destroyed.
class Comparison {
 public:
  explicit Comparison(std::string name) : name_(std::move(name)) {}
  void expect(float got, float expected) { wrong_ += same_bits(got, expected) ? 0 : 1; }
  int report() const {
    check(wrong_ == 0, ("in plain floats: " + name_).c_str());
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  std::string name_;
  int64_t wrong_ = 0;
};

/// Random numbers; row 0 has numbers at which formulas are not smooth. There are no denormals, which CPUs treat
/// differently.
Matrix inputs(Random& random) {
  Matrix x(9, 333, random, -12.0f, 12.0f);
  const float inf = __builtin_inff();
  const float special[] = {0.0f,   -0.0f,  0.5f,   -0.5f,  1.0f,  -1.0f,  3.0f,
                           -3.0f,  6.0f,   -6.0f,  0.7f,   2.5f,  0.3f,   -0.3f,
                           0.63f,  -0.63f, 14.0f,  -14.5f, 16.5f, -16.5f, 87.5f,
                           -87.5f, 89.0f,  -89.0f, 300.0f, -3e2f, 1e-30f, -1e-30f,
                           1e16f,  -1e16f, 3e38f,  -3e38f, inf,   -inf,   __builtin_nanf("")};
  int64_t j = 0;
  for (const float value : special) x.at(0, j++) = value;
  return x;
}

template <class Act>
Act made_from(const float* parameters) {
  if constexpr (std::is_constructible_v<Act, const float*>) {
    return Act(parameters);
  } else {
    return Act{};
  }
}

template <class... Acts>
int elementwise_activations(const KernelTable& kernels, Types<Acts...>) {
  Random random(5);
  const Matrix x = inputs(random), dy(9, 333, random, -1.0f, 1.0f), y(9, 333), dx(9, 333);
  const float parameters[kMaxActivationParameters] = {0.3f, 2.5f, 0.7f};
  Comparison comparison("elementwise activations");
  const auto compare = [&](const auto& act, Activation kind) {
    const auto a = static_cast<int>(kind);
    const bool of_input = saves_input(kind);
    kernels.activation_forward[a]({x.data(), y.data(), nullptr, x.ld(), x.all_rows(), x.all_columns(), parameters});
    kernels.activation_backward[a](
        {dy.data(), dx.data(), of_input ? x.data() : y.data(), x.ld(), x.all_rows(), x.all_columns(), parameters});
    for (int64_t i = 0; i < x.rows(); ++i) {
      for (int64_t j = 0; j < x.columns(); ++j) {
        comparison.expect(act.forward(x.at(i, j)), y.at(i, j));
        comparison.expect(act.backward(dy.at(i, j), of_input ? x.at(i, j) : y.at(i, j)), dx.at(i, j));
      }
    }
  };
  (compare(made_from<Acts>(parameters), Acts::kKind), ...);
  return comparison.report();
}

/// A row of plain floats with the interface that formulas of rows use (formulas/losses.h). Sums add column j to lane
/// j mod 16, and then the upper half of the lanes to the lower half until one is left, as everywhere in the engine.
struct FloatRow {
  using V = float;
  using Each = float;
  static constexpr int kLanes = 16;

  const float* x;
  const float* slope_of_y = nullptr;  // for the backward pass of an activation
  int64_t n;
  std::vector<float> written, slopes;
  float smoothing = 0.0f, scale = 1.0f;
  const float* parameters = nullptr;
  bool binary = false, is_loss = false;

  FloatRow(const float* in, int64_t columns)
      : x(in), n(columns), written(static_cast<size_t>(columns)), slopes(static_cast<size_t>(columns)) {}

  float at(int64_t j) const { return x[j]; }
  void keep(int64_t j, float v) { written[static_cast<size_t>(j)] = v; }
  float kept(int64_t j) const { return written[static_cast<size_t>(j)]; }
  bool has_gradient() const { return true; }
  void set_gradient(int64_t j, float v) { slopes[static_cast<size_t>(j)] = v; }
  float gradient(int64_t j) const { return slope_of_y ? slope_of_y[j] : slopes[static_cast<size_t>(j)]; }
  float without_pads(int64_t, float v) const { return v; }

  template <class F>
  void for_columns(F&& f) const {
    for (int64_t j = 0; j < n; ++j) f(j);
  }
  template <int N, class F>
  void sum(float (&totals)[N], F&& add) const {
    float lanes[N][kLanes] = {};
    for (int64_t j = 0; j < n; ++j) {
      float sums[N];
      for (int s = 0; s < N; ++s) sums[s] = lanes[s][j % kLanes];
      add(j, sums);
      for (int s = 0; s < N; ++s) lanes[s][j % kLanes] = sums[s];
    }
    for (int s = 0; s < N; ++s) {
      for (int half = kLanes / 2; half > 0; half /= 2) {
        for (int l = 0; l < half; ++l) lanes[s][l] = lanes[s][l] + lanes[s][l + half];
      }
      totals[s] = lanes[s][0];
    }
  }
  template <class F>
  float total(F&& value) const {
    float totals[1];
    sum(totals, [&](int64_t j, float* sums) { sums[0] = sums[0] + value(j); });
    return totals[0];
  }
  template <class F>
  float largest(F&& value) const {
    float most = -__builtin_inff();
    for (int64_t j = 0; j < n; ++j) most = value(j) > most ? value(j) : most;
    return most;
  }
  template <class F>
  static float apply(F&& f, float value) {
    return f(value);
  }
};

template <class... Acts>
int row_activations(const KernelTable& kernels, Types<Acts...>) {
  Random random(6);
  Comparison comparison("activations of rows");
  for (const int64_t n : {int64_t{1}, int64_t{10}, int64_t{16}, int64_t{333}}) {
    const Matrix x(9, n, random, -12.0f, 12.0f), dy(9, n, random, -1.0f, 1.0f), y(9, n), dx(9, n);
    const auto compare = [&](auto act) {
      using Act = decltype(act);
      const int a = static_cast<int>(Act::kKind) - kElementwiseActivations;
      kernels.row_activation_forward[a]({x.data(), nullptr, y.data(), x.ld(), n, x.all_rows()});
      kernels.row_activation_backward[a]({dy.data(), y.data(), dx.data(), x.ld(), n, x.all_rows()});
      for (int64_t i = 0; i < x.rows(); ++i) {
        FloatRow forward(&x.at(i, 0), n), backward(&y.at(i, 0), n);
        backward.slope_of_y = &dy.at(i, 0);
        Act::forward(forward);
        Act::backward(backward);
        for (int64_t j = 0; j < n; ++j) {
          comparison.expect(forward.kept(j), y.at(i, j));
          comparison.expect(backward.kept(j), dx.at(i, j));
        }
      }
    };
    (compare(Acts{}), ...);
  }
  return comparison.report();
}

struct FloatTarget {
  const float* values;
  float at(int64_t j) const { return values[j]; }
};

/// Compares losses for narrow rows (n up to 16), which lie in the lanes of vectors, and for wide rows, whose columns
/// do.
template <class... Ls>
int losses(const KernelTable& kernels, Types<Ls...>) {
  constexpr int64_t kRows = 13;
  constexpr float kScale = 0.125f, kSmoothing = 0.1f;
  Random random(7);
  const float parameters[kLossParameters] = {0.3f, 2.0f, 0.0f, 1.0f};
  const float of_logits[kLossParameters] = {0.3f, 2.0f, 1.0f, 0.0f};
  Comparison comparison("losses");
  for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{16}, int64_t{37}}) {
    const Matrix x(kRows, n, random, 0.01f, 0.99f), y(kRows, n), dx(kRows, n);
    std::vector<float> dense, losses(kRows);
    for (int64_t i = 0; i < kRows * n; ++i) dense.push_back(random.between(0.0f, 1.0f));
    const Targets targets{nullptr, dense.data(), nullptr, 0};
    const auto compare = [&](auto loss, const float* constants, bool from_logits, bool binary) {
      using L = decltype(loss);
      kernels.loss[static_cast<int>(L::kKind)][static_cast<int>(Target::kDense)](
          {x.data(), y.data(), dx.data(), x.ld(), n, targets, nullptr, kScale, kSmoothing, losses.data(), x.all_rows(),
           constants, -1, binary});
      for (int64_t i = 0; i < kRows; ++i) {
        FloatRow row(&x.at(i, 0), n);
        row.smoothing = kSmoothing;
        row.scale = kScale;
        row.parameters = constants;
        row.binary = binary;
        comparison.expect(L::row(row, FloatTarget{dense.data() + i * n}), losses[static_cast<size_t>(i)]);
        for (int64_t j = 0; j < n; ++j) {
          comparison.expect(row.gradient(j), dx.at(i, j));
          if (gives_probabilities(L::kKind) && from_logits) comparison.expect(row.kept(j), y.at(i, j));
        }
      }
    };
    (compare(Ls{}, parameters, false, false), ...);
    (compare(Ls{}, of_logits, true, true), ...);
  }
  return comparison.report();
}

template <class... Opts>
int optimizers(const KernelTable& kernels, Types<Opts...>) {
  constexpr int64_t kRows = 5, kColumns = 70, kSteps = 5;
  Comparison comparison("optimizers");
  const auto compare = [&](auto rule) {
    using Opt = decltype(rule);
    Random random(8);
    const Matrix w(kRows, kColumns, random, -1.0f, 1.0f), expected(kRows, kColumns);
    std::memcpy(expected.data(), w.data(), sizeof(float) * static_cast<size_t>(kRows * w.ld()));
    std::vector<Matrix> slots, expected_slots;
    WeightStepArgs op{};
    op.weights.values = w.data();
    for (float*& slot : op.weights.slots) {
      slots.emplace_back(kRows, kColumns, random, 0.1f, 1.0f);
      expected_slots.emplace_back(kRows, kColumns);
      std::memcpy(expected_slots.back().data(), slots.back().data(),
                  sizeof(float) * static_cast<size_t>(kRows * w.ld()));
      slot = slots.back().data();
    }
    op.ld = w.ld();
    op.rows = w.all_rows();
    op.columns = w.all_columns();
    op.scale = 1.0f;
    op.limit = __builtin_inff();
    for (int64_t t = 1; t <= kSteps; ++t) {
      const Matrix g(kRows, kColumns, random, -1.0f, 1.0f), direction(kRows, kColumns);
      op.step = {0.01, t, {0.9, 0.99, 1e-3, 0.1, 0.5}};
      const auto c = Opt::coefficients(op.step);
      for (int64_t i = 0; i < kRows; ++i) {
        for (int64_t j = 0; j < kColumns; ++j) {
          float& weight = expected.at(i, j);
          float state[kMaxSlots];
          for (size_t s = 0; s < kMaxSlots; ++s) state[s] = expected_slots[s].at(i, j);
          if constexpr (starts_from_weights(Opt::kKind)) Opt::start(weight, state, c);
          const float stepped = Opt::update(weight, state, g.at(i, j), c);
          (gives_direction(Opt::kKind) ? direction.at(i, j) : weight) = stepped;
          for (size_t s = 0; s < kMaxSlots; ++s) expected_slots[s].at(i, j) = state[s];
        }
      }
      op.gradient = g.data();
      kernels.step_weights[static_cast<int>(Opt::kKind)](op);
      for (int64_t i = 0; gives_direction(Opt::kKind) && i < kRows; ++i) {
        for (int64_t j = 0; j < kColumns; ++j) comparison.expect(direction.at(i, j), g.at(i, j));
      }
    }
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        comparison.expect(expected.at(i, j), w.at(i, j));
        for (size_t s = 0; s < Opt::kSlots; ++s) comparison.expect(expected_slots[s].at(i, j), slots[s].at(i, j));
      }
    }
  };
  (compare(Opts{}), ...);
  return comparison.report();
}

/// The instructions of maps, for numbers of all magnitudes and pairs of special ones.
template <int... ops>
int map_functions(const KernelTable& kernels, std::integer_sequence<int, ops...>) {
  Random random(11);
  Comparison comparison("instructions of maps");
  const Matrix a = inputs(random), b = inputs(random), c = inputs(random), y(9, 333);
  for (int64_t j = 0; j < a.columns(); ++j) {
    // Each special number of the first row with each other one.
    a.at(1, j) = a.at(0, j % 35);
    b.at(1, j) = b.at(0, j / 35);
    a.at(2, j) = a.at(0, (j + 20) % 35);
    b.at(2, j) = b.at(0, j / 35 + 9);
    a.at(3, j) = random.between(-1e6f, 1e6f);
    b.at(3, j) = random.between(-3.0f, 3.0f);
    a.at(4, j) = random.between(0.0f, 3.0f);
    b.at(4, j) = random.between(-40.0f, 40.0f);
    a.at(5, j) = random.between(-1.0f, 1.0f);
  }
  const auto compare = [&](auto op) {
    constexpr auto kOp = static_cast<MapOp>(decltype(op)::value);
    if (operand_count(kOp) == 0) return;
    const MapRegister registers[] = {{a.data(), 1}, {b.data(), 1}, {c.data(), 1}, {y.data(), 1}};
    const MapBlockInstruction step{kOp, 3, 0, 1, 2};
    kernels.run_map({&step, &step + 1, registers, a.rows() * a.ld()});
    for (int64_t i = 0; i < a.rows(); ++i) {
      for (int64_t j = 0; j < a.columns(); ++j) {
        comparison.expect(formulas::map_value<kOp>(a.at(i, j), b.at(i, j), c.at(i, j)), y.at(i, j));
      }
    }
  };
  (compare(std::integral_constant<int, ops>{}), ...);
  return comparison.report();
}

int random_numbers(const KernelTable& kernels) {
  constexpr uint64_t kSeed = 0x123456789abcdefu, kStep = 0x1fffffff7u;
  constexpr int64_t kFirst = 11;
  constexpr double kRate = 0.3;
  Random random(10);
  Comparison comparison("random numbers");
  const Matrix x(7, 200, random, -1.0f, 1.0f), y(7, 200), mask(7, 200), normal(7, 200);
  kernels.dropout_forward(
      {x.data(), y.data(), mask.data(), x.ld(), x.all_rows(), x.all_columns(), kRate, kSeed, kStep, kFirst});
  kernels.normal_noise(
      {normal.data(), x.ld(), x.all_rows(), x.all_columns(), kSeed, kStep, kFirst, false, 0.0, 0.25f, 2.0f});
  for (int64_t i = 0; i < x.rows(); ++i) {
    for (int64_t j = 0; j < x.columns(); ++j) {
      const uint32_t word = formulas::random_word(kSeed, kStep, static_cast<uint32_t>(kFirst + i), j);
      comparison.expect(word < formulas::threshold_of(kRate) ? 0.0f : static_cast<float>(1.0 / (1.0 - kRate)),
                        mask.at(i, j));
      comparison.expect(formulas::normal_number(word, 2.0f * formulas::kRootOfTwo, 0.25f), normal.at(i, j));
    }
  }
  constexpr int64_t kFirstNumber = 3 * kRandomGroup, kCount = 2 * kRandomGroup;
  constexpr float kLow = -1.5f, kHigh = 2.25f, kBelowHigh = 2.2499998f;
  const Matrix numbers(1, kCount);
  const RandomNumbersArgs op{numbers.data(), kFirstNumber, kCount, kSeed, kStep, kLow, kHigh, kBelowHigh};
  const auto compare = [&](void (*kernel)(const RandomNumbersArgs&), auto&& formula) {
    kernel(op);
    for (int64_t j = 0; j < kCount; ++j) {
      comparison.expect(formula(formulas::random_word(kSeed, kStep, 0, kFirstNumber + j)), numbers.at(0, j));
    }
  };
  compare(kernels.uniform_numbers,
          [&](uint32_t word) { return formulas::uniform_number(word, kLow, kHigh - kLow, kBelowHigh); });
  compare(kernels.normal_numbers,
          [&](uint32_t word) { return formulas::normal_number(word, kHigh * formulas::kRootOfTwo, kLow); });
  compare(kernels.truncated_normal_numbers,
          [&](uint32_t word) { return formulas::truncated_normal_number(word, kHigh, kLow); });
  return comparison.report();
}

}  // namespace

int compare_formulas_in_float(const KernelTable& kernels) {
  return elementwise_activations(kernels, formulas::ElementwiseActivations<float>{}) +
         row_activations(kernels, formulas::RowActivations{}) + losses(kernels, formulas::Losses{}) +
         optimizers(kernels, formulas::Optimizers<float>{}) + random_numbers(kernels) +
         map_functions(kernels, std::make_integer_sequence<int, kMapOps>{});
}

}  // namespace engine::test
