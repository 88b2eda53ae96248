"""Rules after Adam: running means of gradients, scaled in other ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._checks import above_zero, below_one, real
from engine.optimizers._rates import LearningRate
from engine.optimizers.base import Optimizer, registry
from engine.optimizers.variables import Array, OptimizerVariable

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.base import Options


# Steps after which 1 - 0.96**t / 2 is 1 in float64.
_DECAYING = 1000


class _Moments(Optimizer):
    """What Adam's kin take: how fast two running means decay.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of the first, in [0, 1).
        beta_2: decay of the second, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_1 = below_one(beta_1, "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)


@registry.register()
class Adamax(_Moments):
    """Adamax: Adam with a maximum norm of gradients in place of the root of v (Kingma and Ba, 2014, section 7.1).

    `m = beta_1 * m + (1 - beta_1) * g`, `u = max(beta_2 * u, abs(g))`,
    `w = w - learning_rate * m / ((1 - beta_1**t) * (u + epsilon))`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of u, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "adamax"

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of m and u."""
        return [["momentum", "norm"]]


@registry.register()
class Lamb(_Moments):
    """LAMB: Adam with steps in proportion to the norm of the weights, for large batches (You et al., 2020).

    m and v as Adam's; `u = m / (1 - beta_1**t) / (sqrt(v / (1 - beta_2**t)) + epsilon)`,
    `w = w - learning_rate * norm(w) / norm(u) * u`, with the norms of each weight array. The ratio is replaced by 1
    if a norm is 0.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "lamb"

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of m and v."""
        return [["momentum", "velocity"]]


@registry.register()
class Nadam(_Moments):
    """Adam with Nesterov's momentum (Dozat, 2015).

    m and v as Adam's; with `u_t = beta_1 * (1 - 0.96**t / 2)` and P_t the product of u_1 to u_t,
    `m_hat = u_(t+1) * m / (1 - P_(t+1)) + (1 - u_t) * g / (1 - P_t)`,
    `w = w - learning_rate * m_hat / (sqrt(v / (1 - beta_2**t)) + epsilon)`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "nadam"

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of m and v."""
        return [["momentum", "velocity"]]

    @property
    def variables(self) -> list[OptimizerVariable]:
        """The state: that of every optimizer, then P, which follows from the number of steps."""

        def product() -> Array:
            decay, factor = 1.0, 1.0
            steps = self.iterations
            for _ in range(min(steps, _DECAYING)):
                decay *= 0.96
                factor *= self.beta_1 * (1.0 - 0.5 * decay)
            return np.asarray(factor * self.beta_1 ** max(steps - _DECAYING, 0), np.float32)

        def compare(value: Array) -> None:
            if not np.isclose(value, product(), rtol=1e-3):
                msg = f"`u_product` is {product()} after {self.iterations} steps, so it can't become {value}"
                raise ValueError(msg)

        found = super().variables
        return [*found, OptimizerVariable("variable", (), product, compare)] if self._stateful else found


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
        """Names of m."""
        return [["momentum"]]
