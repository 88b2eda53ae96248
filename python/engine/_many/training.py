"""The training of one model among many."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from engine._base.random_state import seeded
from engine._many.arguments import taken
from engine._many.owners import Owners
from engine._many.pool import Pool, Task
from engine._many.results import FitResult, Interrupted
from engine.callbacks import Callback, History
from engine.callbacks.base import Logs
from engine.models import Model

# float32 numbers that training keeps for each weight: the weight, its gradient, and two numbers of the optimizer.
_NUMBERS_PER_WEIGHT = 4
_FLOAT_BYTES = 4

_DATA = ("x", "y", "sample_weight")


class Training(Task[FitResult]):
    """The training of one model.

    Args:
        number: the place of the model among those given.
        model: the model, or a function that makes it.
        seed: of its random numbers.
        arguments: those of `fit`, by name.
        owners: whose layers are whose.
        rows: the indices of the samples on which it is trained; None takes all.
        validation_rows: those on which it is validated, or None.
    """

    def __init__(
        self,
        number: int,
        model: Model | Callable[[], Model],
        seed: int,
        arguments: Mapping[str, Any],
        owners: Owners,
        *,
        rows: Any,
        validation_rows: Any,
    ) -> None:
        self._number = number
        self._given = model
        self._model = model if isinstance(model, Model) else None
        self._seed = seed
        self._arguments = arguments
        self._owners = owners
        self._rows = rows
        self._validation_rows = validation_rows
        self._stopped = False
        self._size = 0

    @property
    def validates(self) -> bool:
        """Whether the model is validated."""
        return validates(self._arguments, self._validation_rows)

    @property
    def size(self) -> int:
        """About how many bytes the training fills beside the data that all models share; 0 before the model is built."""
        if not self._size and self._model is not None and self._model.built:
            weights = sum(math.prod(weight.shape) for weight in self._model.weights)
            self._size = weights * _NUMBERS_PER_WEIGHT * _FLOAT_BYTES + self._bytes_of_rows()
        return self._size

    def not_begun(self) -> FitResult:
        """Returns the result of a training that the user has interrupted before it began."""
        return self._result(None, 0.0, Interrupted("not begun"))

    def run(self, pool: Pool[FitResult]) -> FitResult:
        """Trains the model. It raises nothing: errors are part of the result."""
        if pool.stopping:
            return self.not_begun()
        watch, start = _Watch(pool), time.perf_counter()
        error: BaseException | None = None
        try:
            with seeded(self._seed):
                if self._model is None:
                    self._model = _built(self._given)
                    self._owners.claim(self._model, self._number)
                self._model.fit(**self._arguments_of_fit(watch), verbose=0)
        except BaseException as raised:  # also what a callback raises to end the program ends only this model
            error = raised
        if error is None and self._stopped:
            error = Interrupted("ended early")
        result = self._result(watch.history, time.perf_counter() - start, error or watch.error)
        if not isinstance(self._given, Model):
            _ = self.size  # it is kept, and known only while the model is there
            self._model = None
        self._arguments = {}  # the result alone keeps the model and its callbacks
        return result

    def stop(self) -> None:
        """Ends the training after the batch that is running."""
        self._stopped = True
        if self._model is not None:
            self._model.stop_training = True

    def _result(self, history: History | None, seconds: float, error: BaseException | None) -> FitResult:
        return FitResult(self._number, self._model, history, self._seed, seconds, error)

    def _arguments_of_fit(self, watch: _Watch) -> dict[str, Any]:
        """Returns the arguments of `fit`, with the callback `watch`."""
        arguments = dict(self._arguments)
        data = [arguments.get(name) for name in _DATA]
        if self._validation_rows is not None:
            arguments["validation_data"] = tuple(taken(array, self._validation_rows) for array in data)
        if self._rows is not None:
            arguments.update(zip(_DATA, (taken(array, self._rows) for array in data), strict=True))
        arguments["callbacks"] = [*arguments.get("callbacks", ()), watch]
        return arguments

    def _bytes_of_rows(self) -> int:
        arrays = [self._arguments[name] for name in _DATA if hasattr(self._arguments.get(name), "nbytes")]
        of_sample = sum(array.nbytes // max(1, len(array)) for array in arrays)
        return sum(len(rows) * of_sample for rows in (self._rows, self._validation_rows) if rows is not None)


def validates(arguments: Mapping[str, Any], validation_rows: Any) -> bool:
    """Returns whether arguments of `fit`, or rows for validation, have a model validated."""
    has_data = validation_rows is not None or arguments.get("validation_data") is not None
    return has_data or bool(arguments.get("validation_split"))


class _Watch(Callback):
    """Keeps the history, sets the threads of each epoch, and ends a training whose loss is NaN or infinite.

    Args:
        pool: in which the model is trained.
    """

    _comes_last = True

    def __init__(self, pool: Pool[FitResult]) -> None:
        self._pool = pool
        self.history: History | None = None
        self.error: BaseException | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Keeps the history."""
        self.history = self.model.history

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Sets the threads of the epoch. `fit` has forgotten a request to stop that came before it began."""
        self._pool.take_share()
        if self._pool.stopping:
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
