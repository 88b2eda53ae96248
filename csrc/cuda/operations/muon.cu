// Muon's directions, made nearly orthogonal by the iteration of Newton and Schulz: x = a x + b x g + c x g^2 with
// g = x^T x. The matrix x is held with its longer side as rows.
#include "cuda/elements.h"
#include "cuda/products.h"
#include "graph/operations/optimizer.h"

namespace engine::cuda {
namespace {

/// The index in a variable of each number of the matrix x (rows, columns), which may be its transpose: (i, j) of x is
/// number i * row_stride + j * column_stride of the variable.
struct TransposedIndex {
  int64_t columns, row_stride, column_stride;
  __device__ int64_t operator()(int64_t i) const { return i / columns * row_stride + i % columns * column_stride; }
};

/// x holds the transpose where the columns are the longer side. Keras transposes a square matrix, too.
TransposedIndex transposed_index(const RunMemory& memory, ValueId variable, ValueId x) {
  const Variable& v = memory.schedule.variable(variable);
  const bool transposed = v.height() <= v.width();
  return {memory.schedule.placement(x).columns, transposed ? 1 : v.width(), transposed ? v.width() : 1};
}

struct LoadDirection {
  const float *direction, *scale;
  float* x;
  TransposedIndex index;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (batch.steps_weights) x[i] = *scale * direction[index(i)];
  }
};

void schedule_load(Schedule& schedule, const graph::LoadDirection& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(memory.schedule, op.x,
                        LoadDirection{memory.scratch(op.gradient), memory.scratch(op.scales) + op.place,
                                      memory.scratch(op.x), transposed_index(memory, op.weights, op.x)});
  });
}

struct StoreDirection {
  const float* x;
  float* gradient;
  TransposedIndex index;
  __device__ void operator()(int64_t i, const Batch& batch) const {
    if (batch.steps_weights) gradient[index(i)] = x[i];
  }
};

void schedule_store(Schedule& schedule, const graph::StoreDirection& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    return for_elements(
        memory.schedule, op.x,
        StoreDirection{memory.scratch(op.x), memory.scratch(op.gradient), transposed_index(memory, op.weights, op.x)});
  });
}

/// y (m, n) = of_addend addend (m, n) + of_product a (m, k) b (k, n)
template <class A>
struct Combination {
  A a;
  Matrix<true> b;
  const float* addend;  // or null
  float* y;
  int64_t m, n, k;
  float of_addend, of_product;

  int64_t blocks() const { return tiles_of<SmallTile>(m, n); }
  int64_t shared_bytes() const { return SmallTile::kSharedBytes; }
  __device__ void run(const Batch& batch) const {
    if (!batch.steps_weights) return;
    multiply<SmallTile>(Precision::kFloat32, m, n, k, a, b, [&](int64_t i, int64_t j, float sum) {
      const int64_t at = i * n + j;
      y[at] = addend ? formulas::fma(of_addend, addend[at], of_product * sum) : sum;
    });
  }
};

/// gram = x^T x
void schedule_gram(Schedule& schedule, const graph::Gram& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    const float* const rows = memory.scratch(op.x);
    return Combination<Matrix<false>>{{rows, x.columns},
                                      {rows, x.columns},
                                      nullptr,
                                      memory.scratch(op.gram),
                                      x.columns,
                                      x.columns,
                                      x.rows,
                                      0.0f,
                                      1.0f};
  });
}

/// polynomial = b gram + c gram^2
void schedule_polynomial(Schedule& schedule, const graph::GramPolynomial& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const int64_t width = memory.schedule.placement(op.rows).columns;
    const double* const factors = memory.training().optimizer.quintic;
    const float* const gram = memory.scratch(op.gram);
    return Combination<Matrix<true>>{{gram, width},
                                     {gram, width},
                                     gram,
                                     memory.scratch(op.polynomial),
                                     width,
                                     width,
                                     width,
                                     static_cast<float>(factors[1]),
                                     static_cast<float>(factors[2])};
  });
}

/// next = a x + x polynomial
void schedule_turn(Schedule& schedule, const graph::TurnDirection& op) {
  schedule.add(op, [&op](const RunMemory& memory) {
    const Placement& x = memory.schedule.placement(op.x);
    const float* const rows = memory.scratch(op.x);
    return Combination<Matrix<true>>{{rows, x.columns},
                                     {memory.scratch(op.polynomial), x.columns},
                                     rows,
                                     memory.scratch(op.next),
                                     x.rows,
                                     x.columns,
                                     x.columns,
                                     static_cast<float>(memory.training().optimizer.quintic[0]),
                                     1.0f};
  });
}

}  // namespace

void add_muon(Implementations& all) {
  all.add<graph::LoadDirection>(schedule_load);
  all.add<graph::Gram>(schedule_gram);
  all.add<graph::GramPolynomial>(schedule_polynomial);
  all.add<graph::TurnDirection>(schedule_turn);
  all.add<graph::StoreDirection>(schedule_store);
}

}  // namespace engine::cuda
