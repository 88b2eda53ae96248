"""The names of dtypes."""

from __future__ import annotations

from typing import Any

from engine._base.promotion import standard


def standardize_dtype(dtype: Any) -> str:
    """Returns the name of a dtype.

    Args:
        dtype: a name, a dtype of NumPy or another library, or a type of Python, which is a 32-bit one; None is float32.
            "bfloat16" is "float32", in which it is computed here.

    Raises:
        ValueError: for something else.

    Example:
        >>> from engine.utils import standardize_dtype
        >>> standardize_dtype(int), standardize_dtype(None)
        ('int32', 'float32')
    """
    return str(standard(dtype).name)
