// Layers as mappings of Python to their specs.
#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "bindings/convert.h"
#include "bindings/mapping.h"

namespace engine::bindings {
namespace {

using Kind = LayerSpec::Kind;

constexpr float kUnlimited = std::numeric_limits<float>::infinity();
/// Tokens come as float32, which holds every integer so far.
constexpr int64_t kMostTokens = int64_t{1} << 24;
/// Sizes of an image, or pixels: what lies further away is read as if it lay there, and no sum of such numbers
/// overflows.
constexpr float kFurthest = 1e6f;
constexpr const char* kKinds[] = {"dense",
                                  "activation",
                                  "dropout",
                                  "rescaling",
                                  "take",
                                  "noise",
                                  "learned",
                                  "batch_normalization",
                                  "standardize",
                                  "row_normalization",
                                  "embedding",
                                  "encoding",
                                  "custom",
                                  "warp",
                                  "activity_regularization",
                                  "mean",
                                  "max",
                                  "mask"};
static_assert(std::size(kKinds) == static_cast<size_t>(Kind::kMask) + 1);

template <class Enum, size_t N>
Enum to_enum(const py::dict& layer, const char* key, const char* const (&names)[N]) {
  return static_cast<Enum>(to_index(get<std::string>(layer, key, names[0]), names, static_cast<int>(N), key));
}

int64_t to_count(const py::dict& layer, const char* key) {
  const auto count = get<int64_t>(layer, key);
  if (count < 1) fail(std::string("'") + key + "' must be at least 1, got " + std::to_string(count));
  return count;
}

int64_t to_tokens(const py::dict& layer) {
  const int64_t count = to_count(layer, "tokens");
  if (count > kMostTokens) {
    fail("'tokens' must be at most " + std::to_string(kMostTokens) + ", got " + std::to_string(count));
  }
  return count;
}

ConstraintSpec to_constraint(const py::dict& constraint) {
  static constexpr const char* kKinds[] = {"none", "non_negative", "norm", "host"};
  static constexpr const char* kOver[] = {"column", "row", "all"};
  ConstraintSpec spec;
  spec.kind = to_enum<ConstraintSpec::Kind>(constraint, "kind", kKinds);
  if (spec.kind != ConstraintSpec::Kind::kNorm) return spec;
  spec.over = to_enum<ConstraintSpec::Over>(constraint, "over", kOver);
  spec.limits = {get<double>(constraint, "low"), get<double>(constraint, "high"), get<double>(constraint, "rate")};
  return spec;
}

/// What keys such as `kernel_l2` ask of the variable `name`.
VariableSpec to_variable(const py::dict& layer, const std::string& name) {
  VariableSpec spec;
  spec.l1 = to_nonnegative(layer, (name + "_l1").c_str(), 0.0);
  spec.l2 = to_nonnegative(layer, (name + "_l2").c_str(), 0.0);
  spec.orthogonal = to_nonnegative(layer, (name + "_orthogonal").c_str(), 0.0);
  spec.orthogonal_columns = get<bool>(layer, (name + "_orthogonal_columns").c_str(), false);
  spec.host_penalty = get<bool>(layer, (name + "_host_penalty").c_str(), false);
  const std::string constraint = name + "_constraint";
  if (layer.contains(constraint)) spec.constraint = to_constraint(layer[constraint.c_str()].cast<py::dict>());
  return spec;
}

void add_variables(const py::dict& layer, LayerSpec& spec) {
  spec.trainable = get<bool>(layer, "trainable", true);
  spec.kernel = to_variable(layer, "kernel");
  spec.bias = to_variable(layer, "bias");
}

void add_rate(const py::dict& layer, LayerSpec& spec) {
  spec.rate = get<double>(layer, "rate");
  if (!(spec.rate >= 0.0 && spec.rate <= 1.0)) {
    fail("a dropout rate lies in [0, 1], got " + std::to_string(spec.rate));
  }
  spec.seed = get<uint64_t>(layer, "seed");
}

void add_noise(const py::dict& layer, LayerSpec& spec) {
  static constexpr const char* kDistributions[] = {"mask", "normal"};
  static constexpr const char* kCombinations[] = {"multiply", "add", "alpha"};
  add_rate(layer, spec);
  spec.distribution = to_enum<LayerSpec::Distribution>(layer, "distribution", kDistributions);
  spec.combination = to_enum<LayerSpec::Combination>(layer, "combination", kCombinations);
  spec.mean = get<float>(layer, "mean", 0.0f);
  spec.scale = get<float>(layer, "scale");
  spec.kept = get<float>(layer, "kept", 0.0f);
  spec.dropped = get<float>(layer, "dropped", 0.0f);
  spec.shared = get<bool>(layer, "shared", false);
  spec.take = get<std::vector<int32_t>>(layer, "from", {});
  spec.noises = get<int64_t>(layer, "noises", 0);
}

/// Numbers per column in place of variables, padded with copies of the last, which is as harmless as any.
void add_constants(const py::dict& layer, LayerSpec& spec, const char* first, const char* second) {
  const char* names[] = {first, second};
  for (size_t i = 0; i < std::size(names); ++i) {
    auto& constants = spec.constants[i] = get<std::vector<float>>(layer, names[i], {});
    if (constants.empty()) continue;
    constants.resize(static_cast<size_t>(round_up(static_cast<int64_t>(constants.size()), kLane)), constants.back());
  }
  if (spec.constants[0].size() != spec.constants[1].size()) fail("constants come in pairs of equal size");
}

/// The shape in which the user sees a row of variables.
void add_shape(const py::dict& layer, LayerSpec& spec) {
  spec.shaped = layer.contains("shape");
  if (spec.shaped) spec.shape = get<std::vector<int64_t>>(layer, "shape");
}

void add_learned(const py::dict& layer, LayerSpec& spec) {
  static constexpr const char* kRules[] = {"scaled", "leaky"};
  static_assert(std::size(kRules) == kLearned);
  add_variables(layer, spec);
  spec.learned = to_enum<Learned>(layer, "rule", kRules);
  spec.use_gain = get<bool>(layer, "use_gain", true);
  spec.use_shift = get<bool>(layer, "use_shift", true);
  add_shape(layer, spec);
}

void add_standardization(const py::dict& layer, LayerSpec& spec) {
  static constexpr const char* kSpreads[] = {"variance", "deviation", "inverse"};
  spec.spread = to_enum<Spread>(layer, "spread", kSpreads);
  spec.epsilon = static_cast<float>(to_nonnegative(layer, "epsilon"));
  add_shape(layer, spec);
}

void add_range(const py::dict& layer, const char* key, float (&range)[2]) {
  const auto ends = get<std::vector<float>>(layer, key, {0.0f, 0.0f});
  const auto near = [](float end) { return end >= -kFurthest && end <= kFurthest; };
  if (ends.size() != 2 || !std::all_of(ends.begin(), ends.end(), near)) {
    fail_about("two numbers from -1e6 to 1e6 are wanted for key", key, layer);
  }
  std::copy(ends.begin(), ends.end(), range);
}

void add_taps(const std::vector<float>& taps, LayerSpec& spec) {
  spec.warp.radius = static_cast<int64_t>(taps.size() / 2);
  if (taps.empty()) {
    spec.warp.radius = -1;
    return;
  }
  constexpr float kMost = 1.01f;  // sums of products must fit 32 bits
  if (taps.size() % 2 == 0 || !std::equal(taps.begin(), taps.end(), taps.rbegin()) ||
      !std::all_of(taps.begin(), taps.end(), [](float tap) { return tap >= 0.0f; }) ||
      !(std::accumulate(taps.begin(), taps.end(), 0.0f) <= kMost)) {
    fail("'taps' must hold an odd number of shares, the same from both ends, that add up to 1");
  }
  constexpr auto kBeyond = static_cast<size_t>(2 * kLane);  // that vectors reach out to
  const size_t middle = taps.size() / 2 + kBeyond;
  spec.taps.resize(2 * middle + 1);
  for (size_t i = 0; i < taps.size(); ++i) {
    const auto tap = static_cast<int32_t>(taps[i] * kWholeTap + 0.5f);
    spec.taps[kBeyond + i] |= tap;
    spec.taps[kBeyond + i + 1] |= tap << 16;
  }
}

void add_warp(const py::dict& layer, LayerSpec& spec) {
  static constexpr const char* kFills[] = {"constant", "nearest", "reflect", "wrap"};
  Warp& warp = spec.warp;
  warp.height = to_count(layer, "height");
  warp.width = to_count(layer, "width");
  warp.channels = to_count(layer, "channels");
  add_range(layer, "down", warp.down);
  add_range(layer, "right", warp.right);
  add_range(layer, "turns", warp.turns);
  add_range(layer, "zoom", warp.zoom[0]);
  add_range(layer, "zoom_width", warp.zoom[1]);
  warp.zooms_alike = !layer.contains("zoom_width");
  warp.flips[0] = get<bool>(layer, "turns_over", false);
  warp.flips[1] = get<bool>(layer, "mirrors", false);
  warp.alpha = get<float>(layer, "alpha", 0.0f);
  if (!(warp.alpha >= 0.0f && warp.alpha <= kFurthest)) {
    fail("'alpha' must lie in [0, 1e6], got " + std::to_string(warp.alpha));
  }
  add_taps(get<std::vector<float>>(layer, "taps", {}), spec);
  warp.fill = to_enum<Fill>(layer, "fill", kFills);
  warp.fill_value = get<float>(layer, "fill_value", 0.0f);
  warp.nearest = get<bool>(layer, "nearest", false);
  spec.seed = get<uint64_t>(layer, "seed");
}

LayerSpec to_layer(const py::dict& layer) {
  LayerSpec spec;
  spec.kind = static_cast<Kind>(
      to_index(get<std::string>(layer, "kind"), kKinds, static_cast<int>(std::size(kKinds)), "layer"));
  spec.first = get<int>(layer, "first", -1);
  spec.groups = get<int64_t>(layer, "groups", 1);
  switch (spec.kind) {
    case Kind::kDense:
      spec.units = to_count(layer, "units");
      spec.activation = to_activation(layer, spec.parameters);
      spec.use_bias = get<bool>(layer, "use_bias", true);
      add_variables(layer, spec);
      break;
    case Kind::kActivation:
      spec.activation = to_activation(layer, spec.parameters);
      break;
    case Kind::kDropout:
      add_rate(layer, spec);
      break;
    case Kind::kActivity:
      spec.l1 = to_nonnegative(layer, "l1", 0.0);
      spec.l2 = to_nonnegative(layer, "l2", 0.0);
      spec.hosted = layer.contains("host");
      break;
    case Kind::kRescaling:
      spec.scale = get<float>(layer, "scale");
      spec.offset = get<float>(layer, "offset", 0.0f);
      break;
    case Kind::kTake:
      spec.take = get<std::vector<int32_t>>(layer, "from");
      if (spec.take.empty()) fail("a take layer needs at least 1 index");
      break;
    case Kind::kNoise:
      add_noise(layer, spec);
      break;
    case Kind::kLearned:
      add_learned(layer, spec);
      add_constants(layer, spec, "gain", "shift");
      break;
    case Kind::kBatchNormalization:
      add_learned(layer, spec);
      add_standardization(layer, spec);
      spec.momentum = get<double>(layer, "momentum");
      spec.masked = get<bool>(layer, "masked", false);
      spec.renorm = layer.contains("renorm_momentum");
      spec.renorm_momentum = get<double>(layer, "renorm_momentum", 0.0);
      spec.limits = {get<float>(layer, "rmin", -kUnlimited), get<float>(layer, "rmax", kUnlimited),
                     get<float>(layer, "dmax", kUnlimited)};
      break;
    case Kind::kStandardize:
      add_standardization(layer, spec);
      add_constants(layer, spec, "mean", "variance");
      break;
    case Kind::kRowNormalization:
      spec.epsilon = static_cast<float>(to_nonnegative(layer, "epsilon"));
      spec.centred = get<bool>(layer, "centred");
      spec.unit = get<bool>(layer, "unit", false);
      break;
    case Kind::kEmbedding:
      spec.tokens = to_tokens(layer);
      spec.units = to_count(layer, "units");
      spec.masks = get<bool>(layer, "masks", false);
      add_variables(layer, spec);
      break;
    case Kind::kMean:
      spec.masked = get<bool>(layer, "masked", false);
      break;
    case Kind::kMax:
      break;
    case Kind::kMask:
      spec.offset = get<float>(layer, "value");
      break;
    case Kind::kEncoding:
      spec.tokens = to_tokens(layer);
      spec.counts = get<bool>(layer, "counts");
      break;
    case Kind::kWarp:
      add_warp(layer, spec);
      break;
    case Kind::kCustom:
      spec.units = to_count(layer, "units");
      spec.masked = get<bool>(layer, "masked", false);
      spec.mask_rows = get<int64_t>(layer, "mask_rows", 0);
      spec.trainable = get<bool>(layer, "trainable", true);
      for (const py::handle each : get<py::sequence>(layer, "variables")) {
        const auto variable = py::cast<py::dict>(each);
        spec.variables.push_back({get<std::vector<int64_t>>(variable, "shape"), get<bool>(variable, "trainable"),
                                  to_variable(variable, "weight")});
      }
      break;
  }
  return spec;
}

}  // namespace

ModelSpec to_model(int64_t input_size, const py::sequence& layers, int64_t output_rows) {
  if (input_size < 1) fail("`input_size` must be at least 1, got " + std::to_string(input_size));
  ModelSpec model;
  model.input_size = input_size;
  model.output_groups = output_rows;
  for (const py::handle layer : layers) model.layers.push_back(to_layer(py::cast<py::dict>(layer)));
  return model;
}

}  // namespace engine::bindings
