// The numbers of a map in blocks that stay in the L1 cache: what steps use that compute maps.
#pragma once
#include <utility>
#include <vector>

#include "cpu/strides.h"
#include "graph/operations/map.h"

namespace engine::cpu {

/// Where a register of the code is.
enum class Place {
  kUnused,
  kSingle,  // one number for the whole batch, copied to all lanes
  kInput,   // an input, or the coordinates along an axis: read where it lies, or copied to a block
  kBlock,   // a block that an instruction fills
};

/// The code of a map, prepared for blocks: which instructions run once per batch, and which ones for each block, and in
/// which buffer each result is. Buffers are used again once their numbers have been read for the last time.
class BlockCode {
 public:
  /// What is an input of each block: an array, or the coordinates along an axis of y.
  struct Input {
    int reg;
    int array;  // the number of the array among the inputs of the map; -1: coordinates
    int axis;   // of the coordinates
  };

  explicit BlockCode(const graph::Map& op);

  const std::vector<Place>& places() const { return places_; }
  const std::vector<int>& buffers() const { return buffers_; }  // by register: of vectors or of blocks
  const std::vector<Input>& inputs() const { return inputs_; }
  const std::vector<std::pair<int, int>>& singles() const { return singles_; }  // register, array
  const std::vector<std::pair<int, float>>& constants() const { return constants_; }
  const std::vector<int>& sample_counts() const { return sample_counts_; }
  const std::vector<MapBlockInstruction>& once_per_batch() const { return once_per_batch_; }
  const std::vector<MapBlockInstruction>& for_each_block() const { return for_each_block_; }
  int registers() const { return code_.registers(); }
  const std::vector<int>& results() const { return results_; }
  int64_t vectors() const { return vectors_; }
  int64_t blocks() const { return blocks_; }

 private:
  const MapInstruction& instruction(int reg) const {
    return code_.instructions[static_cast<size_t>(reg - code_.inputs)];
  }
  Place& place(int reg) { return places_[static_cast<size_t>(reg)]; }
  template <class F>
  void for_operands(int reg, F&& f) const;
  void find_places(const graph::Map& op);
  void order_instructions();
  static Chained operands_from(int before, const MapBlockInstruction& at);
  void chain_instructions();
  void assign_buffers();
  bool is_result(int reg) const;

  const graph::MapCode& code_;
  const std::vector<int>& results_;
  std::vector<Place> places_;
  std::vector<int> buffers_;
  std::vector<Input> inputs_;
  std::vector<std::pair<int, int>> singles_;
  std::vector<std::pair<int, float>> constants_;
  std::vector<int> sample_counts_;
  std::vector<MapBlockInstruction> once_per_batch_, for_each_block_;
  int64_t vectors_ = 0, blocks_ = 0;
};

/// A map of the graph, as steps run it.
class MapBlocks {
 public:
  MapBlocks(const graph::Map& op, const Scheduler& scheduler);

  /// The operands of a step that runs the map: what it writes, and then what it reads. Where threads don't share the
  /// rows of the map, its inputs have no loops.
  std::vector<Operand> operands(const std::vector<Operand>& written, bool by_row) const;
  /// The rows that an input of the map consists of; null where it is an array.
  const graph::Gather* gather(size_t input) const { return gathers_[input]; }
  const graph::Map& operation() const { return op_; }
  const BlockCode& code() const { return code_; }
  /// 0, 1, 2, ...: the indices along the axes whose coordinates the map reads.
  const std::vector<float>& coordinates() const { return coordinates_; }
  /// Floats of the scratch of each thread.
  int64_t scratch_floats() const;
  /// Whether instructions compute each number of the first output: it is no input, and not one number for all.
  bool computes_result() const;

 private:
  const graph::Map& op_;
  BlockCode code_;
  std::vector<const graph::Gather*> gathers_;  // by input of the map
  std::vector<float> coordinates_;
};

/// An array among zeros: element (i, j, ...) of it is at (begin[0] + i step[0], begin[1] + j step[1], ...) of y.
struct PlacedArray {
  Strided x;
  int64_t begin[kMaxAxes], step[kMaxAxes];
};

/// The rows of an array that indices name: row i is at row indices[i stride] of x.
struct GatheredRows {
  const float* indices;
  int64_t stride, count, row;  // of the indices; the rows of x, and the floats from one to the next
};

/// How an input is read in blocks of rows.
struct InputLoop {
  Strided at;
  bool is_gathered;  // the first axis of `at` stands still, and `gathered` says which rows are read
  GatheredRows gathered;
  bool is_placed;  // `placed` is what is read; of `at` only the lengths count
  PlacedArray placed;
  bool direct;     // where it lies
  bool repeats;    // all rows are the same, so that a block that was copied serves all blocks
  int64_t filled;  // so many of its rows are there
};

/// How an output is written in blocks of rows.
struct OutputLoop {
  Strided at;
  bool direct;  // where it lies
};

/// What a thread needs to run a map; the pointers go to its scratch.
struct MapMemory {
  MapRegister* registers;
  InputLoop* inputs;
  OutputLoop* outputs;
  Strided** arrays;  // the outputs, then the inputs
  float *vectors, *blocks;

  static int64_t floats(const BlockCode& code);
  MapMemory(const BlockCode& code, float* scratch);
};

/// One thread's work on a map in one batch: its share of the outputs, or numbers that nobody stores.
class MapRun {
 public:
  MapRun(const MapBlocks& map, const ThreadContext& thread, float* scratch)
      : map_(map), code_(map.code()), thread_(thread), memory_(code_, scratch) {}

  /// Writes this thread's share of the outputs.
  void all();

  /// Prepares calls of `compute`, for a map with one output that its instructions compute for each element.
  void prepare();
  /// to (count,) = the numbers of the output from number `begin` on, in row-major order. What lies behind them up to a
  /// whole line is overwritten.
  void compute(int64_t begin, int64_t count, float* to);

 private:
  int input_count() const { return static_cast<int>(code_.inputs().size()); }
  int output_count() const { return static_cast<int>(code_.results().size()); }
  int result(int output) const { return code_.results()[static_cast<size_t>(output)]; }
  /// The first output; the others have its lengths.
  const Strided& y() const { return memory_.outputs[0].at; }
  MapRegister& reg(int i) { return memory_.registers[i]; }
  float* block(int64_t i);
  int buffer_of(int i) const { return code_.buffers()[static_cast<size_t>(i)]; }
  Strided broadcast_input(const graph::Array& array) const;
  void read_gathered(InputLoop& loop, const graph::Gather& gather) const;
  const float* row_of(const InputLoop& input) const;
  void read_window(InputLoop& loop, const graph::Array& array, const graph::Window& window) const;
  Strided coordinates(int axis) const;
  void find_inputs();
  void take_share();
  void find_registers();
  bool lies_as_blocks(const Strided& array) const;
  void find_blocks();
  bool overwrites_input(int output) const;
  void for_blocks();
  float* row_at(const Strided& array) const;
  void advance(int64_t rows);
  void find_row(int64_t row);
  void read_inputs(int64_t rows, int64_t first, int64_t columns);
  void run_instructions(int64_t n);
  void run_block(int64_t rows, int64_t first, int64_t columns);
  bool is_computed(int output) const;
  void copy_rows(const InputLoop& from, int64_t rows, int64_t first, int64_t columns, float* to);
  void copy_placed(const PlacedArray& from, int64_t first, int64_t columns, float* to) const;
  void store_rows(int output, int64_t rows, int64_t first, int64_t columns);

  const MapBlocks& map_;
  const BlockCode& code_;
  const ThreadContext& thread_;
  MapMemory memory_;
  bool has_padding_ = false, has_whole_rows_ = false;  // whether there is padding behind the columns, and these are all
  bool has_rows_ = false;                              // whether an input is placed among zeros, or gathered by rows
  int64_t ld_ = 0, columns_ = 0;                       // the distance of rows of y that have padding, and their columns
  int64_t length_ = 0;                                 // of the last axis
  int64_t block_ = 0;                                  // the most numbers of a block
  int64_t row_ = 0, rows_ = 1;  // the distance of rows in a block of several rows; how many rows it has
  bool may_overwrite_ = false;  // behind the last number of a block
  int64_t index_[kMaxAxes];     // of the current row
};

}  // namespace engine::cpu
