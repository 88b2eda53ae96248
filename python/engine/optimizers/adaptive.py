"""Rules that divide gradients by sums or moving averages of their squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base.checks import Shape, above_zero, below_one, flag, real
from engine._core_interface.cpp import OptimizerState
from engine.layers.variable import Variable, View
from engine.optimizers.optimizer import LearningRate, Optimizer, registry
from engine.optimizers.variables import Array, Tracked

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.optimizer import Options

__all__ = ["Adadelta", "Adafactor", "Adagrad", "Ftrl", "RMSprop"]


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
        """The state of each weight: v, with momentum u, and with `centered` the average of g."""
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
        """The state of each weight: a."""
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
        """The state of each weight: a and b."""
        return [["accumulated_grad", "accumulated_delta_var"]]


@registry.register()
class Adafactor(Optimizer):
    """Adafactor, which stores second moments of matrices in factored form (Shazeer and Stern, 2018).

    With `b = 1 - t**beta_2_decay` and `s = g**2 + epsilon_1`: for matrices (arrays with more axes consist of
    matrices), `r = b * r + (1 - b) * mean(s, axis=1)`, `c = b * c + (1 - b) * mean(s, axis=0)`, `v = outer(r /
    mean(r), c)`; else
    `v = b * v + (1 - b) * s`. Then `u = g / sqrt(v)`, `u = u / max(1, rms(u) / clip_threshold)`,
    `w = w - max(epsilon_2, rms(w)) * min(learning_rate, 1 / sqrt(t)) * u`.

    Args:
        learning_rate: step size, a number of at least 0, or a schedule.
        beta_2_decay: exponent of the decay of second moments, at most 0.
        epsilon_1: small number added to squared gradients, above 0.
        epsilon_2: lower bound of the root mean square of weights that scales steps, at least 0.
        clip_threshold: largest root mean square of u, above 0.
        relative_step: Ignored, as in Keras: the step size is always at most `1 / sqrt(t)`.
        shared: further arguments of `Optimizer`, by position.
        options: further arguments of `Optimizer`, by keyword.
    """

    _kind = "adafactor"

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        learning_rate: LearningRate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        *shared: Any,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, *shared, **options)
        self.beta_2_decay = real(beta_2_decay, "beta_2_decay", high=0.0)
        self.epsilon_1 = above_zero(epsilon_1, "epsilon_1")
        self.epsilon_2 = real(epsilon_2, "epsilon_2", 0.0)
        self.clip_threshold = above_zero(clip_threshold, "clip_threshold")
        self.relative_step = flag(relative_step, "relative_step")

    def _variables_of(self, state: OptimizerState) -> list[Variable]:
        """Returns r, c and v for each weight. For vectors, r and c are 0."""
        of_weights = [each for index in self._trainable_indices for each in self._moments(state, index)]
        return super()._variables_of(state) + of_weights

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """Returns the rule for the core, which wants the exponent without its sign."""
        return super()._lower(weights) | {"decay": -self.beta_2_decay}

    def _moments(self, state: OptimizerState, index: int) -> list[Variable]:
        """Returns r, c and v of weight `index`."""
        weight, (v,) = self._tracked[index], self._arrays(state, index, {"velocity": ("slot", 0)})
        if len(v.shape) < 2:  # noqa: PLR2004 # a vector
            return [_zero(weight.name), _zero(weight.name), v]
        path, rows, columns = f"{self.name}/{weight.name}", v.shape[:-1], (*v.shape[:-2], v.shape[-1])
        return [
            _part(path, rows, state, (index, 2), lambda slot: slot[..., 0]),
            _part(path, columns, state, (index, 1), lambda slot: slot[..., 0, :]),
            v,
        ]


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
        """The state of each weight: a and z."""
        return [["accumulator", "linear"]]

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """Returns the rule for the core, which wants the exponent without its sign."""
        return super()._lower(weights) | {"exponent": -self.learning_rate_power}


def _part(
    path: str,
    shape: Shape,
    state: OptimizerState,
    index_and_slot: tuple[int, int],
    part: Callable[[Array], Array],
) -> Variable:
    """Returns r or c as a variable: the core keeps it in one column or row of a slot as large as the weight."""
    index, slot = index_and_slot

    def write(value: Array) -> None:
        arrays = state.read("slot", slot, index=index)
        part(arrays[0])[...] = value
        state.write("slot", slot, arrays, index=index)

    def read() -> Array:
        return part(state.read("slot", slot, index=index)[0]).copy()

    return Variable._view(path, shape, View(read, write))


def _zero(path: str) -> Variable:
    """Returns the constant 0 that Keras keeps as r and c of a vector."""

    def refuse(value: Array) -> None:
        if value != 0:
            msg = f"{path!r} is no matrix, so its means of rows and columns stay 0, got {value}"
            raise ValueError(msg)

    return Variable._view(path, (), View(lambda: np.asarray(0, np.float32), refuse))
