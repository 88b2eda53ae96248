"""Tensors in memory of a GPU: those of PyTorch, CuPy and JAX, and the engine's own, `DeviceArray`.

Models call `to_device` for all that users pass as samples, targets and weights. A model on a GPU then reads a tensor on the
same GPU where it is, as a `DeviceArray`; for other models it becomes an array of NumPy. What a `DeviceArray` holds is
checked on the GPU. If something is wrong with it, it is copied to the host, and the check for arrays of NumPy finds the
error and writes the message.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from engine._core_interface.cpp import DeviceArray, device_array

_READ_IN_BYTES = frozenset({np.dtype(np.bool_), np.dtype(np.uint8)})
_READ_IN_FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})


class NumberSummary(NamedTuple):
    """What is known of all numbers of an array."""

    lowest: float
    highest: float
    smallest: float
    """The smallest absolute value."""
    whole: bool
    """Whether all are whole numbers."""
    finite: bool
    """Whether all are finite as float32."""

    def within(self, low: float, high: float) -> bool:
        """Returns whether all numbers are finite and lie in [low, high]."""
        return self.finite and self.lowest >= low and self.highest <= high


def summary_of(array: DeviceArray, ignored: float | None = None) -> NumberSummary:
    """Looks at all numbers of `array` but those that equal `ignored`; the GPU does that."""
    return NumberSummary(*array._summary(ignored))


def in_memory_of_gpu(value: Any, name: str) -> DeviceArray | None:
    """Returns a tensor in memory of a GPU as an array of the engine, without a copy; None for every other object.

    Args:
        value: any object.
        name: the name of the argument, for messages.

    Raises:
        TypeError: if the tensor can't be read.
    """
    if type(value) is np.ndarray:
        return None
    try:
        return device_array(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:  # other libraries raise these
        msg = f"`{name}` of type {type(value).__name__} can't be read as a tensor on a GPU: {error}"
        raise TypeError(msg) from error


def to_device(value: Any, device: str, name: str) -> Any:
    """Returns a tensor in memory of a GPU as an array that a model reads: on its GPU, or else NumPy's. Others stay.

    Args:
        value: what a user passed; lists and dicts of tensors are left as they are.
        device: where the model computes.
        name: the name of the argument, for messages.
    """
    array = in_memory_of_gpu(value, name)
    if array is None:
        return value
    return array.numpy() if device == "cpu" else array._on(device)


def to_host(value: Any, name: str) -> Any:
    """Returns a tensor in memory of a GPU as an array of NumPy; others stay as they are."""
    return to_device(value, "cpu", name)


def converted(array: DeviceArray, dtype: Any) -> DeviceArray:
    """Returns `array` as contiguous uint8, int32 or float32, copied only if necessary.

    Integers must fit. Numbers beyond float32 become infinite.
    """
    return array._converted(np.dtype(dtype).str)


def readable_on_device(array: DeviceArray) -> DeviceArray:
    """Returns `array` if kernels can read it as samples, else the smallest copy that they can read."""
    if array.dtype in _READ_IN_BYTES:
        return converted(array, np.uint8)
    contiguous = array.__cuda_array_interface__["strides"] is None
    return array if contiguous and array.dtype in _READ_IN_FLOATS else converted(array, np.float32)
