"""What weights are made to be after every step of an optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._checks import EPSILON, LOWEST, Shape, integer, real, text_of_axes
from engine._custom import overrides
from engine._first_use import on_first_use
from engine._spec import Registry, Spec, described, serialize

Axis = int | Sequence[int] | None


class Constraint(Spec):
    """Base class: a function of one weight array. A subclass of your own overrides `__call__`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if overrides(cls, "__call__"):
            cls._lower = Constraint._lower  # type: ignore[method-assign] # leaves it to Python

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        """`w` as it has to be."""
        return np.asarray(w)

    @property
    def _is_custom(self) -> bool:
        """Whether the core leaves it to Python."""
        return type(self)._lower is Constraint._lower

    def _lower(self, rank: int) -> dict[str, Any]:
        """The constraint as the core reads it, for an array with `rank` axes."""
        del rank
        return {"kind": "host"}


_registry: Registry[Constraint] = Registry("constraint", Constraint)


@_registry.register("nonneg")
class NonNeg(Constraint):
    """Negative weights become 0."""

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        """`max(w, 0)`."""
        return np.asarray(np.maximum(np.asarray(w), 0))

    def _lower(self, rank: int) -> dict[str, Any]:
        """One of the core's own."""
        del rank
        return {"kind": "non_negative"}


class _Norm(Constraint, ABC):
    """A constraint on Euclidean norms over `axis`, which a subclass sets."""

    axis: Axis

    @abstractmethod
    def _limits(self) -> tuple[float, float, float]:
        """Low, high and rate of `rate * clip(norm, low, high) + (1 - rate) * norm`."""

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        """`w * wanted / (1e-7 + norm)`, with what the norm is wanted to be."""
        array = np.asarray(w)
        axis = self.axis if self.axis is None or isinstance(self.axis, int) else tuple(self.axis)
        norms = np.sqrt(np.sum(np.square(array), axis=axis, keepdims=True))
        low, high, rate = self._limits()
        wanted = rate * np.clip(norms, low, high) + (1 - rate) * norms
        return np.asarray(array * (wanted / (EPSILON + norms)), array.dtype)

    def _lower(self, rank: int) -> dict[str, Any]:
        """Over which axes, and the limits; ValueError for axes that the array doesn't have."""
        low, high, rate = self._limits()
        return {"kind": "norm", "over": _over(self.axis, rank), "low": low, "high": high, "rate": rate}


@_registry.register("maxnorm")
class MaxNorm(_Norm):
    """No norm exceeds `max_value` (Srivastava et al., 2014).

    Args:
        max_value: at least 0.
        axis: what the norm is over: 0, the inputs of a Dense layer, gives each unit a norm of its own; 1 each input;
            None or (0, 1) is all of the array.
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value = real(max_value, "max_value", 0.0)
        self.axis = _checked(axis)

    def _limits(self) -> tuple[float, float, float]:
        return 0.0, self.max_value, 1.0


@_registry.register("unitnorm")
class UnitNorm(_Norm):
    """Every norm is 1.

    Args:
        axis: as for `MaxNorm`.
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = _checked(axis)

    def _limits(self) -> tuple[float, float, float]:
        return 1.0, 1.0, 1.0


@_registry.register("minmaxnorm")
class MinMaxNorm(_Norm):
    """Norms are brought between two bounds, at once or a part of the way with every step.

    `w = w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm)`.

    Args:
        min_value: at least 0.
        max_value: at least 0.
        rate: the part of the way, in [0, 1].
        axis: as for `MaxNorm`.
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0
    ) -> None:
        self.min_value = real(min_value, "min_value", 0.0)
        self.max_value = real(max_value, "max_value", 0.0)
        self.rate = real(rate, "rate", 0.0, 1.0)
        self.axis = _checked(axis)

    def _limits(self) -> tuple[float, float, float]:
        return self.min_value, self.max_value, self.rate


class _Function(Constraint):
    """A function of one's own as a constraint."""

    def __init__(self, function: Callable[[Any], ArrayLike]) -> None:
        self.function = function

    def _serialized(self) -> dict[str, Any]:
        """The function's name."""
        return described(self.function, "function", getattr(self.function, "__name__", ""))

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        return np.asarray(self.function(w))


def of_a_row(constraint: Constraint | None, shape: Shape) -> Constraint | None:
    """`constraint` for an array that the core keeps as one row, whatever its `shape`.

    Where there is a norm for each part of it, whose bounds the core doesn't know, the computation is Python's.
    """
    if (
        constraint is None
        or constraint._is_custom
        or constraint._lower(len(shape)).get("over", "all") == "all"
    ):
        return constraint
    return _Function(constraint)


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm


def get(identifier: object) -> Constraint | None:
    """The constraint that a name, a class, an object, a function or a config dict stands for; None stays None.

    Args:
        identifier: such as "non_neg", a class, an object, a function of weights, a config dict or None.

    Raises:
        ValueError: for an unknown name; the message suggests the nearest.
    """
    return _registry.get_or_wrap(identifier, _Function)


deserialize = _registry.deserialize


__all__ = [
    "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "deserialize", "get", "max_norm", "min_max_norm",
    "non_neg", "serialize", "unit_norm",
]  # fmt: skip


def _checked(axis: Axis) -> Axis:
    if axis is None:
        return None
    if isinstance(axis, Sequence):
        return [integer(one, "axis", LOWEST) for one in axis]
    return integer(axis, "axis", LOWEST)


def _over(axis: Axis, rank: int) -> str:
    """What there is a norm of each of, in the core's words."""
    axes = list(range(rank)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    if any(not -rank <= one < rank for one in axes):
        there = f"which are {text_of_axes(rank)}" if rank else "but a single number has none"
        msg = f"`axis` of a norm must name axes of the weights, {there}; got {axis}"
        raise ValueError(msg)
    places = {one % rank for one in axes}
    if len(places) == rank:
        return "all"
    return "column" if places == {0} else "row"


if not TYPE_CHECKING:  # type checkers would take every name for one that is there
    __getattr__ = on_first_use(__name__)
