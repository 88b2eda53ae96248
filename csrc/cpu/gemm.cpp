// Blocks of a product sized for the caches (Goto and van de Geijn 2008): a block of k is one chain of the numerical
// contract, so that partial sums can wait in c. Threads compute cells of the product and share nothing, so there is
// no barrier; packing an operand once per cell costs under 1 % from 512 columns or rows on.
#include "cpu/gemm.h"

#include <algorithm>
#include <cassert>
#include <memory>
#include <new>
#include <utility>

#include "cpu/grid.h"
#include "cpu/serial_products.h"
#include "cpu/thread_pool.h"
#include "cpu/thresholds.h"
#include "cpu/unpadded_activation.h"
#include "kernels/packed_blocks.h"

namespace engine::cpu {
namespace {

struct FreeAligned {
  void operator()(float* p) const { ::operator delete(p, std::align_val_t{kLineFloats * sizeof(float)}); }
};
using Scratch = std::unique_ptr<float, FreeAligned>;

/// Uninitialised floats on cache lines. Not in huge pages: those go back to the system after every product, and 2 MB
/// are zeroed for each when it comes again.
Scratch allocate_scratch(int64_t floats) {
  if (floats == 0) return nullptr;
  return Scratch(static_cast<float*>(
      ::operator new(static_cast<size_t>(floats) * sizeof(float), std::align_val_t{kLineFloats * sizeof(float)})));
}

/// c^T = b^T a^T
void transpose(Product& p) {
  std::swap(p.m, p.n);
  std::swap(p.a, p.b);
  std::swap(p.a_row, p.b_column);
  std::swap(p.a_column, p.b_row);
  std::swap(p.c_row, p.c_column);
  if (p.bias) p.bias_by_row = !p.bias_by_row;
  for (StackAxis& axis : p.stack) std::swap(axis.a, axis.b);
}

/// Whether the transpose is the quicker product, with vectors of `width` floats.
bool goes_transposed(const Product& p, int64_t width) {
  if (p.n <= kNarrow) return p.n < p.m;
  if (p.m <= kNarrow) return false;
  if (p.c_column != 1 && p.c_row == 1) return true;
  // Where columns would leave most of a vector empty, and rows of a lie ready to be the vectors. Sums are stored one by
  // one then, so that it must take less than three quarters of the multiply-adds.
  return p.n < width && p.a_row == 1 && 4 * p.n * divide_up(p.m, width) <= 3 * p.m;
}

/// A stack of left operands that lie as one, against a single right operand, is one product.
void join_rows(Product& p) {
  if (p.bias && p.bias_by_row) return;
  for (; !p.stack.empty(); p.stack.pop_back()) {
    const StackAxis& axis = p.stack.back();
    if (axis.b != 0 || (p.m > 1 && (axis.a != p.m * p.a_row || axis.c != p.m * p.c_row))) return;
    if (p.m == 1) {
      p.a_row = axis.a;
      p.c_row = axis.c;
    }
    p.m *= axis.extent;
  }
}

/// Share `index` of `count` of an extent in whole units.
Range share(int64_t extent, int64_t unit, int64_t index, int64_t count) {
  const int64_t units = divide_up(extent, unit);
  return {std::min(units * index / count * unit, extent), std::min(units * (index + 1) / count * unit, extent)};
}

/// The cells of one matrix product, computed by whoever calls.
class CellRunner {
 public:
  CellRunner(const KernelTable& kernels, const Product& product, const Grid& grid, float* scratch)
      : kernels_(kernels),
        shape_(kernels.gemm_shape),
        p_(product),
        grid_(grid),
        a_scratch_(scratch),
        b_scratch_(scratch + grid.a_floats),
        partial_(scratch + grid.a_floats + grid.b_floats) {}

  /// rows x columns of the product of a and b; c is where the first row and column go.
  void run(const float* a, const float* b, float* c, Range rows, Range columns) const {
    for (int64_t j = columns.begin, end; j < columns.end; j = end) {
      end = std::min(block_end(j), columns.end);
      const Range block{j, end};
      int64_t k = 0;
      do {  // once for k = 0, too
        const Range chains{k, std::min(k + grid_.block_k, p_.k)};
        pack_columns(b, block, chains);
        for (int64_t i = rows.begin; i < rows.end; i += kBlockRows) {
          run_block(a, b, c + (i - rows.begin) * p_.c_row + (j - columns.begin) * p_.c_column,
                    {i, std::min(i + kBlockRows, rows.end)}, block, chains);
        }
        k = chains.end;
      } while (k < p_.k);
    }
  }

 private:
  /// Where a block that begins with column j ends. Panels are packed from their beginning on.
  int64_t block_end(int64_t j) const {
    const int64_t within = p_.b_layout == Layout::kPanels ? j % grid_.packed_columns : 0;
    return within != 0 ? j - within + grid_.packed_columns : j + kBlockColumns;
  }

  /// Columns of a block that are read where they lie.
  int64_t plain(Range columns) const {
    const int64_t extent = columns.end - columns.begin;
    return grid_.packs_b ? 0 : grid_.packs_partial_vector ? extent / shape_.vector * shape_.vector : extent;
  }

  /// The other columns, chain after chain.
  void pack_columns(const float* b, Range columns, Range chains) const {
    const int64_t first = columns.begin + plain(columns), count = columns.end - first;
    if (count == 0) return;
    float* out = b_scratch_;
    for (int64_t k = chains.begin; k < chains.end; k += kChain) {
      const Range chain{k, std::min(k + kChain, chains.end)};
      pack_chain(b, {first, columns.end}, chain, out);
      out += round_up(count, grid_.packed_columns) * (chain.end - chain.begin);
    }
  }

  void pack_chain(const float* b, Range columns, Range chain, float* out) const {
    const auto pack = p_.m == 1 ? kernels_.pack_single_row_columns : kernels_.pack_columns;
    const int64_t first = columns.begin, count = columns.end - first, k = chain.begin, length = chain.end - k;
    if (p_.b_layout == Layout::kStrides) {
      return pack({b + first * p_.b_column + k * p_.b_row, p_.b_column, p_.b_row, count, length, out, length});
    }
    if (p_.b_layout == Layout::kPanels) {
      return Panels(p_.k, p_.n).each(columns, [&](const Panel& panel) {
        const Range part = panel.columns;
        pack({b + panel.offset + k * panel.width + part.begin, 1, panel.width, part.end - part.begin, length,
              out + (panel.first + part.begin - first) * length, length});
      });
    }
    Panels(p_.n, p_.k).each(chain, [&](const Panel& panel) {
      const Range part = panel.columns;
      pack({b + panel.offset + first * panel.width + part.begin, panel.width, 1, count, part.end - part.begin,
            out + (panel.first + part.begin - k) * grid_.packed_columns, length});
    });
  }

  void run_block(const float* a, const float* b, float* c, Range rows, Range columns, Range chains) const {
    const int64_t extent = columns.end - columns.begin, whole = plain(columns);
    const float* packed = b_scratch_;
    int64_t k = chains.begin;
    do {
      GemmArgs op{};
      op.k = std::min(kChain, chains.end - k);
      op.first = k == 0;
      op.last = k + op.k == p_.k;
      op.from_partial = k > chains.begin;
      op.to_partial = k + op.k < chains.end;
      op.partial = partial_;
      op.partial_rows = rows.end - rows.begin;
      op.nr = grid_.packed_columns;
      place_rows(op, a, rows, k);
      if (whole > 0) {
        op.b = b + columns.begin * p_.b_column + k * p_.b_row;
        op.b_row = p_.b_row;
        op.b_column = p_.b_column;
        op.b_by_columns = grid_.reads_by_columns;
        op.b_has_partial_vector = !grid_.packs_partial_vector;
        op.columns = whole;
        run_columns(op, c, rows.begin, columns.begin);
        op.b_by_columns = op.b_has_partial_vector = false;
      }
      if (whole < extent) {
        op.partial += round_up(whole, grid_.packed_columns) * op.partial_rows;
        op.b = packed;
        op.b_row = grid_.packed_columns;
        op.b_column = op.k;
        op.columns = extent - whole;
        run_columns(op, c + whole * p_.c_column, rows.begin, columns.begin + whole);
        packed += round_up(op.columns, grid_.packed_columns) * op.k;
      }
      k += op.k;
    } while (k < chains.end);
  }

  /// The left operand of the chain from k on.
  void place_rows(GemmArgs& op, const float* a, Range rows, int64_t k) const {
    op.rows = rows.end - rows.begin;
    op.a_row = p_.a_row;
    op.a_column = p_.a_column;
    op.a_packed = grid_.packs_a;
    if (p_.a_columns) {
      kernels_.pack_rows({nullptr, 1, 0, op.rows, op.k, a_scratch_, op.k, p_.a_columns + k, rows.begin});
    } else {
      op.a = a + rows.begin * p_.a_row + k * p_.a_column;
      if (!grid_.packs_a) return;
      kernels_.pack_rows({op.a, p_.a_row, p_.a_column, op.rows, op.k, a_scratch_, op.k});
    }
    op.a = a_scratch_;
  }

  /// c is the first element; row and column are where it lies in the whole.
  void run_columns(GemmArgs& op, float* c, int64_t row, int64_t column) const {
    op.c = c;
    op.c_row = p_.c_row;
    op.c_column = p_.c_column;
    op.bias_by_row = p_.bias_by_row;
    op.bias = p_.bias ? p_.bias + (p_.bias_by_row ? row : column) : nullptr;
    const bool fused = is_fused(p_.activation);
    kernels_.gemm[static_cast<size_t>(fused ? p_.activation : Activation::kLinear)](op);
    if (fused || !op.last) return;
    // While it is in a cache.
    activate(kernels_, p_.activation, p_.parameters, {op.c, op.c_row, op.c_column, op.rows, op.columns});
  }

  const KernelTable& kernels_;
  const GemmShape& shape_;
  const Product& p_;
  const Grid& grid_;
  float *a_scratch_, *b_scratch_, *partial_;
};

/// Where matrix number `index` of the stack lies.
StackAxis offsets(const std::vector<StackAxis>& stack, int64_t index) {
  StackAxis at{};
  for (auto axis = stack.rbegin(); axis != stack.rend(); ++axis) {
    const int64_t i = index % axis->extent;
    index /= axis->extent;
    at.a += i * axis->a;
    at.b += i * axis->b;
    at.c += i * axis->c;
  }
  return at;
}

}  // namespace

double multiply_adds(const Product& p) {
  double work = static_cast<double>(p.m) * static_cast<double>(p.n) * static_cast<double>(p.k + 1);
  for (const StackAxis& axis : p.stack) work *= static_cast<double>(axis.extent);
  return work;
}

void multiply(const KernelTable& kernels, const Product& product, int threads) {
  Product p = product;
  const bool by_row = !is_elementwise(p.activation);
  if (by_row) p.activation = Activation::kLinear;
  join_rows(p);
  if (goes_transposed(p, kernels.gemm_shape.vector)) transpose(p);
  int64_t matrices = 1;
  for (const StackAxis& axis : p.stack) matrices *= axis.extent;
  // Stacked matrices are cut up only where there are too few to go round evenly.
  const Grid grid = plan_grid(kernels.gemm_shape, p, matrices % threads == 0 || matrices >= 8 * threads ? 1 : threads);
  const int64_t tasks = matrices * grid.cells();
  // Without terms the kernels still walk along an operand.
  const int64_t least = by_row ? round_up(product.row_columns, kLineFloats) : p.k == 0 ? kLineFloats : 0;
  const int64_t floats = std::max(grid.floats(), least);
  const Scratch scratch = allocate_scratch(threads * floats);
  run_team(threads, [&](const Worker& worker) {
    float* own = scratch.get() + worker.index * floats;
    const CellRunner runner(kernels, p, grid, own);
    const int64_t end = tasks * (worker.index + 1) / worker.threads;
    for (int64_t task = tasks * worker.index / worker.threads; task < end; ++task) {
      const StackAxis at = offsets(p.stack, task / grid.cells());
      const int64_t cell = task % grid.cells();
      const Range rows = share(p.m, kernels.gemm_shape.mr, cell / grid.across, grid.down);
      const Range columns = share(p.n, grid.packed_columns, cell % grid.across, grid.across);
      runner.run(p.a + at.a, p.b + at.b, p.c + at.c + rows.begin * p.c_row + columns.begin * p.c_column, rows, columns);
    }
    if (!by_row) return;
    worker.wait_for_team();
    const int64_t rows = matrices * p.m * p.n / product.row_columns;
    activate_rows(kernels, product.activation, product.c, product.row_columns,
                  {rows * worker.index / worker.threads, rows * (worker.index + 1) / worker.threads}, own);
  });
}

void multiply_part(const KernelTable& kernels, const Product& product, Range rows, Range columns, float* scratch) {
  const Grid grid = plan_grid(kernels.gemm_shape, product, 1);
  assert(product.m > 1 && grid.floats() <= packing_floats(std::min(product.m, product.k)));
  // Packing goes from panel to panel of the kernel, so that each must begin where a packed panel does.
  assert(product.b_layout != Layout::kPanels || Panels(product.k, product.n).width % grid.packed_columns == 0);
  assert(product.b_layout != Layout::kTransposedPanels || Panels(product.n, product.k).width == kPanel);
  CellRunner(kernels, product, grid, scratch).run(product.a, product.b, product.c, rows, columns);
}

SerialProducts::SerialProducts(const KernelTable& kernels, const Product& product, float* scratch)
    : kernels_(kernels),
      p_(product),
      transposed_(goes_transposed(product, kernels.gemm_shape.vector)),
      scratch_(scratch) {
  assert(product.m > 0 && product.n > 0 && product.k > 0 && product.stack.empty());
  if (transposed_) transpose(p_);
  grid_ = plan_grid(kernels.gemm_shape, p_, 1);
  assert(grid_.floats() <= packing_floats(std::max(p_.m, p_.n)));
}

void SerialProducts::run(const float* a, const float* b, float* c) const {
  if (transposed_) std::swap(a, b);
  CellRunner(kernels_, p_, grid_, scratch_).run(a, b, c, {0, p_.m}, {0, p_.n});
}

float dot(const KernelTable& kernels, const float* a, const float* b, int64_t k, float bias, Activation activation,
          const float* parameters) {
  float value = 0.0f;
  run_team(1, [&](const Worker&) {
    value = kernels.dot({a, b, k}) + bias;
    alignas(kLineFloats * sizeof(float)) float padded[kLineFloats];
    if (is_elementwise(activation)) {
      activate(kernels, activation, parameters, {&value, 1, 1, 1, 1});
    } else {
      activate_rows(kernels, activation, &value, 1, {0, 1}, padded);
    }
  });
  return value;
}

}  // namespace engine::cpu
