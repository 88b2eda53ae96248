// Activations, losses, metrics and update rules.
#include <string>
#include <vector>

#include "cases.h"
#include "kernels/table.h"

namespace engine::test {

void add_activations(const KernelTable& kernels, Digests& digests) {
  Random random(5);
  const Matrix x(9, 333, random, -12.0f, 12.0f), dy(9, 333, random, -1.0f, 1.0f);
  const float parameters[kMaxActivationParameters] = {0.3f, 2.5f, 0.7f};
  const auto digest_of = [&](int a) -> Digest& { return digests[std::string("activation ") + kActivationNames.of[a]]; };
  for (int a = 0; a < kElementwiseActivations; ++a) {
    const Matrix y(9, 333), dx(9, 333);
    kernels.activation_forward[a]({x.data(), y.data(), nullptr, x.ld(), x.all_rows(), x.all_columns(), parameters});
    const float* saved = saves_input(static_cast<Activation>(a)) ? x.data() : y.data();
    kernels.activation_backward[a]({dy.data(), dx.data(), saved, x.ld(), x.all_rows(), x.all_columns(), parameters});
    y.add_to(digest_of(a));
    dx.add_to(digest_of(a));
  }
  for (int a = 0; a < kRowActivations; ++a) {
    Digest& digest = digest_of(kElementwiseActivations + a);
    for (const int64_t n : {int64_t{1}, int64_t{10}, int64_t{16}, int64_t{333}}) {
      const Matrix y(9, 333), dx(9, 333);
      kernels.row_activation_forward[a]({x.data(), nullptr, y.data(), x.ld(), n, x.all_rows()});
      kernels.row_activation_backward[a]({dy.data(), y.data(), dx.data(), x.ld(), n, x.all_rows()});
      y.add_to(digest);
      dx.add_to(digest);
    }
  }
}

namespace {

/// Class indices and dense targets for outputs (rows, n).
struct Truth {
  std::vector<int32_t> labels;
  std::vector<float> dense;

  Truth(int64_t rows, int64_t n, Random& random) {
    for (int64_t i = 0; i < rows; ++i) labels.push_back(random.below(static_cast<int32_t>(n)));
    for (int64_t i = 0; i < rows * n; ++i) dense.push_back(random.between(0.0f, 1.0f));
  }
  Targets targets(int kind) const {
    return kind == static_cast<int>(Target::kSparse) ? Targets{labels.data(), nullptr, nullptr, 0}
                                                     : Targets{nullptr, dense.data(), nullptr, 0};
  }
};

}  // namespace

void add_losses(const KernelTable& kernels, Digests& digests) {
  Random random(6);
  const float parameters[kLossParameters] = {0.3f, 2.0f, 0.25f, 0.5f};
  for (const int64_t n : {int64_t{1}, int64_t{7}, int64_t{10}, int64_t{37}}) {
    const Matrix x(13, n, random, 0.01f, 0.99f);
    const Truth truth(13, n, random);
    std::vector<float> weights(13);
    for (float& weight : weights) weight = random.between(0.5f, 1.5f);
    for (int loss = 0; loss < kLosses; ++loss) {
      Digest& digest = digests[std::string("loss ") + kLossNames.of[loss]];
      for (int target = 0; target < kTargets; ++target) {
        if (!exists(static_cast<Loss>(loss), static_cast<Target>(target))) continue;
        const Matrix y(13, n), dx(13, n);
        std::vector<float> losses(13);
        kernels.loss[loss][target]({x.data(), y.data(), dx.data(), x.ld(), n, truth.targets(target), weights.data(),
                                    0.125f, 0.1f, losses.data(), x.all_rows(), parameters});
        digest.add(losses);
        dx.add_to(digest);
      }
    }
  }
}

namespace {

/// In the order of the enum.
constexpr const char* kMetricNames[kMetrics] = {"categorical_accuracy", "binary_accuracy", "top_k_categorical_accuracy",
                                                "accuracy"};

}  // namespace

void add_metrics(const KernelTable& kernels, Digests& digests) {
  Random random(7);
  const int64_t rows = 40, n = 7;
  const Matrix x(rows, n, random, -3.0f, 3.0f);
  const Truth truth(rows, n, random);
  std::vector<float> values(static_cast<size_t>(rows));
  const float thresholds[] = {0.0f, 0.25f, 0.5f, 0.75f, 1.0f};
  for (int target = 0; target < kTargets; ++target) {
    for (int metric = 0; metric < kMetrics; ++metric) {
      kernels.metric_values[metric][target](
          {x.data(), x.ld(), n, truth.targets(target), 2.0f, values.data(), x.all_rows()});
      digests[std::string("metric ") + kMetricNames[metric]].add(values);
    }
    Digest& digest = digests["metric of thresholds"];
    std::vector<double> state(static_cast<size_t>(2 * n * 6));
    MetricSumRowsArgs op{
        x.data(), x.ld(), n,    truth.targets(target), x.all_rows(), nullptr, thresholds, 5, true, false, -1,
        0,        true,   true, state.data()};
    kernels.metric_sums[static_cast<int>(MetricSum::kThresholds)][target](op);
    digest.add(state);
    op.even = false;
    kernels.metric_sums[static_cast<int>(MetricSum::kThresholds)][target](op);
    digest.add(state);
  }
}

void add_updates(const KernelTable& kernels, Digests& digests) {
  for (int optimizer = 0; optimizer < kOptimizers; ++optimizer) {
    Digest& digest = digests[std::string("optimizer ") + kOptimizerRows[optimizer].name];
    Random random(8);
    const Matrix w(20, 70, random, -1.0f, 1.0f);
    std::vector<Matrix> slots;
    WeightStepArgs op{};
    op.weights.values = w.data();
    op.weights.decay = 0.01;
    for (float*& slot : op.weights.slots) {
      slots.emplace_back(20, 70, random, 0.1f, 1.0f);
      slot = slots.back().data();
    }
    op.ld = w.ld();
    op.rows = w.all_rows();
    op.columns = w.all_columns();
    op.scale = 0.5f;
    op.limit = 0.4f;
    for (int64_t t = 1; t <= 5; ++t) {
      const Matrix g(20, 70, random, -1.0f, 1.0f);
      op.gradient = g.data();
      op.step = {0.01, t, {0.9, 0.99, 1e-3, 0.1, 0.5}};
      kernels.step_weights[optimizer](op);
      g.add_to(digest);
    }
    w.add_to(digest);
    for (const Matrix& slot : slots) slot.add_to(digest);
  }
  Random random(9);
  const Matrix w(20, 70, random, -1.0f, 1.0f), other(20, 70, random, -1.0f, 1.0f), sums(1, 70);
  Digest& digest = digests["penalties, averages and norms"];
  const WeightBlock block{w.data(), other.data(), w.ld(), w.all_rows(), w.all_columns()};
  kernels.penalty_gradient(block, 0.01, 0.02);
  kernels.accumulate(block);
  kernels.average(block, 0.9, false);
  kernels.subtract(block, 0.3f);
  kernels.column_norms(block, {0.5, 2.0, 0.9});
  kernels.take_mean(block, 3);
  w.add_to(digest);
  for (auto* function : {kernels.squared_sums, kernels.magnitude_sums}) {
    function({w.data(), w.ld(), w.rows(), sums.data(), w.all_columns()});
    sums.add_to(digest);
  }
}

}  // namespace engine::test
