// Decides on how many threads the batches of one schedule run.
#pragma once
#include <chrono>
#include <limits>

namespace engine::cpu {

/// Answers one question: on how many threads should the next batches run, and for how long? A `ThreadPolicy` belongs to
/// one workspace, because how many threads are fastest depends on its schedule. It has two reasons for fewer threads
/// than the schedule allows:
///
/// - Another process uses some of the cores. A thread that has no core makes all others wait at every barrier, so that
///   the other threads are faster without it. CPU time that is missing in the wall time shows this within milliseconds.
/// - The batches are small. Most of their time is the transfer of cache lines between cores, which takes ten times as
///   long on some machines as on others, so that no cost model can predict it. Instead, some batches now and then run
///   on half or on twice as many threads, and the faster number is kept.
///
/// No bit of a result depends on the number of threads, so it may change after every batch. This class reads no clock
/// and starts no thread: it decides by the times that it is given.
class ThreadPolicy {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Duration = Clock::duration;

  struct Stretch {
    int threads;
    Duration length;  // ask again at the first end of a batch after this time
  };

  /// What is known about a stretch when it is over.
  struct Evidence {
    double batches;        // a batch that was interrupted counts in part
    Duration wall_time;    // of the whole stretch
    Duration thread_time;  // time from start to end of each thread, added up; a thread starts after it has woken up
    Duration cpu_time;     // the part of it that the threads spent on a core
    Duration sleep_time;   // the part of it that the threads spent asleep in barriers, waiting for other threads
  };

  /// Returns what to do at the time `now`. A run may use `most` threads; all calls should pass the same number, and
  /// another one discards what has been learned.
  Stretch next(int most, Time now);

  /// Takes the evidence of the stretch that `next` returned last and that ended at `now`. The stretch may have been
  /// shorter or longer than `next` said.
  void note(const Evidence& evidence, Time now);

 private:
  enum class State {
    kSteady,   // runs on `best_` threads, checks whether cores are missing, and waits for the next trial
    kReduced,  // runs on `reduced_` threads until `retry_at_`, because cores were missing
    kSettle,   // first part of a window of a trial: not measured, while threads wake up and caches fill
    kMeasure,  // second part of a window of a trial: measured
  };
  /// One of the two numbers of threads that a trial compares.
  struct Candidate {
    int threads = 0;
    double seconds = std::numeric_limits<double>::infinity();  // per batch, in the fastest window so far
  };

  /// What the current check for missing cores has added up.
  struct Check {
    double wall_time = 0.0, thread_time = 0.0, cpu_time = 0.0, sleep_time = 0.0;  // seconds
  };

  void check_for_missing_cores(const Evidence& evidence, Time now);
  void wait_for_trial();
  bool begin_trial();
  void end_window();
  void end_trial(bool found_better);
  void enter(State state, double seconds);

  int most_ = 0;
  int best_ = 0;  // the fastest number of threads that trials have found
  State state_ = State::kSteady;
  double length_ = 0.0;                   // of the state, in seconds of running batches
  double batches_ = 0.0, seconds_ = 0.0;  // since the state was entered

  Check check_;
  int reduced_ = 0;
  Time retry_at_{};
  Duration retry_delay_{};  // zero while the last check has found all cores

  Candidate present_, other_;
  bool runs_other_ = false;  // which of the two runs now
  int windows_ = 0;          // of both, that have been measured
  bool tries_fewer_ = true;  // whether the next trial compares with fewer threads or with more
  double trial_delay_ = 0.0;
};

}  // namespace engine::cpu
