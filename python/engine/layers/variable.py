"""`Variable`: a weight that is made by itself, and becomes one of the layer or model that gets it as an attribute."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import constraints, initializers, regularizers
from engine._base.checks import Shape, WrongTypeError, choice, flag, integers, label, only_default
from engine._base.containers import values_within
from engine._base.promotion import standard
from engine._base.spec import auto_name
from engine._core_interface.cpp import WeightArray, new_arrays, read_weights, write_arrays
from engine._tracing.lazy import LazyTrace, before_change, captured_change, capturing, settle
from engine._tracing.symbolic import current, is_symbolic, needs_values, open_recorder
from engine._tracing.trace import Trace, TracedArray
from engine.constraints import Constraint
from engine.initializers import Constant
from engine.layers.weights import CustomWeight, Weight, WeightOwner


def _numbers_in(value: Any) -> NDArray[Any]:
    """Returns the values of a variable as an array; an error if they are no numbers, or too large for float32."""
    try:
        values = np.array(value)
        np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"`initializer` must be numbers, an initializer or its name, got {value!r:.80}: {error}"
        raise WrongTypeError(msg) from error
    return values


class Variable(CustomWeight):
    """An array that can be assigned. As an attribute of a layer or model with a `call`, it is a weight of that.

    NumPy's functions, those of `keras.ops` and arithmetic read its current values. Optimizers step it by
    `apply_gradients`, and gradient tapes watch it if it is trainable.

    Args:
        initializer: the values, or an initializer or its name together with `shape`.
        shape: of the array, for an initializer.
        dtype: its name; default float32, or that of integers and bools. As a weight it is float32.
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

        By itself:

        >>> step = keras.Variable(0.5)
        >>> float(step.assign_add(1.0) * 2)
        3.0
    """

    aggregation = synchronization = None

    @property
    def overwrite_with_gradient(self) -> bool:
        """False: an optimizer steps by the gradient. Keras has weights that it overwrites, for quantization."""
        return False

    @overwrite_with_gradient.setter
    def overwrite_with_gradient(self, value: bool) -> None:
        only_default(value, "overwrite_with_gradient", False, "quantization")

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = None,
        synchronization: str | None = None,
        name: str | None = None,
        regularizer: object = None,
        constraint: object = None,
    ) -> None:
        del autocast
        choice(
            "none" if aggregation is None else aggregation,
            "aggregation",
            ["none", "mean", "sum", "only_first_replica"],
        )
        choice(
            "none" if synchronization is None else synchronization,
            "synchronization",
            ["none", "auto", "on_read", "on_write"],
        )
        title = auto_name("variable") if name is None else label(name)
        if callable(initializer) or isinstance(initializer, str):
            if shape is None:
                msg = f"`shape` is missing, which the initializer {initializer!r} of a variable needs"
                raise ValueError(msg)
            sizes: Shape = integers(shape, "shape", 1)
            made = initializers.get(initializer)
            values = np.asarray(made(sizes)).reshape(sizes)
            kind = standard("float32" if dtype is None else dtype)
        else:
            values = _numbers_in(initializer)
            sizes, made = values.shape, Constant(np.asarray(values, np.float32))
            usual = {"f": "float32", "i": "int32", "u": "int32"}.get(values.dtype.kind, values.dtype.name)
            kind = standard(usual if dtype is None else dtype)
            if shape is not None and tuple(shape) != sizes:
                msg = f"`shape` is {tuple(shape)}, but the values have the shape {sizes}"
                raise ValueError(msg)
        self._weight = Weight(
            title,
            sizes,
            made,
            flag(trainable, "trainable"),
            regularizers.get(regularizer),
            constraints.of_a_row(constraints.get(constraint), sizes),
        )
        self._dtype = np.dtype(kind)
        self._store(values)
        self._layer: Any = None  # a weak reference to the layer that it is a weight of, and its number there
        self._index = 0

    def _store(self, values: ArrayLike) -> None:
        """Keeps values: those of float32 where functions and optimizers use them, too."""
        self._values: WeightArray | NDArray[Any] = np.array(values, self._dtype, order="C")
        if self._dtype == np.float32:
            (self._values,) = new_arrays([self._values])

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has the present values; that of a weight belongs to a copy of the layer."""
        layer = None if self._layer is None else self._owner
        values = np.array(self._numbers(), self._dtype) if layer is None else None
        return {**self.__dict__, "_layer": layer, "_values": values}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        if state["_layer"] is None:
            self.__dict__.update(state)
            self._store(state["_values"])
        else:
            super().__setstate__(state)

    def _adopt(self, layer: WeightOwner, index: int) -> WeightArray:
        """Makes it weight number `index` of a layer, and returns its values."""
        values = self._values
        (array,) = [values] if isinstance(values, WeightArray) else new_arrays([values.astype(np.float32)])
        self._layer, self._index, self._dtype = weakref.ref(layer), index, np.dtype(np.float32)
        return array

    def _numbers(self) -> NDArray[Any]:
        """The current values, read-only."""
        if self._layer is not None:
            return self._owner._weight_at(self._index)
        settle()
        if isinstance(self._values, WeightArray):
            return read_weights([self._values])[0]
        values = self._values.view()
        values.flags.writeable = False
        return values

    @property
    def value(self) -> Any:
        """The current values as a read-only array; a symbol in a traced function, and while a gradient tape is recording."""
        trace = current.get()
        if trace is None and is_symbolic(self):
            trace = open_recorder.get().trace
        return self._numbers() if trace is None else self._weight_in(trace)

    def numpy(self) -> NDArray[Any]:
        """Returns a copy of the current values."""
        return np.array(self._numbers())

    @property
    def dtype(self) -> Any:
        """The dtype."""
        return self._dtype

    def assign(self, value: Any) -> Variable:  # type: ignore[override] # as in Keras
        """Sets the values to `value`, of the same shape, and returns the variable.

        Raises:
            ValueError: if the shape differs.
        """
        trace = current.get()
        if trace is not None and self._layer is not None:
            super().assign(value)
            return self
        if trace is not None:
            raise needs_values(repr(self), "assign()")
        if captured_change(self, value):
            return self
        array = np.asarray(value)
        if array.shape != self.shape:
            msg = (
                f"The shape of the target variable and the shape of the target value in `variable.assign(value)` must match. "
                f"variable.shape={self.shape}, Received: value.shape={array.shape}. Target variable: {self!r}"
            )
            raise ValueError(msg)
        if self._layer is not None:
            super().assign(value)
            return self
        before_change((self,))
        if isinstance(self._values, WeightArray):
            write_arrays([self._values], [array])
        else:
            self._store(array)
        return self

    def assign_add(self, value: Any) -> Variable:  # type: ignore[override] # as in Keras
        """Adds `value`, and returns the variable."""
        if captured_change(self, value, 1.0):
            return self
        return self.assign(self._now() + value)

    def assign_sub(self, value: Any) -> Variable:  # type: ignore[override] # as in Keras
        """Subtracts `value`, and returns the variable."""
        if captured_change(self, value, -1.0):
            return self
        return self.assign(self._now() - value)

    def _now(self) -> Any:
        """The current values; a symbol in a traced function."""
        return self._numbers() if current.get() is None else self.value

    def _weight_in(self, trace: Trace) -> TracedArray:
        if self._layer is not None:
            return super()._weight_in(trace)
        if self._dtype != np.float32:
            if capturing() is not None:
                raise needs_values(repr(self), "float() or np.asarray() of it")
            return trace.constant(self._numbers())
        if not isinstance(trace, LazyTrace):
            msg = (
                f"the variable {self.name!r} belongs to no layer, so that a traced function would see its values of now alone: "
                "make it an attribute of the layer or the model that uses it"
            )
            raise TypeError(msg)
        return trace.weight(self, 0, self.shape)

    # A variable that belongs to no layer is a weight and also the owner of this weight, for functions and optimizers.

    @property
    def _variable(self) -> tuple[Any, int]:
        return (self, 0) if self._layer is None else super()._variable

    @property
    def _variable_or_none(self) -> tuple[Any, int] | None:
        return self._variable if self._layer is None else super()._variable_or_none

    @property
    def _specs(self) -> list[Weight]:
        return [self._weight]

    @property
    def _own_weights(self) -> list[NDArray[Any]]:
        return [self._numbers()]

    def _weight_object(self, index: int) -> Variable:
        del index
        return self

    def _set_weight(self, index: int, value: ArrayLike) -> None:
        del index
        self.assign(value)

    def _stored_arrays(self) -> list[WeightArray]:
        if not isinstance(self._values, WeightArray):
            msg = f"an optimizer steps variables of real numbers, but {self!r} has the dtype {self._dtype}"
            raise TypeError(msg)
        return [self._values]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if current.get() is not None or capturing() is not None:
            raise needs_values(repr(self), "an array of it")
        return np.array(self._numbers(), dtype) if copy else np.asarray(self._numbers(), dtype)

    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __int__(self) -> int:
        return int(np.asarray(self))

    def __index__(self) -> int:
        return np.asarray(self).__index__()

    def __format__(self, form: str) -> str:
        return format(np.asarray(self)[()] if not self.shape else np.asarray(self), form)

    __hash__ = object.__hash__  # which stays as it is when the variable becomes a weight of a layer

    @property
    def _origin(self) -> tuple[Any, Weight]:
        return (self, self._weight) if self._layer is None else super()._origin

    @property
    def path(self) -> str:
        """Name of layer and variable, such as "scale/factor"; the name alone if it belongs to no layer."""
        return self.name if self._layer is None else super().path

    @property
    def trainable(self) -> bool:
        """Whether training updates it. It may be assigned while the variable is no weight of a layer."""
        return self._weight.trainable if self._layer is None else super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._weight = self._weight._replace(trainable=flag(value, "trainable"))

    @property
    def constraint(self) -> Constraint | None:
        """The constraint on the values, applied after every step; None if there is none.

        It may be assigned while the variable is no weight of a layer.
        """
        return self._weight.constraint if self._layer is None else super().constraint

    @constraint.setter
    def constraint(self, value: object) -> None:
        found = constraints.of_a_row(constraints.get(value), self.shape)
        self._weight = self._weight._replace(constraint=found)

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self._dtype.name}, value={self._numbers()}>"

    def __len__(self) -> int:
        return self.shape[0]


def variables_in(value: object) -> list[Variable]:
    """Returns the variables in `value`: itself, or those in a list, tuple or dict at any depth."""
    return [each for each in values_within(value) if isinstance(each, Variable)]
