// Kernels of traced functions.
#include <cmath>
#include <string>
#include <vector>

#include "cases.h"
#include "kernels/table.h"

namespace engine::test {
namespace {

/// Every instruction of a map.
void add_maps(const KernelTable& kernels, Digests& digests) {
  Random random(21);
  const Matrix a(7, 300, random, -5.0f, 5.0f), b(7, 300, random, -9.0f, 9.0f), c(7, 300, random, -1.0f, 1.0f);
  for (int64_t j = 0; j < kLineFloats; ++j) c.at(0, j) = 0.75f;  // a register that holds one number
  for (int op = 0; op < kMapOps; ++op) {
    if (operand_count(static_cast<MapOp>(op)) == 0) continue;
    const Matrix y(7, 300);
    const MapRegister registers[] = {{a.data(), 1}, {b.data(), 1}, {c.data(), 0}, {y.data(), 1}};
    const MapBlockInstruction step{static_cast<MapOp>(op), 3, 0, 1, 2};
    kernels.run_map({&step, &step + 1, registers, a.rows() * a.ld()});
    y.add_to(digests[std::string("map ") + kMapOpNames[op]]);
  }
}

/// Sums, products and extremes, of runs and rows of many lengths.
void add_reductions(const KernelTable& kernels, Digests& digests) {
  Random random(22);
  for (const int64_t n : {1, 3, 15, 16, 17, 100, 5000}) {
    const Matrix x(5, n, random, 0.5f, 1.5f);
    for (int kind = 0; kind < kCombiningReductions; ++kind) {
      Digest& digest = digests[std::string("reduction ") + kReductionNames[kind]];
      const Matrix y(1, n), row_results(1, 5);
      kernels.reduce_rows[kind]({x.data(), x.ld(), 5, n, row_results.data()});
      row_results.add_to(digest);
      for (int64_t j = 0; j < n; ++j) y.at(0, j) = 1.0f;
      kernels.combine_rows[kind]({x.data(), x.ld(), 5, n, y.data()});
      y.add_to(digest);
    }
    for (const bool smallest : {false, true}) {
      const Matrix y(1, n);
      kernels.extreme_rows({x.data(), x.ld(), 5, n, y.data(), smallest});
      y.add_to(digests[smallest ? "reduction argmin" : "reduction argmax"]);
    }
    const Matrix places(1, 5);
    for (int64_t i = 0; i < 5; ++i) {
      places.at(0, i) = static_cast<float>(kernels.first_equal(&x.at(i, 0), n, x.at(i, i % n)));
    }
    places.add_to(digests["first equal"]);
    const Matrix sums(5, n);
    kernels.accumulate_rows({x.data(), x.ld(), 5, n, sums.data(), sums.ld()});
    sums.add_to(digests["cumulative sum"]);
  }
}

/// Integers of all magnitudes as floats, and floats of all magnitudes as integers.
void add_integers(const KernelTable& kernels, Digests& digests) {
  Random random(24);
  for (const int64_t n : {1, 3, 4, 5, 8, 15, 16, 17, 100}) {
    std::vector<int32_t> small(static_cast<size_t>(n));
    std::vector<int64_t> large(static_cast<size_t>(n));
    for (size_t i = 0; i < small.size(); ++i) {
      small[i] = static_cast<int32_t>(random.next()) >> random.below(32);
      large[i] = static_cast<int64_t>(random.next()) >> random.below(64);
    }
    std::vector<float> floats(small.size());
    for (const bool wide : {false, true}) {
      const IntegerRange range = wide ? kernels.int64_to_floats(large.data(), floats.data(), n)
                                      : kernels.int32_to_floats(small.data(), floats.data(), n);
      Digest& digest = digests["integers to floats"];
      digest.add(floats);
      for (const int64_t end : {range.least, range.largest}) digest.add(static_cast<double>(end));
    }
    kernels.floats_to_integers(floats.data(), small.data(), n);
    digests["floats to integers"].add(small);
  }
}

/// Numbers that are copied by steps, and columns of them that are sorted, with equal ones and NaN among them.
void add_arrangements(const KernelTable& kernels, Digests& digests) {
  Random random(23);
  for (const int64_t n : {1, 2, 3, 16, 17, 33, 100}) {
    const Matrix x(1, 3 * n, random, -5.0f, 5.0f);
    for (const int64_t step : {-1, 0, 2, 3}) {
      const Matrix y(1, n);
      kernels.copy_strided({x.data() + (step < 0 ? n - 1 : 0), step, y.data(), n});
      y.add_to(digests["strided copy"]);
      if (step <= 0) continue;
      for (const int64_t from_step : {-1, 1, 2}) {
        const Matrix spread(1, 3 * n);
        kernels.spread_strided({x.data() + (from_step < 0 ? n - 1 : 0), from_step, spread.data(), step, n});
        spread.add_to(digests["numbers among zeros"]);
      }
    }
    for (const bool gives_places : {false, true}) {
      Matrix sorted(1, n * kLineFloats, random, -5.0f, 5.0f);
      for (int64_t i = 0; i < n; i += 3)
        sorted.at(0, i * kLineFloats + i % kLineFloats) = i % 2 == 0 ? 1.0f : std::nanf("");
      const Matrix places(1, n * kLineFloats);
      kernels.sort_columns({sorted.data(), n, gives_places ? places.data() : nullptr});
      (gives_places ? places : sorted).add_to(digests[gives_places ? "sorted places" : "sorted numbers"]);
    }
  }
}

}  // namespace

void add_arrays(const KernelTable& kernels, Digests& digests) {
  add_maps(kernels, digests);
  add_reductions(kernels, digests);
  add_arrangements(kernels, digests);
  add_integers(kernels, digests);
}

}  // namespace engine::test
