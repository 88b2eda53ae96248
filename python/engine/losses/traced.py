"""Losses of users that the core computes: their function runs once with symbols, and is recorded."""

from __future__ import annotations

from typing import Any

from engine._base.checks import Shape
from engine._tracing.extents import SAMPLES, Extent, full_shape, size_of
from engine._tracing.primitives import broadcast_to, elementwise, reduce
from engine._tracing.recordings import Recording, lowered_function, recording
from engine._tracing.reductions import mean
from engine._tracing.trace import Computed, Node, TracedArray, as_traced
from engine.losses.loss import REDUCTIONS, Loss


class TracedLoss(Loss):
    """A loss that is recorded and computed by the core, with its gradient.

    Args:
        loss: computes the losses in its method `_in_training`: one for each sample, for each row of outputs, for each
            output, or for the batch.
        aligns: whether targets are brought to the number of axes of the predictions, as Keras does for functions.
        target_shape: of one sample; None until the first targets are known.
    """

    _must_be_wrapped = False
    as_given = True

    def __init__(self, loss: Loss, *, aligns: bool = False, target_shape: Shape | None = None) -> None:
        super().__init__(loss.name, loss.reduction)
        self._loss, self._aligns, self._target_shape = loss, aligns, target_shape
        self._targets_are_indices = loss._targets_are_indices
        self._output_shape: Shape = ()
        self.by_sample = False
        """Whether the loss of a sample is known to depend on no other sample of the batch."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the losses."""
        return self._loss._in_training(y_true, y_pred)

    def _for(self, target_shape: Shape, output_shape: Shape) -> TracedLoss:
        """Returns the same loss for targets and outputs of these shapes."""
        of_shape = TracedLoss(self._loss, aligns=self._aligns, target_shape=target_shape)
        of_shape._targets_are_indices, of_shape._output_shape = self._targets_are_indices, output_shape
        return of_shape

    def _resolve(self, indices: bool, outputs: int) -> Loss:
        """Returns the same loss for class indices, or for one number per output."""
        del outputs
        resolved = self._for(self._target_shape or (), self._output_shape)
        resolved._targets_are_indices = indices
        return resolved

    def _lower(self) -> dict[str, Any]:
        """Returns the `loss` argument of `Program.compile`."""
        return self._lower_for(self._output_shape, self._output_shape)

    def _lower_for(self, declared: Shape, output_shape: Shape) -> dict[str, Any]:
        """Returns the `loss` argument of `Program.compile` for a program with outputs of some length.

        Args:
            declared: the shape of one output, with None for a length that differs from batch to batch. Where the first
                targets had the same length there as the outputs, it differs with that of the outputs.
            output_shape: the shape of one output of the program.
        """
        target_shape = list(self._target_shape or ())
        for axis, (length, first) in enumerate(zip(declared, self._output_shape, strict=False)):
            if length is None and target_shape[axis : axis + 1] == [first]:
                target_shape[axis] = output_shape[axis]
        sizes = output_shape or (1,)

        def losses(y_true: TracedArray, y_pred: TracedArray) -> TracedArray:
            return self._losses(y_true, y_pred, sizes)

        recorded = recording(losses, [tuple(target_shape), sizes], ["float32", "float32"])
        self.by_sample = is_per_sample(recorded)
        nodes, value = lowered_function(recorded)
        fields: dict[str, Any] = {"target": "sparse"} if self._targets_are_indices else {"target": "dense"}
        if not self._targets_are_indices:
            fields["target_size"] = size_of([Extent(extent) for extent in target_shape])[0]
        return {
            "kind": "traced",
            "nodes": nodes,
            "value": value,
            "reduction": REDUCTIONS[self.reduction],
            **fields,
        }

    def _losses(self, y_true: TracedArray, y_pred: TracedArray, output_shape: Shape) -> TracedArray:
        """Returns one loss for each row of outputs of `output_shape`, or one for the batch."""
        y_pred = y_pred.reshaped(full_shape(output_shape))
        if self._aligns:
            y_true, y_pred = _aligned(y_true, y_pred)
        result = self.call(y_true, y_pred)
        if result is None:
            msg = f"loss {self.name!r} returned None instead of the losses: end it with `return`"
            raise TypeError(msg)
        losses = as_traced(result, y_pred.trace)
        rows = full_shape(output_shape[:-1])
        return reduce_to_rows(losses, rows, summed=REDUCTIONS[self.reduction] == "sum")


def _aligned(y_true: TracedArray, y_pred: TracedArray) -> tuple[TracedArray, TracedArray]:
    """Returns targets and predictions with the same number of axes, as Keras does before it calls a loss function."""
    if y_true.ndim != y_pred.ndim - 1 or y_pred.extents[-1] != Extent(1):
        return y_true, y_pred
    if y_true.ndim == 1:
        return y_true.reshaped((*y_true.extents, Extent(1))), y_pred
    return y_true, y_pred.reshaped(y_pred.extents[:-1])


# Kinds of nodes that compute nothing of one sample from another one, if their shapes begin with the number of samples.
_BY_SAMPLE = frozenset(("map", "reduce", "reshape", "stop_gradient"))


def is_per_sample(recorded: Recording) -> bool:
    """Returns whether what a function computes of a sample is known to depend on no other sample of the batch."""
    mixed = [output.extents for output in recorded.outputs]
    dependent = list[bool]()
    for entry in recorded.trace.entries:
        reads = [
            dependent[origin.entry] if isinstance(origin, Computed) else True for origin, _ in entry.inputs
        ]
        dependent.append(any(reads))
        if dependent[-1]:
            if not isinstance(entry, Node) or entry.kind not in _BY_SAMPLE:
                return False
            mixed.append(entry.shape)
    return all(
        shape[:1] == (SAMPLES,) and all(extent.static is not None for extent in shape[1:]) for shape in mixed
    )


def reduce_to_rows(values: TracedArray, rows: Any, *, summed: bool) -> TracedArray:
    """Returns values with one for each row of outputs, or one for the batch.

    Args:
        values: of any shape.
        rows: the shape of the rows, with the batch axis.
        summed: whether the sum of all values counts, instead of their mean.
    """
    if not values.extents or values.extents == rows:
        return values

    def combine(x: TracedArray, axes: Any) -> TracedArray:
        return reduce(x, "sum", axes, keepdims=False) if summed else mean(x, axes)

    if values.extents[0] != SAMPLES:
        return combine(values, None)
    if values.extents[: len(rows)] == rows:
        return combine(values, list(range(len(rows), values.ndim)))
    if values.extents == (*rows, Extent(1)):
        return values.reshaped(rows)
    by_sample = values if values.ndim == 1 else combine(values, list(range(1, values.ndim)))
    if len(rows) == 1:
        return by_sample
    count = size_of(rows[1:])[0]
    row_losses = elementwise(lambda a: a / float(count), by_sample) if summed else by_sample
    return broadcast_to(row_losses.reshaped((SAMPLES, *[Extent(1)] * (len(rows) - 1))), rows)
