// Products of matrices that Python owns. A product of 8 x 8 takes NumPy 0.6 us, so the way in is a plain function of
// Python's C interface: pybind11's own dispatch would take as long as the product.
#include "bindings/ops.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "bindings/convert.h"
#include "bindings/floats.h"
#include "bindings/gil.h"
#include "bindings/register.h"
#include "cpu/device.h"
#include "cpu/dispatch.h"
#include "cpu/gemm.h"
#include "cpu/kernel_choice.h"

namespace engine::bindings {
namespace {

/// Multiply-adds under which letting other threads at the interpreter takes longer than the product.
constexpr double kShort = 1 << 16;

/// A stack of matrices; strides in bytes, those of an axis of one element of no account.
struct Matrices {
  const Floats& array;
  int stack;  // axes before the matrix
  py::ssize_t rows, columns, row_stride, column_stride;
};

/// `wide`: a vector is a row, else a column.
Matrices to_matrices(const Floats& array, bool transposed, bool wide) {
  if (array.axes == 0) {
    throw py::value_error(std::string("`") + array.name + "` must have one axis at least, got the scalar " +
                          py::str(array.given).cast<std::string>() + ": multiply by `*`");
  }
  if (array.axes == 1) {
    if (transposed) {
      throw py::value_error("`transpose_" + std::string(array.name) + "` swaps the last two axes, and `" + array.name +
                            "` has shape " + shape_text(array.array) + ": leave it out");
    }
    const py::ssize_t extent = array.extents[0], stride = array.strides[0];
    return wide ? Matrices{array, 0, 1, extent, kFloat, stride} : Matrices{array, 0, extent, 1, stride, kFloat};
  }
  const int row = array.axes - (transposed ? 1 : 2), column = array.axes - (transposed ? 2 : 1);
  return {array, array.axes - 2, array.extents[row], array.extents[column], array.strides[row], array.strides[column]};
}

/// An activation with its constants.
struct Applied {
  Activation activation = Activation::kLinear;
  float parameters[kMaxActivationParameters] = {};
};

/// The two operands and the shape of their product.
class Operands {
 public:
  Operands(const Floats& a, const Floats& b, bool transpose_a, bool transpose_b)
      : a_(to_matrices(a, transpose_a, true)), b_(to_matrices(b, transpose_b, false)) {
    if (a_.columns != b_.rows) throw py::value_error(mismatch(transpose_a, transpose_b));
    stack_ = std::max(a_.stack, b_.stack);
    for (int i = 0; i < stack_; ++i) {
      const py::ssize_t in_a = extent(a_, i), in_b = extent(b_, i);
      if (in_a != in_b && in_a != 1 && in_b != 1) {
        throw py::value_error("`a` " + shape_text(a.array) + " and `b` " + shape_text(b.array) +
                              " are stacks of matrices that don't go together: the axes before the last two must be "
                              "equal, counted from the right, or 1");
      }
      shape_[axes_++] = in_a == 1 ? in_b : in_a;
    }
    if (a.axes > 1) shape_[axes_++] = a_.rows;
    if (b.axes > 1) shape_[axes_++] = b_.columns;
  }

  int axes() const { return axes_; }
  const py::ssize_t* shape() const { return shape_; }
  bool scalar() const { return axes_ == 0; }
  /// Elements along the last axis of the product.
  py::ssize_t last() const { return scalar() ? 1 : shape_[axes_ - 1]; }
  bool empty() const { return std::find(shape_, shape_ + axes_, 0) != shape_ + axes_; }

  /// Into `out`, an array of the product's shape.
  cpu::Product product(const Floats& bias, const Applied& applied, const py::handle& out) const {
    const auto& c = proxy(out);
    const bool has_row = a_.array.axes > 1, has_column = b_.array.axes > 1;
    const py::ssize_t* strides = c.strides + stack_;
    cpu::Product p{};
    p.m = a_.rows;
    p.n = b_.columns;
    p.k = a_.columns;
    p.a = a_.array.data;
    p.b = b_.array.data;
    p.c = reinterpret_cast<float*>(c.data);
    set_strides(p.a_row, p.a_column, p.m, p.k, a_.row_stride, a_.column_stride);
    set_strides(p.b_row, p.b_column, p.k, p.n, b_.row_stride, b_.column_stride);
    set_strides(p.c_row, p.c_column, p.m, p.n, has_row ? strides[0] : kFloat, has_column ? strides[has_row] : kFloat);
    p.bias = bias.data;
    p.bias_by_row = !has_column && has_row;
    p.activation = applied.activation;
    std::copy(std::begin(applied.parameters), std::end(applied.parameters), p.parameters);
    p.row_columns = last();
    for (int i = 0; i < stack_; ++i) {
      if (shape_[i] == 1) continue;
      p.stack.push_back({shape_[i], step(a_, i), step(b_, i), c.strides[i] / kFloat});
    }
    return p;
  }

 private:
  static constexpr int kMaxAxes = 64;  // of any array in NumPy

  /// Of axis `i` of the product's stack.
  py::ssize_t extent(const Matrices& m, int i) const {
    const int axis = i - (stack_ - m.stack);
    return axis < 0 ? 1 : m.array.extents[axis];
  }
  int64_t step(const Matrices& m, int i) const {
    return extent(m, i) == 1 ? 0 : m.array.strides[i - (stack_ - m.stack)] / kFloat;
  }

  /// In floats. An axis of one element may have any stride: it gets that of a contiguous matrix.
  static void set_strides(int64_t& row, int64_t& column, int64_t rows, int64_t columns, py::ssize_t row_stride,
                          py::ssize_t column_stride) {
    column = columns > 1 ? column_stride / kFloat : 1;
    row = rows > 1 ? row_stride / kFloat : columns * column;
  }

  std::string mismatch(bool transpose_a, bool transpose_b) const {
    const auto told = [](const Matrices& m, bool transposed) {
      return "`" + std::string(m.array.name) + "` " + shape_text(m.array.array) + (transposed ? ", transposed," : "");
    };
    return told(a_, transpose_a) + " has " + std::to_string(a_.columns) + " columns and " + told(b_, transpose_b) +
           " has " + std::to_string(b_.rows) + " rows, which must be equal: ops.transpose swaps axes";
  }

  Matrices a_, b_;
  int stack_ = 0, axes_ = 0;
  py::ssize_t shape_[kMaxAxes];
};

Floats to_bias(py::handle value, const Operands& operands) {
  if (value.is_none()) return {"bias", {}, {}};
  Floats bias = to_floats(value, "bias");
  if (bias.axes != 1 || bias.extents[0] != operands.last()) {
    const py::ssize_t wanted = operands.last();
    throw py::value_error("`bias` must have shape " + shape_text(1, &wanted) +
                          ", one for each element of the product's last axis, got " + shape_text(bias.array));
  }
  if (bias.extents[0] > 1 && bias.strides[0] != kFloat) {
    bias.array = py::module_::import("numpy").attr("ascontiguousarray")(bias.array);
    bias.data = reinterpret_cast<float*>(proxy(bias.array).data);
  }
  return bias;
}

Applied to_applied(py::handle activation) {
  Applied applied;
  if (activation.is_none()) return applied;
  if (!py::isinstance<py::dict>(activation)) throw py::type_error("`activation` must be a dict or None");
  applied.activation = to_activation(py::reinterpret_borrow<py::dict>(activation), applied.parameters);
  return applied;
}

bool to_flag(py::handle value, const char* name) {
  if (value.ptr() == Py_False) return false;
  if (value.ptr() == Py_True) return true;
  py::detail::make_caster<bool> caster;  // knows NumPy's
  if (!caster.load(value, false)) {
    throw py::type_error(std::string("`") + name + "` must be True or False, got " +
                         py::repr(value).cast<std::string>());
  }
  return py::detail::cast_op<bool>(caster);
}

void compute(const cpu::Product& product, const ProductOptions& options) {
  const KernelTable& table = options.kernels ? *options.kernels : cpu::kernels();
  const double work = cpu::multiply_adds(product);
  if (work <= kShort && options.threads == 0) return cpu::multiply(table, product, 1);
  const Unlocked unlocked;
  const int wanted = cpu::threads_for_product(work);
  cpu::multiply(table, product,
                options.threads ? options.threads
                : wanted > 1    ? std::min(wanted, cpu::device().threads())
                                : 1);
}

/// A product of two vectors has lanes of its own, so its operands must be contiguous.
float dot_product(const cpu::Product& p, const ProductOptions& options) {
  const auto contiguous = [&](const float* vector, int64_t stride, std::vector<float>& copy) {
    if (stride == 1) return vector;
    copy.resize(static_cast<size_t>(p.k));
    for (int64_t i = 0; i < p.k; ++i) copy[static_cast<size_t>(i)] = vector[i * stride];
    return static_cast<const float*>(copy.data());
  };
  const KernelTable& table = options.kernels ? *options.kernels : cpu::kernels();
  const auto run = [&] {
    std::vector<float> a, b;
    return cpu::dot(table, contiguous(p.a, p.a_column, a), contiguous(p.b, p.b_row, b), p.k, p.bias ? *p.bias : 0.0f,
                    p.activation, p.parameters);
  };
  if (static_cast<double>(p.k) <= kShort) return run();
  const Unlocked unlocked;
  return run();
}

/// `out` itself where the kernels can write to it, else a new array for `copy_back`.
py::object place_for(const Operands& operands, py::handle out, Activation activation) {
  if (out.is_none()) return empty_array(operands.axes(), operands.shape());
  const bool contiguous = proxy(out).flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
  if (lies_in_floats(out) && (contiguous || is_elementwise(activation))) {
    return py::reinterpret_borrow<py::object>(out);
  }
  return empty_array(operands.axes(), operands.shape());
}

/// matmul(a, b, bias, activation, transpose_a, transpose_b, out)
PyObject* matmul(PyObject*, PyObject* const* arguments, Py_ssize_t count) noexcept {
  constexpr Py_ssize_t kArguments = 7;
  try {
    if (count != kArguments) throw py::type_error("expected 7 arguments, got " + std::to_string(count));
    return multiply_arrays(arguments, {}).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  }
  return nullptr;
}

}  // namespace

py::object multiply_arrays(PyObject* const* arguments, const ProductOptions& options) {
  enum { kA, kB, kBias, kActivation, kTransposeA, kTransposeB, kOut };
  const Floats a = to_floats(arguments[kA], "a"), b = to_floats(arguments[kB], "b");
  const Operands operands(a, b, to_flag(arguments[kTransposeA], "transpose_a"),
                          to_flag(arguments[kTransposeB], "transpose_b"));
  const Floats bias = to_bias(arguments[kBias], operands);
  const Applied applied = to_applied(arguments[kActivation]);
  const py::handle out = arguments[kOut];
  if (!out.is_none()) {
    require_output(out, operands.axes(), operands.shape());
    for (const Floats* argument : {&a, &b, &bias}) refuse_overlap(out, *argument);
  }
  const py::object place = place_for(operands, out, applied.activation);
  const auto& api = py::detail::npy_api::get();
  if (!operands.empty()) {
    const cpu::Product product = operands.product(bias, applied, place);
    if (operands.scalar()) {
      *product.c = dot_product(product, options);
    } else {
      compute(product, options);
    }
  }
  if (!out.is_none()) {
    if (place.ptr() != out.ptr() && api.PyArray_CopyInto_(out.ptr(), place.ptr()) != 0) throw py::error_already_set();
    return py::reinterpret_borrow<py::object>(out);
  }
  if (!operands.scalar()) return place;
  return py::reinterpret_steal<py::object>(api.PyArray_Scalar_(proxy(place).data, float32().ptr(), nullptr));
}

void register_ops(py::module_& m) {
  static PyMethodDef methods[] = {
      {"matmul", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&matmul)), METH_FASTCALL, nullptr},
      {nullptr, nullptr, 0, nullptr}};
  if (PyModule_AddFunctions(m.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace engine::bindings
