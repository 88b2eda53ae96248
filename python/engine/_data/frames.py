"""Data frames of pandas and polars, and tables of Arrow: their numbers as one array, and the names of their columns.

`array_conversion` calls this for every input that has named columns. Models keep the names of the columns that they were
fitted with, and use `in_order_of` to bring later frames into the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._base.checks import REAL

# A message names no more columns than this.
_NAMED = 5


def frame_array(frame: Any) -> NDArray[Any]:
    """Returns a frame or series of pandas or polars as an array of its numbers.

    A frame with other contents is converted as its own library does it; the caller then refuses the result.
    """
    dtypes = list(_column_dtypes(frame))
    if not dtypes or not all(hasattr(dtype, "kind") and _is_real(dtype) for dtype in dtypes):
        return np.asarray(frame.to_numpy())
    plain = [getattr(dtype, "numpy_dtype", dtype) for dtype in dtypes]
    common = np.result_type(*plain)
    if plain == dtypes:
        return np.asarray(frame.to_numpy(dtype=common))
    # The nullable types of pandas have missing values, which become NaN.
    return np.asarray(frame.to_numpy(dtype=np.result_type(common, np.float64), na_value=np.nan))


def _column_dtypes(frame: Any) -> Iterator[Any]:
    """Yields the dtype of each column of a frame, or of a series."""
    dtypes = frame.schema.types if _is_arrow_table(frame) else getattr(frame, "dtypes", None)
    if hasattr(dtypes, "kind") or dtypes is None:
        yield dtypes if dtypes is not None else getattr(frame, "dtype", None)
    else:
        yield from dtypes


def column_names(value: Any) -> list[object] | None:
    """Returns the names of the columns of a frame or an Arrow table; None for anything else."""
    if isinstance(value, np.ndarray):
        return None
    if hasattr(value, "to_numpy") and hasattr(value, "columns"):
        return list(value.columns)
    return list(value.column_names) if _is_arrow_table(value) else None


def columns_by_name(value: Any) -> Any:
    """Returns a frame with columns as a dict of them by their names; other values as they are."""
    names = column_names(value)
    return value if names is None else {str(name): value[name] for name in names}


def _is_arrow_table(value: Any) -> bool:
    return hasattr(value, "column_names") and hasattr(value, "select")


def feature_names(value: object) -> list[str] | None:
    """Returns the names of a frame's columns if all are strings; else None, as the numbers that pandas gives say nothing."""
    if isinstance(value, np.ndarray):
        return None
    columns = column_names(value) or [None]
    names = [column for column in columns if isinstance(column, str)]
    return names if len(names) == len(columns) else None


def in_order_of(names: Sequence[str] | None, frame: Any, name: str) -> Any:
    """Returns `frame` with its columns in the order of `names`.

    Args:
        names: the columns that the model was fitted with; None if it was fitted without names.
        frame: samples in any form. Samples without names of columns are returned as they are, since their order can't be
            checked.
        name: the name of the argument, for messages.

    Raises:
        ValueError: if the frame has other columns than `names`.
    """
    if names is None or type(frame) is np.ndarray:
        return frame
    columns = column_names(frame)
    if columns is None or columns == names or not any(isinstance(column, str) for column in columns):
        return frame
    if len(columns) != len(names) or set(columns) != set(names):
        raise ValueError(_other_columns(names, columns, name))
    if len(set(names)) < len(names):
        repeated = next(column for column in names if names.count(column) > 1)
        msg = (
            f"`{name}` has the columns of fit() in another order, and several of them are named {repeated!r}, so that "
            "nothing tells which is which: give every column a name of its own"
        )
        raise ValueError(msg)
    return frame.select(list(names)) if _is_arrow_table(frame) else frame[list(names)]


def _other_columns(names: Sequence[str], columns: Sequence[object], name: str) -> str:
    """Returns the message for a frame with `columns` instead of `names`, in the words of scikit-learn."""
    before, now = set(names), set(columns)
    unseen = [column for column in dict.fromkeys(columns) if column not in before]
    missing = [column for column in dict.fromkeys(names) if column not in now]
    text = "The feature names should match those that were passed during fit.\n"
    for heading, listed_columns in (
        ("unseen at fit time", unseen),
        ("seen at fit time, yet now missing", missing),
    ):
        if listed_columns:
            more = [f"- {len(listed_columns) - _NAMED} more"] if len(listed_columns) > _NAMED else []
            lines = [*(f"- {column}" for column in listed_columns[:_NAMED]), *more]
            text += "\n".join([f"Feature names {heading}:", *lines, ""])
    if not unseen and not missing:
        text += f"There are {len(columns)} columns, of which some have the same name, but {len(names)} were expected.\n"
    return (
        f"{text}Pass `{name}` with the columns of fit(), in any order; an array without names, such as "
        "frame.to_numpy(), is taken as it is"
    )


def columns_that_are_not_real(value: Any, columns: Sequence[object], name: str) -> str:
    """Returns the message for a frame that names the columns of something else than real numbers."""
    kinds = list(zip(columns, _column_dtypes(value), strict=False))
    wrong = [f"{column!r} ({dtype})" for column, dtype in kinds if not _is_real(dtype)]
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    these = f": {', '.join(wrong[:_NAMED])}{more}" if wrong else ""
    return (
        f"`{name}` must hold real numbers, but has columns of others{these}. Leave them out, or encode them: categories "
        "as a column for each with pandas.get_dummies or as indices with pandas.factorize, or each column by a layer with "
        "utils.FeatureSpace; numbers as such with .astype('float32')"
    )


def _is_real(dtype: Any) -> bool:
    """Returns whether a dtype of NumPy, pandas, polars or Arrow is one of real numbers."""
    kind = getattr(dtype, "kind", None)
    if isinstance(kind, str):
        return kind in tuple(REAL)
    if hasattr(dtype, "is_numeric"):  # of polars
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    try:
        return np.dtype(dtype.to_pandas_dtype()).kind in REAL  # of Arrow
    except (AttributeError, NotImplementedError, TypeError):
        return False
