"""Muon: steps of matrices along nearly orthogonal matrices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from engine._base.checks import below_one, flag, integer, real, require
from engine._core_interface.cpp import OptimizerState
from engine.layers.variable import Variable
from engine.optimizers.optimizer import LearningRate, Optimizer, nonnegative_or_none, registry
from engine.optimizers.variables import StateArray, Tracked

_MATRIX = 2
_MOST_ROUNDS = 1000

__all__ = ["Muon"]


@registry.register()
class Muon(Optimizer):
    """Muon: orthogonalized momentum for matrices, and AdamW for other weights (Jordan et al., 2024).

    `m = momentum * m + g`, `x = (g + momentum * m) / (norm + 1e-7)`, then `ns_steps` times with `A = x @ x.T`
    `x = muon_a * x + (muon_b * A + muon_c * A @ A) @ x` (for tall matrices transposed), and
    `w = w - learning_rate * rms_rate * sqrt(max(rows, columns)) * x` (Liu et al., Muon is Scalable for LLM Training, 2025).

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        adam_beta_1: decay of Adam's m, in [0, 1).
        adam_beta_2: decay of Adam's v, in [0, 1).
        adam_weight_decay: `weight_decay` for weights that Adam updates; None is 0.
        epsilon: small number that avoids division by 0 in Adam, at least 0.
        weight_decay: weight decay of matrices, as for every `Optimizer`.
        clipnorm: as for every `Optimizer`.
        clipvalue: as for every `Optimizer`.
        global_clipnorm: as for every `Optimizer`.
        use_ema: as for every `Optimizer`.
        ema_momentum: as for every `Optimizer`.
        ema_overwrite_frequency: as for every `Optimizer`.
        loss_scale_factor: as for every `Optimizer`.
        gradient_accumulation_steps: as for every `Optimizer`.
        name: as for every `Optimizer`.
        exclude_layers: list of regular expressions. Adam updates weights whose path, such as "dense_2/kernel",
            contains one of them. Exclude the last layer for best results.
        exclude_embeddings: whether Adam updates embeddings.
        muon_a: first coefficient of the iteration.
        muon_b: second coefficient.
        muon_c: third coefficient.
        adam_lr_ratio: factor of the learning rate for Adam, at least 0.
        momentum: decay of m, in [0, 1).
        ns_steps: number of iterations, 0 to 1000.
        nesterov: whether to use Nesterov momentum. Otherwise the direction is m.
        rms_rate: factor of the step. None omits it and the square root.
        decay: as for every `Optimizer`.
    """

    _kind = "muon"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        learning_rate: LearningRate = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        decay: float | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            decay,
        )
        require((tuple, list), exclude_layers, "exclude_layers", "a list of strings such as ['dense_2']")
        self.adam_beta_1 = below_one(adam_beta_1, "adam_beta_1")
        self.adam_beta_2 = below_one(adam_beta_2, "adam_beta_2")
        self.adam_weight_decay = nonnegative_or_none(adam_weight_decay, "adam_weight_decay")
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = flag(exclude_embeddings, "exclude_embeddings")
        self.muon_a, self.muon_b = real(muon_a, "muon_a"), real(muon_b, "muon_b")
        self.muon_c = real(muon_c, "muon_c")
        self.adam_lr_ratio = real(adam_lr_ratio, "adam_lr_ratio", 0.0)
        self.momentum = below_one(momentum, "momentum")
        self.ns_steps = integer(ns_steps, "ns_steps", 0, _MOST_ROUNDS)
        self.nesterov = flag(nesterov, "nesterov")
        self.rms_rate = nonnegative_or_none(rms_rate, "rms_rate")

    def _variables_of(self, state: OptimizerState) -> list[Variable]:
        """Returns for each weight its m, and v if Adam updates it."""
        variables = super()._variables_of(state)
        for index in self._trainable_indices:
            names = ("momentum", "velocity")[: 2 - self._orthogonalises(self._tracked[index])]
            arrays: dict[str, StateArray] = {name: ("slot", slot) for slot, name in enumerate(names)}
            variables += self._arrays(state, index, arrays)
        return variables

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """Returns the rule for the core, and which weights it orthogonalises."""
        return super()._lower(weights) | {
            "nesterov": float(self.nesterov),
            "rms_rate": self.rms_rate or 0.0,
            "orthogonalised": [self._orthogonalises(weight) for weight in weights],
        }

    def _decay_of(self, weight: Tracked) -> float:
        if self._orthogonalises(weight):
            return super()._decay_of(weight)
        return 0.0 if self._excludes(weight) else self.adam_weight_decay or 0.0

    def _orthogonalises(self, weight: Tracked) -> bool:
        """Returns whether the weight is updated by Muon itself; Adam updates the others."""
        left_out = any(re.search(name, weight.path) for name in self.exclude_layers)
        embedding = self.exclude_embeddings and "embedding" in weight.path.lower()
        return len(weight.shape) == _MATRIX and not left_out and not embedding
