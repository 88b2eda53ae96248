#include "plan/program.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "plan/operations.h"

namespace engine {
namespace {

/// Scratch kept for reuse: sizes seen, and floats in all (256 MiB). More is made and freed as needed.
constexpr size_t kKeptSizes = 32;
constexpr int64_t kKeptFloats = int64_t{1} << 26;
/// 4 TiB of weights: larger is a slip of the pen, and would overflow the arithmetic of offsets.
constexpr int64_t kMostWeights = int64_t{1} << 40;

void check(const ModelSpec& model) {
  int64_t size = model.input_size, total = 0;
  bool learning = false;
  for (const LayerSpec& layer : model.layers) {
    if (layer.groups < 1 || size % layer.groups != 0) {
      throw std::invalid_argument("a sample of " + std::to_string(size) + " numbers can't be cut into " +
                                  std::to_string(layer.groups) + " rows");
    }
    const int64_t inputs = size / layer.groups;
    if (layer.kind == LayerSpec::Kind::kDense &&
        (layer.units > kMostWeights / inputs || (total += inputs * layer.units) > kMostWeights)) {
      throw std::invalid_argument("a kernel of (" + std::to_string(inputs) + ", " + std::to_string(layer.units) +
                                  ") makes the model larger than 2**40 weights");
    }
    const int64_t taken = layer.kind == LayerSpec::Kind::kNoise ? layer.noises : size;
    for (const int32_t from : layer.take) {
      if (from < -1 || from >= taken) throw std::invalid_argument("an index of `take` lies beyond the input");
    }
    for (const std::vector<float>& constants : layer.constants) {
      if (!constants.empty() && static_cast<int64_t>(constants.size()) != round_up(inputs, kLane)) {
        throw std::invalid_argument("a layer with rows of " + std::to_string(inputs) +
                                    " numbers needs as many constants");
      }
    }
    if (layer.kind == LayerSpec::Kind::kWarp) {
      if (learning) throw std::invalid_argument("a layer that learns can't come before one that changes images");
      const Warp& warp = layer.warp;
      if (warp.height < 1 || warp.width < 1 || warp.channels < 1 || warp.height > size || warp.width > size ||
          warp.channels > size || warp.height * warp.width > size || warp.height * warp.width * warp.channels != size) {
        throw std::invalid_argument("a sample is no image of that height, width and number of channels");
      }
    }
    if (layer.kind == LayerSpec::Kind::kEmbedding || layer.kind == LayerSpec::Kind::kEncoding) {
      if (learning) throw std::invalid_argument("a layer that learns can't come before one that takes tokens");
      const bool table = layer.kind == LayerSpec::Kind::kEmbedding;
      if ((table ? layer.units : layer.tokens) > kMostWeights / size || layer.tokens > kMostWeights / size) {
        throw std::invalid_argument("a layer that takes tokens is larger than 2**40 numbers");
      }
      if (table) total += layer.tokens * layer.units;
    }
    if (layer.kind == LayerSpec::Kind::kCustom) {
      for (const LayerSpec::Custom& variable : layer.variables) {
        int64_t numbers = 1;
        for (const int64_t axis : variable.shape) {
          if (axis < 1 || axis > kMostWeights / numbers) throw std::invalid_argument("a variable has an odd shape");
          numbers *= axis;
        }
        total += numbers;
      }
    }
    if (layer.shaped) {
      int64_t product = 1;
      for (const int64_t axis : layer.shape) product *= axis;
      if (product != inputs) throw std::invalid_argument("`shape` doesn't hold a row of the layer");
    }
    learning = learning || learns(layer);
    size = size_after(layer, size);
    if (size > kMostWeights || total > kMostWeights)
      throw std::invalid_argument("a layer is larger than 2**40 numbers");
  }
  if (model.output_groups < 1 || size % model.output_groups != 0) {
    throw std::invalid_argument("an output of " + std::to_string(size) + " numbers can't be cut into " +
                                std::to_string(model.output_groups) + " rows");
  }
}

}  // namespace

Program::Program(ModelSpec model, const std::vector<Loan>& loans)
    : model_(std::move(model)), pool_(std::make_shared<Pool>()) {
  check(model_);
  parameters_ = lay_out(model_);
  const std::vector<Variable>& variables = parameters_.variables;
  if (!loans.empty() && loans.size() != variables.size()) {
    throw std::invalid_argument("there must be a loan or none for each of " + std::to_string(variables.size()) +
                                " variables, got " + std::to_string(loans.size()));
  }
  const auto is_own = [&](size_t v) { return loans.empty() || !loans[v].program; };
  int64_t own = 0;
  for (size_t v = 0; v < variables.size(); ++v) own += is_own(v) ? variables[v].floats() : 0;
  const auto storage = std::make_shared<Storage>(own);
  float* next = storage->data();
  storages_.push_back(storage);
  for (size_t v = 0; v < variables.size(); ++v) {
    if (is_own(v)) {
      holders_.push_back(storage);
      weights_.push_back(next);
      next += variables[v].floats();
      continue;
    }
    const Program& lender = *loans[v].program;
    const size_t lent = loans[v].variable;
    if (lent >= lender.weights_.size() || lender.parameters_.variables[lent].shape != variables[v].shape) {
      throw std::invalid_argument("variable " + std::to_string(v) + " can't be lent: it has another shape");
    }
    holders_.push_back(lender.holders_[lent]);
    weights_.push_back(lender.weights_[lent]);
    storages_.push_back(lender.holders_[lent]);
  }
  std::sort(storages_.begin(), storages_.end());
  storages_.erase(std::unique(storages_.begin(), storages_.end()), storages_.end());
}

bool Program::awaited() const {
  return std::any_of(storages_.begin(), storages_.end(), [](const auto& storage) { return storage->awaited(); });
}

int64_t Program::output_size() const {
  int64_t size = model_.input_size;
  for (const LayerSpec& layer : model_.layers) size = size_after(layer, size);
  return size;
}

void Program::configure(TrainingSpec training) {
  auto spec = std::make_shared<const TrainingSpec>(std::move(training));
  OptimizerState fresh;
  const OptimizerSpec& optimizer = spec->optimizer;
  for (int s = 0; s < slot_count(optimizer.kind); ++s) fresh.slots[s] = Arena(parameters_.size);
  if (optimizer.initial_slot != 0.0) {
    std::fill_n(fresh.slots[0].data(), parameters_.size, static_cast<float>(optimizer.initial_slot));
  }
  if (optimizer.accumulate > 1) fresh.accumulated = Arena(parameters_.size);
  if (optimizer.averages) fresh.averages = Arena(parameters_.size);
  const auto lock = write_lock();
  state_ = std::move(fresh);
  iterations_ = 0;
  const std::lock_guard<std::mutex> state(state_mutex_);
  training_ = std::move(spec);
  pool_ = std::make_shared<Pool>();
}

std::shared_ptr<const TrainingSpec> Program::training() const {
  const std::lock_guard<std::mutex> state(state_mutex_);
  return training_;
}

std::shared_ptr<Workspace> Program::lease(Plan::Mode mode, int64_t rows, int threads) {
  const Key key{mode, rows, threads};
  std::shared_ptr<Pool> pool;
  std::shared_ptr<const TrainingSpec> training;
  {
    const std::lock_guard<std::mutex> state(state_mutex_);
    pool = pool_;
    training = training_;
  }
  std::unique_ptr<Workspace> workspace;
  {
    const std::lock_guard<std::mutex> lock(pool->mutex);
    auto& free = pool->free[key];
    if (!free.empty()) {
      workspace = std::move(free.back());
      free.pop_back();
      pool->kept -= workspace->plan->arena_size;
    }
  }
  if (!workspace) {
    static const TrainingSpec kUntrained;
    auto plan = std::make_shared<const Plan>(
        compile(model_, parameters_, training ? *training : kUntrained, mode, rows, threads));
    workspace = std::make_unique<Workspace>(Workspace{plan, training, Arena(plan->arena_size)});
  }
  return {workspace.release(), [pool, key](Workspace* used) {
            std::unique_ptr<Workspace> owned(used);
            const std::lock_guard<std::mutex> lock(pool->mutex);
            const int64_t size = owned->plan->arena_size;
            if (size > kKeptFloats) return;
            if (pool->free.size() > kKeptSizes || pool->kept + size > kKeptFloats) {
              pool->free.clear();
              pool->kept = 0;
            }
            pool->kept += size;
            pool->free[key].push_back(std::move(owned));
          }};
}

}  // namespace engine
