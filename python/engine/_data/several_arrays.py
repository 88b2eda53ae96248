"""Lists and dicts of arrays, one for each input or output of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from engine._base.checks import Shape, WrongTypeError
from engine._core_interface.cpp import DeviceArray, side_by_side_on_device
from engine._data.array_conversion import as_float32, require_finite
from engine._data.device_arrays import converted, to_host
from engine._data.lazy_rows import LazyRows, require_tokens, unchecked_rows


def entries_by_name(value: Any, names: Sequence[str], argument: str, noun: str) -> list[Any]:
    """Returns the entries of a list, tuple or dict, one for each of `names`, in their order.

    Args:
        value: as the user gave it.
        names: of the inputs or outputs.
        argument: the name of the argument, for messages.
        noun: what the names are of, "input" or "output".

    Raises:
        TypeError: if `value` is no list, tuple or dict.
        ValueError: if an entry is missing, or there is one too many.
    """
    expected = f"a list with one entry for each {noun} of the model, or a dict with the keys {list(names)}"
    if isinstance(value, Mapping):
        missing = [name for name in names if name not in value]
        if missing:
            msg = (
                f"`{argument}` must be {expected}, but is a dict of {list(value)}: {missing[0]!r} is missing"
            )
            raise ValueError(msg)
        return [value[name] for name in names]
    if not isinstance(value, (list, tuple)):
        shape = getattr(value, "shape", None)
        received = f"one array of shape {tuple(shape)}" if isinstance(shape, tuple) else f"{value!r:.80}"
        msg = f"`{argument}` must be {expected}, got {received}"
        raise WrongTypeError(msg)
    if len(value) != len(names):
        msg = f"`{argument}` must be {expected}, got {len(value)} entries"
        raise ValueError(msg)
    return list(value)


class SideBySide(np.ndarray[Any, np.dtype[np.float32]]):
    """Samples of several inputs, (n, columns of all inputs), where the number of columns differs from batch to batch.

    `samples` are the shapes of one sample of each input, which the columns alone don't tell.
    """

    samples: tuple[Shape, ...] = ()

    def __array_finalize__(self, made_from: Any) -> None:
        self.samples = getattr(made_from, "samples", ())


def sample_shape_of(rows: Any) -> Shape:
    """Returns the shape of one sample of `rows`; for a `SideBySide` the shapes of all inputs, as a tuple of them."""
    return cast(Shape, rows.samples if isinstance(rows, SideBySide) else tuple(rows.shape[1:]))


def inputs_in(sample: Shape) -> list[Shape]:
    """Returns the shapes of one sample of each input; `sample` is what `sample_shape_of` returned."""
    first: object = next(iter(sample), None)
    return list(cast("tuple[Shape, ...]", sample)) if isinstance(first, tuple) else [sample]


def side_by_side(
    arrays: Sequence[Any],
    names: Sequence[str],
    shapes: Sequence[Shape],
    tokens: Sequence[int | None],
    argument: str,
) -> Any:
    """Returns the samples of several inputs as the core reads them: (n, columns of all inputs), float32.

    The result is on a GPU if all arrays are.

    Args:
        arrays: the samples of each input, in any form that a single input may have.
        names: of the inputs.
        shapes: of one sample of each input, with None for an axis of any length.
        tokens: for each input how many different indices it may hold; None if it isn't indices.
        argument: the name of the argument, for messages.

    Raises:
        ValueError, TypeError: if samples don't match the inputs, or aren't finite.
    """
    columns, samples = list[Any](), list[Shape]()
    on_gpu = all(isinstance(array, DeviceArray) for array in arrays) and not any(
        None in shape for shape in shapes
    )
    for array, name, shape, token_count in zip(arrays, names, shapes, tokens, strict=True):
        label = f"{argument}[{name!r}]"
        column_values = array if on_gpu else to_host(array, label)
        rows = unchecked_rows(
            with_rank_of(column_values, shape)
            if isinstance(column_values, (np.ndarray, DeviceArray))
            else column_values,
            shape,
            label,
        )
        require_tokens(rows, token_count, label)
        dense = rows[:] if isinstance(rows, LazyRows) else rows
        samples.append(tuple(dense.shape[1:]))
        flat: Any = dense.reshape(len(dense), math.prod(samples[-1]))
        flat = converted(flat, np.float32) if on_gpu else as_float32(np.asarray(flat))
        require_finite(flat, dense, label)
        columns.append(flat)
    counts = [len(column) for column in columns]
    if len(set(counts)) > 1:
        sizes = ", ".join(f"{name!r} has {count}" for name, count in zip(names, counts, strict=True))
        msg = f"all inputs in `{argument}` must have the same number of samples, but {sizes}"
        raise ValueError(msg)
    if on_gpu:
        return side_by_side_on_device(columns)
    joined = np.concatenate(columns, axis=1)
    if not any(None in shape for shape in shapes):
        return joined
    with_samples = joined.view(SideBySide)
    with_samples.samples = tuple(samples)
    return with_samples


def with_rank_of(x: Any, sample: Shape) -> Any:
    """Adds a last axis of length 1 to `x`, or removes it, if samples of shape `sample` need that; as in Keras."""
    axes = len(sample) + 1
    if x.ndim == axes + 1 and x.shape[-1] == 1:
        return x.reshape(x.shape[:-1])
    return x.reshape(*x.shape, 1) if x.ndim == axes - 1 > 0 and sample[-1] == 1 else x


def symbol_with_rank_of(symbol: Any, sample: Shape) -> Any:
    """Does with a symbol what `with_rank_of` does with an array."""
    axes = len(sample) + 1
    if symbol.ndim == axes + 1 and symbol.shape[-1] == 1:
        return symbol._applied("squeeze", symbol, -1)
    missing = symbol.ndim == axes - 1 > 0 and sample[-1] == 1
    return symbol._applied("expand_dims", symbol, -1) if missing else symbol
