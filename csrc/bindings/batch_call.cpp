// One batch in arrays of a form that a model knows: the call of `train_on_batch` and `test_on_batch` in the core.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/floats.h"
#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "bindings/run.h"
#include "bindings/totals.h"
#include "cpu/device.h"

namespace engine::bindings {
namespace {

/// Batches of so many numbers get records of those that are not zero. On images of MNIST, five rows take as long with
/// them as without, and 32 rows two thirds of the time; rows of other data take 2 µs longer.
constexpr int64_t kLeastRecorded = 4096;

/// What the targets of a loss may be, by the rules of `checked_targets` (checked_samples.py). A batch that breaks one
/// goes there, where the error says what is wrong; checks in Python alone would take longer than the step of a small
/// network.
struct TargetRule {
  int64_t classes = 0;             // 0: numbers; else they are class indices below this
  std::optional<int64_t> ignored;  // a class index that stands for no class
  bool are_fractions = false;      // in [0, 1]
  bool are_signs = false;          // 0 and 1, or -1 and 1
};

/// A dtype that those of arrays are compared with; an equivalent one is as good.
class KnownType {
 public:
  explicit KnownType(py::object type) : type_(std::move(type)) {}
  bool is_of(const py::handle& array) const {
    PyObject* const found = proxy(array).descr;
    return found == type_.ptr() || py::detail::npy_api::get().PyArray_EquivTypes_(found, type_.ptr());
  }

 private:
  py::object type_;
};

bool lies_readable(const py::handle& array) { return (proxy(array).flags & kReadable) == kReadable; }

/// Whether an array, of NumPy's own class, has the shape (n, *sample) with n > 0.
bool is_batch_of(const py::handle& array, const std::vector<py::ssize_t>& sample) {
  if (Py_TYPE(array.ptr()) != py::detail::npy_api::get().PyArray_Type_) return false;
  const auto& found = proxy(array);
  return found.nd == static_cast<int>(sample.size()) + 1 && found.dimensions[0] > 0 &&
         std::equal(sample.begin(), sample.end(), found.dimensions + 1);
}

/// The batches of one form that a program runs, each by one call.
class BatchCall {
 public:
  BatchCall(std::shared_ptr<Program> program, graph::Mode mode, std::vector<py::ssize_t> sample,
            std::vector<py::ssize_t> target, py::object target_type, TargetRule rule)
      : program_(std::move(program)),
        mode_(mode),
        sample_(std::move(sample)),
        target_(std::move(target)),
        target_type_(std::move(target_type)),
        rule_(rule) {
    per_row_ = 1;
    for (const py::ssize_t length : target_) per_row_ *= length;
  }

  py::object run(const py::object& x, const py::object& y, double learning_rate,
                 const std::shared_ptr<OptimizerState>& state) const {
    if (!is_batch_of(x, sample_) || !is_batch_of(y, target_) || !target_type_.is_of(y)) return py::none();
    if (proxy(x).dimensions[0] != proxy(y).dimensions[0] || !lies_readable(x) || !is_read_in_place(x)) {
      return py::none();
    }
    const py::object targets = rule_.classes > 0 ? indices(y) : numbers(y);
    if (!targets || !is_good(x, targets)) return py::none();
    const auto training = program_->training();
    if (!training || training->losses.size() != 1) throw py::value_error("the program has no loss any more");
    if (state) {
      const Unlocked unlocked;
      program_->use_state(state);
    }
    Run run(program_, training, mode_);
    const auto& samples = proxy(x);
    const int64_t count =
        std::accumulate(samples.dimensions, samples.dimensions + samples.nd, int64_t{1}, std::multiplies<>());
    run.feed(std::make_shared<Dataset>(x, targets, py::none(), count >= kLeastRecorded), proxy(x).dimensions[0], "none",
             0, 0);
    run.advance(0, 1, &learning_rate, py::none(), py::none());
    return sums_of(run.totals());
  }

 private:
  static bool is_read_in_place(const py::object& x) {
    static const auto& kTypes = *new std::vector<KnownType>{KnownType(float32()), KnownType(py::dtype::of<double>()),
                                                            KnownType(py::dtype::of<uint8_t>())};
    return std::any_of(kTypes.begin(), kTypes.end(), [&](const KnownType& type) { return type.is_of(x); });
  }

  /// Targets as an array (n, numbers of a row) of this type, which is a new one if they have another type; null if
  /// NumPy can't convert them.
  template <class T>
  py::object converted(const py::object& y) const {
    auto made = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(y);
    return made ? made.reshape({proxy(y).dimensions[0], per_row_}) : py::object();
  }

  /// Targets as float32.
  py::object numbers(const py::object& y) const {
    const auto& given = proxy(y);
    const auto type = py::reinterpret_borrow<py::dtype>(given.descr);
    const bool readable = lies_readable(y);
    if (readable && is_float32(y)) return given.nd > 1 ? y : converted<float>(y);
    if (type.kind() == 'f' && type.itemsize() > kFloat) {
      static const auto& kDouble = *new KnownType(py::dtype::of<double>());
      if (!readable || !kDouble.is_of(y)) return {};
      // NumPy would warn of numbers beyond float32, which are found later.
      py::array_t<float> made({given.dimensions[0], per_row_});
      const auto* const from = reinterpret_cast<const double*>(given.data);
      std::transform(from, from + made.size(), made.mutable_data(), [](double each) { return float(each); });
      return std::move(made);
    }
    return std::strchr("biuf", type.kind()) ? converted<float>(y) : py::object();
  }

  /// Class indices as int32; null if there is another number among them.
  py::object indices(const py::object& y) const {
    const auto type = py::reinterpret_borrow<py::dtype>(proxy(y).descr);
    const bool is_wide = type.kind() == 'u' && type.itemsize() == sizeof(uint64_t);
    if (std::strchr("biu", type.kind()) && !is_wide) return checked_indices<int64_t>(y);
    return type.kind() == 'f' && type.itemsize() <= py::ssize_t{sizeof(double)} ? checked_indices<double>(y)
                                                                                : py::object();
  }
  template <class T>
  py::object checked_indices(const py::object& y) const {
    static const auto& kInt32 = *new KnownType(py::dtype::of<int32_t>());
    if (lies_readable(y) && kInt32.is_of(y)) {
      const auto* const given = reinterpret_cast<const int32_t*>(proxy(y).data);
      const int64_t count = proxy(y).dimensions[0] * per_row_;
      return std::all_of(given, given + count, [&](int32_t each) { return is_class(each); }) ? y : py::object();
    }
    const auto given = py::array_t<T, py::array::c_style | py::array::forcecast>::ensure(y);
    if (!given) return {};
    py::array_t<int32_t> made({proxy(y).dimensions[0], per_row_});
    int32_t* to = made.mutable_data();
    for (const T *each = given.data(), *const end = each + given.size(); each != end; ++each) {
      if (!is_class(*each)) return {};
      *to++ = static_cast<int32_t>(*each);
    }
    return std::move(made);
  }
  template <class T>
  bool is_class(T index) const {
    if (index >= 0 && index < static_cast<T>(rule_.classes))
      return static_cast<T>(static_cast<int64_t>(index)) == index;
    return rule_.ignored && index == static_cast<T>(*rule_.ignored);
  }

  /// Whether all numbers are finite, and the targets such as the rule allows.
  bool is_good(const py::object& x, const py::object& targets) const {
    const DatasetView samples = view_rows(py::reinterpret_borrow<py::array>(x));
    if (rule_.classes > 0) {
      const Unlocked unlocked;
      return cpu::first_nonfinite_row(samples) < 0;
    }
    const DatasetView rows = view_rows(py::reinterpret_borrow<py::array>(targets));
    const Unlocked unlocked;
    if (cpu::first_nonfinite_row(samples) >= 0 || cpu::first_nonfinite_row(rows) >= 0) return false;
    const auto* const begin = static_cast<const float*>(rows.x);
    const float* const end = begin + rows.rows * rows.stride;
    const bool has_minus = rule_.are_signs && std::find(begin, end, -1.0f) != end;
    return std::all_of(begin, end, [&](float each) {
      if (rule_.are_signs && each != 1.0f && each != (has_minus ? -1.0f : 0.0f)) return false;
      return !rule_.are_fractions || (each >= 0.0f && each <= 1.0f);
    });
  }

  std::shared_ptr<Program> program_;
  graph::Mode mode_;
  std::vector<py::ssize_t> sample_, target_;
  py::ssize_t per_row_;  // targets of a sample
  KnownType target_type_;
  TargetRule rule_;
};

std::unique_ptr<BatchCall> make_batch_call(std::shared_ptr<Program> program, bool trains,
                                           std::vector<py::ssize_t> sample, std::vector<py::ssize_t> target,
                                           const py::dtype& target_type, int64_t classes,
                                           std::optional<int64_t> ignored, bool are_fractions, bool are_signs) {
  return std::make_unique<BatchCall>(std::move(program), trains ? graph::Mode::kTrain : graph::Mode::kEvaluate,
                                     std::move(sample), std::move(target), target_type,
                                     TargetRule{classes, ignored, are_fractions, are_signs});
}

}  // namespace

void register_batch_call(py::module_& m) {
  py::class_<BatchCall> type(m, "BatchCall");
  def_init(type, &make_batch_call, py::arg("program"), py::arg("trains"), py::arg("sample_shape"),
           py::arg("target_shape"), py::arg("target_dtype"), py::arg("classes") = 0, py::arg("ignored") = py::none(),
           py::arg("are_fractions") = false, py::arg("are_signs") = false);
  type.def("run", &BatchCall::run, py::arg("x"), py::arg("y"), py::arg("learning_rate") = 0.0,
           py::arg("state") = py::none());
}

}  // namespace engine::bindings
