// Products of arrays, as in `einsum`: a stack of matrix products whose axes are merged from those of the arrays.
#include "graph/operations/contraction.h"

#include "cpu/serial_products.h"
#include "cpu/strides.h"
#include "cpu/thresholds.h"
#include "kernels/packed_blocks.h"

namespace engine::cpu {
namespace {

bool has(const std::string& letters, char letter) { return letters.find(letter) != std::string::npos; }

/// The letters of a contraction by what they are in y[stack, m, n] = sum over k of a[stack, m, k] b[stack, k, n].
struct Letters {
  std::string stack;    // of a, b and y; in the order of y
  std::string rows;     // m: of a and y
  std::string columns;  // n: of b and y
  std::string terms;    // k: of a and b, in the order of a

  explicit Letters(const graph::Contraction& op) {
    for (const char letter : op.y_letters) {
      const bool in_a = has(op.a_letters, letter), in_b = has(op.b_letters, letter);
      (in_a && in_b ? stack : in_a ? rows : columns) += letter;
    }
    for (const char letter : op.a_letters) {
      if (!has(op.y_letters, letter)) terms += letter;
    }
  }
};

/// The axes `wanted` of an array whose axes have the letters `letters`. An axis that it does not have gets a stride of
/// 0, and the length that it has in `like`, whose axes have the letters `like_letters`. No letters are one axis of
/// length 1.
Strided axes_of(const Strided& array, const std::string& letters, const std::string& wanted, const Strided& like,
                const std::string& like_letters) {
  Strided axes;
  axes.data = array.data;
  for (const char letter : wanted) {
    const size_t at = letters.find(letter);
    axes.append(like.length[like_letters.find(letter)], at == std::string::npos ? 0 : array.stride[at]);
  }
  if (wanted.empty()) axes.append(1, 0);
  return axes;
}

/// The same axes of a, b and y
struct Axes {
  Strided a, b, y;

  void merge() {
    Strided* const all[] = {&a, &b, &y};
    merge_axes(all, 3);
  }
  /// Removes the longest axis, and returns it.
  Axes remove_longest() {
    const auto longest = static_cast<int>(std::max_element(y.length, y.length + y.axes) - y.length);
    Axes removed;
    removed.a.append(a.length[longest], a.stride[longest]);
    removed.b.append(b.length[longest], b.stride[longest]);
    removed.y.append(y.length[longest], y.stride[longest]);
    for (Strided* each : {&a, &b, &y}) each->erase(longest);
    return removed;
  }
  void append(const Axes& others) {
    for (int i = 0; i < others.y.axes; ++i) {
      a.append(others.a.length[i], others.a.stride[i]);
      b.append(others.b.length[i], others.b.stride[i]);
      y.append(others.y.length[i], others.y.stride[i]);
    }
  }
};

class ContractionStep final : public Step {
 public:
  ContractionStep(const graph::Contraction& operation, Split split, ValueId packing, ValueId copies, int64_t a_floats)
      : Step(&operation, split),
        op_(operation),
        letters_(operation),
        packing_(packing),
        copies_(copies),
        a_floats_(a_floats) {}

  void run(const ThreadContext& thread) const override {
    Strided a = strided(op_.a, thread), b = strided(op_.b, thread), y = strided(op_.y, thread);
    const Range own = own_rows(thread, op_.y, op_.rows);
    y.restrict_to(0, own);
    restrict_rows(a, op_.a_letters, own);
    restrict_rows(b, op_.b_letters, own);
    if (y.is_empty()) return;
    const Strided terms_a = terms_of(a, op_.a_letters), terms_b = terms_of(b, op_.b_letters);
    if (terms_a.is_empty()) return fill_elements(thread.kernels, y, 0.0f);
    if (!is_one_axis(terms_a)) pack(thread, a, op_.a_letters, letters_.stack + letters_.rows, 0);
    if (!is_one_axis(terms_b)) pack(thread, b, op_.b_letters, letters_.stack + letters_.columns, a_floats_);
    multiply_all(thread, a, b, y);
  }

 private:
  /// Keeps only this thread's part of the first axis of y, where the array has that axis.
  void restrict_rows(Strided& array, const std::string& letters, Range own) const {
    if (op_.y_letters.empty()) return;
    const size_t at = letters.find(op_.y_letters[0]);
    if (at != std::string::npos) array.restrict_to(static_cast<int>(at), own);
  }

  Strided terms_of(const Strided& array, const std::string& letters) const {
    return axes_of(array, letters, letters_.terms, array, letters);
  }

  static bool is_one_axis(Strided axes) {
    merge_axes(axes);
    return axes.axes == 1;
  }

  /// Copies an array to scratch memory, so that its axes k lie side by side there: behind its other axes, `outer`.
  /// The data and strides of the array become those of the copy.
  void pack(const ThreadContext& thread, Strided& array, const std::string& letters, const std::string& outer,
            int64_t offset) const {
    const std::string order = outer + letters_.terms;
    const Strided from = axes_of(array, letters, order, array, letters);
    Strided to = from;
    to.data = thread.data(copies_) + offset;
    set_contiguous(to);
    copy_elements(thread.kernels, from, to);
    array.data = to.data;
    for (size_t i = 0; i < order.size(); ++i) array.stride[letters.find(order[i])] = to.stride[i];
  }

  Axes axes(const Strided& a, const Strided& b, const Strided& y, const std::string& letters) const {
    return {axes_of(a, op_.a_letters, letters, y, op_.y_letters), axes_of(b, op_.b_letters, letters, y, op_.y_letters),
            axes_of(y, op_.y_letters, letters, y, op_.y_letters)};
  }

  void multiply_all(const ThreadContext& thread, const Strided& a, const Strided& b, const Strided& y) const {
    Strided terms_a = terms_of(a, op_.a_letters), terms_b = axes_of(b, op_.b_letters, letters_.terms, a, op_.a_letters);
    merge_axes(terms_a, terms_b);
    Axes stack = axes(a, b, y, letters_.stack), rows = axes(a, b, y, letters_.rows),
         columns = axes(a, b, y, letters_.columns);
    rows.merge();
    columns.merge();
    // One product has the longest axis of rows and that of columns; all others are a part of the stack.
    const Axes row = rows.remove_longest(), column = columns.remove_longest();
    stack.append(rows);
    stack.append(columns);
    stack.merge();
    Product product{};
    product.m = row.y.length[0];
    product.n = column.y.length[0];
    product.k = terms_a.length[0];
    product.a_row = row.a.stride[0];
    product.a_column = terms_a.stride[0];
    product.b_row = terms_b.stride[0];
    product.b_column = column.b.stride[0];
    product.c_row = row.y.stride[0];
    product.c_column = column.y.stride[0];
    product.activation = Activation::kLinear;
    Walk<3> walk({&stack.y, &stack.a, &stack.b}, stack.y.axes);
    const bool is_dot = product.m == 1 && product.n == 1 && product.a_column == 1 && product.b_row == 1;
    if (is_dot) {
      for (; !walk.done(); walk.next()) *walk.data(0) = thread.kernels.dot({walk.data(1), walk.data(2), product.k});
      return;
    }
    const SerialProducts products(thread.kernels, product, thread.data(packing_));
    for (; !walk.done(); walk.next()) products.run(walk.data(1), walk.data(2), walk.data(0));
  }

  const graph::Contraction& op_;
  Letters letters_;
  ValueId packing_;   // scratch of the products
  ValueId copies_;    // scratch of `pack`: a, then b; kNoValue where neither needs it
  int64_t a_floats_;  // of the copy of a
};

/// Numbers in an array with these axes, for the largest batch.
int64_t element_count(const Scheduler& scheduler, const graph::Contraction& op, const std::string& letters) {
  graph::Shape shape;
  for (const char letter : letters) {
    const size_t in_a = op.a_letters.find(letter);
    shape.push_back(in_a != std::string::npos ? op.a.shape[in_a] : op.b.shape[op.b_letters.find(letter)]);
  }
  return graph::element_count(shape, scheduler.max_rows());
}

void schedule_contraction(Scheduler& scheduler, const graph::Contraction& op) {
  const Letters letters(op);
  const int64_t rows = element_count(scheduler, op, letters.rows),
                columns = element_count(scheduler, op, letters.columns);
  const double work = static_cast<double>(element_count(scheduler, op, letters.stack + letters.rows)) *
                      static_cast<double>(columns) * static_cast<double>(element_count(scheduler, op, letters.terms));
  const ValueId packing = scheduler.packing_scratch(std::max(rows, columns));
  const auto lines = [](int64_t floats) { return round_up(floats, kLineFloats) + kLineFloats; };
  const bool may_copy = letters.terms.size() > 1;
  const int64_t a_floats = may_copy ? lines(graph::element_count(op.a.shape, scheduler.max_rows())) : 0;
  const int64_t b_floats = may_copy ? lines(graph::element_count(op.b.shape, scheduler.max_rows())) : 0;
  const ValueId copies = may_copy ? scheduler.step_scratch(a_floats + b_floats) : kNoValue;
  const Split split =
      op.rows == kWhole && work > kLargeProduct ? Split::over(kAnyRows) : split_array(scheduler, op, op.y, op.rows);
  scheduler.add<ContractionStep>(op, split, packing, copies, a_floats);
}

}  // namespace

void add_contractions(OperationRegistry& all) { all.add<graph::Contraction>(schedule_contraction); }

}  // namespace engine::cpu
