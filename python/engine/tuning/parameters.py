"""Hyperparameters, which a function that builds a model asks for: `hp.Int`, `hp.Float`, `hp.Choice`, `hp.Boolean`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine._base.checks import choice, integer, nearest, real

Value = int | float | str | bool
"""The value of a hyperparameter."""

_SAMPLINGS = ("linear", "log", "reverse_log")
# The values that a grid takes of a range of floats without a step, as in KerasTuner.
_GRID_OF_FLOATS = 10
# What float arithmetic may miss the end of a range by, in steps.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter and the values that it may have.

    Args:
        name: its name, after those of the scopes around.
        kind: "Int", "Float", "Choice" or "Boolean".
        values: the values, if they are listed; otherwise empty.
        low: the smallest number of a range.
        high: the largest number.
        sampling: how numbers of the range are drawn: "linear", "log" or "reverse_log".
        default: the value that it has without a search.
    """

    name: str
    kind: str
    values: tuple[Value, ...]
    low: float
    high: float
    sampling: str
    default: Value

    def at(self, u: float) -> Value:
        """Returns the value at a place in [0, 1) of all values; uniform places give the values that are drawn."""
        if self.values:
            return self.values[int(u * len(self.values))]
        whole = self.kind == "Int"
        low, high = self.low, self.high + 1 if whole else self.high
        value: float
        if self.sampling == "log":
            value = low * (high / low) ** u
        elif self.sampling == "reverse_log":
            value = low + high - low * (high / low) ** (1 - u)
        else:
            value = low + u * (high - low)
        return (
            max(int(self.low), min(math.floor(value), int(self.high)))
            if whole
            else max(self.low, min(value, self.high))
        )

    @property
    def grid(self) -> tuple[Value, ...]:
        """The values that a grid takes: all, or ten of a range of floats."""
        if self.values:
            return self.values
        if self.kind == "Int" and self.sampling == "linear":
            return tuple(range(int(self.low), int(self.high) + 1))
        count = _GRID_OF_FLOATS
        return tuple(dict.fromkeys(self.at(min(number / (count - 1), 1 - 1e-12)) for number in range(count)))


class HyperParameters:
    """The hyperparameters of one trial, with the names and arguments of KerasTuner.

    `tune` gives such an object to the function that builds a model. One that is made without arguments returns the defaults:
    `build(HyperParameters())` is the model with the smallest or first values.

    Example:
        >>> from engine.tuning import HyperParameters
        >>> hp = HyperParameters()
        >>> hp.Int("units", 16, 64, step=16), hp.Choice("activation", ["relu", "tanh"])
        (16, 'relu')
        >>> hp.values
        {'units': 16, 'activation': 'relu'}

    Args:
        values: values by name, which are returned in place of those that are drawn.
        choose: returns the value of each further hyperparameter.

    Attributes:
        values: the value of each hyperparameter that was asked for.
        space: the hyperparameters that were asked for, by name.
    """

    def __init__(
        self, values: Mapping[str, Value] | None = None, choose: Callable[[Parameter], Value] | None = None
    ) -> None:
        self._given = dict(values or {})
        self._choose = choose
        self._scopes = list[str]()
        self._inactive = 0
        self.values: dict[str, Value] = {}
        self.space: dict[str, Parameter] = {}

    def Int(  # noqa: N802, PLR0917 # KerasTuner's name and signature
        self,
        name: str,
        min_value: int,
        max_value: int,
        step: int | None = None,
        sampling: str = "linear",
        default: int | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> int:
        """Returns an integer.

        Args:
            name: its name.
            min_value: the smallest value.
            max_value: the largest value, included.
            step: the distance of two values; with "log" the factor between them. None takes all integers.
            sampling: "linear", "log", which draws small numbers more often, or "reverse_log", which draws large ones more often.
            default: the value without a search; default `min_value`.
            parent_name: name of a hyperparameter of which this one depends.
            parent_values: a value, or a list of values, of the parent with which this one is used.
        """
        low = integer(min_value, "min_value", -(2**62))
        high = integer(max_value, "max_value", low)
        values = () if step is None else _steps(low, high, integer(step, "step", 1), sampling)
        whole = tuple(int(value) for value in values)
        first = low if default is None else integer(default, "default", -(2**62))
        parameter = self._parameter(name, "Int", whole, (low, high), sampling, first)
        return int(self._value(parameter, parent_name, parent_values))

    def Float(  # noqa: N802, PLR0917 # KerasTuner's name and signature
        self,
        name: str,
        min_value: float,
        max_value: float,
        step: float | None = None,
        sampling: str = "linear",
        default: float | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> float:
        """Returns a float.

        Args:
            name: its name.
            min_value: the smallest value.
            max_value: the largest value, included.
            step: the distance of two values; with "log" the factor between them. None takes all floats.
            sampling: as for `Int`.
            default: the value without a search; default `min_value`.
            parent_name: name of a hyperparameter of which this one depends.
            parent_values: a value, or a list of values, of the parent with which this one is used.
        """
        low = real(min_value, "min_value")
        high = real(max_value, "max_value", low)
        values = () if step is None else _steps(low, high, real(step, "step", 0.0), sampling)
        parameter = self._parameter(
            name, "Float", values, (low, high), sampling, low if default is None else default
        )
        return float(self._value(parameter, parent_name, parent_values))

    def Choice(  # noqa: N802, PLR0917 # KerasTuner's name and signature
        self,
        name: str,
        values: Sequence[Value],
        ordered: bool | None = None,
        default: Value | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """Returns one of `values`, which are all strings, all numbers, or all bools.

        Args:
            name: its name.
            values: the values, one at least.
            ordered: Ignored. Samplers take no order from it.
            default: the value without a search; default the first one.
            parent_name: name of a hyperparameter of which this one depends.
            parent_values: a value, or a list of values, of the parent with which this one is used.
        """
        del ordered
        given = [value.item() if isinstance(value, np.generic) else value for value in values]
        kinds = {
            "bool" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
            for value in given
        }
        if len(kinds) != 1 or not all(isinstance(value, (bool, int, float, str)) for value in given):
            msg = f"`values` must be all numbers, all strings or all bools, one at least, got {values!r}"
            raise ValueError(msg)
        options = tuple(dict.fromkeys(given))  # equal values once
        parameter = self._parameter(
            name, "Choice", options, (0, 0), "linear", options[0] if default is None else default
        )
        return self._value(parameter, parent_name, parent_values)

    def Boolean(  # noqa: N802 # KerasTuner's name
        self, name: str, default: bool = False, parent_name: str | None = None, parent_values: Any = None
    ) -> bool:
        """Returns True or False.

        Args:
            name: its name.
            default: the value without a search.
            parent_name: name of a hyperparameter of which this one depends.
            parent_values: a value, or a list of values, of the parent with which this one is used.
        """
        parameter = self._parameter(name, "Boolean", (False, True), (0, 0), "linear", default)
        return bool(self._value(parameter, parent_name, parent_values))

    def Fixed(  # noqa: N802 # KerasTuner's name
        self, name: str, value: Value, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """Returns `value`, and records it beside the others.

        Args:
            name: its name.
            value: a number, a string or a bool.
            parent_name: name of a hyperparameter of which this one depends.
            parent_values: a value, or a list of values, of the parent with which this one is used.
        """
        return self.Choice(name, [value], parent_name=parent_name, parent_values=parent_values)

    @contextmanager
    def conditional_scope(self, parent_name: str, parent_values: Any) -> Iterator[None]:
        """Within the block, hyperparameters are used only if the parent has one of some values; otherwise they have defaults.

        Args:
            parent_name: name of a hyperparameter that was asked for before.
            parent_values: a value, or a list of values.
        """
        inactive = not self._is_active(parent_name, parent_values)
        self._inactive += inactive
        try:
            yield
        finally:
            self._inactive -= inactive

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Puts `name` and a slash before all names within the block."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def get(self, name: str) -> Any:
        """Returns the value of a hyperparameter that was asked for before.

        Args:
            name: its name.

        Raises:
            KeyError: if it was not asked for.
        """
        found = self._find(name)
        if found is None:
            raise KeyError(
                f"no hyperparameter {name!r} was asked for before{nearest(name, list(self.values))}"
            )
        return self.values[found]

    __getitem__ = get

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def _find(self, name: str) -> str | None:
        """Returns the full name of a hyperparameter: in the innermost scope that has it."""
        for depth in range(len(self._scopes), -1, -1):
            full = "/".join([*self._scopes[:depth], name])
            if full in self.values:
                return full
        return None

    def _is_active(self, parent_name: str | None, parent_values: Any) -> bool:
        """Whether a parent has one of some values, and is used itself."""
        if parent_name is None:
            return True
        accepted = parent_values if isinstance(parent_values, (list, tuple)) else [parent_values]
        found = self._find(parent_name)
        return found is not None and self.values[found] in accepted

    def _parameter(  # noqa: PLR0917 # one for each field
        self,
        name: str,
        kind: str,
        values: tuple[Value, ...],
        ends: tuple[float, float],
        sampling: str,
        default: Value,
    ) -> Parameter:
        choice(sampling, "sampling", _SAMPLINGS)
        low, high = ends
        if sampling != "linear" and low <= 0:
            msg = f"hyperparameter {name!r}: sampling={sampling!r} needs positive numbers, but `min_value` is {low}"
            raise ValueError(msg)
        inside = default in values if values else low <= default <= high  # type: ignore[operator] # a number
        if not inside:
            msg = f"hyperparameter {name!r} can't have the default {default!r}: it is none of its values"
            raise ValueError(msg)
        return Parameter("/".join([*self._scopes, name]), kind, values, low, high, sampling, default)

    def _value(self, parameter: Parameter, parent_name: str | None, parent_values: Any) -> Value:
        name = parameter.name
        if self._inactive or not self._is_active(parent_name, parent_values):
            return parameter.default
        if name in self.values:
            if self.space[name] != parameter:
                msg = f"hyperparameter {name!r} was asked for before with other values: give this one another name"
                raise ValueError(msg)
            return self.values[name]
        if name in self._given:
            value = self._given[name]
        else:
            value = parameter.default if self._choose is None else self._choose(parameter)
        self.space[name], self.values[name] = parameter, value
        return value


def _steps(low: float, high: float, step: float, sampling: str) -> tuple[float, ...]:
    """Returns the numbers from `low` to `high`, at a distance of `step`, or by the factor `step` for "log"."""
    if sampling == "linear":
        if step <= 0:
            raise ValueError(f"`step` must be positive, got {step}")
        count = int((high - low) / step + _TOLERANCE) + 1
        return tuple(min(low + number * step, high) for number in range(count))
    if step <= 1 or low <= 0:
        raise ValueError(
            f"with sampling={sampling!r} the step is a factor above 1 of positive numbers, got {step} from {low} on"
        )
    values = [low]
    while values[-1] * step <= high * (1 + _TOLERANCE):
        values.append(min(values[-1] * step, high))
    return tuple(values)
