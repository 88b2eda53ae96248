"""What functions and layers written in NumPy return: checks of it, and its shape for inputs of a shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL, Shape
from engine._tracing.recordings import shapes_by_trial


class SeveralOutputsError(ValueError):
    """Several arrays came from a function that was expected to return one."""


def checked_output(what: str, result: Any, rows: int) -> NDArray[Any]:
    """Returns `result` as an array.

    Args:
        what: the function that returned it, for messages.
        result: an array (rows, ...).
        rows: the number of samples in its inputs.

    Raises:
        SeveralOutputsError: if it is a list, tuple or dict of arrays.
        ValueError: if it isn't an array of real numbers with one row per sample.
    """
    if isinstance(result, (list, tuple, dict)) and _holds_arrays(result):
        msg = f"{what} must return one array here, got several, in a {type(result).__name__}"
        raise SeveralOutputsError(msg)
    array: NDArray[Any] = np.asarray(result)
    if array.dtype.kind not in REAL or array.ndim == 0 or len(array) != rows:
        msg = (
            f"{what} must return an array of real numbers with {rows} rows, one per sample, got dtype {array.dtype} and "
            f"shape {array.shape}"
        )
        raise ValueError(msg)
    return array


def _holds_arrays(value: Any) -> bool:
    """Whether a value is an array with axes, or a list, tuple or dict with one at any depth."""
    if isinstance(value, (list, tuple)):
        return any(map(_holds_arrays, value))
    if isinstance(value, dict):
        return any(map(_holds_arrays, value.values()))
    return bool(getattr(value, "shape", ()))


def scalar(value: Any, what: str) -> float:
    """Returns `value`, a single number, as a float.

    Raises:
        ValueError: if it isn't a single number; the message calls it `what`.
    """
    array: NDArray[Any] = np.asarray(value)
    if array.dtype.kind not in REAL or array.size != 1:
        msg = f"{what} must be a single number, got {value!r}"
        raise ValueError(msg)
    return float(array.reshape(()))


def shape_by_trial(outputs_for: Callable[[Shape], Shape], sample: Shape) -> Shape:
    """Returns the shape of one output, with None for a length that depends on an unknown one, as in Keras.

    Args:
        outputs_for: returns the shape of one output for inputs of a shape without None.
        sample: the shape of one input; None stands for unknown lengths.
    """
    (found,) = shapes_by_trial(lambda samples: [outputs_for(samples[0])], [sample])
    return found  # type: ignore[no-any-return] # a shape


def shape_of_outputs(
    called: Callable[..., NDArray[Any]], sample: tuple[int, ...], takes_mask: bool
) -> tuple[int, ...]:
    """Returns the shape of one output, found by a call on zeros.

    Args:
        called: a layer's `call`, as a function of inputs, `training` and a mask.
        sample: the shape of one input.
        takes_mask: whether `call` has a parameter `mask`. If it fails without one, it is called with a mask.
    """
    zeros = np.zeros((2, *sample), np.float32)  # one row could be mistaken for an axis to broadcast
    with np.errstate(all="ignore"):  # divisions by these zeros don't matter
        try:
            return called(zeros, False, None).shape[1:]
        except Exception:
            if takes_mask:
                return called(zeros, False, np.ones(zeros.shape[:-1], bool)).shape[1:]
            try:  # the layer may take integers only, such as indices
                return called(zeros.astype(np.int32), False, None).shape[1:]
            except Exception:  # the first error says more
                pass
            raise
