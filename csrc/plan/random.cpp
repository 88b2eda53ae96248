#include "plan/random.h"

#include <cmath>
#include <utility>

#include "kernels/philox.h"

namespace engine {
namespace {

/// The words of Philox in order of their counters.
class Words {
 public:
  Words(uint64_t seed, uint64_t stream) : key_(philox::make_key(seed)), stream_(stream) {}

  uint32_t next() {
    if (used_ == kBlock) refill();
    return words_[used_++];
  }

 private:
  static constexpr int kCounters = 16;  // at a time: their rounds don't wait for each other
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

void fill_permutation(uint64_t seed, uint64_t stream, int32_t* out, int64_t n) {
  Words words(seed, stream);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<int32_t>(i);
  // Fisher and Yates; bounded draws after Lemire (2019), rejecting what would favour some values.
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
