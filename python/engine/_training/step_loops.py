"""The loops of `fit`, `evaluate` and `predict` for models whose steps are methods of the user's class.

Each batch is passed to `train_step`, `test_step` or `predict_step`, as NumPy arrays in the structure in which `fit` got them.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

import numpy as np

from engine import tree
from engine._base.checks import below_one, choice, integer
from engine._base.older_names import NamedValues
from engine._data.batch_streams import call_hook
from engine._printing.progress import Progress
from engine._tracing.lazy import numbers_of
from engine._training.diagnostic_warnings import warn_of_logged_losses
from engine._training.fit_arguments import SHUFFLES, Validation
from engine._training.step_batches import Batches
from engine._training.trainer import OUT_OF_DATA
from engine.callbacks import CallbackList
from engine.callbacks.base import Logs, Mode
from engine.config import _capped_epochs
from engine.metrics import Mean

# About how long a stretch of batches should take, and how many times as many batches as the one before it may have.
_STRETCH_SECONDS = 0.05
_GROWTH = 16


class Step(Protocol):
    """A step of a model, such as its `train_step`."""

    def __call__(self, batch: Any) -> Any:
        """Runs the step on a batch, and returns its logs."""

    def for_stretches(self, batches: Iterator[Any]) -> Callable[[int], tuple[int, Any]] | None:
        """Returns a function that runs the next batches; None where the step must run batch by batch.

        The function gets the most batches that it may run, and returns how many it ran and the logs of the last one.
        """


class StepLoop:
    """The loops of a model with steps of its own.

    Args:
        model: the model.
        callbacks: the callbacks.
        progress: the progress bar.
    """

    def __init__(self, model: Any, callbacks: CallbackList, progress: Progress) -> None:
        self._model, self._callbacks, self._progress = model, callbacks, progress

    def fit(
        self,
        batches: Batches,
        epochs: range,
        steps: int | None,
        validation: tuple[Batches, int | None, Validation] | None,
        out_of_time: Callable[[], bool],
    ) -> None:
        """Trains for some epochs.

        Args:
            batches: for training.
            epochs: the numbers of the epochs.
            steps: batches in an epoch.
            validation: the batches, their number, and after which epochs.
            out_of_time: whether to end after the current batch.
        """
        callbacks, model = self._callbacks, self._model
        with callbacks.at_work():
            callbacks.call("on_train_begin")
            logs: Logs = {}
            running: Iterator[Any] | None = batches.endless
            for epoch in epochs:
                model.reset_metrics()
                callbacks.call("on_epoch_begin", epoch)
                self._progress.restart(f"Epoch {epoch + 1}/{epochs.stop}" if epochs.stop > 1 else None)
                call_hook(batches.source, "on_epoch_begin")
                if running is None:
                    running = batches.begin()
                done, found = self._advance("train", running, steps, model._train_batch, out_of_time)
                call_hook(batches.source, "on_epoch_end")
                if batches.endless is None and (steps is None or steps >= (batches.total or steps)):
                    running = None
                if not done:
                    warnings.warn(OUT_OF_DATA, stacklevel=4)
                    break
                logs = self._final(found)
                warn_of_logged_losses(model.name, model._require_compiled(), logs, model.weights)
                if validation is not None and validation[2].due(epoch):
                    tested = self.evaluate(*validation[:2], progress=None)
                    logs = NamedValues(
                        sorted({**logs, **{f"val_{name}": value for name, value in tested.items()}}.items())
                    )
                shown = NamedValues(logs)
                callbacks.call("on_epoch_end", epoch, logs=shown)
                self._progress.finish(shown, done)
                if callbacks.stopped("train") or out_of_time():
                    break
            optimizer = model.optimizer
            if optimizer is not None and len(epochs):
                optimizer.finalize_variable_values()
            callbacks.call("on_train_end", logs=logs)

    def evaluate(self, batches: Batches, steps: int | None, progress: Progress | None) -> Logs:
        """Returns the logs of an evaluation."""
        callbacks, model = self._callbacks, self._model
        if progress is not None:
            progress.restart()
        model.reset_metrics()
        callbacks.start("test")
        callbacks.call("on_test_begin")
        call_hook(batches.source, "on_epoch_begin")
        running = batches.endless or batches.begin()
        done, found = self._advance("test", running, steps, model._test_batch, progress=progress)
        call_hook(batches.source, "on_epoch_end")
        if not done:
            raise ValueError(OUT_OF_DATA)
        logs = self._final(found)
        callbacks.call("on_test_end", logs=logs)
        if progress is not None:
            progress.finish(logs, done)
        return logs

    def predict(self, batches: Batches, steps: int | None) -> Any:
        """Returns the outputs of all batches, joined."""
        callbacks, model, outputs = self._callbacks, self._model, list[Any]()
        self._progress.restart()
        with callbacks.at_work():
            callbacks.start("predict")
            callbacks.call("on_predict_begin")
            for number, batch in enumerate(islice(batches.endless or batches.begin(), steps)):
                callbacks.call("on_predict_batch_begin", number)
                outputs.append(tree.map_structure(np.asarray, model.predict_step(batch)))
                callbacks.call("on_predict_batch_end", number, logs={"outputs": outputs[-1]})
                self._progress.update(number + 1, {})
                if callbacks.stopped("predict"):
                    break
            if not outputs:
                msg = "`x` yields no batches: it must yield one at least"
                raise ValueError(msg)
            callbacks.call("on_predict_end")
        self._progress.finish({}, len(outputs))
        return tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)

    def _advance(  # noqa: PLR0917 # what a pass needs
        self,
        mode: Mode,
        batches: Iterator[Any],
        steps: int | None,
        step: Step,
        out_of_time: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
    ) -> tuple[int, Any]:
        """Runs the batches of an epoch, and returns their number and what the last step returned.

        If no callback has hooks for single batches, and the step is compiled, the core runs stretches of batches. Each is
        short, so that Ctrl-C and the progress bar don't have to wait.
        """
        callbacks = self._callbacks
        watched, done, found = callbacks.per_batch(mode), 0, None
        shown = self._progress if mode == "train" else progress
        most = 1
        while steps is None or done < steps:
            begin = time.perf_counter()
            run_stretch = None if watched else step.for_stretches(batches)
            if run_stretch is None:
                batch = next(batches, None)
                if batch is None:
                    break
                if watched:
                    callbacks.call(f"on_{mode}_batch_begin", done)
                found = step(batch)
                done += 1
                if watched:
                    callbacks.call(f"on_{mode}_batch_end", done - 1, logs=as_logs(found))
            else:
                count, found = run_stretch(most if steps is None else min(most, steps - done))
                done += count
                by_time = int(count * _STRETCH_SECONDS / (time.perf_counter() - begin))
                most = min(max(1, by_time), _GROWTH * count)
            if shown is not None and shown.redraws:
                shown.update(done, as_logs(found))
            if callbacks.stopped(mode) or out_of_time():
                break
        return done, found

    def _final(self, found: Any) -> Logs:
        """Returns the logs of an epoch: the results of the metrics, if these are what the steps return.

        A mean that no step has added to is left out: in its place is what the last step returned.
        """
        logs, results = as_logs(found), self._model.get_metrics_result()
        if logs.keys() == results.keys():
            unused = {
                each.name for each in self._model.metrics if isinstance(each, Mean) and not float(each.count)
            }
            logs |= {name: value for name, value in as_logs(results).items() if name not in unused}
        return NamedValues(sorted(logs.items()))


def as_logs(found: Any) -> Logs:
    """Returns what a step returned as numbers by name.

    Raises:
        TypeError: if it is no dict.
    """
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        msg = f"train_step() and test_step() must return a dict from names to numbers, got {found!r:.200}"
        raise TypeError(msg)
    return NamedValues((str(name), _number(value)) for name, value in numbers_of(dict(found)).items())


def _number(value: Any) -> Any:
    array = np.asarray(value)
    return float(array) if array.size == 1 else array


def epochs_of(initial_epoch: Any, epochs: Any) -> range:
    """Returns the numbers of the epochs that `fit` runs."""
    return range(integer(initial_epoch, "initial_epoch", 0), _capped_epochs(integer(epochs, "epochs", 0)))


def checked_shuffle(value: Any) -> Any:
    """Returns the argument `shuffle`."""
    return choice(value, "shuffle", tuple(SHUFFLES))


def checked_share(value: Any) -> float:
    """Returns the argument `validation_split`."""
    return below_one(value, "validation_split")
