"""Regularizers: penalties on weights or outputs, which are added to the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import ops
from engine._base.checks import EPSILON, choice, real
from engine._base.lazy_imports import on_first_use
from engine._base.registered_objects import custom_object_scope, overrides
from engine._base.spec import Registry, Spec, described, serialize
from engine._tracing.extents import SAMPLES, Extents, FullShape
from engine._tracing.primitives import elementwise, reduce
from engine._tracing.recordings import Recording, recording
from engine._tracing.symbolic import BatchLength, contains_symbolic
from engine._tracing.trace import TracedArray, as_traced

Array = NDArray[np.float64]


class Regularizer(Spec):
    """Base class of all regularizers. Custom regularizers override `__call__` and `gradient`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if overrides(cls, "__call__"):
            cls._lower = Regularizer._lower  # type: ignore[method-assign] # so that Python computes it
            if "gradient" not in vars(cls):  # that of the base class belongs to another penalty
                cls.gradient = Regularizer.gradient  # type: ignore[method-assign] # which raises an error

    def __call__(self, x: ArrayLike) -> float:
        """Returns the penalty on the array `x`."""
        del x
        return 0.0

    def gradient(self, x: ArrayLike) -> NDArray[Any]:
        """Returns the gradient of the penalty with respect to `x`, in the shape of `x`."""
        msg = f"{type(self).__name__} needs a method gradient(x): the derivative of the penalty with respect to each number of `x`"
        raise TypeError(msg)

    @property
    def _is_custom(self) -> bool:
        """Whether Python computes the penalty, because the core doesn't know it."""
        return type(self)._lower is Regularizer._lower

    def _lower(self, weight: str) -> dict[str, Any]:
        """Returns the fields of a core operation for a penalty on its weight `weight`, such as "kernel"."""
        return {f"{weight}_host_penalty": True}

    @property
    def _formula(self) -> Callable[[Any], Any] | None:
        """The function that can be recorded; None if the core knows the penalty, or its gradient is written by hand."""
        without = type(self).gradient is Regularizer.gradient
        return self.__call__ if self._is_custom and without else None

    def _recording_for(
        self, shape: Extents, by_sample: bool = False, always: bool = False
    ) -> Recording | None:
        """Returns what the penalty records for an array; None if it isn't recorded.

        Args:
            shape: of the array.
            by_sample: whether the penalty is divided by the number of samples.
            always: whether to record also what the core knows, or what has a gradient that is written by hand.
        """
        formula = self.__call__ if always else self._formula
        if formula is None:
            return None
        recordings = self.__dict__.setdefault("_recordings", {})
        key = (shape, by_sample, always)
        if key not in recordings:
            try:
                recordings[key] = _recording_of(formula, shape, by_sample)
            except Exception:  # the function may do anything
                recordings[key] = None
        recorded: Recording | None = recordings[key]
        return recorded


def _recording_of(formula: Callable[[Any], Any], shape: Extents, by_sample: bool) -> Recording:
    """Returns what a penalty records: one number."""

    def penalty(x: TracedArray) -> TracedArray:
        total = reduce(as_traced(formula(x), x.trace), "sum", None, keepdims=False)
        return elementwise(lambda a, b: a / b, total, BatchLength(SAMPLES)) if by_sample else total

    return recording(penalty, [FullShape(shape)], ["float32"])


_registry: Registry[Regularizer] = Registry("regularizer", Regularizer)


class _ElementwisePenalty(Regularizer):
    """The base class of L1 and L2 penalties, `l1 * sum(abs(x)) + l2 * sum(x**2)`."""

    @property
    def _factors(self) -> tuple[float, float]:
        """Returns `l1` and `l2`, with 0 for one that a class doesn't have."""
        return vars(self).get("l1", 0.0), vars(self).get("l2", 0.0)

    def __call__(self, x: ArrayLike) -> float:
        """Returns the penalty on the array `x`."""
        l1, l2 = self._factors
        if contains_symbolic(x):
            penalties = [ops.sum(ops.abs(x)) * l1] if l1 else []
            penalties += [ops.sum(ops.square(x)) * l2] if l2 else []
            return sum(penalties[1:], penalties[0]) if penalties else ops.sum(x) * 0.0  # type: ignore[no-any-return] # a symbol
        array = np.asarray(x, np.float64)
        return float(l1 * np.sum(np.abs(array)) + l2 * np.sum(np.square(array)))

    def gradient(self, x: ArrayLike) -> Array:
        """Returns `l1 * sign(x) + 2 * l2 * x`, with 1 as the sign of 0, as in JAX."""
        l1, l2 = self._factors
        array = np.asarray(x, np.float64)
        return np.asarray(l1 * np.where(array < 0, -1.0, 1.0) + 2 * l2 * array)

    def _lower(self, weight: str) -> dict[str, Any]:
        l1, l2 = self._factors
        return {f"{weight}_l1": l1, f"{weight}_l2": l2}


@_registry.register()
class L1(_ElementwisePenalty):
    """L1 penalty, `l1 * sum(abs(x))`, which drives weights to zero.

    Args:
        l1: factor of the penalty, at least 0; None is 0.01.
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        self.l1 = real(0.01 if l1 is None else l1, "l1", 0.0)


@_registry.register()
class L2(_ElementwisePenalty):
    """L2 penalty, `l2 * sum(x**2)`.

    Args:
        l2: factor of the penalty, at least 0; None is 0.01.
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        self.l2 = real(0.01 if l2 is None else l2, "l2", 0.0)


@_registry.register("l1_l2")
class L1L2(_ElementwisePenalty):
    """L1 and L2 penalty, `l1 * sum(abs(x)) + l2 * sum(x**2)`.

    Args:
        l1: factor of the L1 penalty, at least 0; None is 0.
        l2: factor of the L2 penalty, at least 0; None is 0.
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = real(0.0 if l1 is None else l1, "l1", 0.0)
        self.l2 = real(0.0 if l2 is None else l2, "l2", 0.0)


@_registry.register()
class OrthogonalRegularizer(Regularizer):
    """Penalty that makes the rows or columns of a matrix orthogonal.

    The penalty is `factor / 2 * sum(abs(rows @ rows.T))`, with rows scaled to norm 1 and without the diagonal,
    divided by the number of pairs of rows.

    Args:
        factor: factor of the penalty, at least 0.
        mode: "rows" or "columns", what to make orthogonal.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = real(factor, "factor", 0.0)
        self.mode: str = choice(mode, "mode", ("rows", "columns"))

    def __call__(self, inputs: ArrayLike) -> float:
        """Returns the penalty on the matrix `inputs`."""
        if contains_symbolic(inputs):
            along = 1 if self.mode == "rows" else 0
            # The maximum comes first, since the slope of a root at 0 is infinite.
            squares = ops.maximum(ops.sum(ops.square(inputs), axis=along, keepdims=True), EPSILON**2)
            units = inputs / ops.sqrt(squares)
            products = ops.einsum("ik,jk->ij" if along else "ki,kj->ij", units, units)
            size = int(products.shape[0])
            total = ops.sum(ops.abs(products * (1.0 - np.eye(size, dtype=np.float32))))
            return total * float(self._scale(size))  # type: ignore[no-any-return] # a symbol
        units, _ = self._units(inputs)
        products = np.abs(units @ units.T)
        return float(self._scale(len(units)) * (products.sum() - np.trace(products)))

    def gradient(self, inputs: ArrayLike) -> Array:
        """Returns the gradient of the penalty with respect to the matrix `inputs`."""
        units, norms = self._units(inputs)
        signs = np.where(units @ units.T < 0, -1.0, 1.0)
        np.fill_diagonal(signs, 0.0)
        slope = 2 * self._scale(len(units)) * (signs @ units)
        slope = (slope - (slope * units).sum(axis=1, keepdims=True) * units) / norms
        return np.asarray(slope if self.mode == "rows" else slope.T)

    @property
    def _formula(self) -> Callable[[Any], Any]:
        return self.__call__

    def _units(self, inputs: ArrayLike) -> tuple[Array, Array]:
        """Returns the rows (or columns) scaled to norm 1, and their norms."""
        array = np.asarray(inputs, np.float64)
        if array.ndim != 2:  # noqa: PLR2004 # a matrix
            msg = f"`inputs` must be a matrix, got shape {array.shape}"
            raise ValueError(msg)
        rows = array if self.mode == "rows" else array.T
        norms = np.maximum(np.sqrt(np.square(rows).sum(axis=1, keepdims=True)), EPSILON)
        return rows / norms, norms

    def _scale(self, size: int) -> float:
        """Returns the factor of the sum over all pairs of `size` rows."""
        pairs = size * (size - 1) / 2
        return self.factor / 2 / pairs if pairs else 0.0  # Keras returns NaN for a single row


@runtime_checkable
class _Differentiable(Protocol):
    """A function with its derivative as an attribute."""

    def gradient(self, x: Any) -> ArrayLike:
        """Returns the gradient of the penalty with respect to `x`, in its shape."""


class _FunctionRegularizer(Regularizer):
    """A function of the user as a regularizer; training needs its derivative as the attribute `gradient`."""

    def __init__(self, function: Callable[[Any], float]) -> None:
        self.function = function

    def _serialized(self) -> dict[str, Any]:
        """Returns the description of the function by its name."""
        return described(self.function, "function", getattr(self.function, "__name__", ""))

    def __call__(self, x: ArrayLike) -> float:
        return float(self.function(x))

    @property
    def _formula(self) -> Callable[[Any], Any] | None:
        function: object = self.function
        return None if isinstance(function, _Differentiable) else self.function

    def gradient(self, x: ArrayLike) -> NDArray[Any]:
        function: object = self.function
        if not isinstance(function, _Differentiable):
            msg = (
                f"the regularizer {self.function!r} needs an attribute `gradient`, a function of the weights that "
                "returns the derivative of the penalty with respect to each of them"
            )
            raise TypeError(msg)
        return np.asarray(function.gradient(x))


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer


def get(identifier: object) -> Regularizer | None:
    """Returns the regularizer for an identifier; None for None.

    Args:
        identifier: a name such as "l2", a class, an instance, a function of a weight, a config dict or None.

    Raises:
        ValueError: if the name is unknown. The message suggests similar names.
    """
    return _registry.get_or_wrap(identifier, _FunctionRegularizer)


def deserialize(config: object, custom_objects: Mapping[str, Any] | None = None) -> Regularizer | None:
    """Returns the regularizer that `serialize` described; None for None.

    Args:
        config: what `serialize` returned, or another identifier, as for `get`.
        custom_objects: classes and functions of your own by name.

    Raises:
        ValueError: for a name that is neither known nor in `custom_objects`.
    """
    with custom_object_scope(custom_objects):
        return get(config)


__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]  # fmt: skip

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
