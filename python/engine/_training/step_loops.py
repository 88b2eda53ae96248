"""The loops of `fit`, `evaluate` and `predict` for models whose steps are methods of the user's class.

Each batch is passed to `train_step`, `test_step` or `predict_step`, as NumPy arrays in the structure in which `fit` got them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._base.checks import below_one, choice, integer
from engine._base.random_state import next_key
from engine._base.tensor_like import Tensor
from engine._core_interface.cpp import permutation
from engine._data.batch_streams import call_hook, number_of_batches, raw_batches, yields_batches
from engine._printing.progress import Progress
from engine._tracing.lazy import numbers_of
from engine._training.fit_arguments import BATCH_SIZE, SHUFFLES, Validation, positive_or_none
from engine._training.trainer import OUT_OF_DATA
from engine.callbacks import CallbackList
from engine.callbacks.base import Logs, Mode
from engine.config import _capped_epochs, _capped_steps
from engine.metrics import Mean


class Batches(NamedTuple):
    """The batches of a model with steps of its own."""

    total: int | None
    """Batches in a pass; None if it is unknown."""
    begin: Callable[[], Iterator[Any]]
    """Begins a pass."""
    source: Any = None
    """What yields the batches, for its hooks."""
    endless: Iterator[Any] | None = None
    """A generator, which goes on where the epoch before has ended."""


def as_tensors(batch: Any) -> Any:
    """Returns a batch with arrays as steps get them: real numbers as float32, and integers as they are."""

    def converted(value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        array = np.asarray(value)
        if array.dtype.kind == "f":
            return np.asarray(array, np.float32).view(Tensor)
        return array

    return tree.map_structure(converted, batch)


def batches_of(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    shuffle: Any = False,
    class_weight: Mapping[int, float] | None = None,
) -> Batches:
    """Returns the batches of data.

    Args:
        x: samples, in arrays in any structure; or a source of batches.
        y: targets, in the same way, or None.
        sample_weight: weights, in the same way, or None.
        batch_size: samples in a batch, default 32.
        shuffle: whether each pass has another order.
        class_weight: the weight of each class.

    Raises:
        ValueError: if the arrays have different numbers of samples.
    """
    if yields_batches(x):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                msg = f"`{name}` must not be given beside an `x` that yields batches: it must yield (x, y) or (x, y, sample_weight)"
                raise ValueError(msg)

        def stream() -> Iterator[Any]:
            return (_weighted(as_tensors(batch), class_weight) for batch in raw_batches(x, bool(shuffle)))

        endless = stream() if iter(x) is x else None
        return Batches(number_of_batches(x), stream, x, endless)
    given = as_tensors(packed(_as_arrays(x), _as_arrays(y), _as_arrays(sample_weight)))
    sizes = {len(each) for each in tree.flatten(given) if each is not None}
    if len(sizes) != 1:
        msg = f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples, got {sorted(sizes)}"
        raise ValueError(msg)
    (rows,) = sizes
    size = batch_size or BATCH_SIZE

    def arrays() -> Iterator[Any]:
        order = permutation(*next_key(), rows) if shuffle is True else None
        firsts = list(range(0, rows, size))
        if shuffle == "batch":
            firsts = [firsts[each] for each in permutation(*next_key(), len(firsts)).tolist()]
        for first in firsts:
            part: Any = slice(first, first + size) if order is None else order[first : first + size]
            chosen = tree.map_structure(lambda each: None if each is None else each[part], given)  # noqa: B023 # used at once
            yield _weighted(chosen, class_weight)

    return Batches(math.ceil(rows / size), arrays)


def _as_arrays(value: Any) -> Any:
    """Returns data with tables and other sequences of rows as arrays, in the structure of lists, tuples and dicts."""
    if isinstance(value, dict):
        return {name: _as_arrays(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)) and value and all(hasattr(each, "shape") for each in value):
        return type(value)(_as_arrays(each) for each in value)
    return value if value is None else np.asarray(value)


def packed(x: Any, y: Any, sample_weight: Any) -> Any:
    """Returns data as a step gets them: (x, y, sample_weight), (x, y) or x."""
    if sample_weight is not None:
        return (x, y, sample_weight)
    if y is not None:
        return (x, y)
    return (x,) if isinstance(x, (list, tuple)) else x


def unpacked_batch(data: Any) -> tuple[Any, Any, Any]:
    """Returns x, y and sample_weight of the data of a step; None for what is missing."""
    parts = tuple(data) if isinstance(data, (list, tuple)) else (data,)
    if len(parts) > 3:  # noqa: PLR2004 # x, y, sample_weight
        msg = f"Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`, found: {data}"
        raise ValueError(msg)
    return (*parts, None, None)[:3]


def _weighted(batch: Any, class_weight: Mapping[int, float] | None) -> Any:
    """Returns a batch with the weights of classes."""
    if class_weight is None:
        return batch
    x, y, weight = unpacked_batch(batch)
    labels = np.asarray(y)
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = np.argmax(labels, axis=-1)
    found = np.array([class_weight.get(int(label), 1.0) for label in labels.reshape(-1)], np.float32)
    return (x, y, found if weight is None else found * np.asarray(weight).reshape(-1))


def split(
    x: Any, y: Any, sample_weight: Any, share: float
) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
    """Returns the first samples and the last ones, which are `share` of all."""
    if yields_batches(x):
        msg = "`validation_split` needs samples whose number is known, but `x` yields batches: pass `validation_data`"
        raise ValueError(msg)
    parts = tuple(_as_arrays(each) for each in (x, y, sample_weight))
    rows = len(next(each for each in tree.flatten(parts) if each is not None))
    at = math.floor(rows * (1.0 - share))

    def cut(begin: int, end: int) -> tuple[Any, Any, Any]:
        return tree.map_structure(lambda each: None if each is None else each[begin:end], parts)  # type: ignore[no-any-return]

    return cut(0, at), cut(at, rows)


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
                if validation is not None and validation[2].due(epoch):
                    tested = self.evaluate(*validation[:2], progress=None)
                    logs = dict(
                        sorted({**logs, **{f"val_{name}": value for name, value in tested.items()}}.items())
                    )
                shown = dict(logs)
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
        step: Callable[[Any], Any],
        out_of_time: Callable[[], bool] = lambda: False,
        progress: Progress | None = None,
    ) -> tuple[int, Any]:
        """Runs the batches of an epoch, and returns their number and what the last step returned."""
        callbacks = self._callbacks
        watched, done, found = callbacks.per_batch(mode), 0, None
        shown = self._progress if mode == "train" else progress
        for batch in islice(batches, steps):
            if watched:
                callbacks.call(f"on_{mode}_batch_begin", done)
            found = step(batch)
            done += 1
            if watched:
                callbacks.call(f"on_{mode}_batch_end", done - 1, logs=as_logs(found))
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
        return dict(sorted(logs.items()))


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
    return {str(name): _number(value) for name, value in numbers_of(dict(found)).items()}


def _number(value: Any) -> Any:
    array = np.asarray(value)
    return float(array) if array.size == 1 else array


def validation_of(
    validation_data: Any, batch_size: int | None, steps: Any, frequency: Any
) -> tuple[Batches, int | None, Validation] | None:
    """Returns the batches of a validation, their number, and after which epochs it comes; None if there is none."""
    if validation_data is None:
        return None
    parts = (
        (validation_data, None, None) if yields_batches(validation_data) else unpacked_batch(validation_data)
    )
    batches = batches_of(*parts, batch_size=batch_size)
    kept: Any = frequency if isinstance(frequency, int) else frozenset(frequency)
    limit = _capped_steps(positive_or_none(steps, "validation_steps"), batches.total)
    return batches, limit, Validation(None, limit, batch_size or BATCH_SIZE, kept)  # type: ignore[arg-type] # no source


def epochs_of(initial_epoch: Any, epochs: Any) -> range:
    """Returns the numbers of the epochs that `fit` runs."""
    return range(integer(initial_epoch, "initial_epoch", 0), _capped_epochs(integer(epochs, "epochs", 0)))


def checked_shuffle(value: Any) -> Any:
    """Returns the argument `shuffle`."""
    return choice(value, "shuffle", tuple(SHUFFLES))


def checked_share(value: Any) -> float:
    """Returns the argument `validation_split`."""
    return below_one(value, "validation_split")
