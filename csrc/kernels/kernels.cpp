// The kernels of one instruction set, as a table. Compiled once per entry of ENGINE_ISAS; the only symbol that
// leaves this object is `kernel_table`. Here, and nowhere else, an enum becomes a type.
#include "kernels/dense.h"
#include "kernels/elementwise.h"
#include "kernels/gather.h"
#include "kernels/gemm.h"
#include "kernels/losses.h"
#include "kernels/metrics.h"

#define ENGINE_STRING_(x) #x
#define ENGINE_STRING(x) ENGINE_STRING_(x)

namespace engine::ENGINE_ISA {
namespace {

template <class... Ts>
struct Types {};

using Activations = Types<Linear, Relu, Sigmoid, Tanh, Silu>;
using Losses = Types<Crossentropy, SoftmaxCrossentropy, BinaryCrossentropy, SigmoidCrossentropy, MeanSquaredError>;
using Metrics = Types<CategoricalAccuracy, BinaryAccuracy, MeanSquaredErrorMetric>;
using Optimizers = Types<Sgd, Momentum, Nesterov, Adam>;

template <class T>
constexpr int index() {
  return static_cast<int>(T::kKind);
}

template <class... Acts>
constexpr void fill_activations(KernelTable& table, Types<Acts...>) {
  static_assert(sizeof...(Acts) == kElementwiseActivations);
  ((table.dense_forward[index<Acts>()] = dense_forward<Acts>), ...);
  ((table.dense_backward_input[index<Acts>()] = dense_backward_input<Acts>), ...);
  ((table.gemm[index<Acts>()] = gemm<Acts>), ...);
  ((table.activation_forward[index<Acts>()] = activation_forward<Acts>), ...);
  ((table.activation_backward[index<Acts>()] = activation_backward<Acts>), ...);
}

template <class... Ls>
constexpr void fill_losses(KernelTable& table, Types<Ls...>) {
  static_assert(sizeof...(Ls) == kLosses);
  ((table.loss[index<Ls>()][static_cast<int>(Target::kSparse)] = loss_rows<Ls, Target::kSparse>), ...);
  ((table.loss[index<Ls>()][static_cast<int>(Target::kDense)] = loss_rows<Ls, Target::kDense>), ...);
}

template <class... Ms>
constexpr void fill_metrics(KernelTable& table, Types<Ms...>) {
  static_assert(sizeof...(Ms) == kMetrics);
  ((table.metric[index<Ms>()][static_cast<int>(Target::kSparse)] = metric_rows<Ms, Target::kSparse>), ...);
  ((table.metric[index<Ms>()][static_cast<int>(Target::kDense)] = metric_rows<Ms, Target::kDense>), ...);
}

template <class... Opts>
constexpr void fill_optimizers(KernelTable& table, Types<Opts...>) {
  static_assert(sizeof...(Opts) == kOptimizers);
  ((table.dense_backward_weights[index<Opts>()][static_cast<int>(Shrinkage::kNone)] =
        dense_backward_weights<Opts, Shrinkage::kNone>),
   ...);
  ((table.dense_backward_weights[index<Opts>()][static_cast<int>(Shrinkage::kSome)] =
        dense_backward_weights<Opts, Shrinkage::kSome>),
   ...);
}

constexpr KernelTable make_table() {
  KernelTable table{};
  table.isa = ENGINE_STRING(ENGINE_ISA);
  fill_activations(table, Activations{});
  fill_losses(table, Losses{});
  fill_metrics(table, Metrics{});
  fill_optimizers(table, Optimizers{});
  table.gemm_shape = {kWidth, kChain, kPanelRows, kPanelColumns, kSingleRowColumns};
  table.pack_rows = pack<kPanelRows>;
  table.pack_columns = pack<kPanelColumns>;
  table.pack_single_row_columns = pack<kSingleRowColumns>;
  table.dot = dot;
  table.softmax_forward = softmax_forward;
  table.softmax_backward = softmax_backward;
  table.dropout_forward = dropout_forward;
  table.multiply = multiply;
  table.affine = affine;
  table.transpose = transpose;
  table.gather[static_cast<int>(RowType::kUint8)] = gather<uint8_t>;
  table.record_rows[static_cast<int>(RowType::kUint8)] = record_rows<uint8_t>;
  table.gather[static_cast<int>(RowType::kFloat32)] = gather<float>;
  table.record_rows[static_cast<int>(RowType::kFloat32)] = record_rows<float>;
  table.gather[static_cast<int>(RowType::kFloat64)] = gather<double>;
  table.record_rows[static_cast<int>(RowType::kFloat64)] = record_rows<double>;
  table.squared_sums = squared_sums;
  table.first_nonfinite[static_cast<int>(RowType::kUint8)] = first_nonfinite<uint8_t>;
  table.first_nonfinite[static_cast<int>(RowType::kFloat32)] = first_nonfinite<float>;
  table.first_nonfinite[static_cast<int>(RowType::kFloat64)] = first_nonfinite<double>;
  table.exp = exp_block;
  table.log = log_block;
  table.fma = fma_block;
  return table;
}

constexpr KernelTable kTable = make_table();

}  // namespace

__attribute__((visibility("hidden"))) const KernelTable& kernel_table() { return kTable; }

}  // namespace engine::ENGINE_ISA
