"""The training of one model among many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from engine._base.random_state import seeded
from engine._many.arguments import taken
from engine._many.owners import Owners
from engine._many.pool import Task
from engine._many.results import FitResult, Interrupted
from engine.callbacks import Callback, History
from engine.callbacks.base import Logs
from engine.models import Model

# float32 numbers that training keeps for each weight: the weight, its gradient, and two numbers of the optimizer.
_NUMBERS_PER_WEIGHT = 4
_FLOAT_BYTES = 4

_DATA = ("x", "y", "sample_weight")


class Job(NamedTuple):
    """What a training is."""

    number: int
    """The place of the model among those given."""
    model: Model | Callable[[], Model]
    """The model, or a function that makes it."""
    seed: int
    """Of its random numbers."""
    arguments: Mapping[str, Any]
    """Those of `fit`, by name."""
    rows: Any
    """The indices of the samples on which it is trained; None takes all."""
    validation_rows: Any
    """Those on which it is validated, or None."""


class Threads(Protocol):
    """What a training asks about the threads of its process."""

    @property
    def stopping(self) -> bool:
        """Whether trainings should end."""

    def take_share(self) -> None:
        """Sets the number of threads on which this Python thread computes."""


class Training(Task[FitResult]):
    """The training of one model.

    Args:
        job: what is trained.
        owners: whose layers are whose.
    """

    def __init__(self, job: Job, owners: Owners) -> None:
        self.job = job
        self.model = job.model if isinstance(job.model, Model) else None
        """The model; None before it is made."""
        self._owners = owners
        self._stopped = False
        self._size = 0

    @property
    def validates(self) -> bool:
        """Whether the model is validated."""
        return validates(self.job.arguments, self.job.validation_rows)

    @property
    def size(self) -> int:
        """About how many bytes the training fills beside the data that all models share; 0 before the model is built."""
        if not self._size and self.model is not None and self.model.built:
            weights = sum(math.prod(weight.shape) for weight in self.model.weights)
            self._size = weights * _NUMBERS_PER_WEIGHT * _FLOAT_BYTES + self._bytes_of_rows()
        return self._size

    def make(self) -> Model:
        """Returns the model. If the job has a function that makes it, calls that the first time."""
        if self.model is None:
            self.model = _built(self.job.model)
            self._owners.claim(self.model, self.job.number)
        return self.model

    def not_begun(self) -> FitResult:
        """Returns the result of a training that the user has interrupted before it began."""
        return self.ended(None, 0.0, Interrupted("not begun"))

    def run(self, threads: Threads) -> FitResult:
        """Trains the model. It raises nothing: errors are part of the result."""
        if threads.stopping:
            return self.not_begun()
        watch, start = _Watch(threads), time.perf_counter()
        error: BaseException | None = None
        try:
            with seeded(self.job.seed):
                self.make().fit(**self._arguments_of_fit(watch), verbose=0)
        except BaseException as raised:  # also what a callback raises to end the program ends only this model
            error = raised
        if error is None and self._stopped:
            error = Interrupted("ended early")
        return self.ended(watch.history, time.perf_counter() - start, error or watch.error)

    def stop(self) -> None:
        """Ends the training after the batch that is running."""
        self._stopped = True
        if self.model is not None:
            self.model.stop_training = True

    def ended(self, history: History | None, seconds: float, error: BaseException | None) -> FitResult:
        """Returns the result of the training, which alone keeps the callbacks and a model that a function has made."""
        result = FitResult(self.job.number, self.model, history, self.job.seed, seconds, error)
        if not isinstance(self.job.model, Model):
            _ = self.size  # it is kept, and known only while the model is there
            self.model = None
        if not isinstance(error, Interrupted):
            self.job = self.job._replace(arguments={})
        return result

    def _arguments_of_fit(self, watch: _Watch) -> dict[str, Any]:
        """Returns the arguments of `fit`, with the callback `watch`."""
        arguments = dict(self.job.arguments)
        data = [arguments.get(name) for name in _DATA]
        if self.job.validation_rows is not None:
            arguments["validation_data"] = tuple(taken(array, self.job.validation_rows) for array in data)
        if self.job.rows is not None:
            arguments.update(zip(_DATA, (taken(array, self.job.rows) for array in data), strict=True))
        arguments["callbacks"] = [*arguments.get("callbacks", ()), watch]
        return arguments

    def _bytes_of_rows(self) -> int:
        arguments = self.job.arguments
        arrays = [arguments[name] for name in _DATA if hasattr(arguments.get(name), "nbytes")]
        of_sample = sum(array.nbytes // max(1, len(array)) for array in arrays)
        return sum(
            len(rows) * of_sample for rows in (self.job.rows, self.job.validation_rows) if rows is not None
        )


def validates(arguments: Mapping[str, Any], validation_rows: Any) -> bool:
    """Returns whether arguments of `fit`, or rows for validation, have a model validated."""
    has_data = validation_rows is not None or arguments.get("validation_data") is not None
    return has_data or bool(arguments.get("validation_split"))


class _Watch(Callback):
    """Keeps the history, sets the threads of each epoch, and ends a training whose loss is NaN or infinite.

    Args:
        threads: those of the process.
    """

    _comes_last = True

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self.history: History | None = None
        self.error: BaseException | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Keeps the history."""
        self.history = self.model.history

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the threads of the epoch. `fit` has forgotten a request to stop that came before it began."""
        self._threads.take_share()
        if self._threads.stopping:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Ends the training if the loss is NaN or infinite."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self.error = FloatingPointError(f"the loss of epoch {epoch + 1} is {loss}")
            self.model.stop_training = True


def _built(build: Any) -> Model:
    """Returns what the user's function has made, which must be a model."""
    model = build()
    if not isinstance(model, Model):
        msg = f"a function in `models` must return a model, but {build!r} returned {model!r}"
        raise TypeError(msg)
    return model
