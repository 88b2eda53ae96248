// How the rows of a batch reach the first products: gathered into floats, read where they lie in the data set, as
// records of what is not zero in them, or as compressed rows.
#pragma once
#include <optional>
#include <string>

#include "cpu/scheduler.h"
#include "graph/operations/input_output.h"
#include "kernels/nonzeros.h"

namespace engine::cpu {

/// The left operand of a product: floats `ld` apart, or pointers to rows that lie anywhere.
struct DenseInput {
  const float* floats;
  int64_t ld;
  const float* const* rows;
};

/// Each thread's scratch for what is not zero in a value that products read (kernels/nonzeros.h). In training it holds
/// the transpose as well, for any number of products: the first forward product of a batch fills it, all weight
/// gradients read it, and the last of them sets it to zero for the next batch. Where nothing is trained, it stays
/// empty.
class NonZerosScratch {
 public:
  NonZerosScratch(Scheduler& scheduler, ValueId x);

  NonZeros of(const ThreadContext& thread) const;
  /// Whether the forward product fills the transpose.
  bool is_filled_by(const graph::Operation& product) const { return &product == filler_; }
  /// Whether the weight gradient sets the transpose to zero.
  bool is_cleared_by(const graph::Operation& gradient) const { return &gradient == clearer_; }
  /// Whether this thread's transpose is zero, as it must be before it is filled.
  bool is_cleared(const ThreadContext& thread) const;

 private:
  ValueId x_, scratch_;
  const graph::Operation *filler_ = nullptr, *clearer_ = nullptr;
};

/// Reads the rows of a batch from the data set, or prepares that products read them there.
class ReadInputStep final : public Step {
 public:
  ReadInputStep(const graph::ReadInput& operation, Split split) : Step(&operation, split), own_(operation) {}

  void run(const ThreadContext& thread) const override;
  std::string kernel() const override;

  // Set by the schedule.
  bool feeds_products_alone = false;        // all readers are products, which can read the rows in other forms
  bool leaves_compressed = false;           // the products visit compressed rows themselves
  std::optional<NonZerosScratch> nonzeros;  // where zeros are skipped
  ValueId pointers = kNoValue;  // scratch of each thread for pointers to the rows of this batch and of the next

  // For the products that read x.
  /// Where their left operand lies.
  DenseInput input(const ThreadContext& thread) const;
  /// The batch as compressed rows.
  CompressedBatch compressed(const ThreadContext& thread) const;
  /// This thread's view of what is not zero; nothing where zeros are not skipped.
  std::optional<NonZeros> nonzeros_of(const ThreadContext& thread) const;
  /// Rows of the next batch to fetch during the gradient of the first layer; nothing where they would not fit.
  RowsToPrefetch next_rows(const ThreadContext& thread) const;
  /// Rows to fetch during the product of `rows`, where the batch was too large for that and its rows are short.
  RowsToPrefetch rows_ahead(const ThreadContext& thread, Range rows) const;

 private:
  /// Whether products read the rows where they lie in the data set.
  bool in_place(const ThreadContext& thread) const;
  bool find_nonzeros(const ThreadContext& thread, const NonZeros& nonzeros) const;
  void point(const ThreadContext& thread) const;
  void prefetch_targets(const ThreadContext& thread) const;

  const graph::ReadInput& own_;
};

/// Records what is not zero in rows that are not those of the data set, such as augmented images: each thread its own
/// samples, for all threads.
class RecordNonzerosStep final : public Step {
 public:
  RecordNonzerosStep(ValueId x, ValueId team_records, ValueId row_scratch, const NonZerosScratch& nonzeros);

  void run(const ThreadContext& thread) const override;
  std::string kernel() const override { return "record what is not zero"; }
  ValueId records() const { return team_records_; }
  const NonZerosScratch& nonzeros() const { return nonzeros_; }
  NonZeros nonzeros_of(const ThreadContext& thread) const;

 private:
  ValueId x_, team_records_, row_scratch_;
  NonZerosScratch nonzeros_;
};

/// Appends the recording of `x` before the first of the products that read it, where that pays.
void record_nonzeros(Scheduler& scheduler, ValueId x);

}  // namespace engine::cpu
