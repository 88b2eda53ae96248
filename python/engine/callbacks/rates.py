"""The current learning rate for callbacks, and the callback `LearningRateScheduler`."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from engine._base.checks import choice
from engine._printing.progress import print_message
from engine.callbacks.base import Callback, Logs


def learning_rate_of(model: Any) -> float:
    """Returns the learning rate of the next batch, rounded to float32 as in Keras."""
    return float(np.float32(model.optimizer.learning_rate))


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch, and adds it to the logs as `learning_rate`.

    Args:
        schedule: function that returns the learning rate. It is called as `schedule(epoch, learning_rate)` or
            `schedule(epoch)`, with epochs counted from 0.
        verbose: 1 prints every new learning rate.

    Raises:
        TypeError: if `schedule` is not callable.
        ValueError: in training, if `schedule` doesn't return a finite number of at least 0.
    """

    _calls_functions = True

    def __init__(self, schedule: object, verbose: int = 0) -> None:
        if not callable(schedule):
            msg = f"`schedule` must be a function of (epoch, learning_rate) or of (epoch), got {schedule!r}"
            raise TypeError(msg)
        self.schedule = schedule
        self.verbose = choice(verbose, "verbose", (0, 1))
        self._accepts_rate = _accepts_two_arguments(schedule)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the learning rate."""
        arguments = (epoch, learning_rate_of(self.model)) if self._accepts_rate else (epoch,)
        rate: object = self.schedule(*arguments)
        if isinstance(rate, bool) or not isinstance(rate, numbers.Real):
            msg = f"the output of the `schedule` function should be a float, got {rate!r} for epoch {epoch}"
            raise ValueError(msg)
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            print_message(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds the learning rate to the logs."""
        if logs is not None:
            logs["learning_rate"] = learning_rate_of(self.model)


def _accepts_two_arguments(function: Callable[..., object]) -> bool:
    """Returns whether `function` can be called with two arguments; True if its signature is unknown."""
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
