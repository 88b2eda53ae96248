"""The tensors of `engine.tensorflow`: NumPy arrays with the methods and the rules for dtypes of TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine import tree
from engine._base import tensor_like
from engine._base.tensor_like import StoredArray, open_recorder
from engine._tracing.symbolic import is_symbolic

if TYPE_CHECKING:
    from typing_extensions import Self

Result = TypeVar("Result")

# The dtypes that numbers of Python have in tensors.
_OF_PYTHON = {
    bool: np.dtype(bool),
    int: np.dtype(np.int32),
    float: np.dtype(np.float32),
    complex: np.dtype(np.complex128),
}


class TensorShape(tuple[Any, ...]):
    """The shape of a tensor: a tuple with the methods of TensorFlow's class. An unknown length is None."""

    __slots__ = ()

    def __new__(cls, dims: Any = ()) -> Self:
        """Returns a shape of a sequence of lengths, or of one length."""
        return super().__new__(cls, dims if isinstance(dims, Iterable) else (dims,))

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self)

    @property
    def ndims(self) -> int:
        """The number of axes."""
        return len(self)

    def as_list(self) -> list[Any]:
        """Returns the lengths."""
        return list(self)

    def num_elements(self) -> int | None:
        """Returns how many numbers a tensor of this shape has; None if a length is unknown."""
        return None if None in self else int(np.prod(self, dtype=np.int64))

    def is_fully_defined(self) -> bool:
        """Returns whether all lengths are known."""
        return None not in self

    def is_compatible_with(self, other: Any) -> bool:
        """Returns whether a tensor could have both shapes."""
        other = TensorShape(other)
        return len(self) == len(other) and all(
            a is None or b is None or a == b for a, b in zip(self, other, strict=True)
        )


class _Kind(type):
    """Lets whatever has numbers now or later pass for a tensor: results of layers and of what a tape records."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or (
            cls is Tensor and (isinstance(instance, tensor_like.Tensor) or is_symbolic(instance))
        )


class Tensor(tensor_like.Tensor, metaclass=_Kind):
    """An array whose results of arithmetic are tensors, too, and have its dtype where the other operand is no tensor."""

    __hash__ = None  # type: ignore[assignment] # as in TensorFlow

    @property  # type: ignore[misc] # that of NumPy can be set
    def shape(self) -> TensorShape:
        """The shape."""
        return TensorShape(np.ndarray.shape.__get__(self))

    def get_shape(self) -> TensorShape:
        """Returns the shape."""
        return self.shape

    @property
    def device(self) -> str:  # type: ignore[override]
        """Where the numbers are: always on the CPU."""
        return "/job:localhost/replica:0/task:0/device:CPU:0"

    def numpy(self) -> Any:
        """Returns a copy as an array of NumPy, or a scalar of NumPy if there are no axes. Texts are bytes of UTF-8."""
        if self.dtype.kind != "U":
            return np.array(self)[()]
        encoded = np.empty(self.shape, object)
        encoded.ravel()[:] = [str(each).encode() for each in np.asarray(self).ravel()]
        return encoded[()]

    def ref(self) -> Reference:
        """Returns a key for dicts and sets, as tensors have no hash."""
        return Reference(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if open_recorder.get() is None and method == "__call__":
            inputs = alike(inputs)
        return tensors(super().__array_ufunc__(ufunc, method, *inputs, **options))

    def __getitem__(self, key: Any) -> Any:
        return tensors(super().__getitem__(_plain_key(key)))

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        numbers = (
            np.array2string(np.asarray(self), separator=", ", prefix="numpy=array(")
            if self.ndim
            else str(self.numpy())
        )
        return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={self.dtype.name}, numpy={numbers}>"

    def __str__(self) -> str:
        return f"tf.Tensor({np.asarray(self)}, shape={tuple(self.shape)}, dtype={self.dtype.name})"

    def __format__(self, spec: str) -> str:
        return format(self.numpy(), spec) if not self.ndim else super().__format__(spec)


class Reference:
    """Stands for a tensor or a variable as the key of a dict.

    Args:
        referred: the tensor or variable.
    """

    def __init__(self, referred: Any) -> None:
        self._referred = referred

    def deref(self) -> Any:
        """Returns the tensor or variable."""
        return self._referred

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other._referred is self._referred

    def __hash__(self) -> int:
        return id(self._referred)


class TensorSpec:
    """Describes tensors.

    Args:
        shape: with None for unknown lengths; None if nothing is known of it.
        dtype: of the numbers.
        name: of the tensor.
    """

    def __init__(self, shape: Any, dtype: Any = np.float32, name: str | None = None) -> None:
        self.shape = None if shape is None else TensorShape(shape)
        self.dtype, self.name = np.dtype(dtype), name

    @classmethod
    def from_tensor(cls, tensor: Any, name: str | None = None) -> Self:
        """Returns the description of a tensor."""
        return cls(tensor.shape, tensor.dtype, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorSpec) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))

    def __repr__(self) -> str:
        shape = None if self.shape is None else tuple(self.shape)
        return f"TensorSpec(shape={shape}, dtype=tf.{self.dtype.name}, name={self.name!r})"


def tensors(value: Any) -> Any:
    """Returns a structure of arrays as one of tensors. What is no array, such as a symbol, stays what it is."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value if type(value) is Tensor else np.asarray(value).view(Tensor)
    if isinstance(value, tensor_like.Number):
        return np.asarray(value.numpy()).view(Tensor)
    if isinstance(value, bytes):
        return constant(value)
    if isinstance(value, (list, tuple, Mapping)):
        return tree.map_structure(tensors, value)
    return value


def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Any:
    """Returns a tensor of numbers or texts.

    Args:
        value: a number, a text, an array, or nested lists of them.
        dtype: of the tensor. By default numbers of Python are int32, float32 or bool, and arrays keep theirs.
        shape: of the tensor, which one number fills; by default that of `value`.
        name: without effect.
    """
    del name
    if is_symbolic(value):
        return value
    if isinstance(value, (list, tuple)) and any(is_symbolic(leaf) for leaf in tree.flatten(value)):
        from engine import ops

        return ops.convert_to_tensor(value, dtype)
    array = np.array(value)
    if array.dtype.kind == "S" or (
        array.dtype.kind == "O" and all(isinstance(each, (bytes, str)) for each in array.flat)
    ):
        flat = [each.decode() if isinstance(each, bytes) else each for each in array.ravel().tolist()]
        array = np.array(flat, str).reshape(array.shape)
    if dtype is not None:
        array = array.astype(dtype if array.dtype.kind != "U" or np.dtype(dtype).kind != "O" else array.dtype)
    elif not hasattr(value, "dtype"):
        array = array.astype(dtype_of_python(value, array))
    if shape is not None:
        array = np.full(lengths(shape), array) if array.size == 1 else array.reshape(lengths(shape))
    return array.view(Tensor)


def dtype_of_python(value: Any, array: NDArray[Any]) -> Any:
    """Returns the dtype of a tensor of numbers of Python, which NumPy has read into `array`."""
    if any(hasattr(leaf, "dtype") for leaf in tree.flatten(value)):
        return array.dtype
    return {"i": np.int32, "f": np.float32}.get(array.dtype.kind, array.dtype)


def lengths(shape: Any) -> Any:
    """Returns the lengths in a shape, which may be a tensor or have tensors in it, as integers; symbols stay."""
    if is_symbolic(shape) or shape is None:
        return shape
    if isinstance(shape, (np.ndarray, StoredArray)):
        return tuple(np.atleast_1d(np.asarray(shape)).tolist())
    if isinstance(shape, Sequence):
        return tuple(length if length is None or is_symbolic(length) else int(length) for length in shape)
    return (int(shape),)


def returns_tensors(function: Callable[..., Result]) -> Callable[..., Result]:
    """Decorates a function whose arrays become tensors."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return tensors(function(*args, **kwargs))

    return called


def _plain_key(key: Any) -> Any:
    """Returns what is between the brackets with arrays in the place of tensors of one number, which may begin slices."""
    if isinstance(key, tuple):
        return tuple(map(_plain_key, key))
    return int(key) if isinstance(key, np.ndarray) and not key.ndim and key.dtype.kind in "iu" else key


def alike(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns operands with the dtype of the first tensor for those that are no tensors, as TensorFlow reads them.

    Raises:
        TypeError: for a fraction beside a tensor of integers.
    """
    dtype = next((each.dtype for each in inputs if isinstance(each, (tensor_like.Tensor, StoredArray))), None)
    if dtype is None or dtype.kind not in "iufc":
        return inputs
    return tuple(_with_dtype(each, dtype) for each in inputs)


def _with_dtype(value: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, (tensor_like.Tensor, StoredArray)) or is_symbolic(value):
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, complex, np.generic, np.ndarray, list, tuple)
    ):
        return value
    array = np.asarray(value)
    if array.dtype == dtype or array.dtype.kind not in "iufc":
        return array
    if dtype.kind in "iu" and array.dtype.kind in "fc":
        msg = f"a tensor of dtype {dtype.name} meets {value!r:.80}, which is no integer: call tf.cast(tensor, tf.float32) before"
        raise TypeError(msg)
    return array.astype(dtype)
