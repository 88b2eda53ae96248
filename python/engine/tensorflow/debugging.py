"""`tf.debugging`: checks that raise errors. Within a compiled function they make it run as it is written."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import ops
from engine.tensorflow._tensor import TensorShape
from engine.tensorflow.errors import InvalidArgumentError

__all__ = [
    "Assert",
    "assert_all_finite",
    "assert_equal",
    "assert_greater",
    "assert_greater_equal",
    "assert_less",
    "assert_less_equal",
    "assert_near",
    "assert_non_negative",
    "assert_positive",
    "assert_rank",
    "assert_shapes",
    "assert_type",
    "check_numerics",
    "enable_check_numerics",
    "set_log_device_placement",
]


def Assert(condition: Any, data: Any = None, summarize: Any = None, name: str | None = None) -> None:  # noqa: N802
    """Raises InvalidArgumentError unless a condition is true everywhere. The last two arguments are without effect."""
    if not np.all(np.asarray(condition)):
        msg = f"the condition is false: {'' if data is None else [np.asarray(each) for each in data]}"
        raise InvalidArgumentError(msg)


def _check(holds: Any, x: Any, y: Any, what: str, message: Any) -> None:
    if not np.all(np.asarray(holds)):
        msg = f"{'' if message is None else f'{message}: '}{np.asarray(x)} is not {what} {np.asarray(y)} everywhere"
        raise InvalidArgumentError(msg)


def assert_equal(x: Any, y: Any, message: Any = None, summarize: Any = None, name: str | None = None) -> None:
    """Raises InvalidArgumentError unless x == y everywhere."""
    _check(np.equal(x, y), x, y, "equal to", message)


def assert_greater(
    x: Any, y: Any, message: Any = None, summarize: Any = None, name: str | None = None
) -> None:
    """Raises InvalidArgumentError unless x > y everywhere."""
    _check(np.greater(x, y), x, y, "greater than", message)


def assert_greater_equal(
    x: Any, y: Any, message: Any = None, summarize: Any = None, name: str | None = None
) -> None:
    """Raises InvalidArgumentError unless x >= y everywhere."""
    _check(np.greater_equal(x, y), x, y, "at least", message)


def assert_less(x: Any, y: Any, message: Any = None, summarize: Any = None, name: str | None = None) -> None:
    """Raises InvalidArgumentError unless x < y everywhere."""
    _check(np.less(x, y), x, y, "less than", message)


def assert_less_equal(
    x: Any, y: Any, message: Any = None, summarize: Any = None, name: str | None = None
) -> None:
    """Raises InvalidArgumentError unless x <= y everywhere."""
    _check(np.less_equal(x, y), x, y, "at most", message)


def assert_positive(x: Any, message: Any = None, summarize: Any = None, name: str | None = None) -> None:
    """Raises InvalidArgumentError unless x > 0 everywhere."""
    assert_greater(x, 0, message)


def assert_non_negative(x: Any, message: Any = None, summarize: Any = None, name: str | None = None) -> None:
    """Raises InvalidArgumentError unless x >= 0 everywhere."""
    assert_greater_equal(x, 0, message)


def assert_near(  # TensorFlow's signature
    x: Any,
    y: Any,
    rtol: float | None = None,
    atol: float | None = None,
    message: Any = None,
    summarize: Any = None,
    name: str | None = None,
) -> None:
    """Raises InvalidArgumentError unless abs(x - y) <= atol + rtol * abs(y) everywhere, by default with 10 times the precision."""
    default = 10 * float(np.finfo(np.result_type(x, y, np.float32)).eps)
    bound = (default if atol is None else atol) + (default if rtol is None else rtol) * np.abs(y)
    _check(np.abs(np.subtract(x, y)) <= bound, x, y, "near", message)


def assert_all_finite(x: Any, message: Any, name: str | None = None) -> Any:
    """Returns `x`, or raises InvalidArgumentError if it has NaN or infinite numbers."""
    if not np.all(np.isfinite(np.asarray(x))):
        msg = f"{message}: there are {np.sum(np.isnan(x))} NaN and {np.sum(np.isinf(x))} infinite numbers"
        raise InvalidArgumentError(msg)
    return x


check_numerics = assert_all_finite


def assert_rank(x: Any, rank: int, message: Any = None, name: str | None = None) -> None:
    """Raises ValueError unless there are `rank` axes."""
    if ops.ndim(x) != int(rank):
        msg = f"{'' if message is None else f'{message}: '}there must be {int(rank)} axes, got the shape {ops.shape(x)}"
        raise ValueError(msg)


def assert_type(tensor: Any, tf_type: Any, message: Any = None, name: str | None = None) -> None:
    """Raises TypeError unless the dtype is `tf_type`."""
    if np.dtype(tensor.dtype) != np.dtype(tf_type):
        msg = f"{'' if message is None else f'{message}: '}the dtype must be {np.dtype(tf_type)}, got {tensor.dtype}"
        raise TypeError(msg)


def assert_shapes(shapes: Any, **others: Any) -> None:
    """Raises ValueError unless tensors have shapes in which a name stands for one length everywhere.

    Args:
        shapes: pairs of a tensor and a shape, whose entries are lengths, names or None.
        **others: without effect.
    """
    known = dict[str, int]()
    for tensor, wanted in shapes.items() if hasattr(shapes, "items") else shapes:
        found = TensorShape(ops.shape(tensor))
        symbols = [
            known.setdefault(each, length) if isinstance(each, str) else each
            for each, length in zip(wanted, found, strict=False)
        ]
        if len(wanted) != len(found) or not found.is_compatible_with(symbols):
            msg = f"the shape must be {tuple(wanted)}, where {known}, got {tuple(found)}"
            raise ValueError(msg)


def enable_check_numerics(*args: Any, **kwargs: Any) -> None:
    """Has no effect: `keras.callbacks.TerminateOnNaN` ends a training with NaN."""


def set_log_device_placement(enabled: bool) -> None:
    """Has no effect."""
