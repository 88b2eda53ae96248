// How many threads a plan's batches are quickest with, found by trial.
#pragma once
#include <chrono>
#include <limits>

namespace engine {

/// Of a batch of a small network most is the way of cache lines from core to core, and how long that is no cost model
/// knows: it differs tenfold between machines, and between hours of a virtual one. So now and then some batches run on
/// half as many threads, or on twice as many, and the quicker number stays; as no bit of the weights depends on it,
/// only the clock tells. One plan's; times are those of running batches alone.
class Pace {
 public:
  using Duration = std::chrono::steady_clock::duration;
  struct Stretch {
    int threads;
    Duration length;  // after which to ask again
  };

  /// What the next batches should run on, where there are at most `most` threads, always as many.
  Stretch next(int most);

  /// How long so many batches took on what `next` said last. They may have been cut off: parts of a batch count.
  void note(double batches, Duration passed);

 private:
  enum class Phase { kRest, kLeadIn, kMeasure };
  /// One of the two numbers of threads that are compared.
  struct Side {
    int threads = 0;
    double quickest = std::numeric_limits<double>::infinity();  // seconds a batch, of all windows
  };

  bool begin_trial();
  void end_window();
  void rest(double seconds);

  int most_ = 0;
  Phase phase_ = Phase::kRest;
  double batches_ = 0.0, passed_ = 0.0, length_ = 0.0;  // of this phase
  Side kept_, rival_;
  bool fewer_ = true;  // whether the next rival is
  bool of_rival_ = false;
  int windows_ = 0;
  double patience_ = 0.0;
};

}  // namespace engine
