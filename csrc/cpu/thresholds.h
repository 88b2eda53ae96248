// The sizes from which on one way of computing is faster than another, each with its unit and its reason. They depend
// on the speed of machines and not on mathematics: both ways give the same bits.
#pragma once
#include <cstdint>

namespace engine::cpu {

// ---- Costs, in floating-point operations of a product ------------------------------------------------------------

/// What one more thread of a batch must compute: at 200 GFLOP/s its share then takes 3 us, against about 1 us for the
/// three barriers of a batch and the uneven ends of the shares.
inline constexpr double kFlopsPerThread = 600e3;

/// The optimizer's step of one weight: 0.25 ns with Adam, where weight and state come from the L2 cache.
inline constexpr double kFlopsPerUpdate = 50.0;

/// An instruction of a map for one number: 0.25 ns.
inline constexpr double kFlopsPerInstruction = 50.0;

/// A number that is added to a sum, or compared: 0.1 ns.
inline constexpr double kFlopsPerReduced = 20.0;

// ---- Work that is worth a thread or a barrier --------------------------------------------------------------------

/// Multiply-adds of a product outside of any batch that one more thread is worth waking for.
inline constexpr double kMultiplyAddsPerThread = 1e6;

/// Values of a data set that a thread reads in about 10 us, which outweighs its start.
inline constexpr int64_t kValuesPerThread = 1 << 17;

/// Multiply-adds of a product of arrays that threads share even if they have to wait for each other.
inline constexpr double kLargeProduct = 1e5;

/// Numbers of the input of a reduction that threads share even if they have to wait for each other.
inline constexpr int64_t kLargeInput = 1 << 16;

/// The most numbers of an array that threads don't share: one thread computes them, or each thread all for itself.
inline constexpr int64_t kSmallArray = 4096;

/// Rows times threads up to which it is faster if every thread computes the loss of all rows (20 ns each) than if
/// gradients travel from core to core, with one more barrier.
inline constexpr int64_t kMaxLossRows = 512;

// ---- Copies for each thread --------------------------------------------------------------------------------------

/// Units that a thread must compute from its own copy of the input rows, so that gathering all of them takes a few
/// percent of the time of its products.
inline constexpr int64_t kUnitsPerCopy = 32;

/// Units of a product from which on looking for the zeros of its input takes a few percent of its time.
inline constexpr int64_t kUnitsPerSearch = 32;

/// Floats in all the copies of the rows of a batch: 64 MiB.
inline constexpr int64_t kMaxCopied = 1 << 24;

/// Floats in all the copies of one value: 4 MiB. Larger ones do not stay in the caches anyway.
inline constexpr int64_t kMaxSeparated = 1 << 20;

// ---- Kernels of products -----------------------------------------------------------------------------------------

/// Rows of a batch, inputs and units from which on packed blocks are faster than panels. Kernels so wide have panels of
/// kPanel columns, as packing needs.
inline constexpr int64_t kPackedRows = 128, kPackedSide = 256;
/// Columns that each thread must have, to use each packed row of the left operand often enough.
inline constexpr int64_t kPackedColumns = 64;
/// Rows of a thread that must share a packed kernel; with fewer, the kernel is read where it lies.
inline constexpr int64_t kFewestPackedRows = 16;

/// Columns of a cell that must use each packed row of a, and rows that must use each packed column of b.
inline constexpr int64_t kColumnsWorthPacking = 64, kRowsWorthPacking = 48;
/// Multiply-adds that take as long as packing one float.
inline constexpr int64_t kPackCost = 8;
/// Columns (or rows) of a product up to which its vectors run along the rows (or columns) instead.
inline constexpr int64_t kNarrow = 2;

/// The most slices of a narrow product's terms that threads sum before the slices are joined.
inline constexpr int64_t kMaxSlices = 64;

// ---- What stays in a cache ---------------------------------------------------------------------------------------

/// Rows that one thread predicts at a time: enough to use each weight that has been fetched often, few enough for the
/// rows (128 of 784 floats: 400 KB) to stay in the L2 cache for the next layer.
inline constexpr int64_t kPredictedRows = 128;
/// The same if the caller computes a part of each batch.
inline constexpr int64_t kPredictedRowsWithHost = 1024;

/// Rows of a large batch that go through a product before the next rows do: they stay in the L2 cache while the panels
/// of the kernel pass. All rows of the batch at once would come from main memory for every panel.
inline constexpr int64_t kRowsInCache = 128;

/// Floats of all arrays that steps keep for a tile of their rows: 512 KiB, which stay in the L2 cache.
inline constexpr int64_t kTileFloats = 1 << 17;

/// Inputs of a large batch (4 MiB) that stay in the L3 cache while the gradients of all columns are summed from them.
inline constexpr int64_t kInputsInCache = 1 << 20;

/// Bytes of the rows of a batch up to which those of the next batch are fetched a batch ahead: this batch and the next
/// one leave most of the L2 cache to weights. Rows of larger batches are fetched shortly before they are gathered.
inline constexpr int64_t kMaxAhead = 256 << 10;
inline constexpr int64_t kRowsAhead = 4;

/// Bytes of a row that a product has finished with before the prefetcher of the CPU has recognised where it goes, and
/// how many of such rows ahead a product must ask for them to arrive in time.
inline constexpr int64_t kShortRow = 2 << 10;
inline constexpr int64_t kShortRowsAhead = 48;

}  // namespace engine::cpu
