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
    const uint32_t word = words_[used_ % 4][used_ / 4];
    ++used_;
    return word;
  }

 private:
  static constexpr int kLanes = 16;
  static constexpr int kBlock = 4 * kLanes;

  void refill() {
    for (int i = 0; i < kLanes; ++i) {
      words_[0][i] = static_cast<uint32_t>(counter_ + static_cast<uint64_t>(i));
      words_[1][i] = static_cast<uint32_t>((counter_ + static_cast<uint64_t>(i)) >> 32);
      words_[2][i] = static_cast<uint32_t>(stream_);
      words_[3][i] = static_cast<uint32_t>(stream_ >> 32);
    }
    philox::generate(words_, key_);
    counter_ += kLanes;
    used_ = 0;
  }

  philox::Key key_;
  uint64_t stream_;
  uint64_t counter_ = 0;
  uint32_t words_[4][kLanes];
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
