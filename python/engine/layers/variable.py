"""`Variable`: a weight of a layer, or an array that is made by itself."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from engine import constraints, initializers, regularizers
from engine._base.checks import Shape, WrongTypeError, choice, flag, integers, label, only_default
from engine._base.promotion import standard
from engine._base.spec import auto_name
from engine._base.tensor_like import StoredArray, open_recorder
from engine._core_interface.cpp import WeightArray, new_arrays, read_weights, write_arrays
from engine._tracing.errors import needs_values
from engine._tracing.lazy import (
    LazyTrace,
    apply_pending_changes,
    captured_change,
    capturing,
    prepare_for_change,
    recorded_or_computed_function,
    recorded_or_computed_ufunc,
)
from engine._tracing.symbolic import current, is_symbolic, sequence_like
from engine._tracing.trace import Trace, TracedArray
from engine._tracing.versions import Versioned
from engine.constraints import Constraint
from engine.initializers import Constant
from engine.initializers.base import as_weight
from engine.layers.weights import WeightSpec
from engine.regularizers import Regularizer


def _numbers_in(value: Any) -> NDArray[Any]:
    """Returns the values of a variable as an array; an error if they are no numbers, or too large for float32."""
    try:
        values = np.array(value)
        np.asarray(values, np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"`initializer` must be numbers, an initializer or its name, got {value!r:.80}: {error}"
        raise WrongTypeError(msg) from error
    return values


class View(NamedTuple):
    """Values of a variable that something else keeps, such as an optimizer."""

    read: Callable[[], NDArray[Any]]
    write: Callable[[NDArray[Any]], object]


class Variable(StoredArray, Versioned):
    """An array that can be assigned, such as a weight of a layer.

    As an attribute of a layer or a model with a `call`, it is a weight of that.

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
    _array: WeightArray | NDArray[Any] | View
    _dtype: np.dtype[Any]
    _spec: WeightSpec
    """What is known of it beside its values."""
    _layer: weakref.ref[Any] | None = None
    """The layer that it is a weight of."""
    _index = 0
    """Its number there."""
    _path: str | None = None
    """The path of a variable of no layer, if it isn't the name."""

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
        self._spec = WeightSpec(
            title,
            sizes,
            made,
            flag(trainable, "trainable"),
            regularizers.get(regularizer),
            constraints.of_a_row(constraints.get(constraint), sizes),
        )
        self._dtype = np.dtype(kind)
        self._store(values)

    @classmethod
    def _of(cls, layer: Any, index: int, weight: WeightSpec, values: WeightArray) -> Variable:
        """Returns weight number `index` of a layer."""
        made = cls.__new__(cls)
        made._spec, made._array, made._dtype = weight, values, np.dtype(np.float32)
        made._layer, made._index = weakref.ref(layer), index
        return made

    @classmethod
    def _view(cls, path: str, shape: Shape, view: View, dtype: DTypeLike = np.float32) -> Variable:
        """Returns a variable of which something else keeps the values.

        Args:
            path: the path, which ends in the name.
            shape: the shape of the values.
            view: reads and writes them.
            dtype: their dtype.
        """
        made = cls.__new__(cls)
        made._spec, made._path = WeightSpec(path.rpartition("/")[2], shape, None, trainable=False), path
        made._array, made._dtype = view, np.dtype(dtype)
        return made

    def _store(self, values: ArrayLike) -> None:
        """Keeps values: those of float32 where functions and optimizers use them, too."""
        self._array = np.array(values, self._dtype, order="C")
        if self._dtype == np.float32:
            (self._array,) = new_arrays([self._array])

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has the present values; that of a weight belongs to a copy of the layer, which has them."""
        layer = self._layer_or_none
        values = None if layer is not None else np.array(self._numbers())
        return {**self.__dict__, "_layer": layer, "_array": values}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        layer, values = state["_layer"], state["_array"]
        self.__dict__.update({name: value for name, value in state.items() if name != "_array"})
        if layer is None:
            self._store(values)
            return
        self._layer = weakref.ref(layer)
        if layer._has_weights:  # it was copied for the sake of this weight, so that nothing else refers to it
            self._copied_layer = layer

    def _adopt(self, layer: Any, index: int) -> None:
        """Makes it weight number `index` of a layer."""
        if not isinstance(self._array, WeightArray):
            self._dtype = np.dtype(np.float32)
            self._store(self._numbers())
        self._layer, self._index = weakref.ref(layer), index

    @property
    def _is_view(self) -> bool:
        """Whether an optimizer keeps the values."""
        return isinstance(self._array, View)

    @property
    def _layer_or_none(self) -> Any:
        """The layer that it is a weight of; None if there is none, or it is gone."""
        return None if self._layer is None else self._layer()

    # What optimizers and recorded functions know a variable by. The owner is a layer or, of a variable of no layer, the
    # variable itself.

    @property
    def _owner_and_number(self) -> tuple[Any, int]:
        layer = self._layer_or_none
        return (self, 0) if layer is None else (layer, self._index)

    @property
    def _weights(self) -> list[Variable]:
        return [self]

    @property
    def _specs(self) -> list[WeightSpec]:
        return [self._spec]

    @property
    def _own_values(self) -> list[NDArray[Any]]:
        return [self._numbers()]

    def _stored_arrays(self) -> list[WeightArray]:
        if not isinstance(self._array, WeightArray):
            what = "is the state of an optimizer" if self._is_view else f"has the dtype {self._dtype}"
            msg = f"an optimizer steps variables of real numbers, but {self!r} {what}"
            raise TypeError(msg)
        return [self._array]

    @property
    def _changes_in_traces(self) -> bool:
        """Whether a trace can record an assignment: layers of the library have weights that the core changes by itself."""
        layer = self._layer_or_none
        return (
            isinstance(self._array, WeightArray)
            and (layer is None or layer._is_by_call)
            and not self._spec.trainable
        )

    def _weight_in(self, trace: Trace) -> TracedArray:
        """Returns the variable as a symbol of a trace."""
        owner, index = self._owner_and_number
        if owner is self and not isinstance(self._array, WeightArray):
            if capturing() is not None:
                raise needs_values(repr(self), "float() or np.asarray() of it")
            return trace.constant(self._numbers())
        if owner is self and not isinstance(trace, LazyTrace):
            msg = (
                f"the variable {self.name!r} belongs to no layer, so that a traced function would see its values of now alone: "
                "make it an attribute of the layer or the model that uses it"
            )
            raise TypeError(msg)
        return trace.weight(owner, index, self.shape)

    # What it is.

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self._spec.shape

    @property
    def dtype(self) -> Any:
        """The dtype."""
        return self._dtype

    @property
    def name(self) -> str:
        """The name, such as "kernel"."""
        return self._spec.name

    @property
    def path(self) -> str:
        """Path of the layer and name, such as "dense/kernel" or "sequential/dense/kernel"; the name alone without a layer."""
        layer = self._layer_or_none
        return (self._path or self.name) if layer is None else f"{layer.path}/{self.name}"

    @property
    def trainable(self) -> bool:
        """Whether training updates it; False if its layer isn't trainable. It can be assigned, as can the next two.

        A layer of the library has the attribute `trainable` for all its weights, and arguments for the other two.
        """
        layer = self._layer_or_none
        return self._spec.trainable and (layer is None or layer.trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._redescribe(trainable=flag(value, "trainable"))

    @property
    def regularizer(self) -> Regularizer | None:
        """The penalty on the values; None if there is none."""
        return self._spec.regularizer

    @regularizer.setter
    def regularizer(self, value: object) -> None:
        self._redescribe(regularizer=regularizers.get(value))

    @property
    def constraint(self) -> Constraint | None:
        """The constraint on the values, applied after every step; None if there is none."""
        return self._spec.constraint

    @constraint.setter
    def constraint(self, value: object) -> None:
        self._redescribe(constraint=constraints.of_a_row(constraints.get(value), self.shape))

    def _redescribe(self, **changes: Any) -> None:
        layer, weight = self._layer_or_none, self._spec._replace(**changes)
        if weight == self._spec:
            return
        if layer is not None:
            layer._require_own_weights(next(iter(changes)), self.name)
        self._spec = weight
        (self if layer is None else layer)._note_change()

    # Its values.

    def _numbers(self) -> NDArray[Any]:
        """The current values, read-only."""
        if not self._spec.trainable or self._layer is None:
            apply_pending_changes()
        if isinstance(self._array, WeightArray):
            return read_weights([self._array])[0]
        values = (self._array.read() if isinstance(self._array, View) else self._array).view()
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
        return np.array(self)

    def assign(self, value: Any) -> Variable:  # type: ignore[override] # as in Keras
        """Sets the values to `value`, of the same shape, and returns the variable.

        In a traced function, a weight that isn't trained gets the value at the end of each batch.

        Raises:
            ValueError: if the shape differs.
        """
        owner, index = self._owner_and_number
        trace = current.get()
        if trace is not None:
            if owner is self or not self._changes_in_traces:
                steps = ", which training steps" if self._spec.trainable else ""
                raise needs_values(f"the variable {self.path!r}{steps}", "assign()")
            trace.assign(owner, index, self.shape, value)
        elif not captured_change(self, value):
            array = np.asarray(value)
            if array.shape != self.shape:
                msg = (
                    "The shape of the target variable and the shape of the target value in `variable.assign(value)` must "
                    f"match. variable.shape={self.shape}, Received: value.shape={array.shape}. Target variable: {self!r}"
                )
                raise ValueError(msg)
            self._write(array)
        return self

    def _write(self, array: NDArray[Any]) -> None:
        if isinstance(self._array, View):
            self._array.write(array)
            return
        if not isinstance(self._array, WeightArray):
            self._store(array)
            return
        values = as_weight(array, self.shape, f"the value of {self.path!r}")
        prepare_for_change((self._owner_and_number[0],))
        write_arrays([self._array], [values])

    def assign_add(self, value: Any) -> Variable:  # type: ignore[override] # as in Keras
        """Adds `value`, and returns the variable."""
        return self.assign(self._now() + value)

    def assign_sub(self, value: Any) -> Variable:  # type: ignore[override] # as in Keras
        """Subtracts `value`, and returns the variable."""
        return self.assign(self._now() - value)

    def _now(self) -> Any:
        """The current values; where those of the core are recorded, a symbol."""
        return self.value if isinstance(self._array, WeightArray) else self._numbers()

    @property
    def T(self) -> Any:  # noqa: N802 # NumPy's name
        """The transposed array."""
        return self.value.T

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if current.get() is not None or capturing() is not None:
            raise needs_values(repr(self), "an array of it")
        return np.array(self._numbers(), dtype) if copy else np.asarray(self._numbers(), dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if is_symbolic(self):
            return recorded_or_computed_ufunc(ufunc, method, inputs, options)
        return super().__array_ufunc__(ufunc, method, *inputs, **options)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if is_symbolic(self):
            return recorded_or_computed_function(function, args, kwargs)

        def plain(value: Any) -> Any:
            if isinstance(value, (list, tuple)):
                return sequence_like(value, map(plain, value))
            return value.value if isinstance(value, Variable) else value

        return function(*plain(args), **{name: plain(value) for name, value in kwargs.items()})

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

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self._dtype.name}, value={self._numbers()}>"


class NamedWeight:
    """An attribute of a layer class: the weight of that name; None before it is created, or if the layer has none of it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: Any, owner: type) -> Any:
        if layer is None:
            return self
        found = layer.__dict__.get(self._name)
        if found is not None:
            return found
        return next((each for each in layer._weights or () if each.name == self._name), None)

    def __set__(self, layer: Any, value: object) -> None:
        if not isinstance(value, Variable):
            msg = f"a weight can't be replaced: set its values, as in layer.{self._name}.assign(value)"
            raise AttributeError(msg)
        layer.__dict__[self._name] = value


def own_variables(layer: Any, weights: Sequence[WeightSpec], arrays: Sequence[WeightArray]) -> list[Variable]:
    """Returns the variables of a layer: for each description of a weight its values."""
    pairs = zip(weights, arrays, strict=True)
    return [Variable._of(layer, index, weight, array) for index, (weight, array) in enumerate(pairs)]
