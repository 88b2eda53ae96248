"""Prediction on a Program: an array for the result, callbacks, progress."""

from __future__ import annotations

import math

import numpy as np

from engine._checks import Shape
from engine._program import Float32, Program, Rows
from engine._progress import Progress
from engine.callbacks import CallbackList

# Multiply-adds per call of the core: about 15 ms on two cores, so that Ctrl-C and progress stay alive.
WORK = 4 * 10**9


def target_for(out: object, output_shape: Shape, rows: Rows) -> Float32:
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
    if out.flags.c_contiguous and out.flags.aligned and not np.may_share_memory(out, rows):
        return out.reshape(flat)
    return np.empty(flat, np.float32)


def delivered(outputs: Float32, out: Float32) -> Float32:
    """`out` with `outputs` in it; these are in what `target_for` gave."""
    if not np.may_share_memory(outputs, out):
        out[...] = outputs.reshape(out.shape)
    return out


def predict(
    program: Program,
    rows: Rows,
    batch_size: int,
    callbacks: CallbackList,
    progress: Progress,
    *,
    out: Float32 | None,
) -> Float32:
    """Outputs (n, outputs) of `rows`.

    Args:
        program: the model.
        rows: (n, ...).
        batch_size: rows per step of the progress and of callbacks that look at batches.
        callbacks: told about every turn.
        progress: shown while it goes on.
        out: float32 (n, outputs), C-contiguous, for the result; None makes one.

    Raises:
        NotFiniteError: for a number in `rows` that isn't finite.
    """
    if out is None:
        out = np.empty((len(rows), program.output_size), np.float32)
    per_batch = callbacks.per_batch("predict")
    together = 1 if per_batch else max(1, WORK // (batch_size * max(program.weight_count, 1)))
    block = batch_size * together
    progress.restart()
    callbacks.call("on_predict_begin")
    for batch, begin in enumerate(range(0, len(rows), block)):
        end = min(begin + block, len(rows))
        if per_batch:
            callbacks.call("on_predict_batch_begin", batch)
        program.predict(rows[begin:end], out[begin:end], True)
        if per_batch:
            callbacks.call("on_predict_batch_end", batch, logs={"outputs": out[begin:end]})
        progress.update(-(-end // batch_size), {})
    callbacks.call("on_predict_end")
    progress.finish({}, 0)
    return out
