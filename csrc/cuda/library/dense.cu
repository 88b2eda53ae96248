#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cuda/activations.h"
#include "cuda/elements.h"
#include "cuda/library/dense.h"
#include "cuda/library/products_choice.h"
#include "cuda/library/rounding.h"
#include "cuda/row_weights.h"
#include "cuda/steps.h"

namespace engine::cuda {
namespace {

// ---- Products -------------------------------------------------------------------------------------------------------

/// The operands of a step's product in the memory of a run; the workspace is that of the run.
using FindMemory = std::function<ProductMemory(const RunMemory&)>;

/// Which of its sizes a product has once for each row of the batch.
enum class RowsAre { kM, kK };

/// One product by the library. Batches with fewer samples than the largest are smaller products, which have plans of
/// their own: the library needs the sizes on the host, and rows that a batch does not have would have to be set to
/// zero.
class LibraryProduct final : public Step {
 public:
  LibraryProduct(const graph::Operation& operation, MatrixProducts& library, const MatrixProduct& product, RowsAre rows,
                 int64_t groups, FindMemory find_memory)
      : Step(operation),
        library_(library),
        product_(product),
        rows_(rows),
        groups_(groups),
        find_memory_(std::move(find_memory)) {}

  int64_t prepare(int64_t samples) const override { return plan(product_for(samples)).workspace_bytes; }
  std::string by_whom() const override { return "cuBLASLt " + library_.version(); }

  void launch(cudaStream_t stream, const RunMemory& memory, const Batch*, int64_t samples) const override {
    const MatrixProduct product = product_for(samples);
    ProductMemory operands = find_memory_(memory);
    operands.workspace = memory.workspace;
    library_.multiply(product, plan(product), operands, stream);
  }

 private:
  MatrixProduct product_for(int64_t samples) const {
    MatrixProduct product = product_;
    (rows_ == RowsAre::kM ? product.m : product.k) = groups_ * samples;
    return product;
  }
  MatrixProducts::Plan plan(const MatrixProduct& product) const {
    const std::optional<MatrixProducts::Plan> found = library_.find_plan(product, kMaxWorkspaceBytes);
    if (found) return *found;
    throw Error("cuBLASLt " + library_.version() + " has no way to compute a product (" + std::to_string(product.m) +
                ", " + std::to_string(product.n) + ") with sums of " + std::to_string(product.k) +
                " terms: set ENGINE_CUDA_PRODUCTS=own in the environment for products without it");
  }

  MatrixProducts& library_;
  const MatrixProduct product_;  // of the largest batch
  const RowsAre rows_;
  const int64_t groups_;
  const FindMemory find_memory_;
};

// ---- The products of operations, for the largest batch --------------------------------------------------------------

bool is_rounded(Precision precision) { return precision == Precision::kBfloat16 || precision == Precision::kFloat16; }

/// Numbers from one row of an operand to the next.
int64_t ld_of(int64_t columns, Precision precision) { return is_rounded(precision) ? rounded_ld(columns) : columns; }

MatrixProduct product_of(const Schedule& schedule, const graph::Dense& op) {
  const Placement &x = schedule.placement(op.x), &y = schedule.placement(op.y);
  MatrixProduct product;
  product.m = y.rows;
  product.n = y.columns;
  product.k = x.columns;
  product.lda = ld_of(product.k, op.precision);
  product.ldb = ld_of(product.n, op.precision);
  product.has_bias = op.bias != kNoValue;
  product.precision = op.precision;
  return product;
}

MatrixProduct product_of(const Schedule& schedule, const graph::DenseInputGradient& op) {
  const Placement &dz = schedule.placement(op.dz), &dx = schedule.placement(op.dx);
  MatrixProduct product;
  product.m = dx.rows;
  product.n = dx.columns;
  product.k = dz.columns;
  product.lda = product.ldb = ld_of(product.k, op.precision);
  product.transpose_b = true;
  product.has_addend = op.addend != kNoValue;
  product.precision = op.precision;
  return product;
}

MatrixProduct product_of(const Schedule& schedule, const graph::DenseWeightGradient& op) {
  const Placement &x = schedule.placement(op.x), &dz = schedule.placement(op.dz);
  MatrixProduct product;
  product.m = x.columns;
  product.n = dz.columns;
  product.k = dz.rows;
  product.lda = ld_of(product.m, op.precision);
  product.ldb = ld_of(product.n, op.precision);
  product.transpose_a = true;
  product.precision = op.precision;
  return product;
}

/// The library for a product, if it is chosen and can compute it. `rows` is a value with a row for each of the batch.
MatrixProducts* library_for(const Schedule& schedule, const MatrixProduct& product, ValueId rows) {
  if (schedule.placement(rows).groups == 0) return nullptr;  // it does not depend on the batch
  MatrixProducts* const library = choose_library(product.m, product.n, product.k, product.precision);
  return library && library->find_plan(product, kMaxWorkspaceBytes) ? library : nullptr;
}

// ---- Operands -------------------------------------------------------------------------------------------------------

/// An operand as the product reads it: the value itself, or a 16-bit copy of it.
struct Operand {
  ValueId value;
  std::optional<int64_t> copy;  // where it lies in scratch

  const void* find(const RunMemory& memory) const {
    return copy ? static_cast<const void*>(memory.arguments.scratch + *copy) : memory.numbers(value);
  }
};

/// Appends a kernel that changes a value (rows, columns) of the largest batch, where the change says so, and leaves a
/// copy in 16 bits. `make_change` gives the change for the memory of a run. Returns where the copy lies.
template <class MakeChange>
int64_t add_rounding(Schedule& schedule, const graph::Operation& op, ValueId value, int64_t rows, int64_t columns,
                     Precision precision, MakeChange make_change) {
  const int64_t groups = schedule.placement(value).groups, ld = rounded_ld(columns);
  const int64_t copy = schedule.add_scratch((rows * ld + 1) / 2);
  schedule.add(op, [=](const RunMemory& memory) {
    using Change = decltype(make_change(memory));
    return RoundMatrix<Change>{memory.numbers(value),
                               Change::kChanges ? memory.scratch(value) : nullptr,
                               reinterpret_cast<uint32_t*>(memory.arguments.scratch + copy),
                               groups > 0 ? 0 : rows,
                               groups,
                               memory.schedule.max_rows(),
                               columns,
                               ld,
                               precision,
                               make_change(memory)};
  });
  schedule.rounded()[{value, precision}] = copy;
  return copy;
}

/// Returns a value (rows, columns) as an operand for products of a precision, for the largest batch; appends a kernel
/// that rounds it to 16 bits, unless an earlier operation of the batch has done so.
Operand operand(Schedule& schedule, const graph::Operation& op, ValueId value, int64_t rows, int64_t columns,
                Precision precision) {
  if (!is_rounded(precision)) return {value, std::nullopt};
  const auto known = schedule.rounded().find({value, precision});
  if (known != schedule.rounded().end()) return {value, known->second};
  return {value,
          add_rounding(schedule, op, value, rows, columns, precision, [](const RunMemory&) { return Unchanged{}; })};
}

// ---- Activations ----------------------------------------------------------------------------------------------------

/// y = f(y). Not the library's own relu, which may make 0 of what is no number.
struct Activate {
  static constexpr bool kChanges = true;
  Activation activation;
  __device__ float operator()(float y, int64_t) const { return fused_forward(activation, y); }
};

/// dz = f'(z) dz, from the output of f
struct ActivateBackward {
  static constexpr bool kChanges = true;
  const float* saved;
  Activation activation;
  __device__ float operator()(float dz, int64_t at) const { return fused_backward(activation, dz, saved[at]); }
};

template <class Change>
struct InPlace {
  float* numbers;
  Change change;
  __device__ void operator()(int64_t i, const Batch&) const { numbers[i] = change(numbers[i], i); }
};

/// The 16-bit precision in which a product by the library reads a value; nothing if none does.
std::optional<Precision> rounded_reader(const Schedule& schedule, ValueId value) {
  for (const auto& each : schedule.graph().operations()) {
    if (const auto* const op = dynamic_cast<const graph::Dense*>(each.get())) {
      const bool reads = op->x == value && is_rounded(op->precision);
      if (reads && library_for(schedule, product_of(schedule, *op), op->y)) return op->precision;
    }
    if (const auto* const op = dynamic_cast<const graph::DenseInputGradient*>(each.get())) {
      const bool reads = op->dz == value && is_rounded(op->precision);
      if (reads && library_for(schedule, product_of(schedule, *op), op->dx)) return op->precision;
    }
    if (const auto* const op = dynamic_cast<const graph::DenseWeightGradient*>(each.get())) {
      const bool reads = (op->x == value || op->dz == value) && is_rounded(op->precision);
      if (reads && library_for(schedule, product_of(schedule, *op), op->dz)) return op->precision;
    }
  }
  return std::nullopt;
}

/// Appends a kernel that changes a value of the batch; the same kernel leaves a copy in 16 bits if one will be read.
template <class MakeChange>
void change_in_place(Schedule& schedule, const graph::Operation& op, ValueId value, MakeChange make_change) {
  const Placement& place = schedule.placement(value);
  if (const std::optional<Precision> precision = rounded_reader(schedule, value)) {
    add_rounding(schedule, op, value, place.rows, place.columns, *precision, make_change);
    return;
  }
  schedule.add(op, [value, make_change](const RunMemory& memory) {
    using Change = decltype(make_change(memory));
    return for_elements(memory.schedule, value, InPlace<Change>{memory.scratch(value), make_change(memory)});
  });
}

// ---- Weight gradients -----------------------------------------------------------------------------------------------

// The gradient by the bias is the sum over the rows of dz as they are: no precision rounds it.

/// Rows of dz whose sums a thread adds, so that a narrow layer has more than a few threads: at least so many ...
constexpr int64_t kLeastRowsOfSlice = 32;
/// ... and so many that there are no more slices than this, which one thread adds.
constexpr int64_t kMaxSlices = 64;

/// The rows (b) of a matrix dz (b, n) in slices.
struct Slices {
  int64_t groups, max_rows, units;

  ENGINE_DEVICE int64_t rows_of_slice() const {
    const int64_t even = (groups * max_rows + kMaxSlices - 1) / kMaxSlices;
    return even > kLeastRowsOfSlice ? even : kLeastRowsOfSlice;
  }
  ENGINE_DEVICE int64_t count(int64_t samples) const {
    return (groups * samples + rows_of_slice() - 1) / rows_of_slice();
  }
  int64_t most_floats() const { return count(max_rows) * units; }
};

/// sums[s,n] = sum of dz[b,n] over the rows b of slice s
struct SumSlices {
  const float* dz;
  float* sums;
  Slices slices;

  int64_t blocks() const { return (slices.most_floats() + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const int64_t units = slices.units, rows = slices.groups * batch.rows, rows_of_slice = slices.rows_of_slice();
    for_each(slices.count(batch.rows) * units, [&](int64_t i) {
      const int64_t n = i % units, first = i / units * rows_of_slice;
      const int64_t end = first + rows_of_slice < rows ? first + rows_of_slice : rows;
      float sum = 0.0f;
      ENGINE_UNROLL(8)
      for (int64_t b = first; b < end; ++b) sum = sum + dz[b * units + n];
      sums[i] = sum;
    });
  }
};

/// The gradient by the bias is stored; nothing is done with that by the kernel.
struct StoreBiasGradient {
  const float* sums;  // by slice
  float* dbias;
  Slices slices;

  __device__ float gradient(int64_t n, const Batch& batch) const {
    float sum = 0.0f;
    for (int64_t s = 0; s < slices.count(batch.rows); ++s) sum = sum + sums[s * slices.units + n];
    return sum;
  }
  int64_t blocks() const { return (slices.units + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    for_each(slices.units, [&](int64_t n) { dbias[n] = gradient(n, batch); });
  }
};

/// The optimizer steps the kernel by a gradient that lies in scratch, and the bias, if there is one, by sums of slices.
struct StepByGradient {
  const float* dkernel;
  StoreBiasGradient bias_gradient;
  CardWeights kernel, bias;
  Optimizer rule;
  PenaltyFactor penalty_factor;
  int64_t weights, biases;

  int64_t blocks() const { return (weights + biases + kThreads - 1) / kThreads; }
  int64_t shared_bytes() const { return 0; }
  __device__ void run(const Batch& batch) const {
    const float factor = penalty_factor(batch);
    for_each(weights + biases, [&](int64_t i) {
      const bool is_bias = i >= weights;
      const int64_t at = is_bias ? i - weights : i;
      const CardWeights& own = is_bias ? bias : kernel;
      const float gradient = is_bias ? bias_gradient.gradient(at, batch) : dkernel[at];
      step_weight<FusedOptimizers>(rule, own, at, formulas::fma(factor * own.l2_slope, own.values[at], gradient),
                                   batch);
    });
  }
};

/// Appends the sums of dz by slices, which begin at float `at` of the shared scratch.
void add_slices(Schedule& schedule, const graph::DenseWeightGradient& op, const Slices& slices, int64_t at) {
  schedule.share_scratch(at + slices.most_floats());
  schedule.add(op, [&op, slices, at](const RunMemory& memory) {
    return SumSlices{memory.scratch(op.dz), memory.shared_scratch() + at, slices};
  });
}

/// Appends the optimizer's step by a gradient that lies at the beginning of the shared scratch.
void add_step(Schedule& schedule, const graph::DenseWeightGradient& op, const Slices& slices, int64_t weights) {
  const auto is_penalized = [&](ValueId variable) {
    return variable != kNoValue && schedule.variable(variable).spec.l2 != 0.0;
  };
  const bool has_penalties = is_penalized(op.kernel) || is_penalized(op.bias);
  schedule.add(
      op, [&op, slices, weights, factor = add_penalty_factor(schedule, op, has_penalties)](const RunMemory& memory) {
        const float* const gradient = memory.shared_scratch();
        return StepByGradient{gradient,
                              {gradient + weights, nullptr, slices},
                              memory.weights(op.kernel),
                              memory.weights(op.bias),
                              memory.training().optimizer.kind,
                              factor(memory),
                              weights,
                              op.bias == kNoValue ? 0 : slices.units};
      });
}

}  // namespace

bool schedule_by_library(Schedule& schedule, const graph::Dense& op) {
  const MatrixProduct product = product_of(schedule, op);
  MatrixProducts* const library = library_for(schedule, product, op.y);
  if (!library) return false;
  const Operand a = operand(schedule, op, op.x, product.m, product.k, op.precision);
  const Operand b = operand(schedule, op, op.kernel, product.k, product.n, op.precision);
  schedule.add_step(std::make_unique<LibraryProduct>(
      op, *library, product, RowsAre::kM, schedule.placement(op.y).groups, [&op, a, b](const RunMemory& memory) {
        return ProductMemory{a.find(memory), b.find(memory), memory.numbers(op.bias), nullptr, memory.scratch(op.y)};
      }));
  if (op.activation != Activation::kLinear) {
    change_in_place(schedule, op, op.y, [&op](const RunMemory&) { return Activate{op.activation}; });
  }
  return true;
}

bool schedule_by_library(Schedule& schedule, const graph::DenseInputGradient& op) {
  const MatrixProduct product = product_of(schedule, op);
  MatrixProducts* const library = library_for(schedule, product, op.dx);
  if (!library) return false;
  const Operand a = operand(schedule, op, op.dz, product.m, product.k, op.precision);
  const Operand b = operand(schedule, op, op.kernel, product.n, product.k, op.precision);
  schedule.add_step(std::make_unique<LibraryProduct>(
      op, *library, product, RowsAre::kM, schedule.placement(op.dx).groups, [&op, a, b](const RunMemory& memory) {
        return ProductMemory{a.find(memory), b.find(memory), nullptr, memory.scratch(op.addend), memory.scratch(op.dx)};
      }));
  if (op.x_saved != kNoValue && op.activation != Activation::kLinear) {
    change_in_place(schedule, op, op.dx, [&op](const RunMemory& memory) {
      return ActivateBackward{memory.scratch(op.x_saved), op.activation};
    });
  }
  return true;
}

bool schedule_by_library(Schedule& schedule, const graph::DenseWeightGradient& op) {
  const MatrixProduct product = product_of(schedule, op);
  MatrixProducts* const library = library_for(schedule, product, op.dz);
  if (!library) return false;
  const int64_t groups = schedule.placement(op.dz).groups, weights = product.m * product.n;
  const Operand a = operand(schedule, op, op.x, product.k, product.m, op.precision);
  const Operand b = operand(schedule, op, op.dz, product.k, product.n, op.precision);
  if (op.steps) schedule.share_scratch(weights);
  schedule.add_step(std::make_unique<LibraryProduct>(
      op, *library, product, RowsAre::kK, groups, [&op, a, b](const RunMemory& memory) {
        float* const result = op.steps ? memory.shared_scratch() : memory.scratch(op.dkernel);
        return ProductMemory{a.find(memory), b.find(memory), nullptr, nullptr, result};
      }));
  const Slices slices{groups, schedule.max_rows(), product.n};
  const bool has_bias = (op.steps ? op.bias : op.dbias) != kNoValue;
  if (has_bias) add_slices(schedule, op, slices, op.steps ? weights : 0);
  if (op.steps) {
    add_step(schedule, op, slices, weights);
  } else if (has_bias) {
    schedule.add(op, [&op, slices](const RunMemory& memory) {
      return StoreBiasGradient{memory.shared_scratch(), memory.scratch(op.dbias), slices};
    });
  }
  return true;
}

}  // namespace engine::cuda
