"""Saving and loading of models: Keras' formats, `.safetensors` and `.npz`."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from engine._base.atomic_files import is_checkpoint, making_folder, replacing
from engine._base.budget import numbers_at_most
from engine._base.checks import flag, path_of
from engine._base.lazy_imports import on_first_use
from engine._base.registered_objects import is_of_engine
from engine._base.spec import Spec
from engine._core_interface.cpp import __version__
from engine._printing.progress import print_message
from engine.layers.core import named_leaves
from engine.layers.part import Part
from engine.saving import _zip
from engine.saving._folder import replacing_in_folder
from engine.saving._h5 import WeightsH5
from engine.saving._keras import WEIGHTS, KerasArchive, opened_folder, write_members
from engine.saving._legacy import LegacyH5
from engine.saving._model_weights import contents_of, load, load_vocabularies
from engine.saving._safetensors import SafeTensors
from engine.saving._shards import INDEX, Shards, write_shards
from engine.saving.contents import (
    CONFIG,
    METADATA,
    Contents,
    ContentsReader,
    Format,
    Reader,
    require_file,
    size_of,
    understood,
    where_missing,
)
from engine.saving.model_config import (
    config_of,
    model_of,
    most_numbers,
    needs_of,
    parsed,
    require_sizes,
    text_of,
)
from engine.saving.model_interface import SavedModel
from engine.saving.npz import Npz, NpzReader
from engine.utils import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)

__all__ = [
    "CustomObjectScope",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "model_from_json",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]

PathLike = str | os.PathLike[str]

# The version of Keras whose format the files have. Other programs read it in the metadata.
KERAS = "3.12.0"
# The first format with a fitting suffix is used.
_FORMATS: tuple[Format, ...] = (WeightsH5(), Shards(), KerasArchive(), Npz(), SafeTensors(), LegacyH5())
_WEIGHTS = ".weights.h5"
_UNBUILT = "has not yet been built: give it an input shape, call build(), or fit it"


def save_model(
    model: SavedModel, filepath: PathLike, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any
) -> None:
    """Saves a model: its layers, weights, compile arguments and optimizer state.

    Args:
        model: the model to save.
        filepath: path that ends in `.keras` (Keras' format), `.npz`, `.safetensors` or `.h5` (Keras' older format);
            with `zipped=False` the path of a folder. With `.h5` and `zipped=False`, missing folders are created.
        overwrite: whether to replace an existing file without asking.
        zipped: False writes the contents of a `.keras` file into a folder and keeps all other files in that folder.
        kwargs: `include_optimizer=False` leaves out the optimizer state. `save_format`, from older versions of
            Keras: "tf" means `zipped=False`; others are ignored, as the suffix decides.

    Raises:
        ValueError: if the suffix is unknown.
        OSError: if the file can't be written, or its folder doesn't exist. An existing file is unchanged then.
        ImportError: if the format needs a package that is not installed.
    """
    include_optimizer = flag(kwargs.pop("include_optimizer", True), "include_optimizer")
    if (
        kwargs.pop("save_format", None) == "tf"
        and zipped is None
        and not Path(path_of(filepath, "filepath")).suffix
    ):
        zipped = False
    if kwargs:
        msg = f"The following argument(s) are not supported: {list(kwargs)}"
        raise ValueError(msg)
    folder = zipped is not None and not flag(zipped, "zipped")
    path = path_of(filepath, "filepath")
    if folder and path.endswith(".keras"):
        msg = f"When using `zipped=False`, the `filepath` argument should not end in `.keras`. Received: filepath={path}"
        raise ValueError(msg)
    format_ = None if folder else _format(path, "model")
    if not _may_write(path, overwrite):
        return
    if not model.built:
        warnings.warn(f"You are saving a model that {_UNBUILT}. The file holds no weights", stacklevel=3)
    contents = contents_of(model, _texts(model), include_optimizer)
    if format_ is None:
        with replacing_in_folder(path) as opened:
            write_members(contents, opened)
        return
    makes_folder = isinstance(format_, LegacyH5)  # as Keras does, for this format alone
    with making_folder(Path(path).parent) if makes_folder else nullcontext(), replacing(path) as file:
        format_.write(file, contents)


def load_model(
    filepath: PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> Any:
    """Loads a model saved by `save_model` or by Keras, or a `FeatureSpace` saved by its method `save`.

    Args:
        filepath: path of the file, or of a folder written with `zipped=False`.
        custom_objects: dict from names to custom classes and functions. Registered ones need not be given.
        compile: whether to compile the model as the saved one was.
        safe_mode: Ignored. Code stored in a file, such as that of lambdas in Keras' files, is never run.

    Returns:
        The model, or the `FeatureSpace`. Training continues as with the saved model, bit for bit unless Keras wrote the file.

    Raises:
        ValueError: if the file is damaged, or holds no model that this package supports. The message names the
            reason.
        OSError: if the file can't be read.
        ImportError: if the format needs a package that is not installed.
    """
    flag(safe_mode, "safe_mode")
    path = Path(path_of(filepath, "filepath"))
    reading = opened_folder if path.is_dir() else _format(str(path), "model").open
    if not path.exists():
        msg = f"File not found: filepath={filepath}. Please ensure the file is an accessible `{path.suffix}` file: {where_missing(path)}"
        raise ValueError(msg)
    require_file(path)
    with understood(filepath), custom_object_scope(custom_objects):
        space = _feature_space_in(path)
        if space is not None:
            return space
        with reading(path) as reader:
            size = size_of(path / WEIGHTS if path.is_dir() else path)
            return _model_in(reader, size, flag(compile, "compile"))


def _feature_space_in(path: Path) -> Any:
    """Returns the `FeatureSpace` in a `.keras` file; None if it holds something else."""
    if path.suffix != ".keras" or not path.is_file():
        return None
    with _zip.opened(path) as archive:
        if b'"FeatureSpace"' not in (_zip.text_member(archive, CONFIG) or "").encode():
            return None
    from engine.saving._feature_spaces import feature_space_in

    return feature_space_in(path)


def pickled(model: SavedModel) -> tuple[Any, tuple[bytes, dict[str, Any]]]:
    """Returns a function and its arguments, from which `pickle` and `copy` make an equal model."""
    buffer = BytesIO()
    Npz().write(buffer, contents_of(model, _texts(model)))
    parts = [model, *model._models_within(), *(layer for _, layer in named_leaves(model._parts_in_order))]
    # In a model that was loaded itself, the arguments are configs; the objects are those that it was compiled to.
    found = model._compiled
    reported = () if found is None else (found.arguments, found.losses, found.all_metrics)
    compiled = [model.optimizer, *reported]
    custom = {definition.__name__: definition for definition in _definitions([*parts, *compiled], set())}
    return unpickled, (buffer.getvalue(), custom)


def _definitions(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yields the user's own classes and functions of a model's parts, and of the parts of these.

    Args:
        value: a part such as a layer, a loss or a function, a list or dict of parts, or anything else, which has none.
        seen: ids of the objects that were looked at.
    """
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, list | tuple | set | dict):
        for item in list(value.values() if isinstance(value, dict) else value):
            yield from _definitions(item, seen)
        return
    definition = type(value) if isinstance(value, Spec | Part) else value
    # No name leads to a lambda or to a function within another one.
    named = isinstance(definition, type) or (
        isinstance(definition, FunctionType) and "<" not in definition.__qualname__
    )
    if named and not is_of_engine(definition):
        yield definition
    if isinstance(value, Spec):
        yield from _definitions(vars(value), seen)


def unpickled(data: bytes, definitions: Mapping[str, Any]) -> Any:
    """Returns a model equal to the one that `pickled` was called with.

    Args:
        data: the bytes that `pickled` returned.
        definitions: the user's classes and functions by name.
    """
    with (
        understood("a pickled model"),
        custom_object_scope(definitions),
        _zip.opened(BytesIO(data)) as archive,
    ):
        return _model_in(NpzReader(archive), len(data), True)


def state_of(model: SavedModel) -> Contents:
    """Returns what training changes of a built model: its weights, the state of its optimizer, and what files store beside them."""
    return contents_of(model, {METADATA: text_of({"engine": model._facts})})


def take_state(model: SavedModel, state: Contents) -> None:
    """Gives a built model the result of `state_of` of one with the same layers.

    Raises:
        ValueError: if the model has other layers. It is unchanged then.
    """
    reader = ContentsReader(state)
    with understood("the state of a model"):
        load(model, reader)
        load_vocabularies(model, reader)
        model._restore_facts(parsed(reader.text(METADATA)).get("engine") or {})


def _texts(model: SavedModel) -> dict[str, str]:
    """Returns the metadata and the config of a model as JSON, by the names of their files."""
    facts = {"version": __version__} | model._facts
    metadata = {"keras_version": KERAS, "date_saved": _now(), "engine": facts}
    return {METADATA: text_of(metadata), CONFIG: text_of(config_of(model))}


def _model_in(reader: Reader, size: int, compile: bool) -> SavedModel:
    """Returns the model that a file of `size` bytes holds, compiled as it was if `compile` is true."""
    config = parsed(reader.text(CONFIG))
    with numbers_at_most(most_numbers(size)):
        require_sizes(config, reader)
    with numbers_at_most(most_numbers(size)):
        model = model_of(config)
        if compile and config.get("compile_config"):
            model.compile_from_config(config["compile_config"])
    metadata = reader.text(METADATA)
    if metadata is not None:
        model._restore_facts(parsed(metadata).get("engine") or {})
    if model.built or model.weights:  # an unbuilt model may contain a built one, which has weights
        load(model, reader)
    load_vocabularies(model, reader)
    return model


def save_weights(
    model: SavedModel,
    filepath: PathLike,
    overwrite: bool = True,
    max_shard_size: float | None = None,
    **kwargs: Any,
) -> None:
    """Saves the weights of a model and its optimizer state.

    Args:
        model: a built model.
        filepath: path that ends in `.weights.h5` (Keras' format), `.npz` or `.safetensors`, or in `.h5` or `.hdf5`,
            the older names of Keras' format; with `max_shard_size` in `.weights.json`. Names of checkpoints of
            TensorFlow, without a suffix or with `.ckpt` or `.tf`, get the suffix `.weights.h5`, with a warning.
        overwrite: whether to replace an existing file without asking.
        max_shard_size: largest size of one file in GiB. The weights are split over several `.weights.h5` files
            beside the `.weights.json`. None writes one file.
        kwargs: `objects_to_skip`, a list of layers, or the optimizer, that are not saved.

    Raises:
        ValueError: if the suffix is unknown, or the model isn't built.
        OSError: if the file can't be written, or its folder doesn't exist. An existing file is unchanged then.
        ImportError: if the format needs a package that is not installed.
    """
    path, skipped = path_of(filepath, "filepath"), _skipped(kwargs)
    if max_shard_size is None:
        path = _with_suffix(path)
        format_ = _format(path, "weights")
    elif not path.endswith(INDEX):
        msg = f"The filename must end in `{INDEX}` when `max_shard_size` is specified. Received: filepath={path}"
        raise ValueError(msg)
    if not model.built:
        msg = f"You are saving the weights of a model that {_UNBUILT}"
        raise ValueError(msg)
    if not _may_write(path, overwrite):
        return
    contents = contents_of(model, skipped=skipped)
    if max_shard_size is not None:
        write_shards(Path(path), contents, max_shard_size)
        return
    with replacing(path) as file:
        (WeightsH5() if isinstance(format_, LegacyH5) else format_).write(file, contents)


def load_weights(model: SavedModel, filepath: PathLike, skip_mismatch: bool = False, **kwargs: Any) -> None:
    """Loads weights from a file of any supported format, and the optimizer state if the model is compiled.

    Args:
        model: a built model with the same layers.
        filepath: path of the file, as `save_weights` got it.
        skip_mismatch: whether to skip layers whose weights differ in number or shape from the file, with a warning.
        kwargs: `objects_to_skip`, a list of layers, or the optimizer, that are not loaded; `by_name=True`, for
            Keras' older `.h5` files, loads only the layers whose names occur in the file.

    Raises:
        ValueError: if the file is damaged or doesn't match the model. The model is unchanged then.
        OSError: if the file can't be read.
        ImportError: if the format needs a package that is not installed.
    """
    path, by_name = _with_suffix(path_of(filepath, "filepath")), kwargs.pop("by_name", None)
    skipped, format_ = _skipped(kwargs), _format(path)
    if by_name is not None and not isinstance(format_, LegacyH5):
        msg = f"`by_name` only supports loading legacy '.h5' or '.hdf5' files. Received: {path}"
        raise ValueError(msg)
    if not model.built:
        msg = f"You are loading weights into a model that {_UNBUILT}"
        raise ValueError(msg)
    if Path(path).exists():
        require_file(Path(path))
    with understood(filepath), format_.open(Path(path)) as reader:
        load(model, reader, flag(skip_mismatch, "skip_mismatch"), skipped, by_name=bool(by_name))


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Creates a model from JSON, with newly initialized weights.

    Args:
        json_string: the result of `to_json`, here or in Keras.
        custom_objects: dict from names to custom classes and functions.

    Raises:
        ValueError: if it doesn't describe a model that this package supports.
    """
    with understood("the config"), custom_object_scope(custom_objects):
        config = parsed(json_string)
        needs_of(config)  # which refuses what would take too long to make
        model = model_of(config)
        if config.get("compile_config"):
            model.compile_from_config(config["compile_config"])
    return model


def _format(path: str, content: str | None = None) -> Format:
    """Returns the format of a file by its suffix.

    Args:
        path: the path of the file.
        content: "model" or "weights", which the format must be able to hold; None accepts every format.
    """
    for format_ in _FORMATS:
        if path.endswith(format_.suffixes):
            if content is None or content in format_.holds:
                return format_
            break
    if content == "weights":
        msg = f"The filename must end in {_suffixes_for(content)}. Received: filepath={path}"
        raise ValueError(msg)
    msg = (
        f"Invalid filepath extension: it must be {_suffixes_for('model')}, of which `.keras` is Keras' own and `.npz` needs "
        f"NumPy alone. Received: filepath={path}"
    )
    raise ValueError(msg)


def _with_suffix(path: str) -> str:
    """Returns the path of a file of weights: that of a checkpoint of TensorFlow with the suffix of Keras' format."""
    if not is_checkpoint(path):
        return path
    warnings.warn(
        f"the name {path!r} of a file of weights is of an older version of Keras: use a name that ends in {_WEIGHTS!r}",
        DeprecationWarning,
        stacklevel=4,
    )
    return path + _WEIGHTS


def _suffixes_for(content: str) -> str:
    """Returns the suffixes of the formats that hold `content`, "model" or "weights", for a message."""
    *suffixes, last = [f"`{format_.suffixes[0]}`" for format_ in _FORMATS if content in format_.holds]
    return f"{', '.join(suffixes)} or {last}"


def _skipped(kwargs: dict[str, Any]) -> list[Any]:
    """Returns `objects_to_skip`, the only keyword argument that is accepted."""
    skipped = kwargs.pop("objects_to_skip", None)
    if kwargs:
        msg = f"Invalid keyword arguments: {kwargs}"
        raise ValueError(msg)
    return list(skipped or ())


def _may_write(path: str, overwrite: object) -> bool:
    """Returns whether `path` may be written. If it exists and `overwrite` is false, the user is asked."""
    if flag(overwrite, "overwrite") or not Path(path).exists():
        return True
    answer = ""
    while answer not in ("y", "n"):
        answer = input(f"[WARNING] {path} already exists - overwrite? [y/n]").strip().lower()
    if answer == "y":
        print_message("[TIP] Next time specify overwrite=True!")
    return answer == "y"


def _now() -> str:
    return datetime.datetime.now(tz=datetime.timezone.utc).strftime("%Y-%m-%d@%H:%M:%S")


if not TYPE_CHECKING:  # with `__getattr__`, type checkers would accept every name
    __getattr__ = on_first_use(__name__)
