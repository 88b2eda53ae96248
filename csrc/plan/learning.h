// How variables follow their gradients. SGD with or without momentum and Adam can step a kernel and a bias in the
// epilogue of the product that gives their gradient, l2 penalties and weight decay included: then the gradient never
// reaches memory. For everything else, and for every variable that is not a dense layer's, the backward step stores the
// gradient, and after the backward pass a few steps per variable take it from there: penalties join it, batches are
// accumulated, norms are taken for clipping, the rule steps the weights, their running mean follows.
#pragma once
#include "plan/plan.h"

namespace engine {

/// Whether a product may step `variable` (-1: no variable, which is fine).
bool can_fuse(const OptimizerSpec& optimizer, const Parameters& parameters, int variable);

/// Gives `variable` a place for its gradient and has `emit_learning` step it: call it while the backward pass is
/// emitted, for a variable that a step of its own writes the gradient of.
void store_gradient(Plan& plan, const Parameters& parameters, int variable);

/// Emits what follows the backward pass.
void emit_learning(Plan& plan, const Parameters& parameters, const OptimizerSpec& optimizer);

/// Whether the caller computes a penalty on the weights, between the loss and the backward pass.
bool has_host_penalty(const Parameters& parameters);

/// Emits the sums of what penalties on the weights add to the loss.
void emit_penalties(Plan& plan, const Parameters& parameters);

/// How steps that touch each weight of `variable` once are split: like the dense layer's gradient.
Split weights_split(const Variable& variable, int threads);

}  // namespace engine
