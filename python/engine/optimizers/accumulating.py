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
    """RMSprop: divides gradients by the root of a moving average of their squares (Tieleman and Hinton, 2012).

    `v = rho * v + (1 - rho) * g**2`, `d = learning_rate * g / sqrt(v + epsilon)`, `w = w - d`; with momentum
    `u = momentum * u + d`, `w = w - u`. With `centered` the square of the moving average of g is subtracted from v.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        rho: decay of the moving averages, in [0, 1).
        momentum: factor of the previous step, in [0, 1]; 0 turns momentum off.
        epsilon: small number that avoids division by 0, at least 0.
        centered: whether to divide by an estimate of the gradient's variance.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
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
    """Adagrad: gradients are divided by the root of the sum of all their squares (Duchi et al., 2011).

    `a = a + g**2`, `w = w - learning_rate * g / sqrt(a + epsilon)`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        initial_accumulator_value: initial value of a, at least 0.
        epsilon: small number that avoids division by 0, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
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
    """Adadelta: scales steps by moving averages of squared gradients and squared steps (Zeiler, 2012).

    `a = rho * a + (1 - rho) * g**2`, `d = -sqrt(b + epsilon) / sqrt(a + epsilon) * g`,
    `b = rho * b + (1 - rho) * d**2`, `w = w + learning_rate * d`. The paper's learning rate is 1.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        rho: decay of the moving averages, in [0, 1).
        epsilon: small number that avoids division by 0, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
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
    """FTRL, "follow the regularized leader", whose L1 penalty gives sparse weights (McMahan et al., 2013).

    With `p = -learning_rate_power`: `b = a + g**2`,
    `z = z + g + 2 * l2_shrinkage * w - (b**p - a**p) / learning_rate * w`,
    `w = (clip(z, -l1, l1) - z) / (b**p / learning_rate + 2 * l2 + beta / learning_rate)`, `a = b`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        learning_rate_power: exponent of the decay of the learning rate, at most 0; 0 keeps it constant.
        initial_accumulator_value: initial value of a, at least 0.
        l1_regularization_strength: factor of the L1 penalty, at least 0.
        l2_regularization_strength: factor of the L2 penalty, at least 0.
        l2_shrinkage_regularization_strength: factor of an L2 penalty that is added to the gradient, at least 0.
        beta: the parameter beta of the paper, at least 0.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
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
