"""Schedules that follow a cosine."""

from __future__ import annotations

import numpy as np

from engine._base.checks import above_zero, real
from engine._base.elementary import Doubles, cos_pi, power
from engine.optimizers.schedules.base import Formula, registry


@registry.register()
class CosineDecay(Formula):
    """Cosine decay, optionally after a linear warm-up (Loshchilov and Hutter, 2016).

    With `s` steps since the warm-up: `peak * ((1 - alpha) * (1 + cos(pi * s / decay_steps)) / 2 + alpha)`, where the
    peak is `warmup_target`, or `initial_learning_rate` without a warm-up. From `decay_steps` on it stays at
    `peak * alpha`. The warm-up is a straight line from `initial_learning_rate` to `warmup_target`.

    Args:
        initial_learning_rate: learning rate at step 0, at least 0.
        decay_steps: number of steps of the decay, after the warm-up, above 0.
        alpha: final learning rate as a fraction of the peak, in [0, 1].
        name: name of the schedule in its config.
        warmup_target: peak of the learning rate, at least 0; None omits the warm-up.
        warmup_steps: number of steps of the warm-up, at least 0.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = real(initial_learning_rate, "initial_learning_rate", 0.0)
        self.decay_steps = above_zero(decay_steps, "decay_steps")
        self.alpha = real(alpha, "alpha", 0.0, 1.0)
        self.name = name
        self.warmup_target = None if warmup_target is None else real(warmup_target, "warmup_target", 0.0)
        self.warmup_steps = real(warmup_steps, "warmup_steps", 0.0)

    def _values(self, steps: Doubles) -> Doubles:
        first, peak, warm = self.initial_learning_rate, self.warmup_target, self.warmup_steps
        if peak is None:
            peak, warm = first, 0.0
        progress = np.clip(steps - warm, 0.0, self.decay_steps) / self.decay_steps
        decayed = peak * ((1.0 - self.alpha) * (0.5 * (1.0 + cos_pi(progress))) + self.alpha)
        return np.where(steps < warm, (peak - first) * (steps / (warm or 1.0)) + first, decayed)


@registry.register()
class CosineDecayRestarts(Formula):
    """Cosine decay with restarts (Loshchilov and Hutter, 2016).

    Period i, counted from 0, has `first_decay_steps * t_mul**i` steps. At a fraction f of it the learning rate is
    `initial_learning_rate * ((1 - alpha) * m_mul**i * (1 + cos(pi * f)) / 2 + alpha)`.

    Args:
        initial_learning_rate: learning rate at step 0, at least 0.
        first_decay_steps: number of steps of the first period, above 0.
        t_mul: factor by which each period is longer than the one before, at least 1.
        m_mul: factor of the peak from one period to the next, at least 0.
        alpha: lowest learning rate as a fraction of `initial_learning_rate`, in [0, 1].
        name: name of the schedule in its config.
    """

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = real(initial_learning_rate, "initial_learning_rate", 0.0)
        self.first_decay_steps = above_zero(first_decay_steps, "first_decay_steps")
        self.t_mul = real(t_mul, "t_mul", 1.0)
        self.m_mul = real(m_mul, "m_mul", 0.0)
        self.alpha = real(alpha, "alpha", 0.0, 1.0)
        self.name = name

    def _values(self, steps: Doubles) -> Doubles:
        begins, lengths = self._periods(float(np.max(steps, initial=0.0)))
        period = np.searchsorted(begins, steps, side="right") - 1
        progress = (steps - begins[period]) / lengths[period]
        wave = 0.5 * power(self.m_mul, period) * (1.0 + cos_pi(progress))
        return self.initial_learning_rate * ((1.0 - self.alpha) * wave + self.alpha)

    def _periods(self, last: float) -> tuple[Doubles, Doubles]:
        """Returns first steps and lengths of the periods up to step `last`.

        Added up one by one: exact for whole numbers, where Keras' logarithms may miss a restart by a step.
        """
        if self.t_mul == 1.0:
            begins = np.arange(last // self.first_decay_steps + 1.0) * self.first_decay_steps
            return begins, np.full_like(begins, self.first_decay_steps)
        begin, length, periods = 0.0, self.first_decay_steps, []
        while begin <= last:
            periods.append((begin, length))
            begin, length = begin + length, length * self.t_mul
        pairs = np.array(periods)
        return pairs[:, 0], pairs[:, 1]
