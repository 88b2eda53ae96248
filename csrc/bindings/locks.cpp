// The locks of the Python code. Whoever holds one has an object that owns it and that lives in the evaluation stack of
// the `with` statement alone. An exception at any moment, such as that of Ctrl-C between two bytecodes, removes this
// object from the stack, which releases the lock. Python code could not do so: a signal may come after it has acquired
// a lock and before it has stored that.
#include <pybind11/stl.h>
#include <pythread.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "runtime/fork.h"

namespace engine::bindings {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
using Thread = unsigned long;  // as `PyThread_get_thread_ident` returns it

constexpr Thread kNobody = 0;
constexpr double kForEver = std::numeric_limits<double>::infinity();

/// A waiting thread looks this often for signals that another thread got, and whether its patience is over.
constexpr Seconds kMaxWait{1.0};

class Lock;

/// A binary semaphore, which its owner takes as soon as it is made: `wait` returns after `post`.
class Semaphore {
 public:
  Semaphore() : lock_(PyThread_allocate_lock()) {
    if (lock_ == nullptr) throw std::bad_alloc();
    PyThread_acquire_lock(lock_, NOWAIT_LOCK);
  }
  ~Semaphore() { PyThread_free_lock(lock_); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  void post() { PyThread_release_lock(lock_); }

  /// Waits without the GIL. It also returns after `most`, and after a signal if `hears_signals`.
  void wait(Seconds most, bool hears_signals) {
    const Unlocked unlocked;
    const auto limit = std::chrono::duration_cast<std::chrono::microseconds>(most);
    PyThread_acquire_lock_timed(lock_, limit.count(), hears_signals ? 1 : 0);
  }

 private:
  PyThread_type_lock lock_;
};

/// A thread that waits for a lock; an object on its own stack.
struct Waiter {
  const Lock* lock;
  Thread thread;
  const PyObject* borrower;  // the `threading.Thread` that would also borrow the lock, or null
  Semaphore* woken;
  bool granted = false;
};

/// A lock that a thread holds.
struct Held {
  const Lock* lock;
  Thread thread;
};

/// All threads that wait for locks, in the order in which they asked, and all locks that are held, once for each depth.
/// `short_lock` guards them. They are never destroyed, since threads may use them until the process ends.
struct AllLocks {
  std::vector<Waiter*> waiting;
  std::vector<Held> held;

  static AllLocks& get() {
    static auto& state = *new AllLocks;
    return state;
  }

 private:
  AllLocks() : reset_(this, [](void* state) { static_cast<AllLocks*>(state)->reset_in_child(); }) {}

  void reset_in_child() {
    const Thread me = PyThread_get_thread_ident();
    waiting.clear();
    held.erase(std::remove_if(held.begin(), held.end(), [me](const Held& each) { return each.thread != me; }),
               held.end());
  }

  ChildReset reset_;
};

/// A reentrant lock. Threads get it in the order in which they ask. A thread may lend it: until it takes the lock back,
/// threads that started after the loan may borrow it, and others wait.
class Lock {
 public:
  Lock(std::string name, int rank)
      : name_(std::move(name)),
        rank_(rank),
        reset_(this, [](void* lock) { static_cast<Lock*>(lock)->reset_in_child(); }) {}
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  /// Returns when the calling thread holds the lock, once more if it does already.
  ///
  /// Throws what a handler of a signal raises, and a RuntimeError if the lock comes too early in the order of locks, if
  /// threads would wait for each other for ever, or if the lock is lent for more than `patience`.
  void acquire(Seconds patience, const PyObject* borrower) {
    const Thread me = PyThread_get_thread_ident();
    if (try_acquire(me, borrower)) return;
    wait(me, borrower, patience, true);
  }

  /// Undoes one `acquire` of a thread. A forked child has no locks of threads that it doesn't have.
  void release(Thread thread) noexcept {
    const std::lock_guard<std::mutex> lock(short_lock());
    std::vector<Held>& held = AllLocks::get().held;
    const auto found = std::find_if(held.rbegin(), held.rend(),
                                    [&](const Held& each) { return each.lock == this && each.thread == thread; });
    if (found == held.rend()) return;
    held.erase(std::next(found).base());
    if (owner_ == thread && --depth_ == 0) give_to_next();
  }

  /// Lends the lock, and returns whether the calling thread held it. `before` is a set of `threading.Thread`.
  bool lend(const py::frozenset& before) {
    const Thread me = PyThread_get_thread_ident();
    Loan loan{me, 0, Clock::now(), before, {}};
    for (const py::handle thread : before) loan.threads.push_back(thread.ptr());
    const std::lock_guard<std::mutex> lock(short_lock());
    if (owner_ != me) return false;
    loan.depth = depth_;
    loans_.push_back(std::move(loan));
    give_to_next();
    return true;
  }

  /// Takes the lock back from those who borrowed it. Signals are handled after that.
  void take_back() {
    const Thread me = PyThread_get_thread_ident();
    if (!try_acquire(me, nullptr)) wait(me, nullptr, Seconds(kForEver), false);
    py::object threads;  // freed after the block: that needs other locks
    const std::lock_guard<std::mutex> lock(short_lock());
    drop_one(me);
    depth_ = loans_.back().depth;
    threads = std::move(loans_.back().before);
    loans_.pop_back();
  }

  std::pair<std::string, int> arguments() const { return {name_, rank_}; }

  bool is_held() const {
    const std::lock_guard<std::mutex> lock(short_lock());
    return owner_ != kNobody || !loans_.empty();
  }

  int64_t waiting() const {
    const std::lock_guard<std::mutex> lock(short_lock());
    const std::vector<Waiter*>& all = AllLocks::get().waiting;
    return std::count_if(all.begin(), all.end(), [this](const Waiter* each) { return each->lock == this; });
  }

 private:
  struct Loan {
    Thread lender;
    int depth;
    Clock::time_point began;
    py::object before;  // keeps the following objects alive
    std::vector<const PyObject*> threads;
  };

  bool try_acquire(Thread me, const PyObject* borrower) {
    const std::lock_guard<std::mutex> lock(short_lock());
    std::vector<Held>& held = AllLocks::get().held;
    held.reserve(held.size() + 1 + AllLocks::get().waiting.size());  // `give_to_next` may not fail
    if (owner_ != me) {
      require_order(me);
      if (owner_ != kNobody || !may_have(me, borrower)) return false;
    }
    own(me);
    return true;
  }

  void wait(Thread me, const PyObject* borrower, Seconds patience, bool hears_signals) {
    Semaphore woken;
    Waiter waiter{this, me, borrower, &woken};
    begin_to_wait(waiter, hears_signals);
    for (;;) {
      woken.wait(std::min(kMaxWait, patience), hears_signals);
      const bool failed = hears_signals && PyErr_CheckSignals() != 0;
      bool lent_too_long = false;
      {
        const std::lock_guard<std::mutex> lock(short_lock());
        if (waiter.granted) {
          if (!failed) return;
          drop_one(me);
          if (--depth_ == 0) give_to_next();
        }
        lent_too_long = owner_ == kNobody && !may_have(me, borrower) && Clock::now() - loans_.back().began > patience;
        if (failed || lent_too_long) stop_waiting(waiter);
      }
      if (failed) throw py::error_already_set();
      if (lent_too_long) throw std::runtime_error(lent_for(patience));
    }
  }

  void begin_to_wait(Waiter& waiter, bool may_refuse) {
    const std::lock_guard<std::mutex> lock(short_lock());
    AllLocks& state = AllLocks::get();
    if (may_refuse && waits_for(waiter.thread)) {
      throw std::runtime_error(
          "threads would wait for each other for ever: one holds " + name_ +
          " and waits for a lock of this thread. Let functions that a model or a layer calls, such "
          "as `build` or a callback, not wait for threads that use other models or layers which "
          "wait for it");
    }
    state.held.reserve(state.held.size() + 1 + state.waiting.size() + 1);
    state.waiting.push_back(&waiter);
    if (owner_ == kNobody) give_to_next();
  }

  void stop_waiting(const Waiter& waiter) {
    std::vector<Waiter*>& waiting = AllLocks::get().waiting;
    waiting.erase(std::remove(waiting.begin(), waiting.end(), &waiter), waiting.end());
    if (owner_ == kNobody) give_to_next();
  }

  static std::string lent_for(Seconds patience) {
    return "a callback has been running for " + std::to_string(std::lround(patience.count())) +
           " s while its model is in use, and may wait for this thread: let threads that callbacks start evaluate or "
           "predict, but not change the model";
  }

  /// Throws if the calling thread holds a lock that comes after this one, or as late.
  void require_order(Thread me) const {
    for (const Held& each : AllLocks::get().held) {
      if (each.thread == me && each.lock->rank_ > 0 && each.lock->rank_ >= rank_) {
        throw std::runtime_error("the lock of " + name_ + " must not be acquired while that of " + each.lock->name_ +
                                 " is held: see the order of locks in engine/_base/locks.py");
      }
    }
  }

  /// Returns whether the thread that has this lock waits, through any number of others, for a lock of `thread`.
  bool waits_for(Thread thread) const {
    const std::vector<Waiter*>& waiting = AllLocks::get().waiting;
    const Lock* lock = this;
    for (size_t steps = 0; steps <= waiting.size(); ++steps) {
      Thread owner = lock->owner_;
      if (owner == kNobody && !lock->loans_.empty()) owner = lock->loans_.back().lender;
      if (owner == thread) return true;
      const auto next = std::find_if(waiting.begin(), waiting.end(),
                                     [owner](const Waiter* each) { return each->thread == owner && !each->granted; });
      if (owner == kNobody || next == waiting.end()) return false;
      lock = (*next)->lock;
    }
    return false;
  }

  bool may_have(Thread thread, const PyObject* borrower) const {
    if (loans_.empty() || loans_.back().lender == thread) return true;
    const auto& before = loans_.back().threads;
    return borrower != nullptr && std::find(before.begin(), before.end(), borrower) == before.end();
  }

  Waiter* next() const {
    for (Waiter* each : AllLocks::get().waiting) {
      if (each->lock == this && may_have(each->thread, each->borrower)) return each;
    }
    return nullptr;
  }

  void own(Thread thread) {
    AllLocks::get().held.push_back({this, thread});
    owner_ = thread;
    ++depth_;
  }

  void drop_one(Thread thread) {
    std::vector<Held>& held = AllLocks::get().held;
    const auto found = std::find_if(held.begin(), held.end(),
                                    [&](const Held& each) { return each.lock == this && each.thread == thread; });
    held.erase(found);
  }

  /// Called when no thread has the lock any more: wakes the next one, which has it from now on.
  void give_to_next() {
    owner_ = kNobody;
    depth_ = 0;
    Waiter* const waiter = next();
    if (waiter == nullptr) return;
    std::vector<Waiter*>& waiting = AllLocks::get().waiting;
    waiting.erase(std::find(waiting.begin(), waiting.end(), waiter));
    own(waiter->thread);
    waiter->granted = true;
    waiter->woken->post();
  }

  void reset_in_child() {
    const Thread me = PyThread_get_thread_ident();
    if (owner_ != me) owner_ = kNobody, depth_ = 0;
    for (Loan& each : loans_) {
      if (each.lender != me) each.before.release();  // not freed: the child may not have the GIL
    }
    loans_.erase(std::remove_if(loans_.begin(), loans_.end(), [me](const Loan& each) { return each.lender != me; }),
                 loans_.end());
  }

  const std::string name_;
  const int rank_;
  // `short_lock` guards these.
  Thread owner_ = kNobody;
  int depth_ = 0;
  std::vector<Loan> loans_;
  ChildReset reset_;
};

/// What `with` enters: the locks are held until it is left, or until this object is gone.
class HeldLocks {
 public:
  HeldLocks(const std::vector<py::object>& locks, double patience, const PyObject* borrower) {
    locks_.reserve(locks.size());
    for (const py::object& lock : locks) {
      lock.cast<Lock&>().acquire(Seconds(patience), borrower);
      locks_.push_back(lock);
    }
  }
  ~HeldLocks() { release(); }
  HeldLocks(const HeldLocks&) = delete;
  HeldLocks& operator=(const HeldLocks&) = delete;

  void release() {
    while (!locks_.empty()) {
      locks_.back().cast<Lock&>().release(thread_);
      locks_.pop_back();
    }
  }

 private:
  const Thread thread_ = PyThread_get_thread_ident();
  std::vector<py::object> locks_;
};

/// What `with` enters: the lock is lent until it is left, or until this object is gone.
class LentLock {
 public:
  LentLock(py::object lock, const py::frozenset& before)
      : lock_(std::move(lock)), lent_(lock_.cast<Lock&>().lend(before)) {}
  ~LentLock() { take_back(); }
  LentLock(const LentLock&) = delete;
  LentLock& operator=(const LentLock&) = delete;

  void take_back() {
    if (std::exchange(lent_, false)) lock_.cast<Lock&>().take_back();
  }

 private:
  py::object lock_;
  bool lent_;
};

std::unique_ptr<Lock> make_lock(std::string name, int rank) { return std::make_unique<Lock>(std::move(name), rank); }

py::object held_together(const std::vector<py::object>& locks, double patience, const py::object& borrower) {
  return to_python(std::make_unique<HeldLocks>(locks, patience, borrower.is_none() ? nullptr : borrower.ptr()));
}

py::object held(const py::object& lock, double patience, const py::object& borrower) {
  return held_together({lock}, patience, borrower);
}

py::object lent(const py::object& lock, const py::frozenset& before) {
  return to_python(std::make_unique<LentLock>(lock, before));
}

}  // namespace

void register_locks(py::module_& m) {
  AllLocks::get();  // now, since it needs `short_lock` itself
  py::class_<HeldLocks> hold(m, "Hold");
  hold.def("__enter__", [](const HeldLocks&) {});
  hold.def("__exit__", [](HeldLocks& self, py::handle, py::handle, py::handle) { self.release(); });
  py::class_<LentLock> loan(m, "Loan");
  loan.def("__enter__", [](const LentLock&) {});
  loan.def("__exit__", [](LentLock& self, py::handle, py::handle, py::handle) { self.take_back(); });
  py::class_<Lock> lock(m, "Lock");
  def_init(lock, &make_lock, py::arg("name"), py::arg("rank"));
  lock.def("held", &held, py::arg("patience") = kForEver, py::arg("borrower") = py::none());
  lock.def("lent", &lent, py::arg("before"));
  lock.def_property_readonly("is_held", &Lock::is_held);
  lock.def_property_readonly("waiting", &Lock::waiting);
  // A copy or a pickle of what has a lock has another lock, which is free.
  lock.def("__reduce__", [](const py::object& self) {
    const auto& [name, rank] = self.cast<const Lock&>().arguments();
    return py::make_tuple(py::type::of(self), py::make_tuple(name, rank));
  });
  m.def("held_together", &held_together, py::arg("locks"), py::arg("patience"), py::arg("borrower") = py::none());
}

}  // namespace engine::bindings
