"""The weights of a model and the state of its optimizer, as files have them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np

from engine._base.spec import snake_case
from engine.layers import Layer
from engine.layers.core import named_leaves
from engine.saving.contents import ROUNDED, Array, Contents, Group, Reader, Slot


def paths_of(kinds: Iterable[str], root: str = "") -> list[str]:
    """Where files have each layer of a model: by its class, and a number from the second one on, as names may be any.

    Args:
        kinds: names of the layers' classes.
        root: where the model is: "", or the path of one within another and a slash.
    """
    counts: Counter[str] = Counter()
    paths = []
    for name in map(snake_case, kinds):
        paths.append(f"{root}layers/{name}_{counts[name]}" if counts[name] else f"{root}layers/{name}")
        counts[name] += 1
    return paths


def _members(
    model: Any, skipped: Iterable[Any], root: str = "", found: set[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """The layers of a model by path, models within followed by their layers, but for those `skipped`, or `found` before."""
    layers, found = model.layers, set(map(id, skipped)) if found is None else found
    for path, layer in zip(paths_of([type(layer).__name__ for layer in layers], root), layers, strict=True):
        if id(layer) not in found:
            found.add(id(layer))
            yield path, layer
            if not isinstance(layer, Layer):
                yield from _members(layer, skipped, f"{path}/", found)


def _slots(model: Any, skipped: Sequence[Any] = ()) -> list[tuple[Slot, Any]]:
    """The layers that have no layers within, but for those `skipped`, and where files have them."""
    found = []
    for path, layer in _members(model, skipped):
        if "/" not in path.removeprefix("layers/"):
            part = layer
        if isinstance(layer, Layer):
            learning = len(layer.trainable_weights) if part.trainable else 0
            found.append((Slot(path, len(layer.weights), learning, part.name), layer))
    return found


def contents_of(
    model: Any,
    texts: Mapping[str, str] | None = None,
    include_optimizer: bool = True,
    skipped: Sequence[Any] = (),
) -> Contents:
    """What a file of the model holds.

    Args:
        model: a model.
        texts: for the file, beside the arrays.
        include_optimizer: whether the state of the optimizer is saved, if there is one.
        skipped: layers, or the optimizer, that are left out.
    """
    groups = {"": Group(model.name, {}, ())}
    groups |= {path: Group(part.name, {}, ()) for path, part in _members(model, skipped)}
    owners = _slots(model, skipped)
    if include_optimizer and model.optimizer is not None and not _among(skipped, model.optimizer):
        owners.append((Slot("optimizer"), model.optimizer))
    for (path, _, learning, _), owner in owners:
        arrays: dict[str, Array] = {}
        owner.save_own_variables(arrays)
        labels = owner._variable_names
        labels = labels if len(labels) == len(arrays) else list(arrays)
        groups[path] = Group(owner.name, arrays, labels, learning)
    if "optimizer" in groups and (rounded := model.optimizer._rounded()):
        groups[ROUNDED] = Group("rounded", rounded, list(rounded))
    return Contents(groups, texts or {})


def load(
    model: Any,
    reader: Reader,
    skip_mismatch: bool = False,
    skipped: Sequence[Any] = (),
    *,
    by_name: bool = False,
) -> None:
    """Set weights and the optimizer's state to what is in a file: all or nothing.

    Args:
        model: built, and compiled if its optimizer's state is wanted.
        reader: the file.
        skip_mismatch: whether layers that differ from the file are left as they are, with a warning.
        skipped: layers, or the optimizer, that are left as they are.
        by_name: whether layers go by their names, and those without one there are left as they are with the optimizer.

    Raises:
        ValueError: if a layer differs from the file.
    """
    slots, layers = zip(*_slots(model), strict=True)
    sources = reader.named(slots) if by_name else reader.layers(slots)
    wanted = {id(layer) for _, layer in _slots(model, skipped)}
    pairs = [
        (layer, source)
        for layer, source in zip(layers, sources, strict=True)
        if source is not None and id(layer) in wanted
    ]
    with _undone_on_errors(model):
        errors = [(layer, _error_of(layer, source)) for layer, source in pairs]
        failed = [(layer, error) for layer, error in errors if error is not None]
        if failed and not skip_mismatch:
            raise ValueError(_failure(failed))
        if model.optimizer is not None and not by_name and not _among(skipped, model.optimizer):
            model.optimizer.load_own_variables(reader.optimizer(), reader.group(ROUNDED))
        if failed:  # in here, as warnings may be errors
            warnings.warn(_failure(failed), stacklevel=3)


@contextmanager
def _undone_on_errors(model: Any) -> Iterator[None]:
    """Bring layers and the optimizer's state back if the block raises."""
    with ExitStack() as stack:
        for layer in dict.fromkeys(layer for _, layer in named_leaves(model._parts_in_order)):
            if layer.built:
                stack.callback(_undo_of(layer))
        if model.optimizer is not None:
            stack.callback(model.optimizer._restore, model.optimizer._snapshot())
        yield
        stack.pop_all()


def _undo_of(layer: Layer) -> Callable[[], None]:
    """A function that brings the layer back to what it is now."""
    weights = layer.get_weights()
    own: dict[str, Array] = {}
    if not _loads_all_or_nothing(layer):
        with suppress(Exception):  # of a layer that can be loaded but not saved
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            own = {name: np.array(value) for name, value in store.items()}

    def undo() -> None:
        if own:
            with suppress(Exception):  # of one that is saved in another way than it is loaded
                layer.load_own_variables(own)
        layer.set_weights(weights)

    return undo


def _loads_all_or_nothing(layer: Layer) -> bool:
    """Whether the method that loads the layer is the library's, not the user's."""
    return type(layer).load_own_variables is Layer.load_own_variables


def _among(objects: Sequence[Any], one: Any) -> bool:
    return any(each is one for each in objects)


def _error_of(layer: Any, source: Mapping[str, Array]) -> Exception | None:
    """Load a layer; what went wrong, if anything, and then the layer is as it was."""
    undo = None if _loads_all_or_nothing(layer) else _undo_of(layer)
    try:
        layer.load_own_variables(source)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        if undo is not None:
            undo()
        return error
    return None


def _failure(failed: Sequence[tuple[Any, Exception]]) -> str:
    owner, error = failed[0]
    return (
        f"A total of {len(failed)} objects could not be loaded. Example error message for object {owner!r}:\n\n"
        f"{error}\n\nList of objects that could not be loaded:\n{[owner for owner, _ in failed]}"
    )
