"""Schedules that decay exponentially, inversely, in steps or polynomially."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine._base.checks import above_zero, flag, real, reals
from engine._base.elementary import Doubles, power
from engine.optimizers.schedules.base import Formula, registry


@registry.register()
class ExponentialDecay(Formula):
    """Exponential decay: `initial_learning_rate * decay_rate ** (step / decay_steps)`.

    Args:
        initial_learning_rate: learning rate at step 0, at least 0.
        decay_steps: number of steps in which the learning rate is multiplied by `decay_rate`, above 0.
        decay_rate: factor of the decay, at least 0.
        staircase: whether to round the exponent down to an integer.
        name: name of the schedule in its config.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = real(initial_learning_rate, "initial_learning_rate", 0.0)
        self.decay_steps = above_zero(decay_steps, "decay_steps")
        self.decay_rate = real(decay_rate, "decay_rate", 0.0)
        self.staircase = flag(staircase, "staircase")
        self.name = name

    def _values(self, steps: Doubles) -> Doubles:
        progress = _share(steps, self.decay_steps, self.staircase)
        return self.initial_learning_rate * power(self.decay_rate, progress)


@registry.register()
class InverseTimeDecay(Formula):
    """Inverse time decay: `initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Args:
        initial_learning_rate: learning rate at step 0, at least 0.
        decay_steps: number of steps after which the divisor has grown by `decay_rate`, above 0.
        decay_rate: at least 0.
        staircase: whether to round `step / decay_steps` down to an integer.
        name: name of the schedule in its config.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = real(initial_learning_rate, "initial_learning_rate", 0.0)
        self.decay_steps = above_zero(decay_steps, "decay_steps")
        self.decay_rate = real(decay_rate, "decay_rate", 0.0)
        self.staircase = flag(staircase, "staircase")
        self.name = name

    def _values(self, steps: Doubles) -> Doubles:
        progress = _share(steps, self.decay_steps, self.staircase)
        return self.initial_learning_rate / (1.0 + self.decay_rate * progress)


@registry.register()
class PiecewiseConstantDecay(Formula):
    """Piecewise constant learning rates: `values[0]` up to and including step `boundaries[0]`, and so on.

    Args:
        boundaries: ascending list of the last step of each value except the last.
        values: list of learning rates, one more than `boundaries`.
        name: name of the schedule in its config.

    Raises:
        ValueError: if `boundaries` are not ascending, or there isn't one more value than boundaries.
    """

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        self.boundaries = reals(boundaries, "boundaries")
        self.values = reals(values, "values", 0.0)
        self.name = name
        if len(self.boundaries) != len(self.values) - 1:
            msg = (
                f"`values` must hold one number more than `boundaries`, got {len(self.values)} values and "
                f"{len(self.boundaries)} boundaries"
            )
            raise ValueError(msg)
        if sorted(set(self.boundaries)) != self.boundaries:
            msg = f"`boundaries` must rise, got {self.boundaries}"
            raise ValueError(msg)

    def _values(self, steps: Doubles) -> Doubles:
        return np.array(self.values)[np.searchsorted(self.boundaries, steps, side="left")]


@registry.register()
class PolynomialDecay(Formula):
    """Polynomial decay from `initial_learning_rate` to `end_learning_rate`.

    `(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps) ** power + end_learning_rate`.

    From `decay_steps` on it stays at `end_learning_rate`; with `cycle`, `decay_steps` is replaced by its smallest
    multiple that isn't below `step`. The default `power` gives linear decay.

    Args:
        initial_learning_rate: learning rate at step 0, at least 0.
        decay_steps: above 0.
        end_learning_rate: learning rate at the end, at least 0.
        power: exponent, at least 0.
        cycle: whether to start again after each `decay_steps` steps.
        name: name of the schedule in its config.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = real(initial_learning_rate, "initial_learning_rate", 0.0)
        self.decay_steps = above_zero(decay_steps, "decay_steps")
        self.end_learning_rate = real(end_learning_rate, "end_learning_rate", 0.0)
        self.power = real(power, "power", 0.0)
        self.cycle = flag(cycle, "cycle")
        self.name = name

    def _values(self, steps: Doubles) -> Doubles:
        length = np.full_like(steps, self.decay_steps)
        if self.cycle:
            length *= np.maximum(np.ceil(steps / self.decay_steps), 1.0)
        left = 1.0 - np.minimum(steps, length) / length
        return (self.initial_learning_rate - self.end_learning_rate) * power(
            left, self.power
        ) + self.end_learning_rate


def _share(steps: Doubles, decay_steps: float, staircase: bool) -> Doubles:
    progress = steps / decay_steps
    return np.floor(progress) if staircase else progress
