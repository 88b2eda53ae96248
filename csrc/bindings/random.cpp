#include "runtime/random.h"

#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <utility>

#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/instances.h"
#include "bindings/register.h"
#include "runtime/fork.h"

namespace engine::bindings {
namespace {

py::array_t<float> uniform(uint64_t seed, uint64_t stream, int64_t size, float low, float high) {
  if (size < 0) throw py::value_error("`size` must not be negative, got " + std::to_string(size));
  if (!(low <= high)) throw py::value_error("`low` must not exceed `high`");
  py::array_t<float> out(size);
  float* data = out.mutable_data();
  const Unlocked unlocked;
  fill_uniform(seed, stream, low, high, data, size);
  return out;
}

/// A seed, and the number of draws since it was set.
class RandomState {
 public:
  using Position = std::pair<py::int_, int64_t>;

  RandomState(py::int_ seed, int64_t draws) : position_(std::move(seed), draws) {}

  Position position() const {
    const std::lock_guard<std::mutex> lock(short_lock());
    return position_;
  }
  void go_to(Position position) {
    const std::lock_guard<std::mutex> lock(short_lock());
    std::swap(position_, position);  // the old seed is freed after the lock is released
  }
  /// Returns the position before this draw, which no other draw gets.
  Position draw() {
    const std::lock_guard<std::mutex> lock(short_lock());
    Position before = position_;
    ++position_.second;
    return before;
  }
  void give_back(const Position& before, int64_t draws) {
    const std::lock_guard<std::mutex> lock(short_lock());
    const bool is_last = position_.second == before.second + draws && position_.first.equal(before.first);
    if (is_last) position_.second = before.second;
  }

 private:
  Position position_;  // guarded by `short_lock`; a seed may have any size
};

std::unique_ptr<RandomState> make_state(py::int_ seed, int64_t draws) {
  return std::make_unique<RandomState>(std::move(seed), draws);
}

using FillNormal = void(uint64_t, uint64_t, double, double, float*, int64_t);

template <FillNormal Fill>
py::array_t<float> normal(uint64_t seed, uint64_t stream, int64_t size, double mean, double stddev) {
  if (size < 0) throw py::value_error("`size` must not be negative, got " + std::to_string(size));
  py::array_t<float> out(size);
  float* data = out.mutable_data();
  const Unlocked unlocked;
  Fill(seed, stream, mean, stddev, data, size);
  return out;
}

py::array_t<float> orthogonal(uint64_t seed, uint64_t stream, int64_t rows, int64_t columns, double gain) {
  if (columns < 0 || rows < columns) throw py::value_error("expected at least as many rows as columns");
  py::array_t<float> out({rows, columns});
  float* data = out.mutable_data();
  const Unlocked unlocked;
  fill_orthogonal(seed, stream, gain, data, rows, columns);
  return out;
}

py::array_t<int32_t> permutation(uint64_t seed, uint64_t stream, int64_t size) {
  if (size < 0 || size >= (int64_t{1} << 31)) {
    throw py::value_error("`size` must lie in [0, 2**31), got " + std::to_string(size));
  }
  py::array_t<int32_t> out(size);
  int32_t* data = out.mutable_data();
  const Unlocked unlocked;
  fill_permutation(seed, stream, data, size);
  return out;
}

}  // namespace

void register_random(py::module_& m) {
  py::class_<RandomState> state(m, "RandomState");
  def_init(state, &make_state, py::arg("seed"), py::arg("draws") = 0);
  state.def_property("position", &RandomState::position, &RandomState::go_to)
      .def("draw", &RandomState::draw)
      .def("give_back", &RandomState::give_back, py::arg("before"), py::arg("draws"))
      .def("__reduce__", [](const py::object& self) {
        const auto [seed, draws] = self.cast<const RandomState&>().position();
        return py::make_tuple(py::type::of(self), py::make_tuple(seed, draws));
      });
  m.def("uniform", &uniform, py::arg("seed"), py::arg("stream"), py::arg("size"), py::arg("low"), py::arg("high"));
  m.def("normal", &normal<fill_normal>, py::arg("seed"), py::arg("stream"), py::arg("size"), py::arg("mean"),
        py::arg("stddev"));
  m.def("truncated_normal", &normal<fill_truncated_normal>, py::arg("seed"), py::arg("stream"), py::arg("size"),
        py::arg("mean"), py::arg("stddev"));
  m.def("orthogonal", &orthogonal, py::arg("seed"), py::arg("stream"), py::arg("rows"), py::arg("columns"),
        py::arg("gain"));
  m.def("permutation", &permutation, py::arg("seed"), py::arg("stream"), py::arg("size"));
}

}  // namespace engine::bindings
