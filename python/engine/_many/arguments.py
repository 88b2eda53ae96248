"""Arguments of several models: one value for all of them, or one for each."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from engine import tree
from engine._base.checks import with_noun
from engine._data.batch_streams import yields_batches
from engine.callbacks import Callback
from engine.callbacks.base import listed

_Value = TypeVar("_Value")


class each(Generic[_Value]):  # noqa: N801 # it reads as a word of the call
    """Values of an argument of `fit_many`, one for each model, where a plain list would be one value for all of them.

    Example:
        >>> import numpy as np
        >>> import engine as keras
        >>> def build():
        ...     model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        ...     model.compile("sgd", "mse")
        ...     return model
        >>> first, second = np.ones((8, 3)), np.zeros((16, 3))
        >>> results = keras.fit_many(
        ...     [build, build], keras.each([first, second]), keras.each([np.ones(8), np.ones(16)]), verbose=0
        ... )
        >>> len(results)
        2

    Args:
        values: one for each model, in their order.
    """

    def __init__(self, values: Iterable[_Value]) -> None:
        if not hasattr(values, "__iter__"):
            msg = f"keras.each takes a list with one value for each model, got {values!r}"
            raise TypeError(msg)
        self.values = list(values)

    def __repr__(self) -> str:
        return f"each({self.values!r})"


def one_per_model(value: Any, name: str, count: int, *, lists: bool = False) -> list[Any]:
    """Returns the value of an argument for each of `count` models.

    Args:
        value: as given.
        name: the name of the argument, for messages.
        count: the number of models.
        lists: whether a plain list has one value for each model, as `fit` takes no list for this argument.

    Raises:
        ValueError: if there are values for another number of models.
    """
    if not isinstance(value, each):
        if not (lists and isinstance(value, (list, tuple, np.ndarray))):
            return [value] * count
        value = each(value)
    if len(value.values) != count:
        msg = f"`{name}` has {with_noun(len(value.values), 'value')} for {with_noun(count, 'model')}"
        raise ValueError(msg)
    return list(value.values)


def data_per_model(value: Any, name: str, count: int) -> list[Any]:
    """Returns the data of an argument for each of `count` models.

    Raises:
        ValueError: if several models would read one source of batches, which is used up or changed by the first.
    """
    if count > 1 and not isinstance(value, each) and yields_batches(value):
        msg = (
            f"`{name}` yields batches, which only one model can read: pass arrays, or keras.each([...]) with a source of "
            f"its own for each of the {count} models"
        )
        raise ValueError(msg)
    return one_per_model(_array_of_numbers(value), name, count)


def _array_of_numbers(value: Any) -> Any:
    """Returns a list of numbers as an array, so that it is converted once; other values as they are."""
    if isinstance(value, list) and value and not hasattr(value[0], "shape"):
        try:
            array = np.asarray(value)
        except ValueError:  # entries of several lengths, which `fit` names
            return value
        return array if array.dtype.kind in "biuf" else value
    return value


def callbacks_per_model(value: Any, count: int) -> list[list[Callback]]:
    """Returns the callbacks of each of `count` models.

    Callbacks for all models are copied for each of them, since they remember what they have seen.

    Raises:
        ValueError: if callbacks of two models write the same file or folder.
        TypeError: if callbacks for all models can't be copied.
    """
    own = isinstance(value, each) or (
        isinstance(value, (list, tuple)) and any(isinstance(entry, (list, tuple)) for entry in value)
    )
    if own:
        lists = [listed(entry) for entry in one_per_model(value, "callbacks", count, lists=True)]
    else:
        lists = [[_copied(callback) for callback in listed(value)] for _ in range(count)]
    _require_own_objects(lists)
    _require_own_places(lists)
    return lists


def _copied(callback: Callback) -> Callback:
    try:
        return copy.deepcopy(callback)
    except Exception as error:
        msg = (
            f"a {type(callback).__name__} can't be copied for each model ({error}): pass one list of callbacks for each, "
            "callbacks=[[...], [...]]"
        )
        raise TypeError(msg) from error


def _require_own_objects(lists: Sequence[Sequence[Callback]]) -> None:
    owners: dict[int, int] = {}
    for number, callbacks in enumerate(lists):
        for callback in callbacks:
            other = owners.setdefault(id(callback), number)
            if other != number:
                msg = f"models {other} and {number} have the same {type(callback).__name__} in `callbacks`: make one for each"
                raise ValueError(msg)


def _require_own_places(lists: Sequence[Sequence[Callback]]) -> None:
    owners: dict[str, int] = {}
    for number, callbacks in enumerate(lists):
        for callback in callbacks:
            place = callback._writes_to
            if place is None:
                continue
            other = owners.setdefault(str(Path(str(place)).resolve()), number)
            if other != number:
                kind = type(callback).__name__
                msg = (
                    f"the {kind} of models {other} and {number} would both write to {str(place)!r}: give each model its own, "
                    f"callbacks=[[{kind}('0')], [{kind}('1')], ...]"
                )
                raise ValueError(msg)


def taken(data: Any, rows: Any) -> Any:
    """Returns some samples of arrays, frames, or lists, tuples and dicts of them.

    Args:
        data: as given; None stays None.
        rows: the indices of the samples, an array of integers.
    """
    if data is None:
        return None
    if isinstance(data, dict):
        return {key: taken(entry, rows) for key, entry in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)([taken(entry, rows) for entry in data])
    return getattr(data, "iloc", data)[rows]


def rows_per_model(value: Any, name: str, data: Sequence[Sequence[Any]]) -> list[Any]:
    """Returns the indices of the samples of each model, an array of integers or None for all samples.

    Args:
        value: as given: None, one array of indices or mask for all models, or a list of them.
        name: the name of the argument, for messages.
        data: the x, y and sample_weight of each model.

    Raises:
        TypeError: if they aren't integers or a mask, or the data can't be indexed.
        ValueError: if there are none for a model, or they aren't those of its samples.
    """
    several = isinstance(value, (list, tuple)) and any(entry is None or np.ndim(entry) > 0 for entry in value)
    counts: dict[tuple[int, ...], int] = {}
    found = []
    for rows, arrays in zip(one_per_model(value, name, len(data), lists=several), data, strict=True):
        key = tuple(map(id, arrays))
        if rows is not None and key not in counts:
            counts[key] = _number_of_samples(arrays, name)
        found.append(None if rows is None else _indices(rows, name, counts[key]))
    return found


def _number_of_samples(data: Sequence[Any], name: str) -> int:
    """Returns how many samples x, y and sample_weight have, which must agree."""
    arrays = [
        array for array in tree.flatten([each for each in data if each is not None]) if array is not None
    ]
    if not arrays or not all(hasattr(array, "shape") for array in arrays):
        msg = f"`{name}` selects from arrays, but the data are {', '.join(type(array).__name__ for array in arrays) or 'none'}"
        raise TypeError(msg)
    lengths = [array.shape[0] for array in arrays]
    if len(set(lengths)) > 1:
        msg = f"`{name}` selects samples of arrays of one length, but the data have the lengths {lengths}"
        raise ValueError(msg)
    return int(lengths[0])


def _indices(rows: Any, name: str, count: int) -> Any:
    array = np.asarray(range(rows.start, rows.stop, rows.step) if isinstance(rows, range) else rows)
    if array.size == 0:
        msg = f"`{name}` selects no samples"
        raise ValueError(msg)
    if array.ndim != 1 or array.dtype.kind not in "biu":
        msg = f"`{name}` must hold indices of samples or be a mask for each model, got an array of shape {array.shape} and dtype {array.dtype}"
        raise TypeError(msg)
    if array.dtype.kind == "b":
        if len(array) != count:
            msg = f"a mask in `{name}` must have an entry for each of {count} samples, got {len(array)}"
            raise ValueError(msg)
        array = np.flatnonzero(array)
        return array if len(array) else _indices(array, name, count)
    if array.min() < 0 or array.max() >= count:
        wrong = array[(array < 0) | (array >= count)][0]
        msg = f"`{name}` must hold indices from 0 to {count - 1}, of {count} samples, got {wrong}"
        raise ValueError(msg)
    return array
