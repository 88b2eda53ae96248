"""A rule whose state for matrices is as small as their sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine._checks import Shape, above_zero, flag, real
from engine._program import Program
from engine.optimizers._rates import LearningRate
from engine.optimizers.base import Optimizer, registry
from engine.optimizers.variables import Array, OptimizerVariable, Tracked

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from engine.optimizers.base import Options


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

    @property
    def variables(self) -> list[OptimizerVariable]:
        """The state: that of every optimizer, then r, c and v for each weight. r and c of a vector are 0."""
        found, program = super().variables, self._stateful
        if program is not None:
            for index in self._learning:
                found += self._means(program, index)
        return found

    def _lower(self, weights: Sequence[Tracked]) -> dict[str, Any]:
        """With the exponent as the core reads it."""
        return super()._lower(weights) | {"decay": -self.beta_2_decay}

    def _means(self, program: Program, index: int) -> list[OptimizerVariable]:
        weight, (v,) = self._tracked[index], self._arrays(program, index, {"velocity": ("slot", 0)})
        if len(v.shape) < 2:  # noqa: PLR2004 # sides
            return [_zero(weight.name), _zero(weight.name), v]
        path, rows, columns = f"{self.name}/{weight.name}", v.shape[:-1], (*v.shape[:-2], v.shape[-1])
        return [
            _part(path, rows, program, (index, 2), lambda slot: slot[..., 0]),
            _part(path, columns, program, (index, 1), lambda slot: slot[..., 0, :]),
            v,
        ]


def _part(
    path: str, shape: Shape, program: Program, place: tuple[int, int], part: Callable[[Array], Array]
) -> OptimizerVariable:
    """The row or column of a slot that the core keeps means in; `place` is the variable and the slot."""
    index, slot = place

    def write(value: Array) -> None:
        arrays = program.read_state("slot", slot, index=index)
        part(arrays[0])[...] = value
        program.write_state("slot", slot, arrays, index=index)

    def read() -> Array:
        return part(program.read_state("slot", slot, index=index)[0]).copy()

    return OptimizerVariable(path, shape, read, write)


def _zero(path: str) -> OptimizerVariable:
    """What Keras keeps where there is nothing to keep."""

    def refuse(value: Array) -> None:
        if value != 0:
            msg = f"{path!r} is no matrix, so its means of rows and columns stay 0, got {value}"
            raise ValueError(msg)

    return OptimizerVariable(path, (), lambda: np.asarray(0, np.float32), refuse)
