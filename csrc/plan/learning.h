// How variables follow their gradients. SGD with or without momentum and Adam can step a kernel and a bias in the
// epilogue of the product that gives their gradient, l2 penalties and weight decay included: then the gradient never
// reaches memory. For everything else, for every variable that is not a dense layer's, and for those that several
// layers share, the backward step stores the gradient, and after the backward pass a few steps per variable take it
// from there: penalties join it, batches are accumulated, norms are taken for clipping, the rule steps the weights,
// their running mean follows.
#pragma once
#include <vector>

#include "plan/plan.h"

namespace engine {

/// Whether a product may step `variable` (-1: no variable, which is fine).
bool can_fuse(const OptimizerSpec& optimizer, const Parameters& parameters, int variable);

/// Emits a step that writes gradients by `variables` (-1: none), and has `emit_learning` step these; call it while the
/// backward pass is emitted. Where the pass has been to a layer with the same variables, what it stored there is added
/// to.
void emit_gradients(Plan& plan, const Parameters& parameters, Step step, const std::vector<int>& variables);

/// Emits what follows the backward pass.
void emit_learning(Plan& plan, const Parameters& parameters, const OptimizerSpec& optimizer);

/// Whether the caller computes a penalty on the weights, before the forward pass.
bool has_host_penalty(const Parameters& parameters);

/// Emits the sums of what penalties on the weights add to the loss.
void emit_penalties(Plan& plan, const Parameters& parameters);

/// How steps that touch each weight of `variable` once are split: like the dense layer's gradient.
Split weights_split(const Variable& variable, int threads);

}  // namespace engine
