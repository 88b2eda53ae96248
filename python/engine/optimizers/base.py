"""What every optimizer is: a step size, a share of the weights to take off, and a rule that the core runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine._checks import real
from engine._program import Program
from engine._spec import Registry, Spec, serialize, snake_case
from engine.optimizers.schedules import LearningRateSchedule, deserialize


class Optimizer(Spec):
    """Base class: an update rule. A subclass stores the rule's options; the core runs the rule.

    Args:
        learning_rate: step size, at least 0, or a schedule of `engine.optimizers.schedules`. May be read and
            assigned at any time; a new value counts from the next batch on, or from the next epoch on when no
            callback looks at batches.
        weight_decay: before each step every weight and bias becomes `w - learning_rate * weight_decay * w`
            (decoupled decay: Loshchilov and Hutter, 2019); None is 0.
        name: for the config alone.
    """

    left_out = ("learning_rate",)  # `get_config` adds it: a number, or a schedule and not its present value
    kind: ClassVar[str]
    """The core's name of the rule."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Mapping[str, Any],
        *,
        weight_decay: float | None = None,
        name: str | None = None,
    ) -> None:
        self._rate: float | LearningRateSchedule = _rate(learning_rate)
        self.weight_decay = None if weight_decay is None else real(weight_decay, "weight_decay", 0.0)
        self.name = name or snake_case(type(self).__name__)
        self._undecayed: list[str] = []
        self._program: Program | None = None

    @property
    def learning_rate(self) -> float:
        """The step size of the next batch. With a schedule only another schedule may be assigned."""
        return self._rate if isinstance(self._rate, float) else float(self._rate.rates(self.iterations, 1)[0])

    @learning_rate.setter
    def learning_rate(self, value: float | LearningRateSchedule) -> None:
        rate = _rate(value)
        if isinstance(rate, float) and not isinstance(self._rate, float):
            msg = (
                f"This optimizer was created with a `LearningRateSchedule` object as its `learning_rate`, "
                f"{self._rate!r}, hence its learning rate is not settable. Create it with a float "
                "`learning_rate` if you, or a callback, want to set it"
            )
            raise TypeError(msg)
        self._rate = rate

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
        if isinstance(self._rate, float):
            return np.full(steps, self._rate)
        return self._rate.rates(self.iterations, steps)

    def exclude_from_weight_decay(self, *, var_names: Sequence[str]) -> None:
        """Leave weights out of `weight_decay`. Takes the place of what an earlier call said.

        Args:
            var_names: regular expressions; a weight is left out if one is found in its name, `kernel` or `bias`.

        Raises:
            TypeError: if `var_names` is a single string.
            ValueError: after `compile`.
        """
        if self._program is not None:
            msg = (
                "`exclude_from_weight_decay` must be called before the model is compiled with this optimizer"
            )
            raise ValueError(msg)
        if isinstance(var_names, str):
            msg = f"`var_names` must be a list of strings such as [{var_names!r}], got {var_names!r}"
            raise TypeError(msg)
        self._undecayed = list(var_names)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again; a schedule as `schedules.serialize` writes it."""
        rate = self._rate if isinstance(self._rate, float) else serialize(self._rate)
        return {"learning_rate": rate} | super().get_config()

    def lower(self) -> dict[str, Any]:
        """The rule as the core reads it; the learning rate comes with each run."""
        options = super().get_config()
        del options["weight_decay"], options["name"]
        decays = {f"{name}_decay": self._decay_of(name) for name in ("kernel", "bias")}
        return {"kind": self.kind} | options | decays

    def follow(self, program: Program) -> None:
        """Take `iterations` from `program` from now on."""
        self._program = program

    def _decay_of(self, variable: str) -> float:
        excluded = any(re.search(name, variable) for name in self._undecayed)
        return 0.0 if excluded or self.weight_decay is None else self.weight_decay


def _rate(value: object) -> float | LearningRateSchedule:
    if isinstance(value, LearningRateSchedule):
        return value
    if callable(value):
        msg = (
            f"`learning_rate` must be a number or a schedule, got {value!r}; derive a class from "
            "engine.optimizers.schedules.LearningRateSchedule, and give an object of it"
        )
        raise TypeError(msg)
    return deserialize(value) if isinstance(value, Mapping) else real(value, "learning_rate", 0.0)


registry: Registry[Optimizer] = Registry("optimizer", Optimizer)
get = registry.get
