"""Rules that scale each weight's step by sums or means of its squared gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine._checks import below_one, flag, real
from engine.optimizers._rates import LearningRate
from engine.optimizers.base import Optimizer, registry
from engine.optimizers.variables import Tracked

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.base import Options


@registry.register()
class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of squared gradients (Tieleman and Hinton, 2012).

    `v = rho * v + (1 - rho) * g**2`, `d = learning_rate * g / sqrt(v + epsilon)`, `w = w - d`; with momentum
    `u = momentum * u + d`, `w = w - u`. With `centered` the square of the running mean of g is taken from v.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        rho: decay of the means, in [0, 1).
        momentum: in [0, 1]; 0 is none.
        epsilon: keeps the division finite, at least 0.
        centered: whether to divide by an estimate of the gradient's variance.
        shared: the arguments of every `Optimizer`, in its order.
        options: the same, by name.
    """

    _kind = "rmsprop"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.rho = below_one(rho, "rho")
        self.momentum = real(momentum, "momentum", 0.0, 1.0)
        self.epsilon = real(epsilon, "epsilon", 0.0)
        self.centered = flag(centered, "centered")

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of v, and with momentum u, and with `centered` the mean."""
        return [
            ["velocity"],
            *([["momentum"]] if self.momentum > 0 else []),
            *([["average_gradient"]] if self.centered else []),
        ]


@registry.register()
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al., 2011).

    `a = a + g**2`, `w = w - learning_rate * g / sqrt(a + epsilon)`.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        initial_accumulator_value: where a starts, at least 0.
        epsilon: keeps the division finite, at least 0.
        shared: the arguments of every `Optimizer`, in its order.
        options: the same, by name.
    """

    _kind = "adagrad"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.initial_accumulator_value = real(initial_accumulator_value, "initial_accumulator_value", 0.0)
        self.epsilon = real(epsilon, "epsilon", 0.0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of a."""
        return [["accumulator"]]


@registry.register()
class Adadelta(Optimizer):
    """Steps in the weights' own unit, by running means of squared gradients and squared steps (Zeiler, 2012).

    `a = rho * a + (1 - rho) * g**2`, `d = -sqrt(b + epsilon) / sqrt(a + epsilon) * g`,
    `b = rho * b + (1 - rho) * d**2`, `w = w + learning_rate * d`. The paper's learning rate is 1.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        rho: decay of the means, in [0, 1).
        epsilon: keeps the division finite, at least 0.
        shared: the arguments of every `Optimizer`, in its order.
        options: the same, by name.
    """

    _kind = "adadelta"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.rho = below_one(rho, "rho")
        self.epsilon = real(epsilon, "epsilon", 0.0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of a and b."""
        return [["accumulated_grad", "accumulated_delta_var"]]


@registry.register()
class Ftrl(Optimizer):
    """Follow the regularized leader: sparse weights by l1 (McMahan et al., 2013).

    With `p = -learning_rate_power`: `b = a + g**2`,
    `z = z + g + 2 * l2_shrinkage * w - (b**p - a**p) / learning_rate * w`,
    `w = (clip(z, -l1, l1) - z) / (b**p / learning_rate + 2 * l2 + beta / learning_rate)`, `a = b`.

    Args:
        learning_rate: step size, at least 0, or a schedule.
        learning_rate_power: at most 0; 0 keeps the learning rate as it is.
        initial_accumulator_value: where a starts, at least 0.
        l1_regularization_strength: at least 0.
        l2_regularization_strength: at least 0.
        l2_shrinkage_regularization_strength: at least 0; a penalty on the size that isn't part of w's own rule.
        beta: at least 0; the paper's.
        shared: the arguments of every `Optimizer`, in its order.
        options: the same, by name.
    """

    _kind = "ftrl"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        learning_rate: LearningRate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.learning_rate_power = real(learning_rate_power, "learning_rate_power", high=0.0)
        self.initial_accumulator_value = real(initial_accumulator_value, "initial_accumulator_value", 0.0)
        self.l1_regularization_strength = real(l1_regularization_strength, "l1_regularization_strength", 0.0)
        self.l2_regularization_strength = real(l2_regularization_strength, "l2_regularization_strength", 0.0)
        self.l2_shrinkage_regularization_strength = real(
            l2_shrinkage_regularization_strength, "l2_shrinkage_regularization_strength", 0.0
        )
        self.beta = real(beta, "beta", 0.0)

    @property
    def _slots(self) -> Sequence[Sequence[str]]:
        """Names of a and z."""
        return [["accumulator", "linear"]]

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """With the exponent as the core reads it."""
        return super()._lower(weights) | {"exponent": -self.learning_rate_power}
