"""Rules that step along the gradient or its momentum, whatever its size: SGD and Lion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine._base.checks import above_zero, flag, real
from engine.optimizers.optimizer import LearningRate, Optimizer, registry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.optimizer import Options

__all__ = ["SGD", "Lion"]


@registry.register()
class SGD(Optimizer):
    """Gradient descent, optionally with momentum (Polyak, 1964; Nesterov: Sutskever et al., 2013).

    With `v` starting at 0: `v = momentum * v - learning_rate * g`, then `w = w + v`, or
    `w = w + momentum * v - learning_rate * g` with `nesterov`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        momentum: factor of the previous step, in [0, 1]; 0 is plain gradient descent.
        nesterov: whether to use Nesterov momentum.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "sgd"

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.momentum = real(momentum, "momentum", 0.0, 1.0)
        self.nesterov = flag(nesterov, "nesterov")

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """The state of each weight: with momentum v, else nothing."""
        return [["momentum"]] if self.momentum > 0 else []


@registry.register()
class Lion(Optimizer):
    """Lion: steps of constant size along the sign of an average of gradients (Chen et al., 2023).

    `w = w - learning_rate * sign(beta_1 * m + (1 - beta_1) * g)`, `m = beta_2 * m + (1 - beta_2) * g`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: fraction of m in the direction of the step, above 0 and at most 1.
        beta_2: decay of m, in [0, 1].
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "lion"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_1 = above_zero(beta_1, "beta_1", 1.0)
        self.beta_2 = real(beta_2, "beta_2", 0.0, 1.0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """The state of each weight: m."""
        return [["momentum"]]
