"""The format `.h5`: Keras' older format for models, in which weights belong to layers by the order of the layers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from engine import losses
from engine._base.registered_objects import is_of_engine
from engine.layers.lookup import IDF_WEIGHTS
from engine.saving._h5 import H5Group, WeightsH5, new_h5, opened, require_count, write_array, write_count
from engine.saving.contents import (
    CHECKSUM,
    CONFIG,
    METADATA,
    OPTIMIZER,
    ROUNDED,
    Contents,
    Format,
    Group,
    Reader,
    SavedLayer,
    Stored,
    Variables,
    checksum_of,
    require_checksum,
    require_few,
)

# The group of the optimizer.
_OPTIMIZER = "optimizer_weights"
# The largest size of an attribute in bytes, since HDF5 stores attributes in a header of 64 KiB.
MOST_ATTRIBUTE = 64512


class LegacyH5(Format):
    """The format `.h5`, which Keras 2 wrote by default and Keras 3 still writes for this suffix."""

    suffixes = (".h5", ".hdf5")

    def write(self, file: IO[bytes], contents: Contents) -> None:
        """Writes to an open file."""
        config = json.loads(contents.texts[CONFIG])
        compiled = config.get("compile_config")
        with new_h5(file) as handle:
            handle.attrs["backend"] = b"engine"
            _write_text(handle, "metadata", contents.texts[METADATA])
            _write_text(
                handle, "model_config", json.dumps({name: config[name] for name in ("class_name", "config")})
            )
            if compiled:
                optimizer, loss = compiled.pop("optimizer"), _full_name(compiled["loss"])
                training = compiled | {"optimizer_config": optimizer, "loss": loss}
                _write_text(handle, "training_config", json.dumps(training))
            weights = handle.create_group("model_weights")
            layers = [_joined_layers(part) for part in by_part(contents.groups.items())]
            _write_names(weights, "layer_names", [str(layer.name) for layer in layers])
            for layer in sorted(layers, key=lambda layer: str(layer.name)):
                _write_arrays(weights.create_group(str(layer.name)), layer)
            _write_arrays(weights.create_group("top_level_model_weights"), Group("", {}, ()))
            for path, name in ((OPTIMIZER, _OPTIMIZER), (ROUNDED, ROUNDED)):
                if path in contents.groups:
                    _write_arrays(handle.create_group(name), contents.groups[path])
                    write_count(handle, name, len(contents.groups[path].arrays))

    @contextmanager
    def open(self, path: Path) -> Iterator[Reader]:
        """Opens the file for reading. Weights alone are in the format `.weights.h5`, or in that of Keras 2."""
        with opened(path) as root:
            if "layer_names" in root.attributes or root.at(["model_weights"]) is not None:
                yield LegacyReader(root)
                return
        with WeightsH5().open(path) as reader:
            yield reader


class LegacyReader(Reader):
    """An open file.

    Args:
        root: its root group.
    """

    def __init__(self, root: H5Group) -> None:
        self._root = root

    def text(self, name: str) -> str | None:
        """Returns the config in the form of Keras 3, or the metadata; None for other names, or without a config."""
        if name == METADATA:
            return json.dumps(self._attribute("metadata"))
        if name != CONFIG or "model_config" not in self._root.attributes:
            return None
        config = self._attribute("model_config")
        training = self._attribute("training_config")
        if training:
            config["compile_config"] = training | {"optimizer": training.pop("optimizer_config", None)}
        return json.dumps({"module": "keras"} | modern(config))

    def group(self, path: str) -> Variables:
        """Returns the arrays of a group, such as the optimizer's; empty if there is none. Layers have no groups by path."""
        return require_count(self._root, path, _arrays(self._root, path.split("/")))

    def layers(self, slots: Sequence[SavedLayer]) -> list[Variables]:
        """Returns the arrays of each layer. The n-th layer with weights gets those of the n-th such layer in the file."""
        parts = by_part((slot.path, slot) for slot in slots)
        weighted = [part for part in parts if any(slot.weights for slot in part)]
        saved = [arrays for arrays in self._layers().values() if arrays]
        if len(saved) != len(weighted):
            msg = (
                "Layer count mismatch when loading weights from file. Model expected "
                f"{len(weighted)} layers, found {len(saved)} saved layers."
            )
            raise ValueError(msg)
        arrays_of = {slot.path: Variables({}) for slot in slots}
        for part, arrays in zip(weighted, saved, strict=True):
            arrays_of |= _split_by_layer(part, arrays)
        return list(arrays_of.values())

    def named(self, slots: Sequence[SavedLayer]) -> Sequence[Variables | None]:
        """Returns the arrays of each layer, found by its name; None if the file has no layer of that name."""
        layers, arrays_of = self._layers(), dict[str, Variables]()
        for part in by_part((slot.path, slot) for slot in slots):
            if part[0].part in layers:
                arrays_of |= _split_by_layer(part, layers[part[0].part])
        return [arrays_of.get(slot.path) for slot in slots]

    def optimizer(self) -> Variables:
        """Returns the arrays of the optimizer."""
        return self.group(_OPTIMIZER)

    def _layers(self) -> dict[str, Variables]:
        """Returns the arrays of each layer by its name, in the order of the file."""
        group = self._root
        if "layer_names" not in group.attributes:
            group = group.at(["model_weights"]) or group
        return {name: _arrays(group, name.split("/")) for name in _names(group, "layer_names")}

    def _attribute(self, name: str) -> dict[str, Any]:
        text = self._root.text(name) or "{}"
        require_checksum(name, text, self._root.attributes.get(_checksum_name(name)))
        config = json.loads(text)
        if not isinstance(config, dict):
            msg = f"`{name}` must be an object of JSON, got {type(config).__name__}"
            raise ValueError(msg)
        return config


T = TypeVar("T")


def by_part(entries: Iterable[tuple[str, T]]) -> list[list[T]]:
    """Groups what belongs to each layer of the outermost model. There are several items if the layer is a model itself."""
    parts: dict[str, list[T]] = {}
    for path, entry in entries:
        if path.startswith("layers/"):
            parts.setdefault("/".join(path.split("/")[:2]), []).append(entry)
    return list(parts.values())


def _joined_layers(part: Sequence[Group]) -> Group:
    """Returns the arrays of a layer, or of all layers of a model that is a layer: first the trainable ones."""
    pairs = [
        [
            (label, array)
            for label, (key, array) in zip(group.labels, group.arrays.items(), strict=True)
            if key
            != IDF_WEIGHTS  # which are in the config; they are no weights of the layer, and have no place here
        ]
        for group in part
    ]
    ordered = [
        pair
        for group, layer_pairs in zip(part, pairs, strict=True)
        for pair in layer_pairs[: group.trainable]
    ]
    ordered += [
        pair
        for group, layer_pairs in zip(part, pairs, strict=True)
        for pair in layer_pairs[group.trainable :]
    ]
    arrays = {str(number): array for number, (_, array) in enumerate(ordered)}
    return Group(part[0].name, arrays, [label for label, _ in ordered])


def _split_by_layer(part: Sequence[SavedLayer], arrays: Variables) -> dict[str, Variables]:
    """Returns the arrays of each layer by its path. This is the inverse of `_joined_layers`."""
    if len(part) == 1:
        return {part[0].path: arrays}
    rest = iter(arrays.stored.values())
    trainable = [[*islice(rest, slot.trainable)] for slot in part]
    frozen = [[*islice(rest, slot.weights - slot.trainable)] for slot in part]
    return {
        slot.path: Variables({str(number): pair for number, pair in enumerate([*first, *second])})
        for slot, first, second in zip(part, trainable, frozen, strict=True)
    }


def modern(config: Any) -> Any:
    """Returns a config of Keras 2 in the form of Keras 3."""
    if isinstance(config, list):
        return [modern(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    name, inner = config.get("class_name"), config.get("config")
    if name == "__tuple__":
        return modern(config.get("items", []))
    if name == "MeanMetricWrapper" and isinstance(inner, Mapping):
        return inner.get("name") if inner.get("name") in ("accuracy", "acc") else inner.get("fn")
    renewed = {key: modern(value) for key, value in config.items()}
    if isinstance(inner, Mapping) and isinstance(name, str):
        _renew(name, renewed["config"])
    return renewed


def _renew(name: str, config: dict[str, Any]) -> None:
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    axis = config.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    if name == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")


def _arrays(group: H5Group, path: Sequence[str]) -> Variables:
    """Returns the arrays of a group, in the order in which its attribute lists their names."""
    group_of_layer = group.at(path)
    if group_of_layer is None:
        return Variables({})
    names = _names(group_of_layer, "weight_names")
    require_few(names)
    return Variables({str(i): _at(group_of_layer, name.split("/")) for i, name in enumerate(names)})


def _at(group: H5Group, path: Sequence[str]) -> Stored:
    folder = group.at(path[:-1])
    if folder is None:
        msg = f"there is no array {'/'.join(path)!r}"
        raise ValueError(msg)
    return folder.array(path[-1])


def _names(group: H5Group, attribute: str) -> list[str]:
    """Returns a list of names from an attribute; a long list is split over several attributes with numbers."""
    attributes, number = [attribute], 0
    if attribute not in group.attributes:
        attributes = []
        while f"{attribute}{number}" in group.attributes:
            attributes.append(f"{attribute}{number}")
            number += 1
    names = []
    for key in attributes:
        part = group.names_in(key)
        require_checksum(key, "\0".join(part), group.attributes.get(_checksum_name(key)))
        names += part
    return names


def _write_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    array = np.array([name.encode() for name in names], dtype="S" if names else "S1")
    count = -(-array.nbytes // MOST_ATTRIBUTE) or 1
    for number, part in enumerate(np.array_split(array, count)):
        name = f"{attribute}{number}" if count > 1 else attribute
        group.attrs[name] = part
        group.attrs[_checksum_name(name)] = np.uint32(
            checksum_of(name, "\0".join(encoded.decode() for encoded in part))
        )


def _write_arrays(group: Any, arrays: Group) -> None:
    counts: Counter[str] = Counter()
    labels = []
    for label, array in zip(arrays.labels, arrays.arrays.values(), strict=True):
        labels.append(f"{label}_{counts[label]}" if counts[label] else label)
        counts[label] += 1
        write_array(group, labels[-1], array)
    _write_names(group, "weight_names", labels)


def _full_name(loss: Any) -> Any:
    """Returns the name of a loss in full, since Keras doesn't accept abbreviations when it reads this format."""
    if isinstance(loss, list):
        return [_full_name(item) for item in loss]
    function = losses.get(loss) if isinstance(loss, str) and loss not in ("ce", "crossentropy") else loss
    return function.__name__ if callable(function) and is_of_engine(function) else loss


def _write_text(file: Any, name: str, text: str) -> None:
    """Writes a text and its checksum to attributes of a file."""
    file.attrs[name] = text.encode()
    file.attrs[_checksum_name(name)] = np.uint32(checksum_of(name, text))


def _checksum_name(attribute: str) -> str:
    """Returns the name of the attribute with the checksum of another one: `model_config_crc32`."""
    return f"{attribute}_{CHECKSUM}"
