// Products of arrays, as in `einsum`: a stack of matrix products whose axes are made of those of the arrays.
#include "cuda/arrays.h"
#include "cuda/products.h"
#include "graph/operations/contraction.h"

namespace engine::cuda {
namespace {

/// The number of a letter's axis in each array; -1 where the array does not have it.
struct LetterAxes {
  int8_t a, b, y;
};

/// The letters of one part of y[stack, m, n] = sum over k of a[stack, m, k] b[stack, k, n].
struct Part {
  int count = 0;
  LetterAxes letters[kMostAxes];
};

/// The axes of one array that are in a part; those that it does not have get the length of the array that has them, and
/// stride 0.
__device__ Strided axes_of(const Part& part, int8_t LetterAxes::* own, const Strided& array, int8_t LetterAxes::* other,
                           const Strided& like) {
  Strided all;
  all.data = array.data;
  for (int i = 0; i < part.count; ++i) {
    const int at = part.letters[i].*own, of_other = part.letters[i].*other;
    if (at >= 0) {
      all.append(array.length[at], array.stride[at]);
    } else if (of_other >= 0) {
      all.append(like.length[of_other], 0);
    }
  }
  return all;
}

/// An operand as a matrix, both of whose axes are made of several ones of the array. Where `kAcross` says so, threads
/// read neighbours in its rows.
template <bool kAcross>
struct ArrayMatrix {
  static constexpr bool kRowsAreContiguous = kAcross;
  const float* data;
  const Strided &down, &across;
  __device__ float operator()(int64_t i, int64_t j) const { return data[down.offset(i) + across.offset(j)]; }
};

template <bool kAcrossA, bool kAcrossB>
struct Contraction {
  using Tile = SmallTile;

  Array a, b, y;
  Part stack, rows, columns, terms;
  int64_t most_tiles;

  int64_t blocks() const { return most_tiles; }
  int64_t shared_bytes() const { return Tile::kSharedBytes; }
  __device__ void run(const Batch& batch) const {
    constexpr auto kA = &LetterAxes::a, kB = &LetterAxes::b, kY = &LetterAxes::y;
    const Strided of_a = strided(a, batch), of_b = strided(b, batch), of_y = strided(y, batch);
    const Strided stack_a = axes_of(stack, kA, of_a, kY, of_y), stack_b = axes_of(stack, kB, of_b, kY, of_y),
                  stack_y = axes_of(stack, kY, of_y, kY, of_y), rows_a = axes_of(rows, kA, of_a, kY, of_y),
                  rows_y = axes_of(rows, kY, of_y, kY, of_y), columns_b = axes_of(columns, kB, of_b, kY, of_y),
                  columns_y = axes_of(columns, kY, of_y, kY, of_y), terms_a = axes_of(terms, kA, of_a, kB, of_b),
                  terms_b = axes_of(terms, kB, of_b, kA, of_a);
    const int64_t m = rows_y.numbers(), n = columns_y.numbers(), k = terms_a.numbers();
    const int64_t across = (n + Tile::kN - 1) / Tile::kN, of_product = (m + Tile::kM - 1) / Tile::kM * across;
    for (int64_t tile = blockIdx.x; tile < of_product * stack_y.numbers(); tile += gridDim.x) {
      const int64_t s = tile / of_product, own = tile % of_product;
      float* const result = y.data + stack_y.offset(s);
      multiply_tile<Tile>(
          own / across * Tile::kM, own % across * Tile::kN, m, n, k,
          ArrayMatrix<kAcrossA>{a.data + stack_a.offset(s), rows_a, terms_a},
          ArrayMatrix<kAcrossB>{b.data + stack_b.offset(s), terms_b, columns_b},
          [&](int64_t i, int64_t j, float sum) { result[rows_y.offset(i) + columns_y.offset(j)] = sum; });
    }
  }
};

bool has(const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; }

int8_t axis_of(const std::string& letters, char letter) {
  return has(letters, letter) ? static_cast<int8_t>(letters.find(letter)) : static_cast<int8_t>(-1);
}

template <bool kAcrossA, bool kAcrossB>
Contraction<kAcrossA, kAcrossB> contraction(const RunMemory& memory, const graph::Contraction& op) {
  Contraction<kAcrossA, kAcrossB> step{
      array_of(memory, op.a), array_of(memory, op.b), array_of(memory, op.y), {}, {}, {}, {}, 0};
  const auto append = [&](Part& part, char letter) {
    part.letters[part.count++] = {axis_of(op.a_letters, letter), axis_of(op.b_letters, letter),
                                  axis_of(op.y_letters, letter)};
  };
  const auto length = [&](char letter) { return op.y.shape[op.y_letters.find(letter)].at(memory.schedule.max_rows()); };
  int64_t products = 1, m = 1, n = 1;
  for (const char letter : op.y_letters) {
    const bool in_a = has(op.a_letters, letter), in_b = has(op.b_letters, letter);
    append(in_a && in_b ? step.stack : in_a ? step.rows : step.columns, letter);
    (in_a && in_b ? products : in_a ? m : n) *= length(letter);
  }
  for (const char letter : op.a_letters) {
    if (!has(op.y_letters, letter)) append(step.terms, letter);
  }
  step.most_tiles = products * tiles_of<SmallTile>(m, n);
  return step;
}

template <bool kAcrossA, bool kAcrossB>
void add_contraction(Schedule& schedule, const graph::Contraction& op) {
  schedule.add(op, [&op](const RunMemory& memory) { return contraction<kAcrossA, kAcrossB>(memory, op); });
}

void schedule_contraction(Schedule& schedule, const graph::Contraction& op) {
  // In a, the terms of a sum are across; in b, the columns. The last axis of each lies side by side.
  const bool across_a = op.a_letters.empty() || !has(op.y_letters, op.a_letters.back());
  const bool across_b = op.b_letters.empty() || has(op.y_letters, op.b_letters.back());
  if (across_a) {
    across_b ? add_contraction<true, true>(schedule, op) : add_contraction<true, false>(schedule, op);
  } else {
    across_b ? add_contraction<false, true>(schedule, op) : add_contraction<false, false>(schedule, op);
  }
}

}  // namespace

void add_contractions(Implementations& all) { all.add<graph::Contraction>(schedule_contraction); }

}  // namespace engine::cuda
