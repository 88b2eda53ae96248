"""Prediction on a Program: an array for the result, callbacks, progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice

import numpy as np

from engine._base.checks import Shape
from engine._base.cpp import Float32, Program, Rows
from engine._data.batch_streams import call_hook, raw_batches
from engine._data.lazy_rows import LazyRows, for_core
from engine._data.memory_maps import require_whole_files
from engine._printing.progress import Progress
from engine.callbacks import CallbackList

# Multiply-adds per call of the core: about 15 ms on two cores, so that Ctrl-C and progress stay alive.
WORK = 4 * 10**9


def target_for(out: object, output_shape: Shape, rows: Rows | LazyRows) -> Float32:
    """What the core writes to for a result in `out`, as (n, outputs): `out` itself where that is possible.

    Args:
        out: what the user wants the result in.
        output_shape: of one output.
        rows: what the core reads meanwhile.

    Raises:
        TypeError: if `out` is no float32 array.
        ValueError: if it has another shape than the result, or is read-only.
    """
    shape = (len(rows), *output_shape)
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
    flat = (len(rows), math.prod(output_shape))
    if out.flags.c_contiguous and out.flags.aligned and not _shared(out, rows):
        return out.reshape(flat)
    return np.empty(flat, np.float32)


def _shared(out: Float32, rows: Rows | LazyRows) -> bool:
    return not isinstance(rows, LazyRows) and np.may_share_memory(out, rows)


def delivered(outputs: Float32, out: Float32) -> Float32:
    """`out`, or its first rows, with `outputs` in them; these are in what `target_for` gave."""
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
) -> Float32:
    """Outputs (n, outputs) of `rows`, or of those before a callback has asked for the end.

    Args:
        program: the model.
        rows: (n, ...).
        batch_size: rows per step of the progress and of callbacks that look at batches.
        callbacks: whose hooks are called.
        progress: shown while it goes on.
        out: float32 (n, outputs), C-contiguous, for the result; None makes one.

    Raises:
        NotFiniteError: for a number in `rows` that isn't finite.
    """
    if out is None:
        out = np.empty((len(rows), program.output_size), np.float32)
    progress.restart()
    with callbacks.at_work():
        callbacks.start("predict")
        callbacks.call("on_predict_begin")
        done = _in_blocks(program, rows, batch_size, callbacks, progress, out=out)
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
) -> int:
    """Fill `out` block by block, arguments as of `predict`; returns how many rows it got to."""
    per_batch = callbacks.per_batch("predict")
    at_once = WORK // max(program.weight_count, 1)
    files = tuple(("x", each) for each in (rows.arrays if isinstance(rows, LazyRows) else [rows]))
    taken = for_core(rows)
    if isinstance(taken, LazyRows):
        at_once = min(at_once, taken.per_block)
    together = 1 if per_batch or callbacks.stopped("predict") else max(1, at_once // batch_size)
    block, end = batch_size * together, 0
    for batch, begin in enumerate(range(0, len(rows), block)):
        end = min(begin + block, len(rows))
        if per_batch:
            callbacks.call("on_predict_batch_begin", batch)
        require_whole_files(files)
        program.predict(taken[begin:end], out[begin:end], True)
        if per_batch:
            callbacks.call("on_predict_batch_end", batch, logs={"outputs": out[begin:end]})
        progress.update(-(-end // batch_size), {})
        if callbacks.stopped("predict"):
            break
    return end


def _inputs(batch: object) -> object:
    """The samples of a batch that may have targets as well, in a tuple or, of arrays, in a list."""
    if isinstance(batch, tuple) and batch:
        return batch[0]
    if isinstance(batch, list) and len(batch) in (2, 3) and hasattr(batch[0], "__array__"):
        return batch[0]
    return batch


def predict_stream(
    outputs_of: Callable[[object, str], Float32],
    x: object,
    steps: int | None,
    callbacks: CallbackList,
    progress: Progress,
) -> Float32:
    """Outputs for batches as they come.

    Args:
        outputs_of: the model, called with a batch and a name for it in messages.
        x: yields batches: samples alone, or tuples that begin with them.
        steps: number of batches; None takes all.
        callbacks: whose hooks are called.
        progress: shown while it goes on.

    Raises:
        ValueError: if there are no batches.
    """
    outputs: list[Float32] = []
    progress.restart()
    with callbacks.at_work():
        callbacks.start("predict")
        callbacks.call("on_predict_begin")
        call_hook(x, "on_epoch_begin")
        for number, batch in enumerate(islice(raw_batches(x), steps)):
            callbacks.call("on_predict_batch_begin", number)
            outputs.append(outputs_of(_inputs(batch), f"batch {number} x"))
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
    return np.concatenate(outputs)
