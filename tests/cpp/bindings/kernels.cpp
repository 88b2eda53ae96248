// The class `Kernels`: the kernels of one instruction set as methods, which run on the calling thread.
#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "bindings/convert.h"
#include "bindings/instances.h"
#include "cpu/denormals.h"
#include "cpu/dispatch.h"
#include "cpu/metrics.h"
#include "cpu/panels.h"
#include "padded.h"
#include "register.h"
#include "runtime/arena.h"

namespace engine::bindings {
namespace {

int fused_index(const std::string& name) {
  return to_index(name, kActivationNames.of, kFusedActivations, "activation of a product");
}

Targets to_targets(const py::array& y, int64_t rows, int64_t columns) {
  require_readable(y, "y");
  Targets targets{};
  if (py::isinstance<py::array_t<int32_t>>(y)) {
    expect_size(y, rows, "y");
    targets.labels = static_cast<const int32_t*>(y.data());
  } else {
    if (!py::isinstance<FloatArray>(y)) throw py::value_error("`y` must be int32 (n,) or float32 (n, outputs)");
    expect_shape(y, rows, columns, "y");
    targets.dense = static_cast<const float*>(y.data());
  }
  return targets;
}

Target form_of(const Targets& targets) { return targets.labels ? Target::kSparse : Target::kDense; }

class Kernels {
 public:
  explicit Kernels(const std::string& isa) : table_(cpu::kernels_for(isa)) {}

  FloatArray unary(const std::string& function, const FloatArray& x, const py::sequence& parameters) const {
    if (function == "exp" || function == "log") return map(function, x, x, x);
    expect_size(x, x.size(), "x");
    const FloatArray in = pad(x), out = padded(1, x.size());
    ElementwiseArgs op{in.data(), values(out), nullptr, leading(in), all(1), lines(x.size())};
    constexpr const char* kSuffix = "_gradient";
    const size_t cut = function.rfind(kSuffix);
    const bool gradient = cut != std::string::npos && cut + std::strlen(kSuffix) == function.size();
    float constants[kMaxActivationParameters];
    const std::string name = gradient ? function.substr(0, cut) : function;
    py::dict layer;
    layer["activation"] = name;
    layer["parameters"] = parameters;
    const Activation activation = to_activation(layer, constants);
    if (!is_elementwise(activation)) throw py::value_error(name + " works on rows");
    op.parameters = constants;
    const FloatArray ones = padded(1, x.size());
    for (int64_t j = 0; j < x.size(); ++j) values(ones)[j] = 1.0f;
    const cpu::DenormalsAreZero guard;
    if (gradient) {
      op.saved = in.data();
      op.x = ones.data();
      table_.activation_backward[static_cast<size_t>(activation)](op);
    } else {
      table_.activation_forward[static_cast<size_t>(activation)](op);
    }
    return FloatArray(py::object(out[py::int_(0)]));
  }

  FloatArray map(const std::string& function, const FloatArray& a, const FloatArray& b, const FloatArray& c) const {
    const auto op = static_cast<MapOp>(to_index(function, kMapOpNames, kMapOps, "instruction"));
    if (operand_count(op) == 0) throw py::value_error(function + " has no operands");
    expect_size(a, a.size(), "a");
    expect_size(b, a.size(), "b");
    expect_size(c, a.size(), "c");
    const FloatArray pa = pad(a), pb = pad(b), pc = pad(c), out = padded(1, a.size());
    const MapRegister registers[] = {{values(pa), 1}, {values(pb), 1}, {values(pc), 1}, {values(out), 1}};
    const MapBlockInstruction step{op, 3, 0, 1, 2};
    const cpu::DenormalsAreZero guard;
    table_.run_map({&step, &step + 1, registers, a.size()});
    return FloatArray(py::object(out[py::int_(0)]));
  }

  py::tuple integers_to_floats(const py::array& x) const {
    const bool is_int32 = py::isinstance<py::array_t<int32_t>>(x);
    if (x.size() == 0 || (!is_int32 && !py::isinstance<py::array_t<int64_t>>(x))) {
      throw py::value_error("`x` must hold some int32 or int64 numbers");
    }
    py::array_t<float> floats(x.size());
    const IntegerRange range =
        is_int32 ? table_.int32_to_floats(static_cast<const int32_t*>(x.data()), floats.mutable_data(), x.size())
                 : table_.int64_to_floats(static_cast<const int64_t*>(x.data()), floats.mutable_data(), x.size());
    return py::make_tuple(floats, range.least, range.largest);
  }

  py::tuple floats_to_integers(const py::array_t<float>& x, bool in_place) const {
    py::array_t<float> memory(x.size());
    std::copy_n(x.data(), x.size(), memory.mutable_data());
    py::array_t<int32_t> integers(x.size());
    auto* const to = in_place ? reinterpret_cast<int32_t*>(memory.mutable_data()) : integers.mutable_data();
    const bool fit = table_.floats_to_integers(memory.data(), to, x.size());
    if (in_place) std::memcpy(integers.mutable_data(), to, static_cast<size_t>(x.size()) * sizeof(int32_t));
    return py::make_tuple(integers, fit);
  }

  void dense_forward(const std::string& activation, const FloatArray& x, const FloatArray& kernel,
                     const py::object& bias, const FloatArray& out) const {
    const int64_t ldx = row_stride(x, "x"), ldy = leading(out);
    expect_shape(kernel, x.shape(1), out.shape(1), "kernel");
    expect_shape(out, x.shape(0), kernel.shape(1), "out");
    const FloatArray row = bias.is_none() ? FloatArray() : pad(bias.cast<FloatArray>());
    if (!bias.is_none()) expect_shape(row, 1, kernel.shape(1), "bias");
    const cpu::DenormalsAreZero guard;
    table_.dense_forward[fused_index(activation)]({x.data(), ldx, kernel.data(), leading(kernel),
                                                   bias.is_none() ? nullptr : row.data(), values(out), ldy,
                                                   kernel.shape(0), all(x.shape(0)), lines(kernel.shape(1)), nullptr,
                                                   false, nullptr, sums_in_slices(kernel.shape(1))});
  }

  void dense_backward_input(const std::string& activation, const FloatArray& dz, const FloatArray& kernel,
                            const FloatArray& saved, const FloatArray& dx) const {
    row_stride(dz, "dz");
    expect_shape(kernel, dx.ndim() == 2 ? dx.shape(1) : 0, dz.shape(1), "kernel");
    expect_shape(dx, dz.shape(0), kernel.shape(0), "dx");
    expect_shape(saved, dz.shape(0), kernel.shape(0), "saved");
    const bool transposed = !transposes_kernel(dz.shape(0), dz.shape(1));
    FloatArray source = pad(dz);
    if (transposed) {
      const FloatArray turned = padded(dz.shape(1), round_up(dz.shape(0), kLineFloats));
      table_.transpose(
          {source.data(), leading(source), values(turned), leading(turned), all(dz.shape(0)), all(dz.shape(1))});
      source = turned;
    }
    if (leading(saved) != leading(dx)) throw py::value_error("`saved` and `dx` must be laid out alike");
    const int64_t rows = dz.shape(0), inputs = kernel.shape(0), columns = kernel.shape(1);
    const int64_t size = Panels(inputs, columns).floats();
    const Arena panels(size);
    std::fill_n(panels.data(), size, std::numeric_limits<float>::quiet_NaN());
    cpu::pack_panels(kernel.data(), leading(kernel), inputs, columns, panels.data());
    const cpu::DenormalsAreZero guard;
    table_.dense_input_gradient[fused_index(activation)]({source.data(), leading(source), panels.data(), inputs,
                                                          saved.data(), values(dx), leading(dx), columns, rows,
                                                          all(inputs), transposed});
  }

  void dense_backward_weights(const py::dict& optimizer, const FloatArray& x, const FloatArray& dz,
                              const FloatArray& kernel, const py::sequence& slots, const py::object& bias,
                              const py::sequence& bias_slots, double learning_rate, int64_t iteration,
                              double l2) const {
    const OptimizerSpec spec = to_optimizer(optimizer);
    require_variables(spec, bias.is_none() ? 1 : 2);
    const int64_t ldx = row_stride(x, "x"), ldw = leading(kernel);
    expect_shape(x, x.shape(0), kernel.shape(0), "x");
    expect_shape(dz, x.shape(0), kernel.shape(1), "dz");
    const auto wanted = static_cast<size_t>(slot_count(spec.kind));
    if (slots.size() != wanted || bias_slots.size() != (bias.is_none() ? 0 : wanted)) {
      throw py::value_error("this optimizer has " + std::to_string(wanted) + " slots per variable");
    }
    const FloatArray padded_dz = pad(dz);
    DenseWeightGradientArgs op{x.data(),
                               ldx,
                               padded_dz.data(),
                               leading(padded_dz),
                               {values(kernel), {}, l2, spec.decay(0)},
                               ldw,
                               {},
                               x.shape(0),
                               all(kernel.shape(0)),
                               lines(kernel.shape(1)),
                               {learning_rate, iteration, {}}};
    std::memcpy(op.step.parameters, spec.parameters, sizeof spec.parameters);
    for (size_t s = 0; s < slots.size(); ++s) {
      const py::object slot = slots[s];
      if (!py::isinstance<FloatArray>(slot)) throw py::value_error("slots must be float32 arrays");
      const auto matrix = py::reinterpret_borrow<FloatArray>(slot);
      expect_shape(matrix, kernel.shape(0), kernel.shape(1), "slots");
      if (leading(matrix) != ldw) throw py::value_error("`slots` must be laid out like `kernel`");
      op.kernel.slots[s] = values(matrix);
    }
    // The arrays of bias and slots may have no padding, so copies of them are updated and copied back.
    std::vector<FloatArray> originals, copies;
    if (!bias.is_none()) originals.push_back(bias.cast<FloatArray>());
    for (const py::handle slot : bias_slots) originals.push_back(slot.cast<FloatArray>());
    for (const FloatArray& original : originals) {
      expect_size(original, kernel.shape(1), "bias");
      copies.push_back(pad(original));
    }
    if (!bias.is_none()) {
      op.bias.values = values(copies[0]);
      op.bias.decay = spec.decay(1);
    }
    for (size_t s = 0; s + 1 < copies.size(); ++s) op.bias.slots[s] = values(copies[s + 1]);
    {
      const cpu::DenormalsAreZero guard;
      const Range columns = op.columns;
      for (int64_t j = columns.begin; j < columns.end; j += kPanel) {
        op.columns = {j, std::min(j + kPanel, columns.end)};
        table_.dense_weight_step[static_cast<size_t>(spec.kind)][static_cast<size_t>(shrinkage(op.kernel, op.bias))](
            op);
      }
    }
    for (size_t i = 0; i < originals.size(); ++i) {
      for (int64_t j = 0; j < originals[i].size(); ++j) originals[i].mutable_at(j) = copies[i].at(0, j);
    }
  }

  void row_activation(const std::string& activation, const FloatArray& x, const py::object& saved,
                      const FloatArray& out) const {
    const int at =
        to_index(activation, kActivationNames.of + kElementwiseActivations, kRowActivations, "row activation");
    expect_shape(out, x.shape(0), x.shape(1), "out");
    if (leading(x) != leading(out)) throw py::value_error("`x` and `out` must be laid out alike");
    const FloatArray y = saved.is_none() ? FloatArray() : pad(saved.cast<FloatArray>());
    if (!saved.is_none()) expect_shape(y, x.shape(0), x.shape(1), "saved");
    if (!saved.is_none() && leading(y) != leading(x)) throw py::value_error("`x` must be made by `padded`");
    const RowActivationArgs op{
        x.data(), saved.is_none() ? nullptr : y.data(), values(out), leading(x), x.shape(1), all(x.shape(0))};
    const cpu::DenormalsAreZero guard;
    (saved.is_none() ? table_.row_activation_forward : table_.row_activation_backward)[at](op);
  }

  FloatArray loss(const py::dict& loss, const FloatArray& y_pred, const py::array& y, const FloatArray& scale,
                  const FloatArray& gradient, bool binary) const {
    const LossSpec spec = to_loss(loss);
    const Loss kind = formula(spec);
    const FloatArray x = pad(y_pred), probabilities = padded(y_pred.shape(0), y_pred.shape(1));
    const Targets targets = to_targets(y, x.shape(0), x.shape(1));
    require_formula(spec, form_of(targets));
    expect_shape(gradient, x.shape(0), x.shape(1), "gradient");
    expect_size(scale, x.shape(0), "scale");
    if (scale.strides(0) != static_cast<int64_t>(sizeof(float))) throw py::value_error("`scale` must be contiguous");
    if (leading(gradient) != leading(x)) throw py::value_error("`gradient` must be made by `padded`");
    FloatArray losses(y_pred.shape(0));
    const cpu::DenormalsAreZero guard;
    table_.loss[static_cast<size_t>(kind)][static_cast<size_t>(form_of(targets))](
        {x.data(), values(probabilities), values(gradient), leading(x), x.shape(1), targets, scale.data(), 1.0f,
         spec.label_smoothing, values(losses), all(x.shape(0)), spec.parameters, spec.ignored, binary});
    return losses;
  }

  FloatArray metric(const py::dict& metric, const FloatArray& y_pred, const py::array& y) const {
    const MetricSpec spec = to_metric(metric);
    if (!by_sample(spec)) throw py::value_error("this metric has no values by row");
    const FloatArray x = pad(y_pred), scratch = padded(y_pred.shape(0), y_pred.shape(1));
    const Targets targets = to_targets(y, x.shape(0), x.shape(1));
    require_suitable(spec, x.shape(1), form_of(targets));
    FloatArray rows(y_pred.shape(0));
    const cpu::DenormalsAreZero guard;
    cpu::metric_values(table_, spec, {x.data(), leading(x), x.shape(1), targets, form_of(targets), nullptr, false},
                       all(x.shape(0)), values(scratch), values(rows));
    return rows;
  }

  void dropout(const FloatArray& x, double rate, uint64_t seed, uint64_t step, const FloatArray& out) const {
    const FloatArray in = pad(x), mask = padded(x.shape(0), x.shape(1));
    expect_shape(out, x.shape(0), x.shape(1), "out");
    if (leading(out) != leading(in)) throw py::value_error("`out` must be made by `padded`");
    const cpu::DenormalsAreZero guard;
    table_.dropout_forward(
        {in.data(), values(out), values(mask), leading(in), all(x.shape(0)), lines(x.shape(1)), rate, seed, step, 0});
  }

  void gather(const py::array& rows, const py::array_t<int32_t, kReadable | py::array::forcecast>& indices, float scale,
              float offset, const FloatArray& out) const {
    const DatasetView data = view_rows(rows);
    expect_shape(out, indices.size(), data.stride, "out");
    for (int64_t i = 0; i < indices.size(); ++i) {
      if (indices.at(i) < 0 || indices.at(i) >= data.rows) throw py::index_error("an index is out of range");
    }
    const cpu::DenormalsAreZero guard;
    table_.gather[static_cast<size_t>(data.type)]({data.x, data.stride, indices.data(), 0, values(out), leading(out),
                                                   data.stride, scale, offset, all(indices.size()), 0, 0});
  }

 private:
  const KernelTable& table_;
};

}  // namespace

void register_kernels(py::module_& m) {
  py::class_<Kernels> type(m, "Kernels");
  def_init<const std::string&>(type, py::arg("isa"));
  type.def_static("padded", &padded, py::arg("rows"), py::arg("cols"))
      .def("unary", &Kernels::unary, py::arg("function"), py::arg("x"), py::arg("parameters") = py::tuple())
      .def("map", &Kernels::map, py::arg("function"), py::arg("a"), py::arg("b"), py::arg("c"))
      .def("integers_to_floats", &Kernels::integers_to_floats, py::arg("x"))
      .def("floats_to_integers", &Kernels::floats_to_integers, py::arg("x"), py::arg("in_place"))
      .def("dense_forward", &Kernels::dense_forward, py::arg("activation"), py::arg("x"), py::arg("kernel"),
           py::arg("bias"), py::arg("out").noconvert())
      .def("dense_backward_input", &Kernels::dense_backward_input, py::arg("activation"), py::arg("dz"),
           py::arg("kernel"), py::arg("saved"), py::arg("dx").noconvert())
      .def("dense_backward_weights", &Kernels::dense_backward_weights, py::arg("optimizer"), py::arg("x"),
           py::arg("dz"), py::arg("kernel").noconvert(), py::arg("slots"), py::arg("bias"), py::arg("bias_slots"),
           py::arg("learning_rate"), py::arg("iteration"), py::arg("l2"))
      .def("row_activation", &Kernels::row_activation, py::arg("activation"), py::arg("x"), py::arg("saved"),
           py::arg("out").noconvert())
      .def("loss", &Kernels::loss, py::arg("loss"), py::arg("y_pred"), py::arg("y"), py::arg("scale"),
           py::arg("gradient").noconvert(), py::arg("binary") = false)
      .def("metric", &Kernels::metric, py::arg("metric"), py::arg("y_pred"), py::arg("y"))
      .def("dropout", &Kernels::dropout, py::arg("x"), py::arg("rate"), py::arg("seed"), py::arg("step"),
           py::arg("out").noconvert())
      .def("gather", &Kernels::gather, py::arg("rows"), py::arg("indices"), py::arg("scale"), py::arg("offset"),
           py::arg("out").noconvert());
}

}  // namespace engine::bindings
