// Elementwise functions: the instructions run on blocks of numbers that stay in the L1 cache.
#include "graph/operations/map.h"

#include <cstring>

#include "cpu/strides.h"

namespace engine::cpu {
namespace {

/// Numbers of a block: 2 KiB, so that a dozen blocks fit the L1 cache.
constexpr int64_t kBlock = 512;
/// Numbers of a block of one instruction that reads and writes them where they lie, so that no buffer is needed.
constexpr int64_t kLongBlock = 1 << 14;
/// Rows that are at least so long are blocks of their own, if blocks of several rows would have to be copied: a copied
/// row takes less time than another block.
constexpr int64_t kLongRow = 256;

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

  explicit BlockCode(const graph::Map& op)
      : code_(op.code), results_(op.results), places_(static_cast<size_t>(op.code.registers())) {
    find_places(op);
    order_instructions();
    chain_instructions();
    assign_buffers();
  }

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
  void for_operands(int reg, F&& f) const {
    const MapInstruction& at = instruction(reg);
    const int all[] = {at.a, at.b, at.c};
    for (int i = 0; i < operand_count(at.op); ++i) f(all[i]);
  }

  void find_places(const graph::Map& op) {
    std::vector<bool> needed(places_.size());
    for (const int result : results_) needed[static_cast<size_t>(result)] = true;
    for (int reg = registers() - 1; reg >= code_.inputs; --reg) {
      if (needed[static_cast<size_t>(reg)]) for_operands(reg, [&](int of) { needed[static_cast<size_t>(of)] = true; });
    }
    for (int reg = 0; reg < registers(); ++reg) {
      if (!needed[static_cast<size_t>(reg)]) continue;
      if (reg < code_.inputs) {
        const auto input = static_cast<size_t>(reg);
        const bool single = graph::is_single(op.inputs[input].shape) && op.reads_whole(input);
        place(reg) = single ? Place::kSingle : Place::kInput;
        if (single) {
          singles_.emplace_back(reg, reg);
        } else {
          inputs_.push_back({reg, reg, 0});
        }
        continue;
      }
      const MapInstruction& at = instruction(reg);
      if (at.op == MapOp::kConstant) constants_.emplace_back(reg, at.number);
      if (at.op == MapOp::kSamples) sample_counts_.push_back(reg);
      if (at.op == MapOp::kCoordinate) {
        inputs_.push_back({reg, -1, at.axis});
        place(reg) = Place::kInput;
        continue;
      }
      place(reg) = Place::kSingle;
      for_operands(reg, [&](int of) {
        if (place(of) != Place::kSingle) place(reg) = Place::kBlock;
      });
    }
  }

  void order_instructions() {
    for (int reg = code_.inputs; reg < registers(); ++reg) {
      const MapInstruction& at = instruction(reg);
      if (operand_count(at.op) == 0 || place(reg) == Place::kUnused) continue;
      const MapBlockInstruction found{at.op, reg, at.a, std::max(at.b, 0), std::max(at.c, 0)};
      (place(reg) == Place::kSingle ? once_per_batch_ : for_each_block_).push_back(found);
    }
  }

  /// Which operands of an instruction are register `before`; kNone also where the kernel has no such chain.
  static Chained operands_from(int before, const MapBlockInstruction& at) {
    const int count = operand_count(at.op);
    const bool a = at.a == before, b = count > 1 && at.b == before, c = count > 2 && at.c == before;
    if (c) return a || b ? Chained::kNone : Chained::kC;
    return a && b ? Chained::kBoth : a ? Chained::kA : b ? Chained::kB : Chained::kNone;
  }

  void chain_instructions() {
    std::vector<int> reads(places_.size());  // by register: how many instructions for blocks read it
    for (const MapBlockInstruction& each : for_each_block_) {
      std::vector<int> read;
      for_operands(each.y, [&](int of) {
        if (std::find(read.begin(), read.end(), of) == read.end()) read.push_back(of);
      });
      for (const int of : read) ++reads[static_cast<size_t>(of)];
    }
    for (size_t i = 1; i < for_each_block_.size(); ++i) {
      MapBlockInstruction &before = for_each_block_[i - 1], &each = for_each_block_[i];
      if (!may_be_chained(before.op) || !may_be_chained(each.op)) continue;
      each.chained = operands_from(before.y, each);
      if (each.chained != Chained::kNone)
        before.stores = is_result(before.y) || reads[static_cast<size_t>(before.y)] > 1;
    }
  }

  void assign_buffers() {
    buffers_.assign(places_.size(), 0);
    std::vector<int> last_use(places_.size(), -1), free;
    for (size_t i = 0; i < for_each_block_.size(); ++i) {
      for_operands(for_each_block_[i].y, [&](int of) { last_use[static_cast<size_t>(of)] = static_cast<int>(i); });
    }
    // A result stays where it is until the block has been computed.
    for (const int result : results_) last_use[static_cast<size_t>(result)] = static_cast<int>(for_each_block_.size());
    for (int reg = 0; reg < registers(); ++reg) {
      int& buffer = buffers_[static_cast<size_t>(reg)];
      if (place(reg) == Place::kSingle) buffer = static_cast<int>(vectors_++);
      if (place(reg) == Place::kInput) buffer = static_cast<int>(blocks_++);  // also the next block may read it
    }
    for (size_t i = 0; i < for_each_block_.size(); ++i) {
      // An instruction reads a vector before it writes it, so that its result may take the buffer of an operand.
      for_operands(for_each_block_[i].y, [&](int of) {
        if (place(of) != Place::kBlock || last_use[static_cast<size_t>(of)] != static_cast<int>(i)) return;
        last_use[static_cast<size_t>(of)] = -1;  // once, if it is two operands
        free.push_back(buffers_[static_cast<size_t>(of)]);
      });
      if (free.empty() || is_result(for_each_block_[i].y)) {
        buffers_[static_cast<size_t>(for_each_block_[i].y)] = static_cast<int>(blocks_++);
      } else {
        buffers_[static_cast<size_t>(for_each_block_[i].y)] = free.back();
        free.pop_back();
      }
    }
  }

  bool is_result(int reg) const { return std::find(results_.begin(), results_.end(), reg) != results_.end(); }

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

/// An array among zeros: element (i, j, ...) of it is at (begin[0] + i step[0], begin[1] + j step[1], ...) of y.
struct PlacedArray {
  Strided x;
  int64_t begin[kMaxAxes], step[kMaxAxes];
};

/// How an input is read in blocks of rows.
struct InputLoop {
  Strided at;
  bool is_placed;  // `placed` is what is read; of `at` only the lengths count
  PlacedArray placed;
  bool direct;     // where it lies
  bool repeats;    // all rows are the same, so that a block that was copied serves all blocks
  bool is_filled;  // the copied block is there
};

constexpr int64_t floats_of(int64_t bytes) {
  return round_up(divide_up(bytes, static_cast<int64_t>(sizeof(float))), kLineFloats);
}

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

  static int64_t floats(const BlockCode& code) {
    const auto inputs = static_cast<int64_t>(code.inputs().size()),
               outputs = static_cast<int64_t>(code.results().size());
    return floats_of(code.registers() * static_cast<int64_t>(sizeof(MapRegister))) +
           floats_of(inputs * static_cast<int64_t>(sizeof(InputLoop))) +
           floats_of(outputs * static_cast<int64_t>(sizeof(OutputLoop))) +
           floats_of((inputs + outputs) * static_cast<int64_t>(sizeof(Strided*))) + code.vectors() * kLineFloats +
           code.blocks() * kBlock;
  }

  MapMemory(const BlockCode& code, float* scratch) {
    const auto count = static_cast<int64_t>(code.inputs().size());
    const auto take = [&](int64_t floats) {
      float* const at = scratch;
      scratch += floats;
      return at;
    };
    blocks = take(code.blocks() * kBlock);
    vectors = take(code.vectors() * kLineFloats);
    registers =
        reinterpret_cast<MapRegister*>(take(floats_of(code.registers() * static_cast<int64_t>(sizeof(MapRegister)))));
    inputs = reinterpret_cast<InputLoop*>(take(floats_of(count * static_cast<int64_t>(sizeof(InputLoop)))));
    const auto results = static_cast<int64_t>(code.results().size());
    outputs = reinterpret_cast<OutputLoop*>(take(floats_of(results * static_cast<int64_t>(sizeof(OutputLoop)))));
    arrays = reinterpret_cast<Strided**>(scratch);
  }
};

class MapStep final : public Step {
 public:
  MapStep(const graph::Map& operation, Split split, int64_t max_rows)
      : Step(&operation, split), own_(operation), code_(operation) {
    for (const BlockCode::Input& input : code_.inputs()) {
      if (input.array >= 0) continue;
      const graph::Extent& extent = own_.y().shape[static_cast<size_t>(input.axis)];
      const int64_t most = std::max({extent.at(1), extent.at(max_rows), int64_t{0}});
      for (auto i = static_cast<int64_t>(coordinates_.size()); i < most + kLineFloats; ++i) {
        coordinates_.push_back(static_cast<float>(i));
      }
    }
  }

  int64_t scratch_floats() const { return MapMemory::floats(code_); }
  void set_scratch(ValueId scratch) { scratch_ = scratch; }

  void run(const ThreadContext& thread) const override;

 private:
  class Run;

  const graph::Map& own_;
  BlockCode code_;
  std::vector<float> coordinates_;  // 0, 1, 2, ...
  ValueId scratch_ = kNoValue;
};

/// One thread's share of a map in one batch.
class MapStep::Run {
 public:
  Run(const MapStep& step, const ThreadContext& thread)
      : step_(step), code_(step.code_), thread_(thread), memory_(code_, thread.data(step.scratch_)) {}

  void all() {
    find_arrays();
    if (y().is_empty()) return;
    find_registers();
    if (!has_placed_) merge_axes(memory_.arrays, input_count() + output_count());
    find_blocks();
    for_blocks();
  }

 private:
  int input_count() const { return static_cast<int>(code_.inputs().size()); }
  int output_count() const { return static_cast<int>(code_.results().size()); }
  int result(int output) const { return code_.results()[static_cast<size_t>(output)]; }
  /// The first output; the others have its lengths.
  const Strided& y() const { return memory_.outputs[0].at; }
  MapRegister& reg(int i) { return memory_.registers[i]; }
  float* block(int64_t i) { return memory_.blocks + i * kBlock; }
  int buffer_of(int i) const { return code_.buffers()[static_cast<size_t>(i)]; }

  /// The elements of an input along the axes of y, at which lengths of 1 are repeated.
  Strided broadcast_input(const graph::Array& array) const {
    const Strided own = strided(array, thread_);
    Strided all;
    all.data = own.data;
    const auto axes = static_cast<int>(array.shape.size()), missing = y().axes - axes;
    for (int i = 0; i < y().axes; ++i) {
      const bool repeats = i < missing || array.shape[static_cast<size_t>(i - missing)] == graph::Extent{1, 0};
      all.append(y().length[i], repeats ? 0 : own.stride[i - missing]);
    }
    return all;
  }

  void read_window(InputLoop& loop, const graph::Array& array, const graph::Window& window) const {
    const Strided x = strided(array, thread_);
    loop.is_placed = window.kind == graph::Window::Kind::kPlaced;
    if (!loop.is_placed) {
      loop.at = selected(x, window.selection, y(), thread_);
      return;
    }
    loop.at = y();
    std::fill_n(loop.at.stride, loop.at.axes, 0);
    loop.placed.x = x;
    for (int i = 0; i < x.axes; ++i) {
      loop.placed.begin[i] = window.selection.begin[static_cast<size_t>(i)].at(thread_.batch.rows);
      loop.placed.step[i] = window.selection.step[static_cast<size_t>(i)];
    }
  }

  Strided coordinates(int axis) const {
    Strided all;
    all.data = const_cast<float*>(step_.coordinates_.data());
    for (int i = 0; i < y().axes; ++i) all.append(y().length[i], i == axis ? 1 : 0);
    return all;
  }

  void find_arrays() {
    const graph::Map& op = step_.own_;
    for (int i = 0; i < output_count(); ++i) {
      memory_.outputs[i].at = strided(op.outputs[static_cast<size_t>(i)], thread_);
      memory_.arrays[i] = &memory_.outputs[i].at;
    }
    for (int i = 0; i < input_count(); ++i) {
      const BlockCode::Input& input = code_.inputs()[static_cast<size_t>(i)];
      const auto array = static_cast<size_t>(std::max(input.array, 0));
      InputLoop& loop = memory_.inputs[i];
      loop.is_placed = false;
      if (input.array < 0) {
        loop.at = coordinates(input.axis);
      } else if (op.reads_whole(array)) {
        loop.at = broadcast_input(op.inputs[array]);
      } else {
        read_window(loop, op.inputs[array], op.windows[array]);
      }
      has_placed_ = has_placed_ || loop.is_placed;
      memory_.arrays[output_count() + i] = &loop.at;
    }
    const Range rows = own_rows(thread_, op.y(), op.loops[0].rows);
    const int last = y().last();
    const Range columns = thread_.range('n', y().length[last]);
    const graph::Value& value = thread_.schedule.value(op.y().value);
    // Behind the last column of a batch there is space that may be overwritten.
    has_padding_ = value.kind == graph::Value::Kind::kBatch && columns.end == y().length[last];
    ld_ = has_padding_ ? thread_.placement(op.y().value).ld : 0;
    columns_ = has_padding_ ? value.columns - columns.begin : 0;
    has_whole_rows_ = columns.begin == 0;
    for (int i = 0; i < output_count() + input_count(); ++i) {
      memory_.arrays[i]->restrict_to(0, rows);
      if (op.by_column) memory_.arrays[i]->restrict_to(last, columns);
    }
    for (int i = 0; i < input_count(); ++i) {
      if (memory_.inputs[i].is_placed) memory_.inputs[i].placed.begin[0] -= rows.begin;
    }
  }

  void find_registers() {
    for (int i = 0; i < code_.registers(); ++i) {
      const Place place = code_.places()[static_cast<size_t>(i)];
      if (place == Place::kSingle) reg(i) = {memory_.vectors + buffer_of(i) * kLineFloats, 0};
      if (place == Place::kBlock) reg(i) = {block(buffer_of(i)), 1};
    }
    const auto set = [&](int i, float number) { std::fill_n(reg(i).data, kLineFloats, number); };
    for (const auto& [i, number] : code_.constants()) set(i, number);
    for (const int i : code_.sample_counts()) set(i, static_cast<float>(thread_.batch.rows));
    for (const auto& [i, array] : code_.singles()) {
      set(i, *strided(step_.own_.inputs[static_cast<size_t>(array)], thread_).data);
    }
    const auto& once = code_.once_per_batch();
    thread_.kernels.run_map({once.data(), once.data() + once.size(), memory_.registers, kLineFloats});
  }

  /// Whether the rows of an array have equal distances.
  static bool is_regular(const Strided& array) {
    for (int i = array.axes - 2; i-- > 0;) {
      if (array.stride[i] != array.stride[i + 1] * array.length[i + 1]) return false;
    }
    return true;
  }
  static int64_t row_distance(const Strided& array) { return array.axes > 1 ? array.stride[array.axes - 2] : 0; }

  bool lies_as_blocks(const Strided& array) const {
    return array.stride[array.last()] == 1 && is_regular(array) && (array.axes == 1 || row_distance(array) == row_);
  }

  /// Decides how many rows a block has, and what is read and written in place.
  void find_blocks() {
    const int last = y().last();
    length_ = y().length[last];
    // Between whole rows there is nothing but padding.
    const bool pads = has_padding_ && length_ == columns_ && has_whole_rows_ && y().axes > 1 &&
                      row_distance(y()) == ld_ && is_regular(y());
    row_ = pads ? ld_ : length_;
    const bool direct = std::all_of(memory_.arrays, memory_.arrays + output_count() + input_count(),
                                    [&](const Strided* array) { return lies_as_blocks(*array); });
    const bool has_whole_vectors = pads || length_ % kLineFloats == 0;
    const bool in_place = direct && has_whole_vectors && output_count() == 1 && code_.for_each_block().size() == 1;
    block_ = in_place ? kLongBlock : kBlock;
    rows_ = y().axes == 1 ? 1 : std::max<int64_t>(block_ / row_, 1);
    if (!direct && length_ >= kLongRow) rows_ = 1;
    may_overwrite_ = pads || (has_padding_ && rows_ == 1 && length_ == columns_);
    const auto is_direct = [&](const Strided& array) {
      return rows_ == 1 ? array.stride[last] == 1 : lies_as_blocks(array);
    };
    for (int i = 0; i < output_count(); ++i) {
      memory_.outputs[i].direct = is_direct(memory_.outputs[i].at) && !overwrites_input(i);
    }
    for (int i = 0; i < input_count(); ++i) {
      InputLoop& input = memory_.inputs[i];
      input.direct = is_direct(input.at);
      input.is_filled = false;
      input.repeats = !input.is_placed &&
                      std::all_of(input.at.stride, input.at.stride + input.at.last(), [](int64_t s) { return s == 0; });
    }
  }

  /// Whether an output takes the memory of an input that is read later: by instructions behind its own, or since the
  /// input is another output's result, which is stored when all instructions have run.
  bool overwrites_input(int output) const {
    const float* const at = memory_.outputs[output].at.data;
    const auto& each = code_.for_each_block();
    const auto& results = code_.results();
    const bool is_last = !each.empty() && result(output) == each.back().y;
    for (int i = 0; i < input_count(); ++i) {
      const int reg = code_.inputs()[static_cast<size_t>(i)].reg;
      const bool is_result = std::find(results.begin(), results.end(), reg) != results.end();
      if (memory_.inputs[i].at.data == at && (!is_last || is_result)) return true;
    }
    return false;
  }

  void for_blocks() {
    const int last = y().last();
    // A position in the rows of each array: the offsets of y and of all inputs.
    int64_t left = y().numbers() / length_;
    std::fill_n(index_, last, 0);
    while (left > 0) {
      if (rows_ == 1) {
        for (int64_t j = 0; j < length_; j += block_) run_block(1, j, std::min(block_, length_ - j));
        advance(1);
        --left;
        continue;
      }
      const int64_t rows = std::min(rows_, left);
      run_block(rows, 0, length_);
      left -= rows;
    }
  }

  /// Where the current row of an array begins
  float* row_at(const Strided& array) const {
    float* at = array.data;
    for (int k = 0; k < array.last(); ++k) at += index_[k] * array.stride[k];
    return at;
  }

  void advance(int64_t rows) {
    for (int k = y().last(); k-- > 0 && rows > 0;) {
      index_[k] += rows;
      rows = index_[k] / y().length[k];
      index_[k] -= rows * y().length[k];
    }
  }

  /// `rows` rows from the current one on, columns [first, first + columns). Goes on to the row behind them if there are
  /// several.
  void run_block(int64_t rows, int64_t first, int64_t columns) {
    const int64_t n = rows == 1 ? columns : (rows - 1) * row_ + columns;
    const int last = y().last();
    const bool several = rows_ > 1;
    for (int i = 0; i < input_count(); ++i) {
      InputLoop& input = memory_.inputs[i];
      MapRegister& to = reg(code_.inputs()[static_cast<size_t>(i)].reg);
      const int64_t step = input.at.stride[last];
      float* const buffer = block(buffer_of(code_.inputs()[static_cast<size_t>(i)].reg));
      if (input.direct) {
        to = {row_at(input.at) + first * step, 1};
      } else if (!several && step == 0 && !input.is_placed) {
        std::fill_n(buffer, kLineFloats, *row_at(input.at));
        to = {buffer, 0};
      } else {
        to = {buffer, 1};
        if (input.repeats && input.is_filled) continue;
        input.is_filled = several;
        copy_rows(input, rows, first, columns, buffer);
      }
    }
    const bool whole = n % kLineFloats == 0 || may_overwrite_;
    for (int i = 0; i < output_count(); ++i) {
      const OutputLoop& output = memory_.outputs[i];
      if (!is_computed(i)) continue;
      reg(result(i)).data =
          output.direct && whole ? row_at(output.at) + first * output.at.stride[last] : block(buffer_of(result(i)));
    }
    const auto& each = code_.for_each_block();
    thread_.kernels.run_map({each.data(), each.data() + each.size(), memory_.registers, n});
    for (int i = 0; i < output_count(); ++i) {
      if (!is_computed(i) || !memory_.outputs[i].direct || !whole) store_rows(i, rows, first, columns);
    }
    if (several) advance(rows);
  }

  /// Whether the result of an instruction may go to the memory of an output at once: it is not one number, no input,
  /// and no other output has the same.
  bool is_computed(int output) const {
    const auto& all = code_.results();
    return code_.places()[static_cast<size_t>(result(output))] == Place::kBlock &&
           std::find(all.begin(), all.begin() + output, result(output)) == all.begin() + output;
  }

  void copy_rows(const InputLoop& from, int64_t rows, int64_t first, int64_t columns, float* to) {
    const int64_t step = from.at.stride[from.at.last()];
    int64_t saved[kMaxAxes];
    std::copy_n(index_, y().last(), saved);
    for (int64_t r = 0; r < rows; ++r, to += row_, advance(1)) {
      if (from.is_placed) {
        copy_placed(from.placed, first, columns, to);
      } else {
        copy_strided(thread_.kernels, row_at(from.at) + first * step, step, to, columns);
      }
    }
    std::copy_n(saved, y().last(), index_);
  }

  /// Columns [first, first + columns) of the current row, which are 0 where the array has no element.
  void copy_placed(const PlacedArray& from, int64_t first, int64_t columns, float* to) const {
    const int last = y().last();
    const float* row = from.x.data;
    bool exists = true;
    for (int k = 0; k < last && exists; ++k) {
      const int64_t distance = index_[k] - from.begin[k], at = distance / from.step[k];
      exists = distance % from.step[k] == 0 && at >= 0 && at < from.x.length[k];
      row += at * from.x.stride[k];
    }
    int64_t begin = from.begin[last] - first, step = from.step[last], stride = from.x.stride[last];
    const Range own = exists ? indices_in({0, columns}, begin, step, from.x.length[last]) : Range{0, 0};
    const int64_t count = own.end - own.begin;
    if (count <= 0) return void(std::fill_n(to, columns, 0.0f));
    row += own.begin * stride;
    begin += own.begin * step;
    if (step < 0) {  // from the last number to the first
      row += (count - 1) * stride;
      begin += (count - 1) * step;
      stride = -stride;
      step = -step;
    }
    std::fill_n(to, begin, 0.0f);
    if (step == 1) {
      copy_strided(thread_.kernels, row, stride, to + begin, count);
    } else {
      thread_.kernels.spread_strided({row, stride, to + begin, step, count});
    }
    const int64_t end = begin + (count - 1) * step + 1;
    std::fill_n(to + end, columns - end, 0.0f);
  }

  /// The result of a block, from where it is to an output
  void store_rows(int output, int64_t rows, int64_t first, int64_t columns) {
    const MapRegister& from = reg(result(output));
    const Strided& to = memory_.outputs[output].at;
    const int64_t step = to.stride[to.last()];
    int64_t saved[kMaxAxes];
    std::copy_n(index_, y().last(), saved);
    for (int64_t r = 0; r < rows; ++r, advance(1)) {
      const float* const in = from.data + r * row_ * from.step;
      float* const out = row_at(to) + first * step;
      if (from.step == 0) {
        for (int64_t j = 0; j < columns; ++j) out[j * step] = *in;
      } else if (step == 1) {
        std::memcpy(out, in, static_cast<size_t>(columns) * sizeof(float));
      } else {
        for (int64_t j = 0; j < columns; ++j) out[j * step] = in[j];
      }
    }
    std::copy_n(saved, y().last(), index_);
  }

  const MapStep& step_;
  const BlockCode& code_;
  const ThreadContext& thread_;
  MapMemory memory_;
  bool has_padding_ = false, has_whole_rows_ = false;  // whether there is padding behind the columns, and these are all
  bool has_placed_ = false;                            // whether an input is placed among zeros
  int64_t ld_ = 0, columns_ = 0;                       // the distance of rows of y that have padding, and their columns
  int64_t length_ = 0;                                 // of the last axis
  int64_t block_ = kBlock;                             // the most numbers of a block
  int64_t row_ = 0, rows_ = 1;  // the distance of rows in a block of several rows; how many rows it has
  bool may_overwrite_ = false;  // behind the last number of a block
  int64_t index_[kMaxAxes];     // of the current row
};

void MapStep::run(const ThreadContext& thread) const { Run(*this, thread).all(); }

/// Like the largest input that threads have divided; if there is none, by the loop over the rows of y.
Split split_map(const Scheduler& scheduler, const graph::Map& op) {
  const graph::Operand& y = op.loops[0];
  if (op.by_column) {
    for (const graph::Array& input : op.inputs) {
      const bool is_matrix = input.shape.size() == 2 && input.shape[1] == op.y().shape[1];
      if (is_matrix && scheduler.is_divided_by_column(input.value)) return Split::over('n');
    }
  }
  const bool all_copied = std::all_of(op.inputs.begin(), op.inputs.end(), [&](const graph::Array& input) {
    return scheduler.is_copied(input.value) || scheduler.is_known(input.value);
  });
  const bool any_copied = std::any_of(op.inputs.begin(), op.inputs.end(), [&](const graph::Array& input) {
    return scheduler.is_copied(input.value) && input.shape == op.y().shape;
  });
  if (all_copied && any_copied) return Split::every_thread();
  return split_array(scheduler, op, op.y(), y.rows);
}

/// Augmented images stay such through a factor: zeros stay zeros.
bool keeps_zeros(const graph::Graph& graph, const graph::Map& op) {
  const auto rescaling = graph::rescaling_of(graph, op);
  return rescaling && rescaling->offset == 0.0f;
}

void schedule_map(Scheduler& scheduler, const graph::Map& op) {
  auto& step = scheduler.add<MapStep>(op, split_map(scheduler, op), scheduler.max_rows());
  step.may_be_tiled = step.split.shares(graph::kRows);
  step.set_scratch(scheduler.step_scratch(step.scratch_floats()));
  if (keeps_zeros(scheduler.graph(), op) && scheduler.is_augmented(op.inputs[0].value)) {
    scheduler.set_augmented(op.y().value);
  }
}

}  // namespace

void add_maps(OperationRegistry& all) { all.add<graph::Map>(schedule_map); }

}  // namespace engine::cpu
