"""Numbers and arrays with the methods of Keras' tensors and variables, such as `numpy()` and `assign()`.

Losses and metrics return these numbers, layers return these arrays when they are called with arrays, and weights,
optimizer state and metric state are stored arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    pass


class Number(float):
    """A float with the attributes `shape`, `ndim` and `dtype` and the method `numpy()` of a tensor."""

    shape: tuple[int, ...] = ()
    ndim = 0
    dtype = np.dtype(np.float32)

    def numpy(self) -> np.float32:
        """Returns the number as a scalar of NumPy."""
        return np.float32(self)


class StoredArray(NDArrayOperatorsMixin, ABC):
    """A variable: an array that an object keeps. NumPy's functions accept it and read its current value."""

    @property
    @abstractmethod
    def value(self) -> NDArray[Any]:
        """The current value."""

    @abstractmethod
    def assign(self, value: ArrayLike) -> None:
        """Sets the value to one of the same shape."""

    def assign_add(self, value: ArrayLike) -> None:
        """Adds `value`."""
        self.assign(self.value + np.asarray(value))

    def assign_sub(self, value: ArrayLike) -> None:
        """Subtracts `value`."""
        self.assign(self.value - np.asarray(value))

    def numpy(self) -> NDArray[Any]:
        """Returns a copy of the current value."""
        return np.array(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self.value.dtype

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype) if copy else np.asarray(self.value, dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(operand, StoredArray) for operand in options.get("out", ())):
            msg = "NumPy can't write into a variable: set its values by `assign`"
            raise TypeError(msg)
        plain = [operand.value if isinstance(operand, StoredArray) else operand for operand in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def _not_in_place(self, other: object) -> Any:
        """Leaves `variable += other` to `variable = variable + other`, an array, as in Keras."""
        del other
        return NotImplemented

    __iadd__ = __isub__ = __imul__ = __imatmul__ = __itruediv__ = __ifloordiv__ = _not_in_place
    __imod__ = __ipow__ = __iand__ = __ior__ = __ixor__ = __ilshift__ = __irshift__ = _not_in_place

    # As in Keras, these operators of variables are logical, also for integers.

    def __and__(self, other: Any) -> Any:
        return np.logical_and(self, other)

    def __or__(self, other: Any) -> Any:
        return np.logical_or(self, other)

    def __xor__(self, other: Any) -> Any:
        return np.logical_xor(self, other)

    def __invert__(self) -> Any:
        return np.logical_not(self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __round__(self, ndigits: int | None = None) -> Any:
        return np.round(self, ndigits or 0)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        msg = (
            "an item of a variable can't be set: set all values by `assign`, as in `variable.assign(keras.ops.slice_update("
            "variable, start, update))`"
        )
        raise TypeError(msg)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.value)

    def __len__(self) -> int:
        if not self.shape:
            msg = "len() of a variable without axes"
            raise TypeError(msg)
        return self.shape[0]

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return self.value.__index__()


class ArrayRecorder(Protocol):
    """What records operations on arrays: the open gradient tapes of a thread."""

    def is_recorded(self, value: Any) -> bool:
        """Whether what is done with an array is recorded."""

    def ufunc(self, ufunc: Any, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Records a universal function of NumPy, called with arrays."""

    def function(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records another function of NumPy."""

    def method(self, name: str, array: Any, *args: Any, **options: Any) -> Any:
        """Records a method of an array, by its name."""


# The open gradient tapes of this thread, a `lazy.Recorder`; None if there are none.
open_recorder: ContextVar[Any] = ContextVar("open_recorder", default=None)


class Tensor(np.ndarray[Any, np.dtype[np.float32]]):
    """An array with the method `numpy()`, and with the mask that Keras attaches to the outputs of layers.

    Arithmetic with a tensor gives a plain array. It is recorded while a gradient tape watches the tensor.
    """

    _keras_mask: NDArray[np.bool_] | None = None

    @property
    def _recorder(self) -> ArrayRecorder | None:
        """What records operations on this array; None if nothing does."""
        found: ArrayRecorder | None = open_recorder.get()
        return found if found is not None and found.is_recorded(self) else None

    def __getitem__(self, key: Any) -> Any:
        recorder = self._recorder
        return super().__getitem__(key) if recorder is None else recorder.method("__getitem__", self, key)

    @property
    def T(self) -> Any:  # noqa: N802 # NumPy's name
        """The transposed array."""
        return self.transpose()

    def trace(self, *args: Any, **options: Any) -> Any:
        """The sum of the diagonal."""
        recorder = self._recorder
        if recorder is None:
            return super().trace(*args, **options)
        return recorder.function(np.trace, (self, *args), options)  # symbols have another attribute `trace`

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        recorder = self._recorder
        if recorder is None:
            return super().__array_function__(function, types, args, kwargs)
        return recorder.function(function, args, kwargs)

    def masked(self, mask: ArrayLike | None) -> Tensor:
        """Returns this array with a mask: True for each timestep to keep; None keeps all."""
        self._keras_mask = None if mask is None else np.asarray(mask, bool)
        return self

    def numpy(self) -> NDArray[np.float32]:
        """Returns a copy as a plain array."""
        return np.array(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        recorder: ArrayRecorder | None = open_recorder.get()
        if recorder is not None and any(map(recorder.is_recorded, inputs)):
            return recorder.ufunc(ufunc, method, inputs, options)
        plain = [plain_array(item) for item in inputs]
        if "out" in options:
            options["out"] = tuple(plain_array(item) for item in options["out"])
        return getattr(ufunc, method)(*plain, **options)


def _method(name: str) -> Any:
    """Returns a method of arrays that is recorded while a tape watches the tensor."""
    of_array = getattr(np.ndarray, name)

    def method(self: Tensor, *args: Any, **options: Any) -> Any:
        recorder = self._recorder
        if recorder is None:
            return of_array(self, *args, **options)
        return recorder.method(name, self, *args, **options)

    method.__name__, method.__doc__ = name, f"The same as `{name}` of NumPy's arrays."
    return method


# The methods that NumPy doesn't compute by functions that ask `__array_ufunc__`.
for _name in (
    "astype", "cumprod", "cumsum", "diagonal", "dot", "flatten", "mean", "ravel", "repeat", "reshape", "squeeze", "std",
    "swapaxes", "take", "transpose", "var",
):  # fmt: skip
    setattr(Tensor, _name, _method(_name))


def tensor_of(value: Any) -> Any:
    """Returns a float as a `Number`, an array of floats as a float32 `Tensor`, and anything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float32).view(Tensor)
    return Number(value) if isinstance(value, float) else value


def mask_of(value: Any) -> Any:
    """Returns the mask of a tensor or a recorded array, True for each timestep to keep; None for one without and for others."""
    # To find out that a plain array lacks the attribute takes longer than to know that.
    return None if type(value) is np.ndarray else getattr(value, "_keras_mask", None)


def plain_array(value: Any) -> Any:
    """Returns `value`; a tensor as a plain array that shares its memory."""
    return value.view(np.ndarray) if isinstance(value, Tensor) else value
