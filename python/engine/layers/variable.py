"""`Variable`: a weight that is made by itself, and becomes one of the layer or model that gets it as an attribute."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine import constraints, initializers, regularizers
from engine._base.checks import Shape, flag, float32_only, integers, label
from engine._base.spec import auto_name
from engine._core_interface.cpp import Float32
from engine._tracing.symbolic import current, needs_values
from engine._tracing.trace import Trace, TracedArray
from engine.initializers import Constant
from engine.layers.weights import CustomWeight, Weight, WeightOwner


class Variable(CustomWeight):
    """An array of float32 that can be assigned. As an attribute of a layer or model with a `call`, it is a weight of that.

    Args:
        initializer: the values, or an initializer or its name together with `shape`.
        shape: of the array, for an initializer.
        dtype: None or "float32".
        trainable: whether training updates it.
        autocast: Ignored, as there is a single dtype.
        aggregation: Ignored. It is for distributed training.
        synchronization: Ignored, in the same way.
        name: of the variable; default `variable` with a number.
        regularizer: penalty on it, once it is a weight.
        constraint: constraint on it, once it is a weight.

    Raises:
        ValueError: for an initializer without a shape.

    Example:
        >>> import engine as keras
        >>> class Scale(keras.layers.Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factor = keras.Variable(2.0)
        ...     def call(self, inputs):
        ...         return inputs * self.factor
        >>> Scale()([[1.0, 3.0]]).tolist()
        [[2.0, 6.0]]
    """

    aggregation = synchronization = None
    overwrite_with_gradient = False

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: object = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = None,
        synchronization: str | None = None,
        name: str | None = None,
        regularizer: object = None,
        constraint: object = None,
    ) -> None:
        del autocast, aggregation, synchronization
        float32_only(dtype)
        title = auto_name("variable") if name is None else label(name)
        if callable(initializer) or isinstance(initializer, str):
            if shape is None:
                msg = f"`shape` is missing, which the initializer {initializer!r} of a variable needs"
                raise ValueError(msg)
            sizes: Shape = integers(shape, "shape", 1)
            made = initializers.get(initializer)
            values = np.asarray(made(sizes), np.float32).reshape(sizes)
        else:
            values = np.array(initializer, np.float32)
            sizes, made = values.shape, Constant(values)
        self._weight = Weight(
            title,
            sizes,
            made,
            flag(trainable, "trainable"),
            regularizers.get(regularizer),
            constraints.of_a_row(constraints.get(constraint), sizes),
        )
        self._values = values
        self._layer: Any = None
        self._index = 0

    def _adopt(self, layer: WeightOwner, index: int) -> Float32:
        """Makes it weight number `index` of a layer, and returns its values."""
        self._layer, self._index = weakref.ref(layer), index
        return self._values

    @property
    def value(self) -> Any:
        """The current values as a read-only array; a symbol in a traced function."""
        if self._layer is not None:
            return super().value
        if current.get() is not None:
            return self._weight_in(current.get())
        values = self._values.view()
        values.flags.writeable = False
        return values

    def assign(self, value: Any) -> None:
        """Sets the values to `value`, of the same shape."""
        if self._layer is not None:
            super().assign(value)
            return
        if current.get() is not None:
            raise needs_values(repr(self), "assign()")
        array = np.asarray(value, np.float32)
        if array.shape != self.shape:
            msg = f"the values of {self.name!r} must have the shape {self.shape}, got {array.shape}"
            raise ValueError(msg)
        self._values = array.copy()

    def _weight_in(self, trace: Trace) -> TracedArray:
        if self._layer is None:
            msg = (
                f"the variable {self.name!r} belongs to no layer, so that a traced function would see its values of now alone: "
                "make it an attribute of the layer or the model that uses it"
            )
            raise TypeError(msg)
        return super()._weight_in(trace)

    @property
    def _origin(self) -> tuple[Any, Weight]:
        return (None, self._weight) if self._layer is None else super()._origin

    @property
    def path(self) -> str:
        """Name of layer and variable, such as "scale/factor"; the name alone if it belongs to no layer."""
        return self.name if self._layer is None else super().path

    @property
    def trainable(self) -> bool:
        """Whether training updates it."""
        return self._weight.trainable if self._layer is None else super().trainable

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype=float32>"

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]


def variables_in(value: object) -> list[Variable]:
    """Returns the variables in `value`: itself, or those in a list, tuple or dict at any depth."""
    if isinstance(value, Variable):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [found for each in value for found in variables_in(each)] if isinstance(value, (list, tuple)) else []
    )
