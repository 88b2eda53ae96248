"""A callback that saves the model during training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine._base.atomic_files import is_checkpoint, making_folder
from engine._base.checks import choice, flag, integer, path_of, real
from engine._printing.progress import print_message
from engine.callbacks.base import Logs, NamedValues
from engine.callbacks.monitors import MonitorCallback

# The suffixes that `save` and `save_weights` accept besides those of Keras.
_HDF5 = (".h5", ".hdf5")
_WEIGHTS, _MODELS = (".npz", ".safetensors", *_HDF5), (".keras", ".npz", ".safetensors", *_HDF5)


class ModelCheckpoint(MonitorCallback):
    """Saves the model or its weights after epochs or batches. Files are written completely or not at all.

    Args:
        filepath: path of the file, which may contain fields such as `{epoch:02d}` or `{val_loss:.2f}` with names
            from the logs. It ends in `.weights.h5`, `.npz` or `.safetensors` for weights, in `.keras`, `.h5`,
            `.npz` or `.safetensors` for models. A missing folder is created.
        monitor: name in the logs by which models are compared.
        verbose: 1 prints a message for each file.
        save_best_only: whether to save only if `monitor` is better than ever before.
        save_weights_only: whether to save only the weights.
        mode: "min" or "max", whether smaller or larger values are better; "auto" decides by the loss or metric of
            that name.
        save_freq: "epoch", or the number of batches from one file to the next. The latter runs training batch by
            batch, which is slower.
        initial_value_threshold: value of `monitor` that the first saved model must improve on.
    """

    _counts = ("_seen",)
    _backed_up = ("best", *_counts, "_last_batch")

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: int | str = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.filepath = path_of(filepath, "filepath")
        self.verbose = choice(verbose, "verbose", (0, 1))
        self.save_best_only = flag(save_best_only, "save_best_only")
        self.save_weights_only = flag(save_weights_only, "save_weights_only")
        self.save_freq = frequency(save_freq)
        self._sees_batches = self.save_freq != "epoch"
        if initial_value_threshold is not None:
            self.best = real(initial_value_threshold, "initial_value_threshold")
        named = self.filepath.endswith(_WEIGHTS) or is_checkpoint(self.filepath)
        if self.save_weights_only and not named:
            msg = (
                "When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end in "
                f"`.weights.h5` (Keras weights format), `.npz`, `.safetensors`, `.h5` or `.hdf5`. Received: filepath={self.filepath}"
            )
            raise ValueError(msg)
        if not self.save_weights_only and not self.filepath.endswith(_MODELS):
            msg = (
                "The filepath provided must end in `.keras` (Keras model format), `.npz`, `.safetensors`, `.h5` or "
                f"`.hdf5`. Received: filepath={self.filepath}"
            )
            raise ValueError(msg)
        self._epoch, self._seen, self._last_batch = 0, 0, -1

    @property
    def _writes_to(self) -> object:
        return self.filepath

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Stores the number of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Saves a file every `save_freq` batches."""
        if self.save_freq == "epoch":
            return
        self._seen += batch + 1 if batch <= self._last_batch else batch - self._last_batch
        self._last_batch = batch
        if self._seen >= int(self.save_freq):
            self._seen = 0
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves a file."""
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = self._path(epoch, batch, logs)
        if not self._should_save(epoch, logs, path):
            return
        if Path(path).is_dir():
            msg = (
                "Please specify a non-directory filepath for ModelCheckpoint. Filepath used is an existing "
                f"directory: {path}"
            )
            raise OSError(msg)
        save = self.model.save_weights if self.save_weights_only else self.model.save
        with making_folder(Path(path).parent):
            save(path, overwrite=True)
        self._say(f"\nEpoch {epoch + 1}: finished saving model to {path}")

    def _should_save(self, epoch: int, logs: Logs, path: str) -> bool:
        """Returns whether the model is to be saved now."""
        if not self.save_best_only:
            self._say(f"\nEpoch {epoch + 1}: saving model to {path}")
            return True
        current = logs.get(self.monitor)
        if current is None:
            warnings.warn(f"Can save best model only with {self.monitor} available.", stacklevel=5)
            return True
        if np.ndim(current):
            text = f"Can save best model only when `monitor` is a scalar value. Received: {current}. Falling back to "
            warnings.warn(f"{text}`save_best_only=False`.", stacklevel=5)
            return True
        best = "None" if self.best is None else f"{self.best:.5f}"
        if not self._improved(current, self.best):
            self._say(f"\nEpoch {epoch + 1}: {self.monitor} did not improve from {best}")
            return False
        self._say(
            f"\nEpoch {epoch + 1}: {self.monitor} improved from {best} to {current:.5f}, saving model to {path}"
        )
        self.best = current
        return True

    def _path(self, epoch: int, batch: int | None, logs: Logs) -> str:
        fields = {} if batch is None or "batch" in logs else {"batch": batch + 1}
        try:
            return self.filepath.format_map(NamedValues({"epoch": epoch + 1, **fields, **logs}))
        except KeyError as error:
            names = ", ".join(sorted({"epoch", *fields, *logs}))
            msg = (
                f"Failed to format this callback filepath: {self.filepath}. There is no {error}, only {names}"
            )
            if str(error).startswith("'val_"):
                msg += ": pass validation data to fit()"
            raise KeyError(msg) from None

    def _require_state(self, state: Mapping[str, Any]) -> None:
        """Raises TypeError or ValueError if the number of the last batch or the state of the monitor is impossible."""
        super()._require_state(state)
        integer(state["_last_batch"], "_last_batch", -1)

    def _say(self, text: str) -> None:
        if self.verbose:
            print_message(text)


def frequency(value: object) -> int | str:
    """Returns `value` if it is "epoch" or a number of batches of at least 1."""
    if value == "epoch":
        return "epoch"
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        msg = f"Unrecognized save_freq: {value}. Expected save_freq are 'epoch' or integer values, at least 1"
        raise ValueError(msg)
    return int(value)
