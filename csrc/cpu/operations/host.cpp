// Steps that the caller does: the device stops before them.
#include "cpu/scheduler.h"
#include "graph/operations/host_array.h"
#include "graph/operations/host_layer.h"
#include "graph/operations/loss.h"
#include "graph/operations/optimizer.h"
#include "graph/operations/weight_penalty.h"

namespace engine::cpu {
namespace {

template <class Op>
void nothing(const Op&, const ThreadContext&) {}

template <class Op>
void add(OperationRegistry& all) {
  all.add<Op>(nothing<Op>, by_first_thread<Op>);
}

}  // namespace

void add_host(OperationRegistry& all) {
  add<graph::HostArray>(all);
  add<graph::HostLayer>(all);
  add<graph::HostLayerGradient>(all);
  add<graph::HostActivityPenalty>(all);
  add<graph::HostActivityPenaltyGradient>(all);
  add<graph::HostLoss>(all);
  add<graph::HostMetrics>(all);
  add<graph::HostPenalty>(all);
  add<graph::HostConstraint>(all);
}

}  // namespace engine::cpu
