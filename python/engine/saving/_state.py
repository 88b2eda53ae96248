"""The weights of a model and the state of its optimizer, as files have them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from engine._spec import snake_case
from engine.saving.contents import Array, Contents, Group, Reader


def paths_of(layers: Sequence[Any]) -> list[str]:
    """Where files have each layer: by its class, and a number from the second one on, as names may be any."""
    counts: Counter[str] = Counter()
    paths = []
    for layer in layers:
        name = snake_case(type(layer).__name__)
        paths.append(f"layers/{name}_{counts[name]}" if counts[name] else f"layers/{name}")
        counts[name] += 1
    return paths


def contents_of(
    model: Any, texts: Mapping[str, str] | None = None, include_optimizer: bool = True
) -> Contents:
    """What a file of the model holds.

    Args:
        model: a model.
        texts: for the file, beside the arrays.
        include_optimizer: whether the state of the optimizer is saved, if there is one.
    """
    groups = {"": Group(model.name, {}, ())}
    owners = dict(zip(paths_of(model.layers), model.layers, strict=True))
    if include_optimizer and model.optimizer is not None:
        owners["optimizer"] = model.optimizer
    for path, owner in owners.items():
        arrays: dict[str, Array] = {}
        owner.save_own_variables(arrays)
        labels = owner.variable_names
        groups[path] = Group(owner.name, arrays, labels if len(labels) == len(arrays) else list(arrays))
    return Contents(groups, texts or {})


def load(model: Any, reader: Reader, skip_mismatch: bool = False) -> None:
    """Set weights and the optimizer's state to what is in a file: all or nothing.

    Args:
        model: built, and compiled if its optimizer's state is wanted.
        reader: the file.
        skip_mismatch: whether layers that differ from the file are left as they are, with a warning.

    Raises:
        ValueError: if a layer differs from the file.
    """
    layers = model.layers
    sources = reader.layers(paths_of(layers), [bool(layer.weights) for layer in layers])
    with undone_on_errors(model):
        errors = [_error_of(*pair) for pair in zip(layers, sources, strict=True)]
        failed = [(layer, error) for layer, error in zip(layers, errors, strict=True) if error is not None]
        if failed and not skip_mismatch:
            raise ValueError(_failure(failed))
        if model.optimizer is not None:
            model.optimizer.load_own_variables(reader.optimizer())
    if failed:
        warnings.warn(_failure(failed), stacklevel=3)


@contextmanager
def undone_on_errors(model: Any) -> Iterator[None]:
    """Bring weights and the optimizer's state back if the block raises."""
    weights, optimizer = model.get_weights(), model.optimizer
    before = None if optimizer is None else optimizer.snapshot()
    try:
        yield
    except BaseException:
        model.set_weights(weights)
        if optimizer is not None:
            optimizer.restore(before)
        raise


def _error_of(layer: Any, source: Mapping[str, Array]) -> Exception | None:
    """Load a layer; what went wrong, if anything."""
    try:
        layer.load_own_variables(source)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return error
    return None


def _failure(failed: Sequence[tuple[Any, Exception]]) -> str:
    owner, error = failed[0]
    return (
        f"A total of {len(failed)} objects could not be loaded. Example error message for object {owner!r}:\n\n"
        f"{error}\n\nList of objects that could not be loaded:\n{[owner for owner, _ in failed]}"
    )
