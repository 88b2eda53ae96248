// Layers other than products, random numbers, and whole trainings.
#include <algorithm>
#include <stdexcept>
#include <vector>

#include "cases.h"
#include "cpu/device.h"
#include "kernels/table.h"
#include "models.h"
#include "runtime/program.h"
#include "runtime/random.h"

namespace engine::test {

void add_layers(const KernelTable& kernels, Digests& digests) {
  Random random(10);
  const Matrix x(12, 48, random, -2.0f, 2.0f), dy(12, 48, random, -1.0f, 1.0f), y(12, 48), dx(12, 48);
  const Matrix mean(1, 48), variance(1, 48), factors(12, 2);
  const RowMask all{nullptr, 0, 1};
  kernels.column_statistics({x.data(), x.ld(), all, mean.data(), variance.data(), x.all_rows(), x.all_columns()});
  StandardizeColumnsArgs columns{
      x.data(), nullptr,           y.data(),     x.ld(),         all, mean.data(), variance.data(),
      1e-3f,    Spread::kVariance, x.all_rows(), x.all_columns()};
  kernels.standardize_columns(columns);
  columns.x = dy.data();
  columns.saved = y.data();
  columns.y = dx.data();
  kernels.standardize_columns_backward(columns);
  y.add_to(digests["standardize columns"]);
  dx.add_to(digests["standardize columns"]);
  kernels.standardize_rows(
      {x.data(), nullptr, y.data(), x.ld(), 48, factors.data(), factors.ld(), 1e-3f, true, false, x.all_rows()});
  kernels.standardize_rows_backward(
      {dy.data(), y.data(), dx.data(), x.ld(), 48, factors.data(), factors.ld(), 1e-3f, true, false, x.all_rows()});
  y.add_to(digests["standardize rows"]);
  dx.add_to(digests["standardize rows"]);
  const NoiseArgs noise{y.data(), y.ld(), y.all_rows(), y.all_columns(), 5, 6, 7, false, 0.3, 0.1f, 1.5f};
  kernels.mask_noise(noise);
  y.add_to(digests["noise mask"]);
  kernels.normal_noise(noise);
  y.add_to(digests["noise normal"]);
  constexpr int64_t kHeight = 6, kWidth = 8, kRadius = 1, kBeyond = 64;  // kBeyond: zeros on both sides of the filter
  const Arena scratch(warp_scratch(kHeight, kWidth, 1, true));
  std::vector<int32_t> filter(2 * (kRadius + kBeyond) + 1);
  for (const int64_t d : {-1, 0, 1}) {
    const int32_t coefficient = d == 0 ? kFilterSum / 2 : kFilterSum / 4;
    filter[static_cast<size_t>(kRadius + kBeyond + d)] |= coefficient;
    filter[static_cast<size_t>(kRadius + kBeyond + d + 1)] |= coefficient << 16;
  }
  WarpArgs warp{};
  warp.x = x.data();
  warp.y = y.data();
  warp.ld = x.ld();
  warp.scratch = scratch.data();
  warp.height = kHeight;
  warp.width = kWidth;
  warp.channels = 1;
  warp.down[0] = warp.right[0] = warp.turns[0] = warp.zoom[0][0] = -0.2f;
  warp.down[1] = warp.right[1] = warp.turns[1] = warp.zoom[0][1] = 0.1f;
  warp.zooms_alike = warp.flips[1] = true;
  warp.alpha = 2.0f;
  warp.radius = kRadius;
  warp.filter = filter.data() + kRadius + kBeyond;
  warp.fill = Fill::kReflect;
  warp.seed = 11;
  warp.step = 12;
  warp.rows = x.all_rows();
  kernels.warp(warp);
  y.add_to(digests["warp"]);
}

void add_random(const KernelTable&, Digests& digests) {
  std::vector<float> values(1000);
  std::vector<int32_t> order(1000);
  fill_uniform(1, 2, -1.0f, 1.0f, values.data(), 1000);
  digests["random uniform"].add(values);
  fill_normal(1, 2, 0.5, 2.0, values.data(), 1000);
  digests["random normal"].add(values);
  fill_truncated_normal(1, 2, 0.5, 2.0, values.data(), 1000);
  digests["random truncated normal"].add(values);
  fill_orthogonal(1, 2, 1.0, values.data(), 40, 25);
  digests["random orthogonal"].add(values);
  fill_permutation(1, 2, order.data(), 1000);
  digests["random permutation"].add(order);
}

namespace {

constexpr int64_t kRows = 150, kBatch = 32, kEpochs = 2;

/// Trains from fixed weights for some epochs of shuffled batches, on `threads` threads.
void add_fit(const graph::ModelSpec& model, const TrainingSpec& training, const DatasetView& data, float scale,
             int threads, Digest& digest) {
  Device& device = cpu::device();
  Program program(device, model);
  Random random(12);
  const std::vector<Variable>& variables = program.variables().all;
  for (size_t v = 0; v < variables.size(); ++v) {
    const auto rows = variables[v].rows, columns = variables[v].columns;
    const Matrix values(rows, columns, random, -0.1f, 0.1f);
    std::vector<float> plain;
    for (int64_t i = 0; i < rows; ++i) {
      plain.insert(plain.end(), values.data() + i * values.ld(), values.data() + i * values.ld() + columns);
    }
    device.upload(variables[v], plain.data(), program.weights()[v]);
  }
  program.compile(training);
  cpu::set_threads(threads);
  const auto workspace = program.lease(graph::Mode::kTrain, {data.is_compressed(), kBatch, threads});
  const Executable& executable = *workspace->executable;
  const SparseRows sparse = executable.sparse_scale() ? cpu::sparse_rows(data, scale) : SparseRows{};
  const int64_t batches = (data.rows + kBatch - 1) / kBatch;
  const std::vector<double> rates(static_cast<size_t>(batches), 0.01);
  Totals totals;
  totals.metrics.resize(training.metrics.size());
  totals.output_losses.resize(1);
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    std::vector<int32_t> order(static_cast<size_t>(data.rows));
    fill_permutation(3, static_cast<uint64_t>(epoch), order.data(), data.rows);
    RunArguments arguments;
    arguments.training = workspace->training.get();
    arguments.weights = program.weights();
    arguments.state = program.state_for(executable.graph());
    arguments.scratch = workspace->scratch.data();
    arguments.data = data;
    arguments.sparse = sparse.values == RecordValues::kNone ? nullptr : &sparse;
    arguments.order = order.data();
    arguments.batch_size = kBatch;
    arguments.learning_rates = rates.data();
    arguments.first_iteration = epoch * batches + 1;
    arguments.totals = &totals;
    const int64_t end = batches * executable.steps();
    if (device.run(executable, arguments, 0, end, [] { return true; }) != end) {
      throw std::logic_error("the run ended before its end");
    }
  }
  digest.add(totals.loss);
  for (size_t v = 0; v < variables.size(); ++v) {
    const auto rows = variables[v].rows, columns = variables[v].columns;
    std::vector<float> values(static_cast<size_t>(rows * columns));
    device.download(variables[v], program.weights()[v], values.data());
    digest.add(values);
  }
}

/// Trains a network like that of the textbook on images that are mostly zero, with or without an l2 penalty.
void fit_images(double l2, int threads, Digest& digest) {
  constexpr int64_t kPixels = 400;
  Random random(11);
  std::vector<uint8_t> x(kRows * kPixels);
  std::vector<int32_t> labels(kRows);
  for (uint8_t& pixel : x) pixel = static_cast<uint8_t>(random.below(10) < 7 ? 0 : random.below(256));
  for (int32_t& label : labels) label = random.below(10);
  constexpr double kScale = 1.0 / 255.0;
  const graph::ModelSpec model =
      chain(kPixels, {{"rescaling", Described({{"scale", kScale}})}, dense(128, "relu", l2), dense(10, "softmax", l2)});
  DatasetView data;
  data.x = x.data();
  data.type = RowType::kUint8;
  data.rows = kRows;
  data.stride = kPixels;
  data.targets.push_back({labels.data()});
  add_fit(model, classification(), data, static_cast<float>(kScale), threads, digest);
}

void add_images(int threads, Digest& digest) { fit_images(0.0, threads, digest); }
void add_penalised_images(int threads, Digest& digest) { fit_images(1e-3, threads, digest); }

/// Trains layers of several kinds on rows without zeros, with gradients that are stored before the optimizer step.
void add_reals(int threads, Digest& digest) {
  constexpr int64_t kInputs = 60, kOutputs = 5;
  Random random(13);
  std::vector<float> x(kRows * kInputs), y(kRows * kOutputs);
  for (float& value : x) value = random.between(-1.0f, 1.0f);
  for (float& value : y) value = random.between(0.0f, 1.0f);
  const graph::ModelSpec model =
      chain(kInputs, {dense(100, "gelu"),
                      {"batch_normalization", Described({{"momentum", 0.9}, {"epsilon", 1e-3}})},
                      {"dropout", Described({{"rate", 0.3}, {"seed", 4.0}})},
                      dense(70, "tanh"),
                      dense(kOutputs, "sigmoid")});
  TrainingSpec training;
  training.losses[0].kind = Loss::kBinaryCrossentropy;
  training.optimizer.kind = Optimizer::kRmsprop;
  std::copy_n(std::begin({0.9, 0.0, 1e-7}), 3, training.optimizer.parameters);
  training.optimizer.clip = OptimizerSpec::Clip::kGlobalNorm;
  training.optimizer.limit = 0.5;
  DatasetView data;
  data.x = x.data();
  data.rows = kRows;
  data.stride = kInputs;
  data.targets.push_back({nullptr, y.data()});
  add_fit(model, training, data, 1.0f, threads, digest);
}

/// Trains a layer of `units` units on sparse rows, given as compressed rows or as dense rows.
void add_words(int64_t units, bool compressed, int threads, Digest& digest) {
  constexpr int64_t kWords = 1500;
  Random random(14);
  std::vector<float> x(kRows * kWords), values;
  std::vector<int32_t> labels(kRows), columns;
  std::vector<int64_t> begins{0};
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t word = 0; word < kWords; ++word) {
      if (random.below(40) > 0) continue;
      values.push_back(random.between(-1.0f, 1.0f));
      columns.push_back(static_cast<int32_t>(word));
      x[static_cast<size_t>(row * kWords + word)] = values.back();
    }
    begins.push_back(static_cast<int64_t>(values.size()));
  }
  for (int32_t& label : labels) label = random.below(10);
  const graph::ModelSpec model = chain(kWords, {dense(units, "relu"), dense(10, "softmax")});
  DatasetView data;
  data.x = x.data();
  data.rows = kRows;
  data.stride = kWords;
  data.targets.push_back({labels.data()});
  if (compressed) data.compressed = {begins.data(), columns.data(), values.data()};
  add_fit(model, classification(), data, 1.0f, threads, digest);
}

}  // namespace

void add_training(const KernelTable&, Digests& digests) {
  struct Training {
    const char* name;
    void (*run)(int threads, Digest& digest);
  };
  for (const Training& training : {Training{"training on images", add_images},
                                   Training{"training on images, with a penalty", add_penalised_images},
                                   Training{"training on reals", add_reals}}) {
    Digest together;
    training.run(1, digests[training.name]);
    training.run(2, together);
    if (digests[training.name].value() != together.value()) {
      throw std::logic_error("two threads train to other bits than one");
    }
  }
  for (const int64_t units : {16, 40}) {
    Digest given_dense;
    add_words(units, false, 1, given_dense);
    for (const int threads : {1, 2}) {
      Digest given_compressed;
      add_words(units, true, threads, given_compressed);
      if (given_compressed.value() != given_dense.value()) {
        throw std::logic_error("compressed rows train to other bits than dense ones");
      }
    }
  }
}

}  // namespace engine::test
