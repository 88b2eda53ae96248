"""Columns of a table as samples for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from engine.models import Model


def takes_names(model: Any) -> bool:
    """Whether a model takes a dict of arrays, since it has several inputs."""
    return isinstance(model, Model) and len(model.inputs or ()) > 1


def samples_of(columns: Mapping[str, Any], by_name: bool, framed: Callable[[], Any]) -> Any:
    """Returns the samples that columns hold.

    Args:
        columns: arrays (n, ...) by the names of the columns.
        by_name: whether the model takes a dict of arrays.
        framed: returns a frame of the columns, for a model with one input.
    """
    if by_name:
        return dict(columns)
    first = next(iter(columns.values()))
    if len(columns) == 1 and first.ndim > 1:
        return first
    return framed()


def one_row(types: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arrays with one row for columns: zeros, or texts that are empty.

    Args:
        types: of Arrow, by the names of the columns; None for values that Arrow doesn't know.

    Raises:
        TypeError: for a column that a model can't read.
    """
    return {name: _one_value(name, kind) for name, kind in types.items()}


def _one_value(name: str, kind: Any) -> Any:
    import pyarrow as pa

    inner = kind
    shape: tuple[int, ...] = ()
    if hasattr(kind, "shape"):  # tensors of Arrow and of Ray
        inner, shape = getattr(kind, "scalar_type", None) or kind.value_type, tuple(kind.shape)
    elif kind is not None and pa.types.is_fixed_size_list(kind):
        inner, shape = kind.value_type, (kind.list_size,)
    if inner is not None and pa.types.is_dictionary(inner):
        inner = inner.value_type
    if inner is None or pa.types.is_string(inner) or pa.types.is_large_string(inner):
        return np.full((1, *shape), "", object)
    if pa.types.is_boolean(inner) or pa.types.is_integer(inner) or pa.types.is_floating(inner):
        return np.zeros((1, *shape), inner.to_pandas_dtype())
    msg = f"column {name!r} holds values of type {kind}, which a model can't read: leave it out with `columns`, or name it in `keep`"
    raise TypeError(msg)
