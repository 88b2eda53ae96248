"""The loop of `predict`: it computes outputs block by block, calls callbacks, and shows progress.

`Model.predict` calls `predict` for arrays and `predict_stream` for data that yield batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

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
    array = _require_fitting(out, (len(rows), *output_shape))
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
    array = _require_fitting(out, (count, *outputs.shape[1:]))
    part = array[: len(outputs)]
    part[...] = outputs
    return array if len(outputs) == len(array) else part


def _require_fitting(out: object, shape: tuple[int, ...]) -> Float32:
    """Returns `out`; TypeError or ValueError unless it is a float32 array of this shape that can be written to."""
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        given = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        msg = f"`out` must be a float32 array, got {given}: make one with np.empty({shape}, np.float32)"
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


def predict(
    program: Program,
    rows: Rows | LazyRows,
    batch_size: int,
    callbacks: CallbackList,
    progress: Progress,
    *,
    out: Float32 | None,
    shown: Callable[[Float32], Any] | None = None,
    by_batch: Callable[[], int] | None = None,
    whole_batches: bool = False,
) -> Float32:
    """Returns the outputs (n, outputs) of `rows`; fewer if a callback ends the prediction.

    Args:
        program: the program of the model.
        rows: (n, ...).
        batch_size: samples in a step of the progress bar, and in a batch if callbacks have hooks for batches.
        callbacks: the callbacks whose hooks are called.
        progress: the progress bar.
        out: a C-contiguous float32 array (n, outputs) for the result; None makes a new one.
        shown: returns the outputs of a batch as callbacks get them; default as they are.
        by_batch: returns a seed for a batch, if outputs depend on random numbers; else None.
        whole_batches: whether Python code may compute outputs of a sample from others of its batch.

    Raises:
        NotFiniteError: if a number in `rows` isn't finite.
    """
    if out is None:
        out = np.empty((len(rows), program.output_size), np.float32)
    progress.restart()
    with callbacks.at_work():
        callbacks.start("predict")
        callbacks.call("on_predict_begin")
        done = _in_blocks(
            program,
            rows,
            batch_size,
            callbacks,
            progress,
            out=out,
            shown=shown,
            by_batch=by_batch,
            whole_batches=whole_batches,
        )
        callbacks.call("on_predict_end")
    progress.finish({}, 0)
    return out if done == len(out) else out[:done]


def _in_blocks(
    program: Program,
    rows: Rows | LazyRows,
    batch_size: int,
    callbacks: CallbackList,
    progress: Progress,
    *,
    out: Float32,
    shown: Callable[[Float32], Any] | None,
    by_batch: Callable[[], int] | None,
    whole_batches: bool,
) -> int:
    """Fills `out` block by block, with the arguments of `predict`. Returns the number of rows that it has filled."""
    per_batch = callbacks.per_batch("predict")
    most_rows = WORK // max(program.weight_count, 1)
    arrays = rows.arrays if isinstance(rows, LazyRows) else [rows]
    files = tuple(("x", each) for each in arrays if isinstance(each, np.ndarray))
    inputs = for_core(rows)
    if isinstance(inputs, LazyRows):
        most_rows = min(most_rows, inputs.per_block)
    apart = per_batch or by_batch is not None or program.joins_samples or callbacks.stopped("predict")
    apart = apart or whole_batches
    batches_at_once = 1 if apart else max(1, most_rows // batch_size)
    block, end = batch_size * batches_at_once, 0
    for batch, begin in enumerate(range(0, len(rows), block)):
        end = min(begin + block, len(rows))
        if per_batch:
            callbacks.call("on_predict_batch_begin", batch)
        require_whole_files(files)
        seed = 0 if by_batch is None else by_batch()
        program.predict(inputs[begin:end], out[begin:end], True, False, seed)
        if per_batch:
            outputs = out[begin:end] if shown is None else shown(out[begin:end])
            callbacks.call("on_predict_batch_end", batch, logs={"outputs": outputs})
        progress.update(-(-end // batch_size), {})
        if callbacks.stopped("predict"):
            break
    return end


def predict_stream(
    outputs_of: Callable[[Any, int], Any],
    batches: Iterator[Any],
    x: object,
    steps: int | None,
    *,
    callbacks: CallbackList,
    progress: Progress,
    joined: Callable[[Sequence[Any]], Any] = np.concatenate,
) -> Any:
    """Returns the outputs for data that yield batches.

    Args:
        outputs_of: computes the outputs of a batch; its second argument is the number of the batch.
        batches: the batches.
        x: what they come from, for its hooks and for messages.
        steps: the number of batches to use; None uses all.
        callbacks: the callbacks whose hooks are called.
        progress: the progress bar.
        joined: joins the outputs of all batches.

    Raises:
        ValueError: if there are no batches.
    """
    outputs: list[Any] = []
    progress.restart()
    with callbacks.at_work():
        callbacks.start("predict")
        callbacks.call("on_predict_begin")
        call_hook(x, "on_epoch_begin")
        for number, batch in enumerate(islice(batches, steps)):
            callbacks.call("on_predict_batch_begin", number)
            outputs.append(outputs_of(batch, number))
            callbacks.call("on_predict_batch_end", number, logs={"outputs": outputs[-1]})
            progress.update(number + 1, {})
            if callbacks.stopped("predict"):
                break
        call_hook(x, "on_epoch_end")
        if not outputs:
            msg = f"`x`, of type {type(x).__name__}, yields no batches: it must yield one at least"
            raise ValueError(msg)
        callbacks.call("on_predict_end")
    progress.finish({}, len(outputs))
    return joined(outputs)
