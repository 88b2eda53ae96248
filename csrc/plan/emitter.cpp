#include "plan/emitter.h"

#include "kernels/packed_blocks.h"
#include "plan/costs.h"

namespace engine {

Emitter::Emitter(const Parameters& parameters, const OptimizerSpec& optimizer, Plan::Mode mode, int64_t max_rows,
                 int threads)
    : parameters_(parameters), optimizer_(optimizer) {
  plan.mode = mode;
  plan.max_rows = max_rows;
  plan.threads = threads;
}

int Emitter::add_batch_buffer(int64_t groups, int64_t columns, Split split) {
  const int index = add_buffer(plan.max_rows * groups, columns, split);
  plan.buffers.back().groups = groups;
  return index;
}

int Emitter::add_buffer(int64_t rows, int64_t columns, Split split) {
  const int index = engine::add_buffer(plan, rows, columns);
  if (split == Split::kEveryone) give_copies(plan, index);
  return index;
}

Split Emitter::forward_split(int64_t units) const {
  if (plan.threads == 1) return Split::kSamples;
  if (training()) return feeds_all(units, plan.threads) ? Split::kUnits : Split::kSamples;
  return feeds_all(plan.max_rows, plan.threads) ? Split::kSamples : Split::kUnits;
}

int Emitter::room_for(int64_t rows, int64_t inputs, int64_t units) {
  if (!pays_to_pack(rows, inputs, units, plan.threads)) return -1;
  const bool more = rows > kBlockRows;
  int& room = rooms_[more ? 1 : 0];
  if (room < 0) room = add_packed_room(plan, more ? rows : kBlockRows);
  return room;
}

void Emitter::record_images(int64_t units) {
  const bool all_rows = plan.threads == 1 || forward_split(units) == Split::kUnits;
  if (!training() || !one_team || !all_rows || !pays_to_find_zeros(units)) return;
  const int64_t inputs = buffer(images).columns;
  recording_.split = Split::kSamples;
  recording_.in = images;
  recording_.out = recording_.records = add_team_records(plan, inputs);
  recording_.saved = add_buffer(1, inputs + kLane, Split::kEveryone);
  recording_.nonzeros = add_nonzeros(plan, inputs);
  emit(recording_);
}

int Emitter::add_activity(int64_t groups) {
  if (predicts()) return -1;
  plan.activities.push_back({engine::add_buffer(plan, 1, plan.max_rows * groups), groups});
  return plan.activities.back().sums;
}

void Emitter::reads_input(Step& step) const {
  if (recording_.in >= 0 && step.in == recording_.in) {
    step.nonzeros = recording_.nonzeros;
    step.records = recording_.records;
  }
  if (step.in != input.out || !(input.reads_rows || input.compressed)) return;
  step.reads_rows = !input.compressed;
  step.compressed = input.compressed;
  step.nonzeros = input.nonzeros;
  step.pointers = input.pointers;
}

const Emission& emission_of(Operation::Kind kind) {
  switch (kind) {
    case Operation::Kind::kDense:
      return kDenseEmission;
    case Operation::Kind::kActivation:
      return kActivationEmission;
    case Operation::Kind::kRowActivation:
      return kRowActivationEmission;
    case Operation::Kind::kDropout:
      return kDropoutEmission;
    case Operation::Kind::kAffine:
      return kAffineEmission;
    case Operation::Kind::kTake:
      return kTakeEmission;
    case Operation::Kind::kNoise:
      return kNoiseEmission;
    case Operation::Kind::kLearned:
      return kLearnedEmission;
    case Operation::Kind::kStandardizeColumns:
      return kStandardizeColumnsEmission;
    case Operation::Kind::kStandardizeRows:
      return kStandardizeRowsEmission;
    case Operation::Kind::kEmbed:
      return kEmbedEmission;
    case Operation::Kind::kEncode:
      return kEncodeEmission;
    case Operation::Kind::kCustom:
      return kCustomEmission;
    case Operation::Kind::kWarp:
      return kWarpEmission;
    case Operation::Kind::kMean:
      return kMeanEmission;
    case Operation::Kind::kMask:
      return kMaskEmission;
    case Operation::Kind::kActivity:
      return kActivityEmission;
    case Operation::Kind::kReshape:
      break;
  }
  return kReshapeEmission;
}

}  // namespace engine
