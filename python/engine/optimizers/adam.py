"""Adam and the rules that follow from it: moving averages of gradients, scaled by those of their squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base.checks import above_zero, below_one, flag, integer, real
from engine._core_interface.cpp import OptimizerState, read_arrays
from engine.layers.variable import Variable, View
from engine.optimizers.optimizer import LearningRate, Optimizer, registry
from engine.optimizers.variables import Array, StateArray

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.optimizer import Options

__all__ = ["Adam", "AdamW", "Adamax", "Lamb", "Nadam", "ScheduleFreeAdamW"]


_CONSTANT_AFTER = 1000
"""Number of steps after which `1 - 0.96**t / 2` is 1 in float64."""


@registry.register()
class Adam(Optimizer):
    """Adam: steps scaled by moving averages of the gradient and of its square (Kingma and Ba, 2014).

    `m = beta_1 * m + (1 - beta_1) * g`, `v = beta_2 * v + (1 - beta_2) * g**2`,
    `w = w - learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`: the paper's
    second form, as in Keras, where epsilon isn't corrected for the bias.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        amsgrad: whether to use the largest v so far instead of v (Reddi et al., 2018).
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_1 = below_one(beta_1, "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.amsgrad = flag(amsgrad, "amsgrad")

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """The state of each weight: m and v, and with `amsgrad` the largest v."""
        return [["momentum", "velocity"], *([["velocity_hat"]] if self.amsgrad else [])]


@registry.register()
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Each step first computes `w = w - learning_rate * weight_decay * w`, then the step of Adam with the gradient
    from before. Unlike an L2 penalty, the decay doesn't depend on the gradients. As in Keras, biases decay too
    unless
    `exclude_from_weight_decay(var_names=["bias"])` leaves them out.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        weight_decay: factor of the decay, at least 0.
        beta_1: decay of m, in [0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        amsgrad: whether to use the largest v so far instead of v (Reddi et al., 2018).
        shared: further arguments of `Optimizer` after `weight_decay`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        *shared: Any,
        **options: Any,
    ) -> None:
        decay = real(weight_decay, "weight_decay", 0.0)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, decay, *shared, **options)


class _Moments(Optimizer):
    """The arguments that Adamax, Lamb and Nadam share.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: decay of the first moving average, in [0, 1).
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
        """The state of each weight: m and u."""
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
        """The state of each weight: m and v."""
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
        """The state of each weight: m and v."""
        return [["momentum", "velocity"]]

    def _variables_of(self, state: OptimizerState) -> list[Variable]:
        """Returns the arrays of each weight, and P, which follows from the number of steps."""

        def product() -> Array:
            decay, factor = 1.0, 1.0
            steps = self._steps
            for _ in range(min(steps, _CONSTANT_AFTER)):
                decay *= 0.96
                factor *= self.beta_1 * (1.0 - 0.5 * decay)
            return np.asarray(factor * self.beta_1 ** max(steps - _CONSTANT_AFTER, 0), np.float32)

        def compare(value: Array) -> None:
            if not np.isclose(value, product(), rtol=1e-3):
                msg = f"`u_product` is {product()} after {self._steps} steps, so it can't become {value}"
                raise ValueError(msg)

        return [*super()._variables_of(state), Variable._view("variable", (), View(product, compare))]


@registry.register()
class ScheduleFreeAdamW(Optimizer):
    """Adam's steps without a learning rate schedule (Defazio et al., The Road Less Scheduled, 2024).

    z is what the steps change, x is the mean of all z so far, and the weights are `w = (1 - beta_1) * z + beta_1 * x`, in
    training and in predictions, as in Keras:
    `v = beta_2 * v + (1 - beta_2) * g**2`,
    `z = z - learning_rate * min(t / warmup_steps, 1) * g / (sqrt(v / (1 - beta_2**t)) + epsilon)`,
    `x = x + (z - x) / t`. At the first step z and x are the weights.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_1: share of x in the weights, in (0, 1).
        beta_2: decay of v, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        warmup_steps: number of steps in which the step size grows to `learning_rate`.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "schedule_free_adamw"

    def __init__(
        self,
        learning_rate: LearningRate = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_1 = above_zero(below_one(beta_1, "beta_1"), "beta_1")
        self.beta_2 = below_one(beta_2, "beta_2")
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.warmup_steps = integer(warmup_steps, "warmup_steps", 0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """The state of each weight: z and v."""
        return [["momentum", "velocity"]]

    def _arrays(self, state: OptimizerState, index: int, arrays: Mapping[str, StateArray]) -> list[Variable]:
        """Returns the arrays of one weight; before the first step, z reads as the weight itself."""
        variables = super()._arrays(state, index, arrays)
        if "momentum" in arrays:
            momentum = variables[0]

            def read() -> Array:
                return momentum.numpy() if self._batches else read_arrays([state.arrays[index]])[0]

            variables[0] = Variable._view(momentum.path, momentum.shape, View(read, momentum.assign))
        return variables
