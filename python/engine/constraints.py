"""Constraints: functions that change weights after every optimizer step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import EPSILON, LOWEST, Shape, integer, real, text_of_axes
from engine._base.lazy_imports import on_first_use
from engine._base.registered_objects import custom_object_scope, overrides
from engine._base.spec import Registry, Spec, described, serialize
from engine._tracing.symbolic import is_symbolic

Axis = int | Sequence[int] | None


class Constraint(Spec):
    """Base class of all constraints. Custom constraints override `__call__`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if overrides(cls, "__call__"):
            cls._lower = Constraint._lower  # type: ignore[method-assign] # so that Python computes it

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        """Returns the array `w` changed so that it satisfies the constraint."""
        return np.asarray(w)

    @property
    def _is_custom(self) -> bool:
        """Whether Python applies the constraint, because the core doesn't know it."""
        return type(self)._lower is Constraint._lower

    def _lower(self, rank: int) -> dict[str, Any]:
        """Returns the constraint as the core reads it, for an array with `rank` axes."""
        del rank
        return {"kind": "host"}


_registry: Registry[Constraint] = Registry("constraint", Constraint)


@_registry.register("nonneg")
class NonNeg(Constraint):
    """Sets negative weights to 0."""

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        """Returns `max(w, 0)`."""
        return np.asarray(np.maximum(np.asarray(w), 0))

    def _lower(self, rank: int) -> dict[str, Any]:
        del rank
        return {"kind": "non_negative"}


class _Norm(Constraint, ABC):
    """The base class of constraints on Euclidean norms over `axis`."""

    axis: Axis

    @abstractmethod
    def _limits(self) -> tuple[float, float, float]:
        """Returns low, high and rate of the target norm `rate * clip(norm, low, high) + (1 - rate) * norm`."""

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        """Returns `w * target / (1e-7 + norm)` with the target norm of the constraint."""
        array = np.asarray(w)
        axis = self.axis if self.axis is None or isinstance(self.axis, int) else tuple(self.axis)
        norms = np.sqrt(np.sum(np.square(array), axis=axis, keepdims=True))
        low, high, rate = self._limits()
        bounded = rate * np.clip(norms, low, high) + (1 - rate) * norms
        return np.asarray(array * (bounded / (EPSILON + norms)), array.dtype)

    def _lower(self, rank: int) -> dict[str, Any]:
        """Returns the constraint as the core reads it; ValueError for axes that the array doesn't have."""
        low, high, rate = self._limits()
        return {"kind": "norm", "over": _over(self.axis, rank), "low": low, "high": high, "rate": rate}


@_registry.register("maxnorm")
class MaxNorm(_Norm):
    """Scales weights so that no norm exceeds `max_value` (Srivastava et al., 2014).

    Args:
        max_value: largest norm, at least 0.
        axis: axis or axes over which norms are computed. For the kernel of a Dense layer, 0 gives one norm per unit
            and 1 one norm per input; None or (0, 1) gives the norm of the whole array.
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value = real(max_value, "max_value", 0.0)
        self.axis = _checked(axis)

    def _limits(self) -> tuple[float, float, float]:
        return 0.0, self.max_value, 1.0


@_registry.register("unitnorm")
class UnitNorm(_Norm):
    """Scales weights so that every norm is 1.

    Args:
        axis: axis or axes over which norms are computed, as for `MaxNorm`.
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = _checked(axis)

    def _limits(self) -> tuple[float, float, float]:
        return 1.0, 1.0, 1.0


@_registry.register("minmaxnorm")
class MinMaxNorm(_Norm):
    """Scales weights so that their norms lie between two bounds.

    Each step computes `w = w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm)`.

    Args:
        min_value: smallest norm, at least 0.
        max_value: largest norm, at least 0.
        rate: how strongly the bounds are enforced in each step, in [0, 1]; 1 enforces them at once.
        axis: axis or axes over which norms are computed, as for `MaxNorm`.
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


class _FunctionConstraint(Constraint):
    """A function of the user as a constraint."""

    def __init__(self, function: Callable[[Any], ArrayLike]) -> None:
        self.function = function

    def _serialized(self) -> dict[str, Any]:
        """Returns the description of the function by its name."""
        return described(self.function, "function", getattr(self.function, "__name__", ""))

    def __call__(self, w: ArrayLike) -> NDArray[Any]:
        projected: Any = self.function(w)
        return projected if is_symbolic(projected) else np.asarray(projected)


def of_a_row(constraint: Constraint | None, shape: Shape) -> Constraint | None:
    """Returns the constraint for an array of any `shape` that the core stores as one row.

    If the constraint limits the norms of several parts of the array, which the core can't tell in that row, Python
    applies it.
    """
    if (
        constraint is None
        or constraint._is_custom
        or constraint._lower(len(shape)).get("over", "all") == "all"
    ):
        return constraint
    return _FunctionConstraint(constraint)


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm


def get(identifier: object) -> Constraint | None:
    """Returns the constraint for an identifier; None for None.

    Args:
        identifier: a name such as "non_neg", a class, an instance, a function of a weight, a config dict or None.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
    """
    return _registry.get_or_wrap(identifier, _FunctionConstraint)


def deserialize(config: object, custom_objects: Mapping[str, Any] | None = None) -> Constraint | None:
    """Returns the constraint that `serialize` described; None for None.

    Args:
        config: what `serialize` returned, or another identifier, as for `get`.
        custom_objects: classes and functions of your own by name.

    Raises:
        ValueError: for a name that is neither known nor in `custom_objects`.
    """
    with custom_object_scope(custom_objects):
        return get(config)


__all__ = [
    "Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm", "deserialize", "get", "max_norm",
    "min_max_norm", "non_neg", "serialize", "unit_norm",
]  # fmt: skip


def _checked(axis: Axis) -> Axis:
    """Returns `axis` as an int, a list of ints, or None."""
    if axis is None:
        return None
    if isinstance(axis, Sequence):
        return [integer(one_axis, "axis", LOWEST) for one_axis in axis]
    return integer(axis, "axis", LOWEST)


def _over(axis: Axis, rank: int) -> str:
    """Returns what each norm is of in the words of the core: a "row", a "column", or "all" of the array."""
    axes = list(range(rank)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    if any(not -rank <= one_axis < rank for one_axis in axes):
        rank_text = f"which are {text_of_axes(rank)}" if rank else "but a single number has none"
        msg = f"`axis` of a norm must name axes of the weights, {rank_text}; got {axis}"
        raise ValueError(msg)
    positions = {one_axis % rank for one_axis in axes}
    if len(positions) == rank:
        return "all"
    return "column" if positions == {0} else "row"


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
