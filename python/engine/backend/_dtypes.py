"""The dtype that results from several, and questions about dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine._base import promotion
from engine.utils import standardize_dtype


def result_type(*dtypes: Any) -> str:
    """Returns the name of the dtype that an operation on arrays of these dtypes returns.

    Args:
        *dtypes: as for `standardize_dtype`, but `int` and `float` stand for numbers of Python, which count by their kind
            alone. Without any, the result is "float32".

    Raises:
        ValueError: for something else.

    Example:
        >>> from engine import backend
        >>> backend.result_type("int32", "float16")
        'float16'
        >>> backend.result_type("uint8", "int8"), backend.result_type("int8", int), backend.result_type("bool", float)
        ('int16', 'int8', 'float32')
    """
    given = [dtype if dtype is int or dtype is float else promotion.standard(dtype) for dtype in dtypes]
    return str(promotion.result_type(*given).name) if given else "float32"


def is_float_dtype(dtype: Any) -> bool:
    """Whether `dtype` is one of floats."""
    return np.dtype(standardize_dtype(dtype)).kind == "f"


def is_int_dtype(dtype: Any) -> bool:
    """Whether `dtype` is one of integers, with or without a sign."""
    return np.dtype(standardize_dtype(dtype)).kind in "iu"
