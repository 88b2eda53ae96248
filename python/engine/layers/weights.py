"""Weight arrays of layers: what is known of them before they exist, and the arrays that users get."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.budget import spend
from engine._base.checks import REAL, Shape
from engine._base.tensor_like import StoredArray, Tensor
from engine._core_interface.cpp import Float32
from engine._tracing.extents import Extent
from engine._tracing.lazy import captured_change
from engine._tracing.numpy_functions import recorded_function, recorded_ufunc
from engine._tracing.recordings import Recording
from engine._tracing.symbolic import (
    current,
    is_symbolic,
    needs_values,
    open_recorder,
    sequence_like,
)
from engine._tracing.trace import Trace, TracedArray
from engine.constraints import Constraint
from engine.initializers import GlorotUniform, Initializer
from engine.initializers.base import as_weight
from engine.regularizers import Regularizer

# The largest number of values in one array: 4 TiB. More is a mistake, such as a zero too many in `input_shape`.
MOST_WEIGHTS = 2**40


class Weight(NamedTuple):
    """The description of one weight array of a layer."""

    name: str
    shape: Shape
    initializer: Initializer | None
    """None is glorot_uniform, as in Keras."""
    trainable: bool = True
    regularizer: Regularizer | None = None
    constraint: Constraint | None = None

    @property
    def _recorded_penalty(self) -> Recording | None:
        """What the penalty of a user's regularizer records; None if there is none, or none that is recorded."""
        return (
            None
            if self.regularizer is None
            else self.regularizer._recorded_for(tuple(map(Extent, self.shape)))
        )

    def start(self, layer: str) -> Float32:
        """Returns the initial values; `layer` is the name of the layer, for messages."""
        initializer = self.initializer or GlorotUniform()
        spend(math.prod(self.shape), f"the {self.name} of layer {layer!r}")
        return as_weight(initializer(self.shape), self.shape, f"the start of {layer}'s {self.name}")


def asked(**weights: Weight) -> dict[str, Any]:
    """Returns the fields of a core operation for the penalties and constraints of its weights.

    Args:
        weights: by the core's names of them, such as `kernel` and `bias`.
    """
    found: dict[str, Any] = {}
    for name, weight in weights.items():
        if weight.regularizer and weight._recorded_penalty is None:
            found |= weight.regularizer._lower(name)
        if weight.constraint:
            found[f"{name}_constraint"] = weight.constraint._lower(len(weight.shape))
    return found


class WeightOwner(Protocol):
    """A layer, as its weight arrays know it."""

    name: str
    _specs: list[Weight]

    @property
    def path(self) -> str:
        """The name, after the names of the models that built the layer."""

    @property
    def trainable(self) -> bool:
        """Whether training updates the weights."""

    @property
    def built(self) -> bool:
        """True if the weights have been created."""

    @property
    def _weight_names(self) -> list[str]:
        """The names of the weights, such as `kernel`."""

    def _weight_at(self, index: int) -> Float32:
        """Returns the current values of weight number `index`, read-only."""

    def _set_weight(self, index: int, value: ArrayLike) -> None:
        """Sets weight number `index`."""


class Named:
    """The names and properties of a weight array. Subclasses say which layer the array belongs to."""

    @property
    def _origin(self) -> tuple[WeightOwner, Weight]:
        """The layer that the array belongs to, and the description of the weight; every subclass overrides it."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """Path of the layer and name of the weight, such as "dense/kernel" or "sequential/dense/kernel"."""
        layer, weight = self._origin
        return f"{layer.path}/{weight.name}"

    @property
    def name(self) -> str:
        """Name of the weight, such as "kernel"."""
        return self._origin[1].name

    @property
    def trainable(self) -> bool:
        """Whether training updates the weight."""
        layer, weight = self._origin
        return layer.trainable and weight.trainable

    @property
    def regularizer(self) -> Regularizer | None:
        """The penalty on the weight; None if there is none."""
        return self._origin[1].regularizer

    @property
    def constraint(self) -> Constraint | None:
        """The constraint on the weight, applied after every step; None if there is none."""
        return self._origin[1].constraint


class LayerWeight(Named, Tensor):
    """A read-only copy of a weight array that knows its layer.

    An array that is computed from it knows no layer: it has no name, and can't be assigned.
    """

    _owner: weakref.ref[WeightOwner] | None = None
    _index = 0

    @classmethod
    def of(cls, layer: WeightOwner, index: int, values: Float32) -> LayerWeight:
        """Returns `values`, weight number `index` of `layer`, as such an array."""
        array = values.view(cls)
        array.flags.writeable = False
        array._owner, array._index = weakref.ref(layer), index
        return array

    @property
    def value(self) -> Float32:
        """The values as a plain array."""
        return self.view(np.ndarray)

    @property
    def _weight_in(self) -> Callable[[Trace], TracedArray]:
        """Returns the weight as a symbol of a trace; AttributeError if the array is no weight."""
        layer, weight = self._origin
        return lambda trace: trace.weight(layer, self._index, weight.shape)

    @property
    def _variable(self) -> tuple[Any, int]:
        """The layer of the weight, and its number there."""
        return self._origin[0], self._index

    def __eq__(self, other: object) -> Any:
        """Compares the numbers. The result is true as a whole if both are the same weight, so that weights can be keys."""
        if _is_one_weight(self, other):
            return np.equal(self.value, self.value).view(_Comparison)
        return np.ndarray.__eq__(self.value, np.asarray(other))

    @property
    def _variable_or_none(self) -> tuple[Any, int] | None:
        layer = None if self._owner is None else self._owner()
        return None if layer is None else (layer, self._index)

    def __hash__(self) -> int:  # type: ignore[override] # arrays have none
        return hash((id(self._origin[0]), self._index))

    def assign(self, value: ArrayLike) -> None:
        """Sets the weight of the layer to `value`, of the same shape. This copy keeps its values."""
        if captured_change(self, value):
            return
        self._origin[0]._set_weight(self._index, value)

    def assign_add(self, value: ArrayLike) -> None:
        """Adds `value` to the current weight of the layer."""
        if captured_change(self, value, 1.0):
            return
        self.assign(self._origin[0]._weight_at(self._index) + np.asarray(value))

    def assign_sub(self, value: ArrayLike) -> None:
        """Subtracts `value` from the current weight of the layer."""
        if captured_change(self, value, -1.0):
            return
        self.assign_add(-np.asarray(value))

    @property
    def _origin(self) -> tuple[WeightOwner, Weight]:
        layer = None if self._owner is None else self._owner()
        if layer is None:
            msg = "this array is no weight of a layer: it was computed from one, or the layer is gone"
            raise AttributeError(msg)
        return layer, layer._specs[self._index]


class CustomWeight(Named, StoredArray):
    """A weight array of a custom layer. NumPy functions accept it as an array of its current values.

    Args:
        layer: the layer that has the weight.
        index: its number among the layer's weights.
    """

    def __init__(self, layer: WeightOwner, index: int) -> None:
        self._layer = weakref.ref(layer)
        self._index = index

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle is a weight of a copy of the layer."""
        return {**self.__dict__, "_layer": self._layer()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._copied_layer = state["_layer"]  # nothing else may refer to it
        self._layer = weakref.ref(state["_layer"])

    @property
    def value(self) -> Any:
        """The current values as a read-only array; a symbol in a traced function, and while a gradient tape is recording."""
        trace = current.get()
        if trace is None and is_symbolic(self):
            trace = open_recorder.get().trace
        return self._owner._weight_at(self._index) if trace is None else self._weight_in(trace)

    @property
    def _variable(self) -> tuple[Any, int]:
        """The layer of the weight, and its number there."""
        return self._owner, self._index

    @property
    def _variable_or_none(self) -> tuple[Any, int] | None:
        return None if self._layer() is None else self._variable

    def __eq__(self, other: object) -> Any:
        """Compares the numbers. The result is true as a whole if both are the same weight, as for `LayerWeight`."""
        if _is_one_weight(self, other) and not is_symbolic(self):
            return np.equal(np.asarray(self), np.asarray(self)).view(_Comparison)
        return np.equal(self, other)  # type: ignore[call-overload] # what can't be compared is refused

    def __hash__(self) -> int:
        return hash((id(self._owner), self._index))

    def _weight_in(self, trace: Trace) -> TracedArray:
        """Returns the weight as a symbol of a trace."""
        layer, weight = self._origin
        return trace.weight(layer, self._index, weight.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight."""
        return self._origin[1].shape

    @property
    def dtype(self) -> Any:
        """The dtype of the weight."""
        return np.dtype(np.float32)

    @property
    def T(self) -> Any:  # noqa: N802 # NumPy's name
        """The transposed array."""
        return self.value.T

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if current.get() is not None:
            raise needs_values(repr(self), "an array of it")
        found = self._owner._weight_at(self._index)
        return np.array(found, dtype) if copy else np.asarray(found, dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if is_symbolic(self):
            return recorded_ufunc(ufunc, method, inputs, options)
        return super().__array_ufunc__(ufunc, method, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if is_symbolic(self):
            return recorded_function(function, args, kwargs)

        def plain(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return sequence_like(value, map(plain, value))
            return value.value if isinstance(value, CustomWeight) else value

        return function(*plain(args), **{name: plain(value) for name, value in kwargs.items()})

    def assign(self, value: Any) -> None:
        """Sets the weight to `value`, of the same shape.

        In a traced function, a weight that isn't trained gets the value at the end of each batch.
        """
        if captured_change(self, value):
            return
        trace = current.get()
        if trace is None:
            self._owner._set_weight(self._index, np.asarray(value))
            return
        layer, weight = self._origin
        if weight.trainable:
            raise needs_values(f"{self!r}, which training steps,", "assign()")
        trace.assign(layer, self._index, weight.shape, value)

    def assign_add(self, value: Any) -> None:
        """Adds `value` to the weight."""
        self.assign(self.value + value)

    def assign_sub(self, value: Any) -> None:
        """Subtracts `value` from the weight."""
        self.assign(self.value - value)

    @property
    def _owner(self) -> WeightOwner:
        layer = self._layer()
        if layer is None:
            msg = "the layer that this weight belongs to is gone"
            raise RuntimeError(msg)
        return layer

    @property
    def _origin(self) -> tuple[WeightOwner, Weight]:
        return self._owner, self._owner._specs[self._index]

    def __repr__(self) -> str:
        return f"<CustomWeight shape={self.shape}>"


def _is_one_weight(one: LayerWeight | CustomWeight, other: object) -> bool:
    """Whether two objects stand for the same weight of a layer."""
    first = one._variable_or_none
    second = other._variable_or_none if isinstance(other, (LayerWeight, CustomWeight)) else None
    return first is not None and second is not None and first[0] is second[0] and first[1] == second[1]


class _Comparison(np.ndarray[Any, np.dtype[np.bool_]]):
    """Which numbers of two arrays of one weight are equal. It is true as a whole."""

    def __bool__(self) -> bool:
        return True


class NamedWeight:
    """An attribute of a layer class: the current weight of that name, read-only; None if the layer has no such weight."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: WeightOwner | None, owner: type) -> Any:
        if layer is None:
            return self
        names = layer._weight_names if layer.built else []
        return layer._weight_at(names.index(self._name)) if self._name in names else None


def checked_weights(weights: Sequence[ArrayLike], shapes: Sequence[Shape], owner: str) -> list[Float32]:
    """Returns `weights` as float32 arrays of these shapes; an error says which one doesn't fit."""
    arrays = [np.asarray(array) for array in weights]
    if len(arrays) != len(shapes):
        msg = (
            f"{owner!r} has {len(shapes)} weight arrays, got {len(arrays)}: get_weights() shows their shapes"
        )
        raise ValueError(msg)
    return [
        checked_weight(array, shape, index, owner)
        for index, (array, shape) in enumerate(zip(arrays, shapes, strict=True))
    ]


def checked_weight(weight: ArrayLike, shape: Shape, index: int, owner: str) -> Float32:
    """Returns `weight`, number `index` of `owner`, as a float32 array of this shape."""
    array = np.asarray(weight)
    if array.shape != shape:
        msg = f"`weights[{index}]` of {owner!r} must have shape {shape}, got {array.shape}"
        raise ValueError(msg)
    if array.dtype.kind not in REAL:
        msg = f"`weights[{index}]` of {owner!r} must hold real numbers, got dtype {array.dtype}"
        raise TypeError(msg)
    try:
        with np.errstate(over="raise"):
            return np.array(array, np.float32)
    except FloatingPointError:
        msg = f"`weights` of {owner!r} must lie within float32's range"
        raise ValueError(msg) from None
