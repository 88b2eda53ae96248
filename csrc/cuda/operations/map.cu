// Elementwise functions: each thread runs the instructions of the function for one element after the other.
#include <algorithm>
#include <utility>
#include <vector>

#include "cuda/arrays.h"
#include "formulas/map_functions.h"
#include "graph/operations/map.h"

namespace engine::cuda {
namespace {

/// An instruction whose operands and result are in slots: a function of numbers, or a number that is read.
struct SlotInstruction {
  enum class Kind : uint8_t { kFunction, kInput, kConstant, kSamples, kCoordinate };
  Kind kind;
  MapOp op;   // of kFunction
  int16_t y;  // slot of the result
  int16_t a, b, c;
  int axis;      // of a coordinate; number of an input
  float number;  // of a constant
};

/// An input, whose axes are aligned with the last ones of the output and repeated where they have length 1.
struct MapInput {
  enum class Kind { kSame, kSingle, kRepeated, kSlice, kPlaced };
  Kind kind;
  const float* constant;  // null where the numbers are in scratch
  int64_t offset;         // in scratch
  int axes;
  bool repeats[kMaxGpuAxes];
  // Of a slice, and of an array that is placed among zeros
  Length lengths[kMaxGpuAxes], begin[kMaxGpuAxes];
  int64_t step[kMaxGpuAxes];
};

struct MapOutput {
  int64_t offset;  // in scratch
  int16_t slot;
};

/// The code of a map, as the card runs it. Slots are used again once their numbers have been read for the last time.
class SlotCode {
 public:
  explicit SlotCode(const graph::Map& op) : code_(op.code), slots_(static_cast<size_t>(op.code.registers()), -1) {
    find_last_uses(op.results);
    for (int reg = 0; reg < code_.registers(); ++reg) {
      // Inputs are read where they are needed first.
      if (reg >= code_.inputs && last_use_[static_cast<size_t>(reg)] >= 0) append(reg);
    }
    for (const int result : op.results) require(result);
  }

  const std::vector<SlotInstruction>& instructions() const { return instructions_; }
  int16_t slot(int reg) const { return static_cast<int16_t>(slots_[static_cast<size_t>(reg)]); }
  int slots() const { return used_; }

 private:
  template <class F>
  void for_operands(int reg, F&& f) const {
    if (reg < code_.inputs) return;
    const MapInstruction& at = code_.instructions[static_cast<size_t>(reg - code_.inputs)];
    const int all[] = {at.a, at.b, at.c};
    for (int i = 0; i < operand_count(at.op); ++i) f(all[i]);
  }

  /// The last instruction that reads each register; -1: none
  void find_last_uses(const std::vector<int>& results) {
    last_use_.assign(slots_.size(), -1);
    for (const int result : results) last_use_[static_cast<size_t>(result)] = code_.registers();
    for (int reg = code_.registers(); reg-- > 0;) {
      if (last_use_[static_cast<size_t>(reg)] < 0) continue;
      for_operands(reg, [&](int of) {
        int& last = last_use_[static_cast<size_t>(of)];
        last = std::max(last, reg);
      });
    }
  }

  int take() {
    if (free_.empty()) return used_++;
    const int slot = free_.back();
    free_.pop_back();
    return slot;
  }

  /// Appends the reading of an input where it has not been read.
  void require(int reg) {
    int& slot = slots_[static_cast<size_t>(reg)];
    if (slot >= 0) return;
    slot = take();
    instructions_.push_back(
        {SlotInstruction::Kind::kInput, MapOp::kConstant, static_cast<int16_t>(slot), 0, 0, 0, reg, 0.0f});
  }

  void append(int reg) {
    const MapInstruction& at = code_.instructions[static_cast<size_t>(reg - code_.inputs)];
    for_operands(reg, [&](int of) { require(of); });
    int16_t operands[3] = {};
    int count = 0;
    for_operands(reg, [&](int of) { operands[count++] = slot(of); });
    // An instruction reads its operands before it writes its result, which may take a slot of theirs.
    for_operands(reg, [&](int of) {
      int& last = last_use_[static_cast<size_t>(of)];
      if (last != reg) return;
      free_.push_back(slots_[static_cast<size_t>(of)]);
      last = code_.registers() + 1;  // once, if it is two operands
    });
    slots_[static_cast<size_t>(reg)] = take();
    using Kind = SlotInstruction::Kind;
    const Kind kind = at.op == MapOp::kConstant     ? Kind::kConstant
                      : at.op == MapOp::kSamples    ? Kind::kSamples
                      : at.op == MapOp::kCoordinate ? Kind::kCoordinate
                                                    : Kind::kFunction;
    instructions_.push_back({kind, at.op, slot(reg), operands[0], operands[1], operands[2], at.axis, at.number});
  }

  const graph::MapCode& code_;
  std::vector<SlotInstruction> instructions_;
  std::vector<int> slots_, last_use_, free_;
  int used_ = 0;
};

// ---- On the card ----------------------------------------------------------------------------------------------------

/// All threads run the same instruction.
template <int... kOps>
__device__ float run_function(MapOp op, float a, float b, float c, std::integer_sequence<int, kOps...>) {
  float value = 0.0f;
  ((static_cast<int>(op) == kOps && (value = formulas::map_value<static_cast<MapOp>(kOps), float>(a, b, c), true)) ||
   ...);
  return value;
}

template <int kSlots>
struct Map {
  static constexpr int64_t kSharedBytes = 0;

  float* scratch;
  Array y;
  const SlotInstruction* instructions;
  int count, output_count;
  const MapInput* inputs;
  const MapOutput* outputs;

  __device__ float coordinate(int64_t i, int axis, const Batch& batch) const {
    for (int k = y.axes - 1; k > axis; --k) i /= y.lengths[k].at(batch);
    return static_cast<float>(i % y.lengths[axis].at(batch));
  }

  __device__ float read(const MapInput& input, int64_t i, const Batch& batch) const {
    const float* const data = input.constant ? input.constant : scratch + input.offset;
    if (input.kind == MapInput::Kind::kSame) return data[i];
    if (input.kind == MapInput::Kind::kSingle) return data[0];
    if (input.kind != MapInput::Kind::kRepeated) return read_window(input, data, i, batch);
    int64_t at = 0, stride = 1;
    for (int k = 1; k <= input.axes; ++k) {
      const int64_t length = y.lengths[y.axes - k].at(batch);
      if (!input.repeats[input.axes - k]) {
        at += i % length * stride;
        stride *= length;
      }
      i /= length;
    }
    return data[at];
  }

  __device__ float read_window(const MapInput& input, const float* data, int64_t i, const Batch& batch) const {
    int64_t at = 0, stride = 1;
    for (int k = input.axes - 1; k >= 0; --k) {
      // Along further axes before those of y, a slice has one index.
      const int axis = k - (input.axes - y.axes);
      const int64_t length = axis < 0 ? 1 : y.lengths[axis].at(batch), own_length = input.lengths[k].at(batch);
      const int64_t index = i % length, begin = input.begin[k].fixed + input.begin[k].per_sample * batch.rows;
      int64_t place = begin + index * input.step[k];
      if (input.kind == MapInput::Kind::kPlaced) {
        const int64_t distance = index - begin;
        place = distance / input.step[k];
        if (distance % input.step[k] != 0 || place < 0 || place >= own_length) return 0.0f;
      }
      at += place * stride;
      stride *= own_length;
      i /= length;
    }
    return data[at];
  }

  __device__ void operator()(const Batch& batch) const {
    for_each(y.numbers(batch), [&](int64_t i) {
      float slots[kSlots];
      for (int n = 0; n < count; ++n) {
        const SlotInstruction each = instructions[n];
        switch (each.kind) {
          case SlotInstruction::Kind::kFunction: {
            const int operands = operand_count(each.op);
            const float a = slots[each.a], b = operands > 1 ? slots[each.b] : a, c = operands > 2 ? slots[each.c] : a;
            slots[each.y] = run_function(each.op, a, b, c, std::make_integer_sequence<int, kMapOps>{});
            break;
          }
          case SlotInstruction::Kind::kInput:
            slots[each.y] = read(inputs[each.axis], i, batch);
            break;
          case SlotInstruction::Kind::kConstant:
            slots[each.y] = each.number;
            break;
          case SlotInstruction::Kind::kSamples:
            slots[each.y] = static_cast<float>(batch.rows);
            break;
          case SlotInstruction::Kind::kCoordinate:
            slots[each.y] = coordinate(i, each.axis, batch);
            break;
        }
      }
      for (int n = 0; n < output_count; ++n) scratch[outputs[n].offset + i] = slots[outputs[n].slot];
    });
  }
};

void set_window(MapInput& input, const graph::Array& array, const graph::Window& window) {
  input.kind = window.kind == graph::Window::Kind::kSlice ? MapInput::Kind::kSlice : MapInput::Kind::kPlaced;
  std::copy_n(with_lengths(nullptr, array.shape).lengths, kMaxGpuAxes, input.lengths);
  for (size_t i = 0; i < array.shape.size(); ++i) {
    input.begin[i] = {window.selection.begin[i].fixed, window.selection.begin[i].per_sample};
    input.step[i] = window.selection.step[i];
  }
}

MapInput input_of(const Schedule& schedule, const graph::Array& array, const graph::Shape& y) {
  const Placement& place = schedule.placement(array.value);
  MapInput input{};
  input.kind = array.shape == y                ? MapInput::Kind::kSame
               : graph::is_single(array.shape) ? MapInput::Kind::kSingle
                                               : MapInput::Kind::kRepeated;
  input.constant = place.numbers;
  input.offset = place.offset;
  input.axes = with_lengths(nullptr, array.shape).axes;
  for (int i = 0; i < input.axes; ++i) input.repeats[i] = array.shape[static_cast<size_t>(i)] == graph::Extent{1, 0};
  return input;
}

template <int kSlots>
void add_map(Schedule& schedule, const graph::Map& op, const SlotCode& code) {
  std::vector<MapInput> inputs;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    inputs.push_back(input_of(schedule, op.inputs[i], op.y().shape));
    if (!op.reads_whole(i)) set_window(inputs.back(), op.inputs[i], op.windows[i]);
  }
  std::vector<MapOutput> outputs;
  for (size_t i = 0; i < op.outputs.size(); ++i) {
    outputs.push_back({schedule.placement(op.outputs[i].value).offset, code.slot(op.results[i])});
  }
  schedule.add(op, [&op, count = static_cast<int>(code.instructions().size()),
                    output_count = static_cast<int>(outputs.size()), instructions = copy_to_card(code.instructions()),
                    inputs = copy_to_card(inputs), outputs = copy_to_card(outputs)](const RunMemory& memory) {
    return for_array(memory, op.y(),
                     Map<kSlots>{memory.arguments.scratch, array_of(memory, op.y()), instructions.get(), count,
                                 output_count, inputs.get(), outputs.get()});
  });
}

void schedule_map(Schedule& schedule, const graph::Map& op) {
  constexpr int kFew = 16, kMany = 256;
  const SlotCode code(op);
  if (code.slots() <= kFew) return add_map<kFew>(schedule, op, code);
  if (code.slots() <= kMany) return add_map<kMany>(schedule, op, code);
  throw std::invalid_argument(
      "a GPU can't run an elementwise function that keeps " + std::to_string(code.slots()) +
      " numbers at a time, only up to " + std::to_string(kMany) +
      ": compute it in several functions, or on the CPU, after engine.config.set_device('cpu')");
}

}  // namespace

void add_maps(OperationRegistry& all) { all.add<graph::Map>(schedule_map); }

}  // namespace engine::cuda
