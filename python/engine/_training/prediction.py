"""The loop of `predict`: it calls callbacks and shows progress, while a `Predictor` computes the outputs.

`CorePredictor` is for arrays, of which the core computes many batches at once; `BatchPredictor` for data that yield batches, and
for a `predict_step` of the user's class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

import numpy as np

from engine import tree
from engine._base.checks import Shape
from engine._core_interface.cpp import Float32, Program, Rows
from engine._data.batch_streams import call_hook
from engine._data.lazy_rows import LazyRows, for_core
from engine._data.memory_maps import require_whole_files
from engine._printing.progress import Progress
from engine.callbacks import CallbackList

# The most multiply-adds in one call of the core. They take about 15 ms on two cores, so that Ctrl-C works and the progress
# bar moves.
WORK = 4 * 10**9


def most_rows_at_once(program: Program) -> int:
    """Returns the most rows in one call of the core."""
    return WORK // max(program.weight_floats, 1)


def target_for(out: object, output_shape: Shape, rows: Rows | LazyRows) -> Float32:
    """Returns the array (n, outputs) to which the core writes a result that the user wants in `out`.

    It is a view of `out`, or a new array if the core can't write to `out`, or if `out` shares memory with the rows.

    Args:
        out: the `out` argument of `predict`.
        output_shape: the shape of the output for one sample.
        rows: the rows that the core reads at the same time.

    Raises:
        TypeError: if `out` is no float32 array.
        ValueError: if `out` has another shape than the result, or is read-only.
    """
    array = _require_output_array(out, (len(rows), *output_shape))
    flat = (len(rows), math.prod(output_shape))
    if array.flags.c_contiguous and array.flags.aligned and not _shares_memory(array, rows):
        return array.reshape(flat)
    return np.empty(flat, np.float32)


def copied_to(out: object, outputs: object, count: int) -> Float32:
    """Copies the outputs of `count` samples to `out`, and returns it, or its first rows if there are fewer outputs.

    Raises:
        TypeError: if `out` is no float32 array.
        ValueError: if there are several outputs, or `out` has another shape than the result, or is read-only.
    """
    if not isinstance(outputs, np.ndarray):
        msg = "`out` is for models with one output, but predict_step() returns several: leave it out"
        raise ValueError(msg)
    array = _require_output_array(out, (count, *outputs.shape[1:]))
    part = array[: len(outputs)]
    part[...] = outputs
    return array if len(outputs) == len(array) else part


def _require_output_array(out: object, shape: tuple[int, ...]) -> Float32:
    """Returns `out`; TypeError or ValueError unless it is a float32 array of this shape that can be written to."""
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        received = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        msg = f"`out` must be a float32 array, got {received}: make one with np.empty({shape}, np.float32)"
        raise TypeError(msg)
    if out.shape != shape:
        msg = f"`out` must have the shape of the result, {shape}, got {out.shape}"
        raise ValueError(msg)
    if not out.flags.writeable:
        msg = "`out` is read-only: pass an array that can be written to, such as out.copy()"
        raise ValueError(msg)
    return out


def _shares_memory(out: Float32, rows: Rows | LazyRows) -> bool:
    return isinstance(rows, np.ndarray) and np.may_share_memory(out, rows)


def delivered(outputs: Float32, out: Float32) -> Float32:
    """Copies `outputs`, which are in the array that `target_for` returned, to `out` if necessary.

    Returns `out`, or its first rows if a callback has ended the prediction early.
    """
    part = out[: len(outputs)]
    if not np.may_share_memory(outputs, out):
        part[...] = outputs.reshape(part.shape)
    return out if len(outputs) == len(out) else part


class Predictor(Protocol):
    """What computes the outputs for the loop of `predict`."""

    def steps(self, batch_by_batch: bool) -> Iterator[tuple[int, Callable[[], Any]]]:
        """Yields for each step how many batches are done after it, and what computes their outputs, which callbacks get.

        Args:
            batch_by_batch: whether each step must be one batch.
        """

    @property
    def outputs(self) -> Any:
        """The outputs of all steps that were computed."""


class CorePredictor:
    """Has the core compute the outputs (n, outputs) of rows, many batches at once.

    Args:
        program: the program of the model.
        rows: (n, ...). They need not be finite: the core raises NotFiniteError.
        batch_size: samples in a batch.
        out: a C-contiguous float32 array (n, outputs) for the result; None makes a new one.
        shown: returns the outputs of a batch as callbacks get them; default as they are.
        by_batch: returns a seed for a batch, if outputs depend on random numbers; else None.
        whole_batches: whether Python code may compute outputs of a sample from others of its batch.
    """

    def __init__(
        self,
        program: Program,
        rows: Rows | LazyRows,
        batch_size: int,
        *,
        out: Float32 | None,
        shown: Callable[[Float32], Any] | None = None,
        by_batch: Callable[[], int] | None = None,
        whole_batches: bool = False,
    ) -> None:
        self._program, self._rows, self._batch_size = program, for_core(rows), batch_size
        arrays = rows.arrays if isinstance(rows, LazyRows) else [rows]
        self._files = tuple(("x", array) for array in arrays if isinstance(array, np.ndarray))
        self._out = np.empty((len(rows), program.output_size), np.float32) if out is None else out
        self._shown, self._by_batch = shown, by_batch
        self._joins_samples = by_batch is not None or program.joins_samples or whole_batches
        self._end = 0  # the number of rows whose outputs are computed

    def steps(self, batch_by_batch: bool) -> Iterator[tuple[int, Callable[[], Any]]]:
        """Yields for each step how many batches are done after it, and what computes their outputs."""
        most_rows = most_rows_at_once(self._program)
        if isinstance(self._rows, LazyRows):
            most_rows = min(most_rows, self._rows.per_block)
        at_once = 1 if batch_by_batch or self._joins_samples else max(1, most_rows // self._batch_size)
        block = self._batch_size * at_once
        for begin in range(0, len(self._out), block):
            end = min(begin + block, len(self._out))
            yield -(-end // self._batch_size), partial(self._compute, begin, end, batch_by_batch)

    def _compute(self, begin: int, end: int, shows: bool) -> Any:
        require_whole_files(self._files)
        seed = 0 if self._by_batch is None else self._by_batch()
        outputs = self._out[begin:end]
        self._program.predict(self._rows[begin:end], outputs, True, False, seed)
        self._end = end
        return self._shown(outputs) if shows and self._shown is not None else outputs

    @property
    def outputs(self) -> Float32:
        """The outputs of the rows that were computed."""
        return self._out if self._end == len(self._out) else self._out[: self._end]


class BatchPredictor:
    """Computes the outputs of batches one by one.

    Args:
        outputs_of: computes the outputs of a batch; its second argument is the number of the batch.
        batches: the batches.
        data: what they come from, for messages.
    """

    def __init__(
        self,
        outputs_of: Callable[[Any, int], Any],
        batches: Iterable[Any],
        data: object,
    ) -> None:
        self._outputs_of, self._batches, self._data = outputs_of, batches, data
        self._batches_computed: list[Any] = []

    def steps(self, batch_by_batch: bool) -> Iterator[tuple[int, Callable[[], Any]]]:
        """Yields for each batch its number, counted from 1, and what computes its outputs."""
        del batch_by_batch
        for number, batch in enumerate(self._batches):
            yield number + 1, partial(self._compute, batch, number)

    def _compute(self, batch: Any, number: int) -> Any:
        self._batches_computed.append(self._outputs_of(batch, number))
        return self._batches_computed[-1]

    @property
    def outputs(self) -> Any:
        """The outputs of all batches; ValueError if there was none."""
        if not self._batches_computed:
            msg = f"`x`, of type {type(self._data).__name__}, yields no batches: it must yield one at least"
            raise ValueError(msg)
        return joined_outputs(self._batches_computed)


def joined_outputs(outputs: Sequence[Any]) -> Any:
    """Returns the outputs of several batches, in any structure, as those of one."""
    if len(outputs) == 1:
        return outputs[0]
    return tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)


def predict(
    predictor: Predictor,
    callbacks: CallbackList,
    progress: Progress,
    *,
    data: object = None,
    steps_per_execution: int = 1,
) -> Any:
    """Returns the outputs that `predictor` computes; fewer if a callback ends the prediction.

    Args:
        predictor: computes the outputs.
        callbacks: the callbacks whose hooks are called.
        progress: the progress bar.
        data: a source of batches, whose hooks are called as well.
        steps_per_execution: for how many batches the hooks for batches are called once.
    """
    done = 0
    progress.restart()
    with callbacks.at_work():
        callbacks.start("predict")
        callbacks.call("on_predict_begin")
        call_hook(data, "on_epoch_begin")
        hooks = callbacks.per_batch("predict")
        steps = predictor.steps(hooks or callbacks.stopped("predict"))
        size = steps_per_execution if hooks else 1
        for first in steps:
            if hooks:
                callbacks.call("on_predict_batch_begin", done)
            outputs = []
            for number, compute in chain([first], islice(steps, size - 1)):
                # Before the next step is taken: the user's generator may fill the same array again.
                outputs.append(compute())
                done = number
            if hooks:
                callbacks.call("on_predict_batch_end", done - 1, logs={"outputs": joined_outputs(outputs)})
            progress.update(done, {})
            if callbacks.stopped("predict"):
                break
        call_hook(data, "on_epoch_end")
        predictions = predictor.outputs
        callbacks.call("on_predict_end")
    progress.finish({}, done)
    return predictions
