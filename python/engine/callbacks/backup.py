"""A callback that saves a training to a backup, and resumes it after a crash, a power cut or SIGKILL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine._base.checks import flag, integer, path_of
from engine.callbacks.base import Callback, Logs
from engine.callbacks.checkpoint import frequency

_LATEST, _PREVIOUS = "latest.npz", "previous.npz"


class BackupAndRestore(Callback):
    """Backs up the state of training, and resumes from it when the script runs again.

    After a crash at any moment, start the script again: `fit` ends with the same weights, bit for bit, as without
    the crash. A backup holds the weights, the optimizer state, the states of the random number generators (of the
    engine, NumPy and Python), the position in the data, the sums of losses and metrics, and the state of the other
    callbacks. Build, compile and call `fit` in the same way, with the same data. The batches of a generator that
    were used already are drawn again and skipped. For a model whose class has steps of its own, such as a `train_step`, a backup
    holds the state of all optimizers, metrics and seed generators in its attributes; the model must have its weights when
    `fit` begins, so call `build` unless `compile` was given a loss or metrics.

    The `History` has only the epochs since the last start, as in Keras.

    Args:
        backup_dir: folder for the backup. It must contain nothing else.
        save_freq: "epoch", or the number of batches from one backup to the next. The latter runs training batch by
            batch, which is slower.
        double_checkpoint: whether to keep the previous backup, too, in case the latest one can't be read.
        delete_checkpoint: whether to delete the folder when training ends.
    """

    _comes_last = True
    _backed_up = ("_seen",)

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int | str = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        if not backup_dir:
            msg = "Empty `backup_dir` argument passed"
            raise ValueError(msg)
        self.backup_dir = path_of(backup_dir, "backup_dir")
        self.save_freq = frequency(save_freq)
        self._sees_batches = self.save_freq != "epoch"
        self.double_checkpoint = flag(double_checkpoint, "double_checkpoint")
        self.delete_checkpoint = flag(delete_checkpoint, "delete_checkpoint")
        self._epoch, self._seen = 0, 0

    @property
    def _writes_to(self) -> object:
        return self.backup_dir

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Restores the backup, if there is one."""
        self._seen, recovery = 0, self.model._current_recovery
        latest, previous = self._path(_LATEST), self._path(_PREVIOUS)
        try:
            if latest.exists():
                recovery.load(latest)
                return
        except (OSError, ValueError):
            if not previous.exists():
                raise
        if previous.exists():
            recovery.load(previous)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Stores the number of the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Saves a backup every `save_freq` batches."""
        self._seen += 1
        if self.save_freq != "epoch" and self._seen >= int(self.save_freq) and not self.model.stop_training:
            self._seen = 0
            self._save(self._epoch, batch + 1, {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Saves a backup."""
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0, logs or {})

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Deletes the backup. The older file is deleted last, since it can be used without the newer one."""
        if not self.delete_checkpoint:
            return
        import shutil  # imported here, since it imports the compression modules

        for name in (_LATEST, _PREVIOUS):
            self._path(name).unlink(missing_ok=True)
        shutil.rmtree(self.backup_dir, ignore_errors=True)

    def _require_state(self, state: Mapping[str, Any]) -> None:
        """Raises TypeError or ValueError unless the state has the number of batches since the last backup."""
        integer(state["_seen"], "_seen", 0)

    def _path(self, name: str) -> Path:
        return Path(self.backup_dir) / name

    def _save(self, epoch: int, read_batches: int, logs: Logs) -> None:
        recovery = self.model._current_recovery
        Path(self.backup_dir).mkdir(parents=True, exist_ok=True)
        previous = self._path(_PREVIOUS) if self.double_checkpoint else None
        recovery.save(self._path(_LATEST), epoch, read_batches, logs, previous)
