"""How weights follow their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._checks import below_one, flag, real
from engine._program import Program
from engine._spec import Registry, Spec, snake_case


class Optimizer(Spec):
    """Base class: an update rule. A subclass stores the rule's options; the core runs the rule.

    Args:
        learning_rate: step size, at least 0. May be read and assigned at any time; a new value counts from the
            next batch on, or from the next epoch on when no callback looks at batches.
        name: for the config alone.
    """

    def __init__(self, learning_rate: float, *, name: str | None = None) -> None:
        self.learning_rate = learning_rate
        self.name = name or snake_case(type(self).__name__)
        self._program: Program | None = None

    @property
    def learning_rate(self) -> float:
        """The step size."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = real(value, "learning_rate", 0.0)

    @property
    def iterations(self) -> int:
        """Steps taken since `compile`."""
        return 0 if self._program is None else self._program.iterations

    @property
    def slots(self) -> int:
        """Arrays of state per weight array."""
        return 0

    def learning_rates(self, steps: int) -> NDArray[np.float64]:
        """The step sizes of the next `steps` batches."""
        return np.full(steps, self._learning_rate)

    def lower(self) -> dict[str, Any]:
        """The rule as the core reads it; the learning rate comes with each run."""
        options = {
            key: value for key, value in self.get_config().items() if key not in ("learning_rate", "name")
        }
        return {"kind": snake_case(type(self).__name__)} | options

    def follow(self, program: Program) -> None:
        """Take `iterations` from `program` from now on."""
        self._program = program


_registry: Registry[Optimizer] = Registry("optimizer", Optimizer)
get = _registry.get


@_registry.register()
class SGD(Optimizer):
    """Gradient descent, with momentum if asked for (Polyak, 1964; Nesterov: Sutskever et al., 2013).

    With `v` starting at 0: `v = momentum * v - learning_rate * g`, then `w = w + v`, or
    `w = w + momentum * v - learning_rate * g` with `nesterov`.

    Args:
        learning_rate: step size, at least 0.
        momentum: in [0, 1]; 0 is plain gradient descent.
        nesterov: whether to look one step ahead.
        name: for the config alone.
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name=name)
        self.momentum = real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = flag(nesterov, "nesterov")

    @property
    def slots(self) -> int:
        """One with momentum, else none."""
        return int(self.momentum > 0)


@_registry.register()
class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma and Ba, 2014).

    `m = beta_1 * m + (1 - beta_1) * g`, `v = beta_2 * v + (1 - beta_2) * g**2`,
    `w = w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`: the paper's
    second form, as in Keras, where epsilon isn't corrected for the bias.

    Args:
        learning_rate: step size, at least 0.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: keeps the division finite, at least 0.
        name: for the config alone.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name=name)
        self.beta_1 = below_one(beta_1, "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)

    @property
    def slots(self) -> int:
        """Two: m and v."""
        return 2
