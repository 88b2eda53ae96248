"""`tf.train`: checkpoints of models, optimizers and variables.

A checkpoint is a file `.npz` of the engine's: those of TensorFlow can't be read, and can't read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine._base.atomic_files import replacing
from engine.layers import Layer
from engine.layers.variable import Variable
from engine.models import Model
from engine.optimizers import Optimizer
from engine.tensorflow._variables import Module

__all__ = ["Checkpoint", "CheckpointManager", "get_checkpoint_state", "latest_checkpoint", "list_variables"]

_SUFFIX = ".npz"
_INDEX = "checkpoint"
"""The name of the file in a folder that lists its checkpoints."""


_ROUNDED = "rounded/"
"""What an optimizer knows beside its variables begins with it: the bits that these are rounded by."""


class Checkpoint:
    """Saves and restores the variables of objects.

    Args:
        root: a model, module or layer; None if there are only others.
        **kwargs: models, modules, layers, optimizers and variables by the names that they have in the file.

    Raises:
        TypeError: for an object without variables.
    """

    def __init__(self, root: Any = None, **kwargs: Any) -> None:
        self.save_counter = Variable(0, dtype="int64", trainable=False, name="save_counter")
        self._objects = {**({} if root is None else {"root": root}), **kwargs}
        for name, value in self._objects.items():
            if not isinstance(value, (Model, Module, Layer, Optimizer, Variable)) and not hasattr(
                value, "__next__"
            ):
                msg = (
                    f"`{name}` must be a model, a module, a layer, an optimizer or a variable, got {value!r}"
                )
                raise TypeError(msg)
        vars(self).update(kwargs)

    def _variables(self) -> Iterator[tuple[str, Any]]:
        """Yields all variables by their names in the file."""
        yield "save_counter", self.save_counter
        for name, value in self._objects.items():
            found = [value] if isinstance(value, Variable) else list(getattr(value, "variables", ()))
            yield from ((f"{name}/{number}", variable) for number, variable in enumerate(found))

    def _optimizers(self) -> dict[str, Optimizer]:
        return {name: value for name, value in self._objects.items() if isinstance(value, Optimizer)}

    def write(self, file_prefix: Any, options: Any = None) -> str:
        """Saves to `file_prefix` with the suffix `.npz`, and returns the prefix."""
        path = Path(f"{file_prefix}{_SUFFIX}")
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {name: np.asarray(variable) for name, variable in self._variables()}
        for name, optimizer in self._optimizers().items():
            arrays.update({f"{name}/{_ROUNDED}{key}": bits for key, bits in optimizer._rounded().items()})
        with replacing(path) as file:
            np.savez(file, **arrays)
        return str(file_prefix)

    def save(self, file_prefix: Any, options: Any = None) -> str:
        """Saves to `file_prefix`, "-" and a number that counts up, and returns that."""
        self.save_counter.assign_add(1)
        prefix = self.write(f"{file_prefix}-{int(self.save_counter)}")
        _note(Path(prefix), keep=None)
        return prefix

    def read(self, save_path: Any, options: Any = None) -> Status:
        """Sets the variables to those of a checkpoint.

        A model and an optimizer that have no variables yet get them first, as far as the others tell their shapes.

        Args:
            save_path: what `save` or `write` has returned.
            options: without effect.

        Raises:
            FileNotFoundError: if there is no such checkpoint.
            ValueError: if a variable has another shape there. Nothing has changed then.
        """
        path = Path(f"{save_path}{_SUFFIX}")
        if not path.exists():
            msg = f"there is no checkpoint {str(save_path)!r}: it would be the file {str(path)!r}"
            raise FileNotFoundError(msg)
        with np.load(path, allow_pickle=False) as archive:
            saved = dict(archive)
        self._build(saved)
        own = dict(self._variables())
        for name, variable in own.items():
            if name in saved and saved[name].shape != tuple(variable.shape):
                msg = (
                    f"{name} has the shape {tuple(variable.shape)}, but {saved[name].shape} in {str(path)!r}"
                )
                raise ValueError(msg)
        optimizers = self._optimizers()
        for name, variable in own.items():
            if name in saved and name.partition("/")[0] not in optimizers:
                variable.assign(saved[name])
        for name, optimizer in optimizers.items():
            store = {
                key.removeprefix(f"{name}/"): array
                for key, array in saved.items()
                if key.startswith(f"{name}/")
            }
            bits = {key: store.pop(key) for key in list(store) if key.startswith(_ROUNDED)}
            if store:
                optimizer.load_own_variables(store, {key.removeprefix(_ROUNDED): bits[key] for key in bits})
        unused = sorted(name for name in saved.keys() - own.keys() if f"/{_ROUNDED}" not in name)
        return Status(sorted(own.keys() - saved.keys()), unused)

    def restore(self, save_path: Any, options: Any = None) -> Status:
        """Does what `read` does; nothing if `save_path` is None."""
        return Status([], []) if save_path is None else self.read(save_path)

    def _build(self, saved: dict[str, Any]) -> None:
        """Makes the variables of optimizers that have not stepped yet, for the models and variables beside them."""
        for name, optimizer in self._objects.items():
            if not isinstance(optimizer, Optimizer) or optimizer.built:
                continue
            count = sum(key.startswith(f"{name}/") for key in saved)
            others = [
                value
                for value in self._objects.values()
                if isinstance(value, (Model, Module, Layer, Variable))
            ]
            weights = [
                weight
                for value in others
                for weight in ([value] if isinstance(value, Variable) else value.trainable_variables)
                if weight.trainable and weight.dtype == np.float32
            ]
            if count > len(list(optimizer.variables)) and weights:
                optimizer.build(weights)


class Status:
    """What `restore` returns.

    Args:
        unsaved: names of variables that are not in the file.
        unused: names in the file that no variable has.
    """

    def __init__(self, unsaved: list[str], unused: list[str]) -> None:
        self._unsaved, self._unused = unsaved, unused

    def assert_consumed(self) -> Status:
        """Raises AssertionError unless file and objects have the same variables."""
        if self._unused:
            msg = f"the checkpoint has variables that no object has: {', '.join(self._unused)}"
            raise AssertionError(msg)
        return self.assert_existing_objects_matched()

    def assert_existing_objects_matched(self) -> Status:
        """Raises AssertionError if an object has variables that are not in the file."""
        if self._unsaved:
            msg = f"the checkpoint lacks {', '.join(self._unsaved)}"
            raise AssertionError(msg)
        return self

    def assert_nontrivial_match(self) -> Status:
        """Does what `assert_existing_objects_matched` does."""
        return self.assert_existing_objects_matched()

    def expect_partial(self) -> Status:
        """Allows that variables differ."""
        return self


class CheckpointManager:
    """Saves a checkpoint again and again, and deletes the oldest of those that it has saved.

    Args:
        checkpoint: what is saved.
        directory: the folder, which is made if it is missing.
        max_to_keep: how many files stay; None keeps all.
        keep_checkpoint_every_n_hours: without effect.
        checkpoint_name: the names of the files begin with it.
        step_counter: variable whose value numbers the files; by default they are counted.
        checkpoint_interval: without effect.
        init_fn: called by `restore_or_initialize` if there is no checkpoint.
    """

    def __init__(  # TensorFlow's signature
        self,
        checkpoint: Checkpoint,
        directory: Any,
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: Any = None,
        checkpoint_name: str = "ckpt",
        step_counter: Any = None,
        checkpoint_interval: Any = None,
        init_fn: Any = None,
    ) -> None:
        self._checkpoint, self._folder, self._keep = checkpoint, Path(directory), max_to_keep
        self._name, self._counter, self._init = checkpoint_name, step_counter, init_fn

    @property
    def directory(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def checkpoint(self) -> Checkpoint:
        """What is saved."""
        return self._checkpoint

    @property
    def checkpoints(self) -> list[str]:
        """The prefixes of the files that are there, the oldest first."""
        return _listed(self._folder)

    @property
    def latest_checkpoint(self) -> str | None:
        """The prefix of the newest file; None if there is none."""
        return latest_checkpoint(self._folder)

    def save(self, checkpoint_number: Any = None, check_interval: bool = True, options: Any = None) -> str:
        """Saves a checkpoint, and returns its prefix."""
        self._checkpoint.save_counter.assign_add(1)
        number = checkpoint_number if checkpoint_number is not None else self._counter
        number = int(self._checkpoint.save_counter if number is None else number)
        prefix = self._checkpoint.write(self._folder / f"{self._name}-{number}")
        _note(Path(prefix), self._keep)
        return prefix

    def restore_or_initialize(self) -> str | None:
        """Restores the newest checkpoint and returns its prefix; without one it calls `init_fn`."""
        newest = self.latest_checkpoint
        if newest is not None:
            self._checkpoint.restore(newest)
        elif self._init is not None:
            self._init()
        return newest


class State:
    """The checkpoints of a folder.

    Attributes:
        model_checkpoint_path: the prefix of the newest.
        all_model_checkpoint_paths: the prefixes of all, the oldest first.
    """

    def __init__(self, prefixes: list[str]) -> None:
        self.model_checkpoint_path, self.all_model_checkpoint_paths = prefixes[-1], prefixes


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """Returns the prefix of the newest checkpoint of a folder; None if there is none."""
    return next(reversed(_listed(Path(checkpoint_dir))), None)


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> State | None:
    """Returns the checkpoints of a folder; None if there are none."""
    found = _listed(Path(checkpoint_dir))
    return State(found) if found else None


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """Returns the names and shapes of the variables in a checkpoint, or in the newest of a folder."""
    prefix = latest_checkpoint(ckpt_dir_or_file) if Path(ckpt_dir_or_file).is_dir() else ckpt_dir_or_file
    with np.load(f"{prefix}{_SUFFIX}", allow_pickle=False) as archive:
        return sorted((name, list(archive[name].shape)) for name in archive)


def _listed(folder: Path) -> list[str]:
    """Returns the prefixes of the files that the index of a folder lists, and that are still there."""
    index = folder / _INDEX
    if not index.exists():
        return []
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["checkpoints"]
    except (ValueError, KeyError, TypeError) as error:
        names = re.findall(
            r'^all_model_checkpoint_paths: "(.*)"$', index.read_text(encoding="utf-8"), re.MULTILINE
        )
        if names:
            msg = f"{str(index)!r} lists checkpoints of TensorFlow, which this function can't read"
        else:
            msg = f"{str(index)!r} is no list of checkpoints: {error}"
        raise ValueError(msg) from error
    return [str(folder / name) for name in names if (folder / f"{name}{_SUFFIX}").exists()]


def _note(prefix: Path, keep: int | None) -> None:
    """Adds a checkpoint to the index of its folder, and deletes the oldest ones there if there are more than `keep`."""
    names = [Path(each).name for each in _listed(prefix.parent)]
    names = [*(name for name in names if name != prefix.name), prefix.name]
    kept = names if keep is None else names[-keep:]
    with replacing(prefix.parent / _INDEX, "w") as file:
        json.dump({"checkpoints": kept}, file)
    for name in names[: len(names) - len(kept)]:
        (prefix.parent / f"{name}{_SUFFIX}").unlink(missing_ok=True)
