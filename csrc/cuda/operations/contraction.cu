// Products of arrays, as in `einsum`: y[batch, m, n] = sum over k of a[batch, m, k] b[batch, k, n], where each of
// these is a group of axes.
#include "cuda/arrays.h"
#include "cuda/products.h"
#include "graph/operations/contraction.h"

namespace engine::cuda {
namespace {

// ---- On the card ----------------------------------------------------------------------------------------------------

/// The numbers of a group's axes in an array, in the order of the group.
struct AxisGroup {
  int count = 0;
  int8_t axes[kMaxGpuAxes];
};

__device__ void set_axes(Strided& to, const Array& array, const AxisGroup& group, const Batch& batch) {
  to.begin(array.data);
  for (int i = 0; i < group.count; ++i) {
    to.append(array.lengths[group.axes[i]].at(batch), array.stride(batch, group.axes[i]));
  }
}

/// Neighbouring axes of an array, from `first` to before `end`, which make one axis with a length and a stride.
struct AxisRange {
  int first = 0, end = 0;

  __device__ int64_t length(const Array& array, const Batch& batch) const { return array.numbers(batch, first, end); }
  __device__ int64_t stride(const Array& array, const Batch& batch) const {
    return array.numbers(batch, end, array.axes);
  }
};

/// An operand whose rows or columns are made of axes that do not merge to one. `kRowMajor` says that threads read
/// neighbours in its rows, and not in its columns.
template <bool kRowMajor>
struct ArrayMatrix {
  static constexpr bool kRowsAreContiguous = kRowMajor;
  const float* data;
  const Strided &row_axes, &column_axes;
  __device__ float operator()(int64_t i, int64_t j) const { return data[row_axes.offset(i) + column_axes.offset(j)]; }
};

/// The arrays, and which of their axes number the products.
struct Arrays {
  struct BatchAxes {
    Strided a, b, y;
  };

  Array a, b, y;
  AxisGroup batch_a, batch_b, batch_y;

  /// What `multiply` needs of shared memory.
  template <class Tile>
  static constexpr int64_t shared_bytes() {
    return Tile::kSharedBytes + static_cast<int64_t>(sizeof(BatchAxes));
  }

  /// Multiplies all matrices: a_at(data) gives the matrix that begins there, b_at(data) likewise, and y_at(i, j) says
  /// where an element lies in its result.
  template <class Tile, class A, class B, class Y>
  __device__ void multiply(int64_t m, int64_t n, int64_t k, const Batch& batch, A&& a_at, B&& b_at, Y&& y_at) const {
    const BatchAxes& at = once_in_block<BatchAxes>(Tile::kSharedBytes, [&](BatchAxes& to) {
      set_axes(to.a, a, batch_a, batch);
      set_axes(to.b, b, batch_b, batch);
      set_axes(to.y, y, batch_y, batch);
    });
    const int64_t tiles_across = (n + Tile::kN - 1) / Tile::kN;
    const int64_t tiles = (m + Tile::kM - 1) / Tile::kM * tiles_across;
    for (int64_t tile = blockIdx.x; tile < tiles * at.y.numbers(); tile += gridDim.x) {
      const int64_t product = tile / tiles, i0 = tile % tiles / tiles_across * Tile::kM;
      const int64_t j0 = tile % tiles % tiles_across * Tile::kN;
      float* const result = y.data + at.y.offset(product);
      multiply_tile<Tile>(i0, j0, m, n, k, a_at(a.data + at.a.offset(product)), b_at(b.data + at.b.offset(product)),
                          [&](int64_t i, int64_t j, float sum) { result[y_at(i, j)] = sum; });
    }
  }
};

/// A product whose m, n and k are one axis each, of which one is the last of a, and one that of b: such as those of
/// attention.
template <class Tile, bool kRowMajorA, bool kRowMajorB>
struct BatchedProduct {
  Arrays all;
  AxisRange m_of_a, m_of_y, n_of_b, n_of_y, k_of_a, k_of_b;
  int64_t max_tiles;

  int64_t blocks() const { return max_tiles; }
  int64_t shared_bytes() const { return Arrays::shared_bytes<Tile>(); }
  __device__ void run(const Batch& batch) const {
    const int64_t ld_a = (kRowMajorA ? m_of_a : k_of_a).stride(all.a, batch);
    const int64_t ld_b = (kRowMajorB ? k_of_b : n_of_b).stride(all.b, batch);
    const int64_t m_y = m_of_y.stride(all.y, batch), n_y = n_of_y.stride(all.y, batch);
    all.template multiply<Tile>(
        m_of_y.length(all.y, batch), n_of_y.length(all.y, batch), k_of_a.length(all.a, batch), batch,
        [&](const float* data) { return Matrix<kRowMajorA>{data, ld_a}; },
        [&](const float* data) { return Matrix<kRowMajorB>{data, ld_b}; },
        [&](int64_t i, int64_t j) { return i * m_y + j * n_y; });
  }
};

/// Any other product.
template <bool kRowMajorA, bool kRowMajorB>
struct ArrayProduct {
  using Tile = SmallTile;

  Arrays all;
  AxisGroup m_of_a, m_of_y, n_of_b, n_of_y, k_of_a, k_of_b;
  int64_t max_tiles;

  struct ProductAxes {
    Strided m_a, k_a, k_b, n_b, m_y, n_y;
  };

  int64_t blocks() const { return max_tiles; }
  int64_t shared_bytes() const { return Arrays::shared_bytes<Tile>() + static_cast<int64_t>(sizeof(ProductAxes)); }
  __device__ void run(const Batch& batch) const {
    const ProductAxes& axes = once_in_block<ProductAxes>(Arrays::shared_bytes<Tile>(), [&](ProductAxes& to) {
      set_axes(to.m_a, all.a, m_of_a, batch);
      set_axes(to.k_a, all.a, k_of_a, batch);
      set_axes(to.k_b, all.b, k_of_b, batch);
      set_axes(to.n_b, all.b, n_of_b, batch);
      set_axes(to.m_y, all.y, m_of_y, batch);
      set_axes(to.n_y, all.y, n_of_y, batch);
    });
    all.multiply<Tile>(
        axes.m_y.numbers(), axes.n_y.numbers(), axes.k_a.numbers(), batch,
        [&](const float* data) { return ArrayMatrix<kRowMajorA>{data, axes.m_a, axes.k_a}; },
        [&](const float* data) { return ArrayMatrix<kRowMajorB>{data, axes.k_b, axes.n_b}; },
        [&](int64_t i, int64_t j) { return axes.m_y.offset(i) + axes.n_y.offset(j); });
  }
};

// ---- Schedule -------------------------------------------------------------------------------------------------------

bool has(const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; }

/// An array with a letter for each axis, without axes of length 1: these change neither lengths nor strides.
struct LetteredArray {
  graph::Array array;
  std::string letters;

  LetteredArray(const graph::Array& from, const std::string& letters_of_all) {
    array.value = from.value;
    for (size_t i = 0; i < from.shape.size(); ++i) {
      if (from.shape[i] == graph::Extent{1, 0}) continue;
      array.shape.push_back(from.shape[i]);
      letters += letters_of_all[i];
    }
  }

  AxisGroup group(const std::string& of) const {
    AxisGroup all;
    for (const char letter : of) all.axes[all.count++] = static_cast<int8_t>(letters.find(letter));
    return all;
  }
  /// Whether the axes with these letters are neighbours, in the same order.
  bool merges(const std::string& of) const { return letters.find(of) != std::string::npos; }
  AxisRange range(const std::string& of) const {
    const auto first = static_cast<int>(letters.find(of));
    return {first, first + static_cast<int>(of.size())};
  }
  int64_t numbers(const std::string& of, int64_t samples) const {
    int64_t all = 1;
    for (const char letter : of) all *= array.shape[letters.find(letter)].at(samples);
    return all;
  }
};

/// The letters of a contraction in groups: those of the batch are in a, b and y, those of m in a and y, of n in b and
/// y, of k in a and b.
struct Letters {
  LetteredArray a, b, y;
  std::string batch, m, n, k;

  explicit Letters(const graph::Contraction& op) : a(op.a, op.a_letters), b(op.b, op.b_letters), y(op.y, op.y_letters) {
    for (const char letter : y.letters) {
      const bool in_a = has(a.letters, letter), in_b = has(b.letters, letter);
      (in_a && in_b ? batch : in_a ? m : n) += letter;
    }
    for (const char letter : a.letters) {
      if (!has(y.letters, letter)) k += letter;
    }
  }

  /// Whether an axis of the matrices in an operand is its last one, so that it has stride 1.
  bool is_contiguous(const LetteredArray& operand) const {
    return operand.letters.size() == batch.size() || !has(batch, operand.letters.back());
  }
  /// Whether BatchedProduct can multiply them.
  bool are_matrices() const {
    return a.merges(m) && y.merges(m) && b.merges(n) && y.merges(n) && a.merges(k) && b.merges(k) && is_contiguous(a) &&
           is_contiguous(b);
  }
  template <class Tile>
  int64_t tiles(int64_t samples) const {
    return y.numbers(batch, samples) * tiles_of<Tile>(y.numbers(m, samples), y.numbers(n, samples));
  }
  /// Whether the numbers of a row of a, (m, k), are neighbours in memory, and those of a row of b, (k, n).
  bool a_is_row_major() const { return a.letters.empty() || has(k, a.letters.back()); }
  bool b_is_row_major() const { return b.letters.empty() || !has(k, b.letters.back()); }

  Arrays arrays(const RunMemory& memory) const {
    return {array_of(memory, a.array),
            array_of(memory, b.array),
            array_of(memory, y.array),
            a.group(batch),
            b.group(batch),
            y.group(batch)};
  }
};

template <class Tile, bool kRowMajorA, bool kRowMajorB>
void add_batched(Schedule& schedule, const graph::Contraction& op, const Letters& of) {
  schedule.add(op, [of](const RunMemory& memory) {
    return BatchedProduct<Tile, kRowMajorA, kRowMajorB>{
        of.arrays(memory), of.a.range(of.m), of.y.range(of.m), of.b.range(of.n),
        of.y.range(of.n),  of.a.range(of.k), of.b.range(of.k), of.tiles<Tile>(memory.schedule.max_rows())};
  });
}

template <bool kRowMajorA, bool kRowMajorB>
void add_contraction(Schedule& schedule, const graph::Contraction& op, const Letters& of) {
  if (of.are_matrices()) {
    // Large tiles read each operand less often; small ones keep more multiprocessors busy.
    const bool pays_large_tiles = of.tiles<LargeTile>(schedule.max_rows()) >= schedule.multiprocessors();
    return pays_large_tiles ? add_batched<LargeTile, kRowMajorA, kRowMajorB>(schedule, op, of)
                            : add_batched<SmallTile, kRowMajorA, kRowMajorB>(schedule, op, of);
  }
  schedule.add(op, [of](const RunMemory& memory) {
    return ArrayProduct<kRowMajorA, kRowMajorB>{
        of.arrays(memory), of.a.group(of.m), of.y.group(of.m), of.b.group(of.n),
        of.y.group(of.n),  of.a.group(of.k), of.b.group(of.k), of.tiles<SmallTile>(memory.schedule.max_rows())};
  });
}

void schedule_contraction(Schedule& schedule, const graph::Contraction& op) {
  const Letters of(op);
  if (of.a_is_row_major()) {
    of.b_is_row_major() ? add_contraction<true, true>(schedule, op, of)
                        : add_contraction<true, false>(schedule, op, of);
  } else {
    of.b_is_row_major() ? add_contraction<false, true>(schedule, op, of)
                        : add_contraction<false, false>(schedule, op, of);
  }
}

}  // namespace

void add_contractions(OperationRegistry& all) { all.add<graph::Contraction>(schedule_contraction); }

}  // namespace engine::cuda
