"""Callbacks that follow one number of the logs and act when it stops improving."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from engine._base.checks import below_one, choice, flag, integer, real
from engine._printing.progress import print_message
from engine.callbacks.base import Callback, Logs
from engine.callbacks.rates import learning_rate_of


class MonitorCallback(Callback):
    """The base of callbacks that watch whether a value of the logs improves.

    Args:
        monitor: its name.
        mode: "min" or "max", whether smaller or larger values are better; "auto" decides by the loss or metric of
            that name.
        min_delta: smallest change that counts as an improvement.
    """

    _counts: ClassVar[tuple[str, ...]] = ()
    """The attributes in `_backed_up` that are counts."""

    def __init__(self, monitor: object, mode: object, min_delta: float) -> None:
        if not isinstance(monitor, str):
            msg = f"`monitor` must be a name in the logs, such as 'val_loss', got {monitor!r}"
            raise TypeError(msg)
        self.monitor = monitor
        modes = ("auto", "min", "max")
        self.mode = "auto" if isinstance(mode, str) and mode not in modes else choice(mode, "mode", modes)
        if self.mode != mode:
            message = f"{type(self).__name__} mode {mode!r} is unknown, fallback to auto mode"
            warnings.warn(f"{message}: give `mode` 'min' or 'max' to decide it", stacklevel=3)
        self.min_delta = abs(real(min_delta, "min_delta"))
        self.best: float | None = None

    def _improved(self, value: float, reference: float | None) -> bool:
        """Returns whether `value` is better than `reference` by more than `min_delta`. Everything is better than None."""
        if reference is None:
            return True
        if self._is_maximized():
            return value - self.min_delta > reference
        return value + self.min_delta < reference

    def _require_state(self, state: Mapping[str, Any]) -> None:
        """Raises TypeError or ValueError if the best value is no number, or a count is no count."""
        best = state["best"]
        if best is not None and (isinstance(best, bool) or not isinstance(best, int | float)):
            msg = f"`best` must be a number or None, got {best!r:.200}"
            raise TypeError(msg)
        for name in self._counts:
            integer(state[name], name, 0)

    def _is_maximized(self) -> bool:
        if self.mode != "auto":
            return bool(self.mode == "max")
        name = self.monitor.removeprefix("val_")
        # A loop of one's own may set another object as the model, which has the weights alone.
        direction_of = getattr(
            self.model, "_direction_of", {"loss": "down", "accuracy": "up", "acc": "up", "auc": "up"}.get
        )
        direction = direction_of(name)
        if direction is None:
            msg = (
                f"{type(self).__name__} can't tell whether more or less of `monitor`={self.monitor!r} is better: "
                "pass mode='max' or mode='min'"
            )
            raise ValueError(msg)
        return bool(direction == "up")


class EarlyStopping(MonitorCallback):
    """Stops training when a value in the logs has stopped improving.

    Args:
        monitor: name of the value in the logs.
        min_delta: smallest change that counts as an improvement.
        patience: number of epochs without improvement after which training stops.
        verbose: 1 prints a message when the callback acts.
        mode: "min" or "max", whether smaller or larger values are better; "auto" decides by the loss or metric of
            that name.
        baseline: value that must be improved on, too, for `patience` to start again.
        restore_best_weights: whether to restore the weights of the best epoch when training ends for any reason.
        start_from_epoch: first epoch to look at, counted from 0.
    """

    _counts = ("wait", "stopped_epoch", "best_epoch")
    _backed_up = (*_counts, "best", "best_weights")

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = integer(patience, "patience", 0)
        self.verbose = choice(verbose, "verbose", (0, 1))
        self.baseline = None if baseline is None else real(baseline, "baseline")
        self.restore_best_weights = flag(restore_best_weights, "restore_best_weights")
        self.start_from_epoch = integer(start_from_epoch, "start_from_epoch", 0)
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Resets the state."""
        self.wait, self.stopped_epoch, self.best_epoch = 0, 0, 0
        self.best = None
        self.best_weights: list[Any] | None = None

    def get_monitor_value(self, logs: Logs | None) -> Any:
        """Returns the monitored value in `logs`; None, with a warning, if it is missing."""
        value = (logs or {}).get(self.monitor)
        if value is None:
            available = ",".join(logs or {})
            text = f"Early stopping conditioned on metric `{self.monitor}` which is not available."
            warnings.warn(f"{text} Available metrics are: {available}", stacklevel=2)
        return value

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares with the best epoch, and stops training if there was no improvement for too long."""
        value = self.get_monitor_value(logs)
        if value is None:
            return
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            # There must be weights to restore, even if the value is NaN and never improves.
            self._keep(epoch)
        self.wait += 1
        if self._improved(value, self.best):
            self.best = value
            self._keep(epoch)
            if self.baseline is None or self._improved(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Prints a message, and restores the best weights."""
        if self.verbose and self.stopped_epoch > 0:
            print_message(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is None:
            return
        if self.verbose:
            print_message(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
        self.model.set_weights(self.best_weights)

    def _require_state(self, state: Mapping[str, Any]) -> None:
        """Raises TypeError or ValueError if the best weights don't suit the model, or the rest is impossible."""
        super()._require_state(state)
        best = state["best_weights"]
        if best is None:
            return
        expected = [(array.dtype, array.shape) for array in self.model.weights]
        if not isinstance(best, list) or [(array.dtype, array.shape) for array in best] != expected:
            msg = "`best_weights` must be None, or arrays like the weights of the model"
            raise ValueError(msg)

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()


class ReduceLROnPlateau(MonitorCallback):
    """Reduces the learning rate when a value in the logs has stopped improving.

    It adds the learning rate to the logs as `learning_rate`.

    Args:
        monitor: name of the value in the logs.
        factor: factor by which the learning rate is multiplied, in [0, 1).
        patience: number of epochs without improvement after which the learning rate is reduced.
        verbose: 1 prints a message when the callback acts.
        mode: "min" or "max", whether smaller or larger values are better; "auto" decides by the loss or metric of
            that name.
        min_delta: smallest change that counts as an improvement.
        cooldown: number of epochs after a reduction that don't count as epochs without improvement.
        min_lr: lower bound of the learning rate.
    """

    _counts = ("cooldown_counter", "wait")
    _backed_up = ("best", *_counts)

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = below_one(factor, "factor")
        self.patience = integer(patience, "patience", 0)
        self.verbose = choice(verbose, "verbose", (0, 1))
        self.cooldown = integer(cooldown, "cooldown", 0)
        self.min_lr = real(min_lr, "min_lr", 0.0)
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Resets the state."""
        self.best = None
        self.cooldown_counter, self.wait = 0, 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares with the best epoch, and reduces the learning rate if there was no improvement for too long."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = learning_rate_of(self.model)
        value = logs.get(self.monitor)
        if value is None:
            text = (
                f"Learning rate reduction is conditioned on metric `{self.monitor}` which is not available."
            )
            warnings.warn(f"{text} Available metrics are: {','.join(logs)}.", stacklevel=2)
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._improved(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def in_cooldown(self) -> bool:
        """Returns whether the cooldown after a reduction lasts."""
        return self.cooldown_counter > 0

    def _reduce(self, epoch: int) -> None:
        rate = learning_rate_of(self.model)
        if rate <= float(np.float32(self.min_lr)):
            return
        rate = max(rate * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = rate
        if self.verbose:
            print_message(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {rate}.")
        self.cooldown_counter, self.wait = self.cooldown, 0
