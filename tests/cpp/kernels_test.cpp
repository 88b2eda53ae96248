// Runs the kernels of one instruction set, which ENGINE_ISA chooses, on fixed numbers, and compares hashes of the
// results with those that every instruction set must give. It needs no Python, so that it can run in an emulator.
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "cases.h"
#include "check.h"
#include "cpu/denormals.h"
#include "cpu/dispatch.h"

namespace engine::test {
namespace {

constexpr void (*kCases[])(const KernelTable&, Digests&) = {add_math,   add_dense,   add_products, add_activations,
                                                            add_losses, add_metrics, add_updates,  add_layers,
                                                            add_arrays, add_random,  add_training};

struct KernelHash {
  const char* kernel;
  uint64_t expected;
};

/// The hashes that all instruction sets give. After a change that is meant to change bits, copy here the lines that the
/// program prints. A kernel without a line is new, and gets its line before a release.
constexpr KernelHash kHashes[] = {
    {"activation celu", 0xcdb928155318859d},
    {"activation elu", 0x0c759851454b46f9},
    {"activation exponential", 0xd7965a94a995b857},
    {"activation gelu", 0x5b342e2f88c69acb},
    {"activation gelu_tanh", 0xbe367af0086399fb},
    {"activation general_relu", 0x81eee49bbde3e759},
    {"activation hard_shrink", 0xc659904525c08c3d},
    {"activation hard_sigmoid", 0x765568b8c4368219},
    {"activation hard_silu", 0x454a9a5e74972c46},
    {"activation hard_tanh", 0x775ff1c0010d203c},
    {"activation leaky_relu", 0x1173bb02a6aec1b8},
    {"activation linear", 0x535acbd632936253},
    {"activation log_sigmoid", 0xc4cbfabe66366f3c},
    {"activation log_softmax", 0x7bce96abaed5dd31},
    {"activation mish", 0xb71c3e7d19ee3f65},
    {"activation relu", 0x9ca761e89e940d55},
    {"activation relu6", 0x169f28f212bd1289},
    {"activation selu", 0xffb140afb00679bc},
    {"activation sigmoid", 0x8493ce2eb4264cb8},
    {"activation silu", 0x96689c010612591d},
    {"activation soft_shrink", 0xa188bfa50d2bdc76},
    {"activation softmax", 0xb81e73bace2dbe30},
    {"activation softplus", 0x1ad63154e824d4cc},
    {"activation softsign", 0xcac2062f33e89ba2},
    {"activation sparse_plus", 0x22afa1745b8d3e6a},
    {"activation sparse_sigmoid", 0x9a95f0b36dbf18f5},
    {"activation sparsemax", 0xa3830a72e12e9cb6},
    {"activation squareplus", 0xa446b8b23dc9f9d7},
    {"activation tanh", 0x947a2ccbaddd7509},
    {"activation tanh_shrink", 0xa6c767729cca8fbb},
    {"activation threshold", 0x32b2fb2e78fbe74f},
    {"cumulative sum", 0x2fd7d1656e71d37d},
    {"dense forward, linear", 0x46bb3cb76bd2a2d5},
    {"dense forward, relu", 0x181f5b8861d63615},
    {"dense input gradient, linear", 0x3ee6acafb73142e5},
    {"dense input gradient, relu", 0xad92a6a5ecd68d0d},
    {"dense weight step, adam", 0xb58633720e3af8bd},
    {"dense weight step, sgd", 0xb5b45384d1c39019},
    {"dot", 0x6a97058a3223fd43},
    {"exp", 0x2d4aef2f7afa9581},
    {"fma", 0xbd41f7e8fd93181e},
    {"log", 0x73286907a854fa18},
    {"loss binary_crossentropy", 0xb25bde1f067433d1},
    {"loss binary_focal_crossentropy", 0xc268e34bc2026ef0},
    {"loss categorical_crossentropy", 0x1e7462e39ad9f948},
    {"loss categorical_focal_crossentropy", 0xdcb6035407ae9de8},
    {"loss categorical_generalized_cross_entropy", 0x394bf7ca3b89e524},
    {"loss categorical_hinge", 0xf81d55d53afd3684},
    {"loss cosine_similarity", 0xe04f8d5dd362f23d},
    {"loss hinge", 0x128b1e6c7d5f7405},
    {"loss huber", 0xa100f59ec5958106},
    {"loss kl_divergence", 0xdcb809d8fbf73a43},
    {"loss log_cosh", 0x87d1dd0a39713384},
    {"loss mean_absolute_error", 0x60e539888612aa4a},
    {"loss mean_absolute_percentage_error", 0x96eede440e4e35bb},
    {"loss mean_squared_error", 0xb75ff5ea5f1df8f2},
    {"loss mean_squared_logarithmic_error", 0x08ce549b14b5a5a3},
    {"loss poisson", 0xfa6d3f9465e6993d},
    {"loss sigmoid + binary_crossentropy", 0x080fd6bdda00f6f4},
    {"loss softmax + crossentropy", 0xf3c117048c401a4d},
    {"loss squared_hinge", 0xcb68d375b18d119f},
    {"loss tversky", 0xdb2f47641f06845e},
    {"map abs", 0x06691cea22e52896},
    {"map add", 0x282988f3ad1ef224},
    {"map atan2", 0x8adb174a6ca4b3ba},
    {"map bitwise_and", 0x28343496a2d1a092},
    {"map cos", 0x9b28298adab1354a},
    {"map divide", 0x5dfe1f4d8543dd66},
    {"map equal", 0x858132a8ae255365},
    {"map erf", 0x5a800f3f27f1cc18},
    {"map erfinv", 0x021e33d8c13bf7dc},
    {"map exp", 0xff1f2fa55edfa235},
    {"map expm1", 0x0b0cd1d6bb7cc159},
    {"map floor", 0x4820b4a855939e55},
    {"map gaussian", 0xd7210dbc218a7433},
    {"map less", 0x45ec9081d617cca5},
    {"map less_equal", 0x45ec9081d617cca5},
    {"map log", 0xcdc518a1253fc13e},
    {"map log1p", 0xb86c18117da1d0da},
    {"map maximum", 0x38b77bb288eea7fd},
    {"map minimum", 0xb566c07778256abb},
    {"map multiply", 0x47b7d25a2e39dae2},
    {"map multiply_add", 0x9b10e8f97e50197c},
    {"map negate", 0x2853970ec7dc0796},
    {"map power", 0xb87383e561491c9b},
    {"map remainder", 0x6bd1a92704dd5796},
    {"map round", 0xcee8f2f0dcd30f45},
    {"map select", 0x2318a53a2a089144},
    {"map sigmoid", 0xae210bdbf9cf1b9f},
    {"map sign", 0x09e1580ba67d7845},
    {"map sin", 0x20244b2e662cfd8b},
    {"map softplus", 0x60ce0d0507f97020},
    {"map sqrt", 0xe9a65d8e82d5516d},
    {"map subtract", 0x0c32287de2a6b93a},
    {"map tanh", 0x5abb29c62e87e8be},
    {"metric accuracy", 0xf05e74aa1eda9c25},
    {"metric binary_accuracy", 0x57e55a4a5a4ed8c4},
    {"metric categorical_accuracy", 0x56b88a703572b148},
    {"metric of thresholds", 0xd890f18cf2f047d8},
    {"metric top_k_categorical_accuracy", 0xcb24798aa2909de8},
    {"noise mask", 0xd16ba0b978932928},
    {"noise normal", 0x021ab22e7ee2dd1e},
    {"optimizer adadelta", 0xcd306555b100c35a},
    {"optimizer adafactor", 0x2dc074fa2f6e86dc},
    {"optimizer adagrad", 0x9c55b259ac0cbd32},
    {"optimizer adam", 0xd59b8db38d78bd57},
    {"optimizer adamax", 0x4f0dfb6f833c6f2c},
    {"optimizer ftrl", 0x906aac82b304c711},
    {"optimizer lamb", 0x850e72bec5da522a},
    {"optimizer lion", 0xecc8990f0f461009},
    {"optimizer muon", 0x00cbddcc33b7f629},
    {"optimizer nadam", 0x8a4d059eba746066},
    {"optimizer rmsprop", 0x4a3371e0365735bd},
    {"optimizer schedule_free_adamw", 0x8d760a677b226687},
    {"optimizer sgd", 0xa78470bbad996f66},
    {"penalties, averages and norms", 0x5557d82b8b24158d},
    {"products", 0xbf7d607b01296559},
    {"random normal", 0x7531fb31394eaba4},
    {"random orthogonal", 0xfa05aa26ed16a5f9},
    {"random permutation", 0x48ac797c65eed689},
    {"random truncated normal", 0xcd6b70d69b87da38},
    {"random uniform", 0x23f765b1e0dfe861},
    {"reduction argmax", 0x6555c51900a15bc8},
    {"reduction argmin", 0x17b820f8cbfb9b68},
    {"reduction max", 0x7ad07dea4da6ec84},
    {"reduction min", 0x6bbd4a955607f913},
    {"reduction prod", 0x52b394d58fe3226f},
    {"reduction sum", 0x905db13ac456de77},
    {"standardize columns", 0x74082df01bd57466},
    {"standardize rows", 0xf833007b829600db},
    {"training on images", 0xb406178cb73f50ea},
    {"training on images, with a penalty", 0xbc44eb79fdd2e3fc},
    {"training on reals", 0xa419ced4a3b3b254},
    {"warp", 0x9dcfd8e8cc144637},
};

void print(const char* isa, const char* verdict, const std::string& kernel, uint64_t hash) {
  std::printf("%-8s  %-5s  {\"%s\", 0x%016" PRIx64 "},\n", isa, verdict, kernel.c_str(), hash);
}

/// Prints which kernels have other bits than expected, and which are new. Returns how many are wrong.
int compare_with_expected(const char* isa, Digests digests) {
  int failures = 0;
  for (const KernelHash& known : kHashes) {
    const auto found = digests.find(known.kernel);
    if (found == digests.end()) {
      std::printf("%-8s  WRONG  no kernel is named \"%s\"\n", isa, known.kernel);
      ++failures;
      continue;
    }
    if (found->second.value() != known.expected) {
      print(isa, "WRONG", known.kernel, found->second.value());
      ++failures;
    }
    digests.erase(found);
  }
  for (const auto& [kernel, digest] : digests) print(isa, "new", kernel, digest.value());
  check(failures == 0, (std::string("the bits of ") + isa).c_str());
  return failures;
}

/// A result that rounds up to the smallest normal number: x86 keeps it, as it flushes to zero after rounding, and arm64
/// flushes it before. Nothing else differs (docs/explanation/numerical-contract.md).
int check_flushing() {
  const cpu::DenormalsAreZero guard;
  const volatile float a = 0x1.000002p-63f, b = 0x1.fffffcp-64f, c = 0x1p-63f;
#if defined(__aarch64__)
  const float expected = 0.0f;
#else
  const float expected = 0x1p-126f;
#endif
  const float rounded_up = a * b, below = b * c;
  if (rounded_up == expected && below == 0.0f) return 0;
  std::printf("the smallest numbers: got %a and %a, expected %a and 0\n", static_cast<double>(rounded_up),
              static_cast<double>(below), static_cast<double>(expected));
  return 1;
}

/// The exit status by which CTest knows a skipped test.
constexpr int kSkipped = 77;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

int run() {
  const char* wanted = std::getenv("ENGINE_ISA");
  if (wanted && contains(cpu::compiled_isas(), wanted) && !contains(cpu::runnable_isas(), wanted)) {
    std::printf("skipped: this CPU has no %s\n", wanted);
    return kSkipped;
  }
  const KernelTable& table = cpu::kernels();
  Digests digests;
  int failures = 0;
  {
    const cpu::DenormalsAreZero guard;
    for (const auto& add : kCases) add(table, digests);
    failures += compare_formulas_in_float(table);
  }
  failures += compare_with_expected(table.isa, std::move(digests)) + check_flushing();
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace
}  // namespace engine::test

int main() {
  try {
    return engine::test::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return EXIT_FAILURE;
  }
}
