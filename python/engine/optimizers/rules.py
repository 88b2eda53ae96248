"""How weights follow their gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine._checks import below_one, flag, real
from engine.optimizers.base import Optimizer, registry
from engine.optimizers.schedules import LearningRateSchedule

LearningRate = float | LearningRateSchedule | Mapping[str, Any]


@registry.register()
class SGD(Optimizer):
    """Gradient descent, with momentum if asked for (Polyak, 1964; Nesterov: Sutskever et al., 2013).

    With `v` starting at 0: `v = momentum * v - learning_rate * g`, then `w = w + v`, or
    `w = w + momentum * v - learning_rate * g` with `nesterov`.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        momentum: in [0, 1]; 0 is plain gradient descent.
        nesterov: whether to look one step ahead.
        weight_decay: `w = w - learning_rate * weight_decay * w` before each step, at least 0; None is 0.
        name: for the config alone.
    """

    kind = "sgd"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, name=name)
        self.momentum = real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = flag(nesterov, "nesterov")

    @property
    def slots(self) -> int:
        """One with momentum, else none."""
        return int(self.momentum > 0)


@registry.register()
class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma and Ba, 2014).

    `m = beta_1 * m + (1 - beta_1) * g`, `v = beta_2 * v + (1 - beta_2) * g**2`,
    `w = w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`: the paper's
    second form, as in Keras, where epsilon isn't corrected for the bias.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: keeps the division finite, at least 0.
        weight_decay: `w = w - learning_rate * weight_decay * w` before each step, at least 0; None is 0.
        name: for the config alone.
    """

    kind = "adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        weight_decay: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, name=name)
        self.beta_1 = below_one(beta_1, "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)

    @property
    def slots(self) -> int:
        """Two: m and v."""
        return 2


@registry.register()
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    `w = w - learning_rate * weight_decay * w`, then Adam's step with the gradient taken before. Unlike an l2
    penalty the decay isn't divided by the gradient's size. As in Keras, biases decay too unless
    `exclude_from_weight_decay(var_names=["bias"])` leaves them out.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        weight_decay: at least 0.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: keeps the division finite, at least 0.
        name: for the config alone.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay=real(weight_decay, "weight_decay", 0.0),
            name=name,
        )
