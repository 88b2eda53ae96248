#include "cpu/map_blocks.h"

#include <algorithm>
#include <limits>

namespace engine::cpu {
namespace {

/// Numbers of a block: 2 KiB, so that a dozen blocks fit the L1 cache.
constexpr int64_t kBlock = 512;
/// Numbers of a block of one instruction that reads and writes them where they lie, so that no buffer is needed.
constexpr int64_t kLongBlock = 1 << 14;
/// Rows that are at least so long are blocks of their own, if blocks of several rows would have to be copied: a copied
/// row takes less time than another block.
constexpr int64_t kLongRow = 256;

constexpr int64_t floats_of(int64_t bytes) {
  return round_up(divide_up(bytes, static_cast<int64_t>(sizeof(float))), kLineFloats);
}

/// Whether the rows of an array have equal distances.
bool is_regular(const Strided& array) {
  for (int i = array.axes - 2; i-- > 0;) {
    if (array.stride[i] != array.stride[i + 1] * array.length[i + 1]) return false;
  }
  return true;
}
int64_t row_distance(const Strided& array) { return array.axes > 1 ? array.stride[array.axes - 2] : 0; }

}  // namespace

BlockCode::BlockCode(const graph::Map& op)
    : code_(op.code), results_(op.results), places_(static_cast<size_t>(op.code.registers())) {
  find_places(op);
  order_instructions();
  chain_instructions();
  assign_buffers();
}

template <class F>
void BlockCode::for_operands(int reg, F&& f) const {
  const MapInstruction& at = instruction(reg);
  const int all[] = {at.a, at.b, at.c};
  for (int i = 0; i < operand_count(at.op); ++i) f(all[i]);
}

void BlockCode::find_places(const graph::Map& op) {
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

void BlockCode::order_instructions() {
  for (int reg = code_.inputs; reg < registers(); ++reg) {
    const MapInstruction& at = instruction(reg);
    if (operand_count(at.op) == 0 || place(reg) == Place::kUnused) continue;
    const MapBlockInstruction found{at.op, reg, at.a, std::max(at.b, 0), std::max(at.c, 0)};
    (place(reg) == Place::kSingle ? once_per_batch_ : for_each_block_).push_back(found);
  }
}

/// Which operands of an instruction are register `before`; kNone also where the kernel has no such chain.
Chained BlockCode::operands_from(int before, const MapBlockInstruction& at) {
  const int count = operand_count(at.op);
  const bool a = at.a == before, b = count > 1 && at.b == before, c = count > 2 && at.c == before;
  if (c) return a || b ? Chained::kNone : Chained::kC;
  return a && b ? Chained::kBoth : a ? Chained::kA : b ? Chained::kB : Chained::kNone;
}

void BlockCode::chain_instructions() {
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
    if (each.chained != Chained::kNone) before.stores = is_result(before.y) || reads[static_cast<size_t>(before.y)] > 1;
  }
}

void BlockCode::assign_buffers() {
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

bool BlockCode::is_result(int reg) const { return std::find(results_.begin(), results_.end(), reg) != results_.end(); }

MapBlocks::MapBlocks(const graph::Map& op, const Scheduler& scheduler) : op_(op), code_(op) {
  for (const graph::Array& input : op.inputs) gathers_.push_back(scheduler.gather(input.value));
  const int64_t max_rows = scheduler.max_rows();
  for (const BlockCode::Input& input : code_.inputs()) {
    if (input.array >= 0) continue;
    const graph::Extent& extent = op.y().shape[static_cast<size_t>(input.axis)];
    const int64_t most = std::max({extent.at(1), extent.at(max_rows), int64_t{0}});
    for (auto i = static_cast<int64_t>(coordinates_.size()); i < most + kLineFloats; ++i) {
      coordinates_.push_back(static_cast<float>(i));
    }
  }
}

std::vector<Operand> MapBlocks::operands(const std::vector<Operand>& written, bool by_row) const {
  std::vector<Operand> all = written;
  for (size_t i = 0; i < gathers_.size(); ++i) {
    const Operand& own = op_.loops[op_.outputs.size() + i];
    if (const graph::Gather* const rows = gathers_[i]) {
      all.push_back(graph::reads(rows->x.value, kWhole, kWhole));
      all.push_back(graph::reads(rows->indices.value, kWhole, kWhole));
    } else {
      all.push_back(by_row ? own : graph::reads(own.value, kWhole, kWhole));
    }
  }
  return all;
}

bool MapBlocks::computes_result() const {
  return code_.places()[static_cast<size_t>(code_.results().front())] == Place::kBlock;
}

int64_t MapBlocks::scratch_floats() const { return MapMemory::floats(code_); }

int64_t MapMemory::floats(const BlockCode& code) {
  const auto inputs = static_cast<int64_t>(code.inputs().size()), outputs = static_cast<int64_t>(code.results().size());
  return floats_of(code.registers() * static_cast<int64_t>(sizeof(MapRegister))) +
         floats_of(inputs * static_cast<int64_t>(sizeof(InputLoop))) +
         floats_of(outputs * static_cast<int64_t>(sizeof(OutputLoop))) +
         floats_of((inputs + outputs) * static_cast<int64_t>(sizeof(Strided*))) + code.vectors() * kLineFloats +
         code.blocks() * kBlock;
}

MapMemory::MapMemory(const BlockCode& code, float* scratch) {
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

void MapRun::all() {
  const graph::Map& op = map_.operation();
  for (int i = 0; i < output_count(); ++i) {
    memory_.outputs[i].at = strided(op.outputs[static_cast<size_t>(i)], thread_);
  }
  find_inputs();
  take_share();
  if (y().is_empty()) return;
  find_registers();
  find_blocks();
  for_blocks();
}

void MapRun::prepare() {
  Strided& y = memory_.outputs[0].at;
  y = Strided{};
  for (const graph::Extent& extent : map_.operation().y().shape) y.append(length_of(extent, thread_), 0);
  if (y.axes == 0) y.append(1, 1);
  set_contiguous(y);
  find_inputs();
  if (y.is_empty()) return;
  find_registers();
  find_blocks();
}

void MapRun::compute(int64_t begin, int64_t count, float* to) {
  for (int64_t n; count > 0; begin += n, count -= n, to += n) {
    const int64_t row = begin / length_, first = begin % length_;
    find_row(row);
    const int64_t rows = first == 0 ? std::min(rows_, count / length_) : 0;
    const int64_t columns = rows > 0 && rows_ > 1 ? length_ : std::min({count, length_ - first, kBlock});
    n = (std::max<int64_t>(rows, 1) - 1) * length_ + columns;
    read_inputs(std::max<int64_t>(rows, 1), first, columns);
    reg(result(0)).data = to;
    run_instructions(n);
  }
}

/// The elements of an input along the axes of y, at which lengths of 1 are repeated.
Strided MapRun::broadcast_input(const graph::Array& array) const {
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

void MapRun::read_gathered(InputLoop& loop, const graph::Gather& gather) const {
  const Strided x = strided(gather.x, thread_), indices = strided(gather.indices, thread_);
  loop.is_gathered = true;
  loop.gathered = {indices.data, indices.stride[0], x.length[0], x.stride[0]};
  loop.at = x;
  loop.at.length[0] = y().length[0];
  loop.at.stride[0] = 0;
}

void MapRun::read_window(InputLoop& loop, const graph::Array& array, const graph::Window& window) const {
  const Strided x = strided(array, thread_);
  loop.is_placed = window.kind == graph::Window::Kind::kPlaced;
  if (!loop.is_placed) {
    const int further = x.axes - y().axes;
    Strided like;
    for (int i = 0; i < further; ++i) like.append(1, 0);
    for (int i = 0; i < y().axes; ++i) like.append(y().length[i], 0);
    loop.at = selected(x, window.selection, like, thread_);
    for (int i = 0; i < further; ++i) loop.at.erase(0);
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

Strided MapRun::coordinates(int axis) const {
  Strided all;
  all.data = const_cast<float*>(map_.coordinates().data());
  for (int i = 0; i < y().axes; ++i) all.append(y().length[i], i == axis ? 1 : 0);
  return all;
}

void MapRun::find_inputs() {
  const graph::Map& op = map_.operation();
  for (int i = 0; i < output_count(); ++i) memory_.arrays[i] = &memory_.outputs[i].at;
  for (int i = 0; i < input_count(); ++i) {
    const BlockCode::Input& input = code_.inputs()[static_cast<size_t>(i)];
    const auto array = static_cast<size_t>(std::max(input.array, 0));
    InputLoop& loop = memory_.inputs[i];
    loop.is_placed = loop.is_gathered = false;
    if (input.array < 0) {
      loop.at = coordinates(input.axis);
    } else if (const graph::Gather* const gather = map_.gather(array)) {
      read_gathered(loop, *gather);
    } else if (op.reads_whole(array)) {
      loop.at = broadcast_input(op.inputs[array]);
    } else {
      read_window(loop, op.inputs[array], op.windows[array]);
    }
    has_rows_ = has_rows_ || loop.is_placed || loop.is_gathered;
    memory_.arrays[output_count() + i] = &loop.at;
  }
}

void MapRun::take_share() {
  const graph::Map& op = map_.operation();
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
    InputLoop& input = memory_.inputs[i];
    if (input.is_placed) input.placed.begin[0] -= rows.begin;
    if (input.is_gathered) input.gathered.indices += rows.begin * input.gathered.stride;
  }
}

float* MapRun::block(int64_t i) { return memory_.blocks + i * kBlock; }

void MapRun::find_registers() {
  for (int i = 0; i < code_.registers(); ++i) {
    const Place place = code_.places()[static_cast<size_t>(i)];
    if (place == Place::kSingle) reg(i) = {memory_.vectors + buffer_of(i) * kLineFloats, 0};
    if (place == Place::kBlock) reg(i) = {block(buffer_of(i)), 1};
  }
  const auto set = [&](int i, float number) { std::fill_n(reg(i).data, kLineFloats, number); };
  for (const auto& [i, number] : code_.constants()) set(i, number);
  for (const int i : code_.sample_counts()) set(i, static_cast<float>(thread_.batch.rows));
  for (const auto& [i, array] : code_.singles()) {
    set(i, *strided(map_.operation().inputs[static_cast<size_t>(array)], thread_).data);
  }
  const auto& once = code_.once_per_batch();
  thread_.kernels.run_map({once.data(), once.data() + once.size(), memory_.registers, kLineFloats});
}

bool MapRun::lies_as_blocks(const Strided& array) const {
  return array.stride[array.last()] == 1 && is_regular(array) && (array.axes == 1 || row_distance(array) == row_);
}

/// Decides how many rows a block has, and what is read and written in place.
void MapRun::find_blocks() {
  if (!has_rows_) merge_axes(memory_.arrays, input_count() + output_count());
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
    input.direct = is_direct(input.at) && (!input.is_gathered || rows_ == 1);
    input.filled = 0;
    input.repeats = !input.is_placed && !input.is_gathered &&
                    std::all_of(input.at.stride, input.at.stride + input.at.last(), [](int64_t s) { return s == 0; });
  }
}

/// Whether an output takes the memory of an input that is read later: by instructions behind its own, or since the
/// input is another output's result, which is stored when all instructions have run.
bool MapRun::overwrites_input(int output) const {
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

void MapRun::for_blocks() {
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
float* MapRun::row_at(const Strided& array) const {
  float* at = array.data;
  for (int k = 0; k < array.last(); ++k) at += index_[k] * array.stride[k];
  return at;
}

/// Where the current row of an input begins; null where it is gathered, and its index is out of range.
const float* MapRun::row_of(const InputLoop& input) const {
  const float* const row = row_at(input.at);
  if (!input.is_gathered) return row;
  const GatheredRows& from = input.gathered;
  const float index = from.indices[index_[0] * from.stride];
  const bool exists = index >= 0.0f && index < static_cast<float>(from.count);
  return exists ? row + static_cast<int64_t>(index) * from.row : nullptr;
}

/// Goes to a row, as they are numbered in row-major order.
void MapRun::find_row(int64_t row) {
  for (int k = y().last(); k-- > 0; row /= y().length[k]) index_[k] = row % y().length[k];
}

void MapRun::advance(int64_t rows) {
  for (int k = y().last(); k-- > 0 && rows > 0;) {
    index_[k] += rows;
    rows = index_[k] / y().length[k];
    index_[k] -= rows * y().length[k];
  }
}

/// Lets the registers of the inputs have `rows` rows from the current one on, columns [first, first + columns).
void MapRun::read_inputs(int64_t rows, int64_t first, int64_t columns) {
  const int last = y().last();
  const bool several = rows_ > 1, whole_rows = several && columns == length_;
  for (int i = 0; i < input_count(); ++i) {
    InputLoop& input = memory_.inputs[i];
    MapRegister& to = reg(code_.inputs()[static_cast<size_t>(i)].reg);
    const int64_t step = input.at.stride[last];
    float* const buffer = block(buffer_of(code_.inputs()[static_cast<size_t>(i)].reg));
    if (const float* const row = input.direct ? row_of(input) : nullptr) {
      to = {const_cast<float*>(row) + first * step, 1};
    } else if (!several && step == 0 && !input.is_placed && !input.is_gathered) {
      std::fill_n(buffer, kLineFloats, *row_at(input.at));
      to = {buffer, 0};
    } else {
      to = {buffer, 1};
      if (input.repeats && whole_rows && input.filled >= rows) continue;
      input.filled = whole_rows ? rows : 0;
      copy_rows(input, rows, first, columns, buffer);
    }
  }
}

void MapRun::run_instructions(int64_t n) {
  const auto& each = code_.for_each_block();
  thread_.kernels.run_map({each.data(), each.data() + each.size(), memory_.registers, n});
}

/// `rows` rows from the current one on, columns [first, first + columns). Goes on to the row behind them if there are
/// several.
void MapRun::run_block(int64_t rows, int64_t first, int64_t columns) {
  const int64_t n = rows == 1 ? columns : (rows - 1) * row_ + columns;
  read_inputs(rows, first, columns);
  const bool whole = n % kLineFloats == 0 || may_overwrite_;
  for (int i = 0; i < output_count(); ++i) {
    const OutputLoop& output = memory_.outputs[i];
    if (!is_computed(i)) continue;
    reg(result(i)).data = output.direct && whole ? row_at(output.at) + first * output.at.stride[output.at.last()]
                                                 : block(buffer_of(result(i)));
  }
  run_instructions(n);
  for (int i = 0; i < output_count(); ++i) {
    if (!is_computed(i) || !memory_.outputs[i].direct || !whole) store_rows(i, rows, first, columns);
  }
  if (rows_ > 1) advance(rows);
}

/// Whether the result of an instruction may go to the memory of an output at once: it is not one number, no input,
/// and no other output has the same.
bool MapRun::is_computed(int output) const {
  const auto& all = code_.results();
  return code_.places()[static_cast<size_t>(result(output))] == Place::kBlock &&
         std::find(all.begin(), all.begin() + output, result(output)) == all.begin() + output;
}

void MapRun::copy_rows(const InputLoop& from, int64_t rows, int64_t first, int64_t columns, float* to) {
  const int64_t step = from.at.stride[from.at.last()];
  int64_t saved[kMaxAxes];
  std::copy_n(index_, y().last(), saved);
  for (int64_t r = 0; r < rows; ++r, to += row_, advance(1)) {
    if (from.is_placed) {
      copy_placed(from.placed, first, columns, to);
    } else if (const float* const row = row_of(from)) {
      copy_strided(thread_.kernels, row + first * step, step, to, columns);
    } else {
      const float none = std::numeric_limits<float>::quiet_NaN();
      copy_strided(thread_.kernels, &none, 0, to, columns);
    }
  }
  std::copy_n(saved, y().last(), index_);
}

/// Columns [first, first + columns) of the current row, which are 0 where the array has no element.
void MapRun::copy_placed(const PlacedArray& from, int64_t first, int64_t columns, float* to) const {
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
  const float zero = 0.0f;
  if (count <= 0) return copy_strided(thread_.kernels, &zero, 0, to, columns);
  row += own.begin * stride;
  begin += own.begin * step;
  if (step < 0) {  // from the last number to the first
    row += (count - 1) * stride;
    begin += (count - 1) * step;
    stride = -stride;
    step = -step;
  }
  copy_strided(thread_.kernels, &zero, 0, to, begin);
  if (step == 1) {
    copy_strided(thread_.kernels, row, stride, to + begin, count);
  } else {
    thread_.kernels.spread_strided({row, stride, to + begin, step, count});
  }
  const int64_t end = begin + (count - 1) * step + 1;
  copy_strided(thread_.kernels, &zero, 0, to + end, columns - end);
}

/// The result of a block, from where it is to an output
void MapRun::store_rows(int output, int64_t rows, int64_t first, int64_t columns) {
  const MapRegister& from = reg(result(output));
  const Strided& to = memory_.outputs[output].at;
  const int64_t step = to.stride[to.last()];
  int64_t saved[kMaxAxes];
  std::copy_n(index_, y().last(), saved);
  for (int64_t r = 0; r < rows; ++r, advance(1)) {
    const float* const in = from.data + r * row_ * from.step;
    float* const out = row_at(to) + first * step;
    if (step == 1) {
      copy_strided(thread_.kernels, in, from.step, out, columns);
    } else {
      for (int64_t j = 0; j < columns; ++j) out[j * step] = in[j * from.step];
    }
  }
  std::copy_n(saved, y().last(), index_);
}

}  // namespace engine::cpu
