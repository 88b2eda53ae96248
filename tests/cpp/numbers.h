// Fixed random numbers as inputs of kernels, and hashes of their results.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "cpu/panels.h"
#include "runtime/arena.h"

namespace engine::test {

/// FNV-1a over the bits of numbers, in order. All NaNs are hashed as the same, since x86-64 and arm64 make different
/// ones.
class Digest {
 public:
  void add(float x) {
    uint32_t u = 0x7fc00000;
    if (x == x) std::memcpy(&u, &x, sizeof u);
    add_bytes(u, sizeof u);
  }
  void add(double x) {
    uint64_t u = 0x7ff8000000000000;
    if (x == x) std::memcpy(&u, &x, sizeof u);
    add_bytes(u, sizeof u);
  }
  void add(int32_t x) { add_bytes(static_cast<uint32_t>(x), sizeof x); }
  template <class T>
  void add(const std::vector<T>& values) {
    for (const T& value : values) add(value);
  }
  uint64_t value() const { return hash_; }

 private:
  void add_bytes(uint64_t bytes, size_t count) {
    for (size_t i = 0; i < count; ++i, bytes >>= 8) hash_ = (hash_ ^ (bytes & 0xff)) * 0x100000001b3;
  }

  uint64_t hash_ = 0xcbf29ce484222325;
};

/// A digest for each name, such as that of a kernel. Several cases may add to one of them.
using Digests = std::map<std::string, Digest>;

/// xorshift64*
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}

  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  int32_t below(int32_t n) { return static_cast<int32_t>((next() >> 33) % static_cast<uint64_t>(n)); }
  float between(float low, float high) {
    constexpr float kUnit = 0x1p-24f;
    return low + (high - low) * (static_cast<float>(next() >> 40) * kUnit);
  }

 private:
  uint64_t state_;
};

/// A matrix (rows, columns) in the layout of the engine's values, padded with zeros.
class Matrix {
 public:
  Matrix(int64_t rows, int64_t columns)
      : rows_(rows), columns_(columns), ld_(leading_dimension(columns)), data_(rows * ld_) {}
  /// Returns a matrix of random numbers.
  Matrix(int64_t rows, int64_t columns, Random& random, float low, float high) : Matrix(rows, columns) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) data()[i * ld_ + j] = random.between(low, high);
    }
  }

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t ld() const { return ld_; }
  float* data() const { return data_.data(); }
  float& at(int64_t i, int64_t j) const { return data()[i * ld_ + j]; }

  Range all_rows() const { return {0, rows_}; }
  Range all_columns() const { return {0, round_up(columns_, kLineFloats)}; }

  void add_to(Digest& digest) const {
    for (int64_t i = 0; i < rows_; ++i) {
      for (int64_t j = 0; j < columns_; ++j) digest.add(at(i, j));
    }
  }

 private:
  int64_t rows_, columns_, ld_;
  Arena data_;
};

}  // namespace engine::test
