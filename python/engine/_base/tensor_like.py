"""Numbers and arrays with the methods that tensors and variables of other libraries have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import ArrayLike, DTypeLike, NDArray

if TYPE_CHECKING:
    from typing_extensions import Self


class Number(float):
    """A float that is also asked for its `numpy()`."""

    shape: tuple[int, ...] = ()

    def numpy(self) -> np.float32:
        """The number as NumPy's."""
        return np.float32(self)


class _Settable:
    """What numbers of an object as it is at the moment have in common: by them it can be set as well."""

    _plain: Callable[[Any], Any]
    _assign: Callable[[Any], None]

    @classmethod
    def of(cls, value: float, assign: Callable[[Any], None]) -> Self:
        """`value`, which `assign` changes in the object."""
        setting = cls(value)  # type: ignore[call-arg] # the other base class takes it
        setting._assign = assign
        return setting

    @property
    def value(self) -> Any:
        """The number alone."""
        return self._plain(self)

    def assign(self, value: ArrayLike) -> None:
        """Set it in the object; this number stays what it is."""
        self._assign(value)

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
        """Copies and pickles are plain numbers: the object stays behind."""
        return self._plain, (self.value,)


class Setting(_Settable, Number):
    """A float of an object."""

    _plain = float


class Count(_Settable, int):
    """A whole number of an object."""

    _plain = int
    shape: tuple[int, ...] = ()

    def numpy(self) -> np.int32:
        """The number as NumPy's."""
        return np.int32(self)


class StoredArray(NDArrayOperatorsMixin, ABC):
    """An array that somebody keeps, as it is at the moment: NumPy takes it for one."""

    @property
    @abstractmethod
    def value(self) -> NDArray[Any]:
        """What it is now."""

    @abstractmethod
    def assign(self, value: ArrayLike) -> None:
        """Become `value`, of the same shape."""

    def assign_add(self, value: ArrayLike) -> None:
        """Add `value`."""
        self.assign(self.value + np.asarray(value))

    def assign_sub(self, value: ArrayLike) -> None:
        """Subtract `value`."""
        self.assign(self.value - np.asarray(value))

    def numpy(self) -> NDArray[Any]:
        """A copy of what it is now."""
        return np.array(self.value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self.value.dtype

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype) if copy else np.asarray(self.value, dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [given.value if isinstance(given, StoredArray) else given for given in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)


class Tensor(np.ndarray[Any, np.dtype[np.float32]]):
    """An array that is also asked for its `numpy()`; what is computed from it is a plain one."""

    _keras_mask: NDArray[np.bool_] | None = None

    def masked(self, mask: ArrayLike | None) -> Tensor:
        """This array, with a note of which of its rows count; None: all."""
        self._keras_mask = None if mask is None else np.asarray(mask, bool)
        return self

    def numpy(self) -> NDArray[np.float32]:
        """A copy as an array of NumPy's own class."""
        return np.array(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [plain_array(item) for item in inputs]
        if "out" in options:
            options["out"] = tuple(plain_array(item) for item in options["out"])
        return getattr(ufunc, method)(*plain, **options)


def mask_of(value: Any) -> NDArray[np.bool_] | None:
    """Which rows of `value` count, as `masked` has noted; None: all."""
    return value._keras_mask if isinstance(value, Tensor) else None


def plain_array(value: Any) -> Any:
    """`value` without the class of a tensor."""
    return value.view(np.ndarray) if isinstance(value, Tensor) else value
