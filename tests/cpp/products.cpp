// Multiply-adds, exp and log, which most formulas are made of, and matrix products.
#include <string>
#include <vector>

#include "cases.h"
#include "cpu/gemm.h"

namespace engine::test {

void add_math(const KernelTable& kernels, Digests& digests) {
  constexpr int64_t kCount = 4096;
  Random random(1);
  Matrix a(1, kCount, random, -2.0f, 2.0f), b(1, kCount, random, -2.0f, 2.0f), c(1, kCount, random, -2.0f, 2.0f);
  for (int64_t i = 0; i < kCount / 2; ++i) {
    // Products of numbers of 12 bits, added to a number of other magnitude: many sums lie halfway between two floats,
    // or next to that.
    a.at(0, i) = static_cast<float>(random.below(4096) + 1);
    b.at(0, i) = static_cast<float>(random.below(4096) + 1);
    c.at(0, i) = random.between(-1.0f, 1.0f) * (i % 2 ? 0x1p-24f : 0x1p24f);
  }
  const Matrix y(1, kCount);
  const Matrix x(1, kCount, random, -120.0f, 120.0f);
  const MapRegister registers[] = {{a.data(), 1}, {b.data(), 1}, {c.data(), 1}, {x.data(), 1}, {y.data(), 1}};
  const auto add = [&](const char* name, const MapBlockInstruction& step) {
    kernels.run_map({&step, &step + 1, registers, kCount});
    y.add_to(digests[name]);
  };
  add("fma", {MapOp::kMultiplyAdd, 4, 0, 1, 2});
  add("exp", {MapOp::kExp, 4, 3, 3, 3});
  add("log", {MapOp::kLog, 4, 3, 3, 3});
}

namespace {

struct Sizes {
  int64_t rows, k, n;
};
/// Sizes around those of the tiles of all instruction sets, the slices of narrow products, chains of 256 terms, and
/// panels of 64 columns.
constexpr Sizes kSizes[] = {{1, 1, 1},    {1, 300, 64},   {2, 17, 16},   {5, 64, 33},   {7, 15, 17}, {17, 100, 10},
                            {33, 600, 3}, {600, 150, 40}, {32, 784, 64}, {64, 257, 48}, {3, 513, 40}};

void add_forward(const KernelTable& kernels, const Matrix& x, const Matrix& kernel, const float* bias,
                 Digests& digests) {
  const Matrix y(x.rows(), kernel.columns());
  for (int a = 0; a < kFusedActivations; ++a) {
    kernels.dense_forward[a]({x.data(), x.ld(), kernel.data(), kernel.ld(), bias, y.data(), y.ld(), x.columns(),
                              x.all_rows(), kernel.all_columns(), nullptr, false, nullptr,
                              sums_in_slices(kernel.columns())});
    y.add_to(digests[std::string("dense forward, ") + kActivationNames.of[a]]);
  }
}

void add_backward_input(const KernelTable& kernels, const Matrix& dz, const Matrix& kernel, const Matrix& saved,
                        Digests& digests) {
  const Matrix dz_t(dz.columns(), round_up(dz.rows(), kLineFloats)), dx(dz.rows(), kernel.rows());
  kernels.transpose({dz.data(), dz.ld(), dz_t.data(), dz_t.ld(), dz.all_rows(), {0, dz.columns()}});
  const Arena panels(Panels(kernel.rows(), kernel.columns()).floats());
  cpu::pack_panels(kernel.data(), kernel.ld(), kernel.rows(), kernel.columns(), panels.data());
  for (int a = 0; a < kFusedActivations; ++a) {
    for (const bool transposed : {false, true}) {
      const Matrix& source = transposed ? dz_t : dz;
      kernels.dense_input_gradient[a]({source.data(), source.ld(), panels.data(), kernel.rows(), saved.data(),
                                       dx.data(), dx.ld(), kernel.columns(), dz.rows(), kernel.all_rows(), transposed});
      dx.add_to(digests[std::string("dense input gradient, ") + kActivationNames.of[a]]);
    }
  }
}

void add_backward_weights(const KernelTable& kernels, const Matrix& x, const Matrix& dz, Digests& digests) {
  for (int optimizer = 0; optimizer < kFusedOptimizers; ++optimizer) {
    Digest& digest = digests[std::string("dense weight step, ") + kOptimizerRows[optimizer].name];
    for (int shrinkage = 0; shrinkage < kShrinkages; ++shrinkage) {
      Random random(3);
      const double pull = shrinkage == 0 ? 0.0 : 0.01;
      const Matrix kernel(x.columns(), dz.columns(), random, -1.0f, 1.0f), bias(1, dz.columns(), random, -1.0f, 1.0f);
      std::vector<Matrix> slots;
      DenseWeightGradientArgs op{x.data(),
                                 x.ld(),
                                 dz.data(),
                                 dz.ld(),
                                 {kernel.data(), {}, pull, pull},
                                 kernel.ld(),
                                 {bias.data(), {}, pull, pull},
                                 x.rows(),
                                 kernel.all_rows(),
                                 kernel.all_columns(),
                                 {0.01, 3, {0.9, 0.99, 1e-3}}};
      for (int s = 0; s < slot_count(static_cast<Optimizer>(optimizer)); ++s) {
        slots.emplace_back(x.columns(), dz.columns(), random, 0.0f, 1.0f);
        op.kernel.slots[s] = slots.back().data();
        slots.emplace_back(1, dz.columns(), random, 0.0f, 1.0f);
        op.bias.slots[s] = slots.back().data();
      }
      kernels.dense_weight_step[optimizer][shrinkage](op);
      kernel.add_to(digest);
      bias.add_to(digest);
      for (const Matrix& slot : slots) slot.add_to(digest);
    }
  }
}

}  // namespace

void add_dense(const KernelTable& kernels, Digests& digests) {
  Random random(2);
  for (const Sizes& size : kSizes) {
    const Matrix x(size.rows, size.k, random, -1.0f, 1.0f), kernel(size.k, size.n, random, -1.0f, 1.0f);
    const Matrix bias(1, size.n, random, -1.0f, 1.0f), dz(size.rows, size.n, random, -1.0f, 1.0f);
    add_forward(kernels, x, kernel, bias.data(), digests);
    add_forward(kernels, x, kernel, nullptr, digests);
    add_backward_input(kernels, dz, kernel, x, digests);
    add_backward_weights(kernels, x, dz, digests);
  }
}

void add_products(const KernelTable& kernels, Digests& digests) {
  Random random(4);
  Digest &products = digests["products"], &dots = digests["dot"];
  for (const Sizes& size : kSizes) {
    const Matrix a(size.rows, size.k, random, -1.0f, 1.0f), a_t(size.k, size.rows, random, -1.0f, 1.0f);
    const Matrix b(size.k, size.n, random, -1.0f, 1.0f), b_t(size.n, size.k, random, -1.0f, 1.0f);
    const Matrix bias(1, size.n, random, -1.0f, 1.0f), c(size.rows, size.n);
    for (const Activation activation : {Activation::kLinear, Activation::kRelu, Activation::kTanh}) {
      for (int layout = 0; layout < 4; ++layout) {
        const bool a_lies = layout % 2 == 0, b_lies = layout / 2 == 0;
        const cpu::Product product{size.rows,
                                   size.n,
                                   size.k,
                                   a_lies ? a.data() : a_t.data(),
                                   a_lies ? a.ld() : 1,
                                   a_lies ? 1 : a_t.ld(),
                                   b_lies ? b.data() : b_t.data(),
                                   b_lies ? b.ld() : 1,
                                   b_lies ? 1 : b_t.ld(),
                                   c.data(),
                                   c.ld(),
                                   1,
                                   layout == 0 ? bias.data() : nullptr,
                                   false,
                                   activation,
                                   {},
                                   size.n,
                                   {}};
        cpu::multiply(kernels, product, 1);
        c.add_to(products);
      }
    }
    dots.add(cpu::dot(kernels, b_t.data(), a.data(), size.k, 0.5f, Activation::kRelu, nullptr));
  }
}

}  // namespace engine::test
