#include "runtime/random.h"

#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "formulas/philox.h"

namespace engine {
namespace {

/// Generates the 32-bit random words of one stream with Philox, in the order of their counters.
class Words {
 public:
  Words(uint64_t seed, uint64_t stream) : key_(philox::make_key(seed)), stream_(stream) {}

  uint32_t next() {
    if (used_ == kBlock) refill();
    return words_[used_++];
  }

 private:
  static constexpr int kCounters =
      16;  // per refill; they are independent of each other, so the CPU overlaps their rounds
  static constexpr int kBlock = 4 * kCounters;

  void refill() {
    for (int i = 0; i < kCounters; ++i, ++counter_) {
      uint64_t c[4] = {counter_, counter_ >> 32, stream_, stream_ >> 32};
      philox::generate(c, key_, [](uint64_t a, uint32_t m) { return uint64_t{static_cast<uint32_t>(a)} * m; });
      for (int word = 0; word < 4; ++word) words_[4 * i + word] = static_cast<uint32_t>(c[word]);
    }
    used_ = 0;
  }

  philox::Key key_;
  uint64_t stream_;
  uint64_t counter_ = 0;
  uint32_t words_[kBlock];
  int used_ = kBlock;
};

// This file uses sqrt and nextafter of libm only. They are exact; the results of other functions differ between
// machines.

/// Returns the polynomial c0 + c1 x + c2 x^2 + ...
template <std::size_t N>
double series(double x, const double (&coefficients)[N]) {
  double sum = 0.0;
  for (std::size_t i = N; i-- > 0;) sum = sum * x + coefficients[i];
  return sum;
}

/// Returns log(x) for a normal number x > 0. With x = m 2^e and m in [sqrt(1/2), sqrt(2)) it is e log(2) + log(m),
/// where log(m) = 2 artanh((m - 1) / (m + 1)).
double logarithm(double x) {
  constexpr double kLn2 = 0.69314718055994530942;
  constexpr double kArtanh[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};
  constexpr uint64_t kSqrtHalf = 0x3fe6a09e667f3bcd;
  constexpr int kMantissaBits = 52;
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const uint64_t above = bits - kSqrtHalf;
  const auto exponent = static_cast<int64_t>(above) >> kMantissaBits;
  bits = (above & ((uint64_t{1} << kMantissaBits) - 1)) + kSqrtHalf;
  double m;
  std::memcpy(&m, &bits, sizeof m);
  const double s = (m - 1.0) / (m + 1.0);
  return static_cast<double>(exponent) * kLn2 + 2.0 * s * series(s * s, kArtanh);
}

struct Direction {
  double cosine, sine;
};

/// Returns cos(2 pi turns) and sin(2 pi turns) for turns in [0, 1), by Taylor series around the nearest axis.
Direction direction(double turns) {
  constexpr double kCosine[] = {1.0,
                                -1.0 / 2,
                                1.0 / 24,
                                -1.0 / 720,
                                1.0 / 40320,
                                -1.0 / 3628800,
                                1.0 / 479001600,
                                -1.0 / 87178291200,
                                1.0 / 20922789888000};
  constexpr double kSine[] = {1.0,
                              -1.0 / 6,
                              1.0 / 120,
                              -1.0 / 5040,
                              1.0 / 362880,
                              -1.0 / 39916800,
                              1.0 / 6227020800,
                              -1.0 / 1307674368000,
                              1.0 / 355687428096000};
  constexpr double kTurn = 6.28318530717958647693;
  const auto axis = static_cast<int>(4.0 * turns + 0.5);
  const double x = (turns - 0.25 * axis) * kTurn;
  const double c = series(x * x, kCosine), s = x * series(x * x, kSine);
  switch (axis % 4) {
    case 0:
      return {c, s};
    case 1:
      return {-s, c};
    case 2:
      return {-c, -s};
    default:
      return {s, -c};
  }
}

/// Generates standard normal numbers, two at a time (Box and Muller 1958).
class Normals {
 public:
  Normals(uint64_t seed, uint64_t stream) : words_(seed, stream) {}

  double next() {
    if (waiting_) {
      waiting_ = false;
      return second_;
    }
    const double above_zero = (words_.next() + 1.0) * 0x1p-32;
    const Direction d = direction(words_.next() * 0x1p-32);
    const double radius = std::sqrt(-2.0 * logarithm(above_zero));
    second_ = radius * d.sine;
    waiting_ = true;
    return radius * d.cosine;
  }

 private:
  Words words_;
  double second_ = 0.0;
  bool waiting_ = false;
};

/// Returns the dot product of a (n,) and b (n,). It is summed in eight lanes, so that a compiler may use vectors
/// without changing the order of the sum.
double dot(const double* a, const double* b, int64_t n) {
  constexpr int kLanes = 8;
  double sums[kLanes] = {};
  int64_t p = 0;
  for (; p + kLanes <= n; p += kLanes) {
    for (int l = 0; l < kLanes; ++l) sums[l] += a[p + l] * b[p + l];
  }
  for (int l = 0; p < n; ++p, ++l) sums[l] += a[p] * b[p];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace

void fill_uniform(uint64_t seed, uint64_t stream, float low, float high, float* out, int64_t n) {
  Words words(seed, stream);
  const double width = static_cast<double>(high) - static_cast<double>(low);
  const float last = std::nextafter(high, low);
  for (int64_t i = 0; i < n; ++i) {
    const double unit = (words.next() >> 8) * 0x1p-24;
    const auto value = static_cast<float>(static_cast<double>(low) + width * unit);
    out[i] = value < high ? value : last;
  }
}

void fill_normal(uint64_t seed, uint64_t stream, double mean, double stddev, float* out, int64_t n) {
  Normals normals(seed, stream);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<float>(mean + stddev * normals.next());
}

void fill_truncated_normal(uint64_t seed, uint64_t stream, double mean, double stddev, float* out, int64_t n) {
  constexpr double kFurthest = 2.0;
  Normals normals(seed, stream);
  for (int64_t i = 0; i < n;) {
    const double x = normals.next();
    if (x >= -kFurthest && x <= kFurthest) out[i++] = static_cast<float>(mean + stddev * x);
  }
}

void fill_orthogonal(uint64_t seed, uint64_t stream, double gain, float* out, int64_t rows, int64_t columns) {
  Normals normals(seed, stream);
  std::vector<double> vectors(static_cast<std::size_t>(rows * columns));
  for (double& x : vectors) x = normals.next();
  for (int64_t j = 0; j < columns; ++j) {
    double* own = vectors.data() + j * rows;
    // Gram-Schmidt orthogonalization, done twice: after the first time, rounding errors of cancelled components remain.
    for (int round = 0; round < 2; ++round) {
      for (int64_t i = 0; i < j; ++i) {
        const double* other = vectors.data() + i * rows;
        const double along = dot(own, other, rows);
        for (int64_t p = 0; p < rows; ++p) own[p] -= along * other[p];
      }
      const double length = std::sqrt(dot(own, own, rows));
      for (int64_t p = 0; p < rows; ++p) own[p] /= length;
    }
    for (int64_t p = 0; p < rows; ++p) out[p * columns + j] = static_cast<float>(gain * own[p]);
  }
}

void fill_permutation(uint64_t seed, uint64_t stream, int32_t* out, int64_t n) {
  Words words(seed, stream);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>(i);
  // The shuffle of Fisher and Yates. Bounded numbers are drawn as in Lemire (2019), who rejects the words that would
  // make some values more likely than others.
  for (auto left = static_cast<uint32_t>(n); left > 1; --left) {
    uint64_t product = static_cast<uint64_t>(words.next()) * left;
    if (static_cast<uint32_t>(product) < left) {
      const uint32_t floor = -left % left;
      while (static_cast<uint32_t>(product) < floor) product = static_cast<uint64_t>(words.next()) * left;
    }
    std::swap(out[left - 1], out[product >> 32]);
  }
}

}  // namespace engine
