"""Settings, and questions about arrays and dtypes, under the names that Keras' `backend` has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine._base import promotion
from engine._base.lazy_imports import on_first_use
from engine._base.spec import clear_session
from engine.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from engine.utils import is_keras_tensor, standardize_dtype

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]

if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)


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
    resolved = [dtype if dtype is int or dtype is float else promotion.standard(dtype) for dtype in dtypes]
    return str(promotion.result_type(*resolved).name) if resolved else "float32"


def is_float_dtype(dtype: Any) -> bool:
    """Returns whether `dtype` is one of floats."""
    return np.dtype(standardize_dtype(dtype)).kind == "f"


def is_int_dtype(dtype: Any) -> bool:
    """Returns whether `dtype` is one of integers, with or without a sign."""
    return np.dtype(standardize_dtype(dtype)).kind in "iu"
