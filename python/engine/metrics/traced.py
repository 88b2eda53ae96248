"""Metrics of users that the core computes: their function runs once with symbols, and is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from engine._base.checks import Shape
from engine._tracing.extents import SAMPLES, Extent, full_shape, size_of
from engine._tracing.recordings import Recording, lowered_function, recording
from engine._tracing.trace import Computed, Input, Node, TracedArray, as_traced
from engine.losses.traced import is_per_sample, reduce_to_rows


class TracedMetric(NamedTuple):
    """The mean of a function of targets and predictions, as the core computes it."""

    fields: dict[str, Any]
    """One entry of the `metrics` argument of `Program.compile`."""
    by_sample: bool
    """Whether the number of a sample is known to depend on no other sample of the batch."""


def traced_metric(
    function: Callable[[Any, Any], Any], target: Shape, dtype: str, output: Shape, plain: bool
) -> TracedMetric | None:
    """Returns what the core computes for a function; None if Python has to call it with each batch.

    Args:
        function: takes targets and predictions. It returns a number for the batch, or numbers for each sample.
        target: the shape of the targets of one sample.
        dtype: of the targets.
        output: the shape of one output.
        plain: whether neither sample weights nor a mask count.
    """
    sizes = output or (1,)
    by_batch = False

    def values(y_true: TracedArray, y_pred: TracedArray) -> TracedArray:
        nonlocal by_batch
        result = as_traced(function(y_true, y_pred.reshaped(full_shape(sizes))), y_pred.trace)
        by_batch = not result.extents
        return result if by_batch else reduce_to_rows(result, full_shape(sizes[:-1]), summed=False)

    try:
        recorded = recording(values, [target, sizes], [dtype, "float32"])
        nodes, value = lowered_function(recorded)
    except Exception:  # the function may do anything
        return None
    (result,) = recorded.outputs
    shapes = [entry.shape for entry in recorded.trace.entries if isinstance(entry, Node)]
    pairs = any(sum(extent.per_sample > 0 for extent in shape) > 1 for shape in shapes)
    if (
        pairs
        or not _depends_on_batch(recorded)
        or (by_batch and not plain)
        or result.extents[:1] not in ((), (SAMPLES,))
    ):
        return None
    fields = {"kind": "traced", "nodes": nodes, "value": value, "by_batch": by_batch}
    return TracedMetric(
        {**fields, "target_size": size_of([Extent(length) for length in target])[0]},
        is_per_sample(recorded),
    )


def _depends_on_batch(recorded: Recording) -> bool:
    """Returns whether a result is computed from the targets or the predictions."""
    waiting, met = [output.origin for output in recorded.outputs], set[Any]()
    while waiting:
        origin = waiting.pop()
        if isinstance(origin, Input):
            return True
        if isinstance(origin, Computed) and origin not in met:
            met.add(origin)
            waiting += [source for source, _ in recorded.trace.entries[origin.entry].inputs]
    return False
