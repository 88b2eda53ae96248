"""The weights of a model and the state of its optimizer: how they are put into `Contents`, and loaded from a `Reader`.

Saving, loading and pickling use it for all formats.
"""

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
from engine.layers.lookup import VOCABULARY_FILE, VocabularyLayer
from engine.layers.part import Part
from engine.saving.contents import ASSETS, ROUNDED, Array, Contents, Group, Reader, SavedLayer
from engine.saving.model_interface import SavedModel


def paths_of(kinds: Iterable[str], root: str = "") -> list[str]:
    """Returns the path of each layer of a model in a file, as Keras makes it: `layers/dense`, `layers/dense_1` and so on.

    It is made from the class and not from the name of the layer, since users may give any names.

    Args:
        kinds: the names of the layers' classes.
        root: "" for the model itself; for a model within it its path and a slash.
    """
    counts: Counter[str] = Counter()
    paths = []
    for name in map(snake_case, kinds):
        paths.append(f"{root}layers/{name}_{counts[name]}" if counts[name] else f"{root}layers/{name}")
        counts[name] += 1
    return paths


def members(
    model: SavedModel, skipped: Iterable[Any], root: str = "", visited: set[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """Yields the layers of a model with their paths. A model among them is followed by its own layers.

    Layers in `skipped` are left out, and so are those whose `id` is in `visited`, since they came before.
    """
    visited = set(map(id, skipped)) if visited is None else visited
    attributes = model._attributes_of_user
    named: Iterable[tuple[str, Any]]
    if attributes is None:
        layers = model.layers
        named = zip(paths_of([type(layer).__name__ for layer in layers], root), layers, strict=True)
    else:
        named = _in_attributes(attributes, root)
    for path, layer in named:
        if id(layer) not in visited:
            visited.add(id(layer))
            yield path, layer
            if not isinstance(layer, Layer) or layer._parts():
                yield from members(layer, skipped, f"{path}/", visited)


def _in_attributes(attributes: Mapping[str, Any], root: str) -> Iterator[tuple[str, Any]]:
    """Yields the layers and models in attributes with their paths, as in Keras: the attributes by name, private ones last.

    Layers in a list, tuple or dict are told apart by the names of their classes.
    """
    for name in sorted(attributes, key=lambda name: (name.startswith("_"), name)):
        value = attributes[name]
        if isinstance(value, Part):
            yield f"{root}{name}", value
        elif isinstance(value, (list, tuple, dict)):
            within = [
                item
                for item in (value.values() if isinstance(value, dict) else value)
                if isinstance(item, Part)
            ]
            paths = paths_of([type(part).__name__ for part in within])
            for path, part in zip(paths, within, strict=True):
                yield f"{root}{name}/{path.removeprefix('layers/')}", part


def _slots(model: SavedModel, skipped: Sequence[Any] = ()) -> list[tuple[SavedLayer, Any]]:
    """Returns the layers that contain no other layers, each with its slot in a file. Layers in `skipped` are left out."""
    slots = []
    for path, layer in members(model, skipped):
        if not path.startswith("layers/") or "/" not in path.removeprefix("layers/"):
            outermost = layer
        weighted = layer if isinstance(layer, Layer) else layer._body
        if weighted is not None and (weighted is layer or weighted._specs):
            trainable = len(weighted._trainable_specs) if outermost.trainable else 0
            slots.append((SavedLayer(path, len(weighted._specs), trainable, outermost.name), weighted))
    if model._body is not None and model._body._specs:
        weighted = model._body
        slots.append(
            (SavedLayer("", len(weighted._specs), len(weighted._trainable_specs), model.name), weighted)
        )
    return slots


def contents_of(
    model: SavedModel,
    texts: Mapping[str, str] | None = None,
    include_optimizer: bool = True,
    skipped: Sequence[Any] = (),
) -> Contents:
    """Returns what a file of a model holds.

    Args:
        model: a model.
        texts: the texts of the file by name.
        include_optimizer: whether to save the state of the optimizer, if there is one.
        skipped: layers, or the optimizer, that are left out.
    """
    groups = {"": Group(model.name, {}, ())}
    groups |= {path: Group(part.name, {}, ()) for path, part in members(model, skipped)}
    owners = _slots(model, skipped)
    if include_optimizer and model.optimizer is not None and not _among(skipped, model.optimizer):
        owners.append((SavedLayer("optimizer"), model.optimizer))
    for (path, _, trainable, _), owner in owners:
        arrays: dict[str, Array] = {}
        owner.save_own_variables(arrays)
        labels = owner._variable_names
        labels = labels if len(labels) == len(arrays) else list(arrays)
        groups[path] = Group(owner.name, arrays, labels, trainable)
    if "optimizer" in groups and model.optimizer is not None and (rounded := model.optimizer._rounded()):
        groups[ROUNDED] = Group("rounded", rounded, list(rounded))
    return Contents(groups, texts or {})


def load(
    model: SavedModel,
    reader: Reader,
    skip_mismatch: bool = False,
    skipped: Sequence[Any] = (),
    *,
    by_name: bool = False,
) -> None:
    """Loads weights and the optimizer's state from a file. After an error the model is unchanged.

    Args:
        model: a built model. The optimizer's state is loaded if the model is compiled.
        reader: the file.
        skip_mismatch: whether layers that differ from the file are skipped with a warning.
        skipped: layers, or the optimizer, that are not loaded.
        by_name: whether layers are found by their names. Those that the file lacks and the optimizer are not loaded then.

    Raises:
        ValueError: if a layer differs from the file.
    """
    slots, layers = zip(*_slots(model), strict=True)
    sources = reader.named(slots) if by_name else reader.layers(slots)
    layers_with_weights = {id(layer) for _, layer in _slots(model, skipped)}
    pairs = [
        (layer, source)
        for layer, source in zip(layers, sources, strict=True)
        if source is not None and id(layer) in layers_with_weights
    ]
    with _undone_on_errors(model):
        errors = [(layer, _error_of(layer, source)) for layer, source in pairs]
        failed = [(layer, error) for layer, error in errors if error is not None]
        if failed and not skip_mismatch:
            raise ValueError(_failure(failed))
        if model.optimizer is not None and not by_name and not _among(skipped, model.optimizer):
            model.optimizer.load_own_variables(reader.optimizer(), reader.group(ROUNDED))
        if failed:  # within the block, since the warning may be turned into an error
            warnings.warn(_failure(failed), stacklevel=3)


def load_vocabularies(model: SavedModel, reader: Reader) -> None:
    """Sets the vocabularies of layers whose configs have none from the files of text that Keras writes for them."""
    for slot, layer in _slots(model):
        if isinstance(layer, VocabularyLayer) and not layer._vocabulary.terms:
            text = reader.text(f"{ASSETS}/{slot.path}/{VOCABULARY_FILE}")
            if text is not None:
                layer._read_vocabulary(text)


@contextmanager
def _undone_on_errors(model: SavedModel) -> Iterator[None]:
    """Restores layers and the optimizer's state if the block raises."""
    with ExitStack() as stack:
        for layer in dict.fromkeys(layer for _, layer in named_leaves(model._parts_in_order)):
            if layer.built:
                stack.callback(_undo_of(layer))
        if model.optimizer is not None:
            stack.callback(model.optimizer._restore, model.optimizer._snapshot())
        yield
        stack.pop_all()


def _undo_of(layer: Layer) -> Callable[[], None]:
    """Returns a function that restores the current state of the layer."""
    weights = layer.get_weights()
    saved: dict[str, Array] = {}
    if not _loads_all_or_nothing(layer):
        with suppress(Exception):  # the user's layer may be unable to save what it can load
            store: dict[str, Any] = {}
            layer.save_own_variables(store)
            saved = {name: np.array(value) for name, value in store.items()}

    def undo() -> None:
        if saved:
            with suppress(Exception):  # the user's layer may be unable to load what it has saved
                layer.load_own_variables(saved)
        layer.set_weights(weights)

    return undo


def _loads_all_or_nothing(layer: Layer) -> bool:
    """Returns whether the layer is loaded by the library's own method, which changes nothing if it fails."""
    return type(layer).load_own_variables is Layer.load_own_variables


def _among(objects: Sequence[Any], searched: Any) -> bool:
    return any(item is searched for item in objects)


def _error_of(layer: Any, source: Mapping[str, Array]) -> Exception | None:
    """Loads a layer. If that fails, restores the layer and returns the error; else returns None."""
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
