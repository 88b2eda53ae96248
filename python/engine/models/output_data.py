"""Data for the outputs of a model, as users give them: targets and weights in lists and dicts, one for each output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine import tree
from engine._base.checks import Shape
from engine._data.array_conversion import only_array
from engine._data.several_arrays import entries_by_name
from engine._training.checked_samples import Targeting
from engine._training.compile_arguments import Compiled
from engine.models.structures import Structure


class OutputData(NamedTuple):
    """What a model was compiled with, to which it compares the targets and weights that it gets."""

    compiled: Compiled
    form: Structure
    """The form in which users give targets."""

    def targets_and_weights(
        self,
        y: object,
        sample_weight: object,
        count: int,
        prefix: str,
        entry: Callable[[Mapping[Any, Any]], Any],
    ) -> tuple[list[Any], list[Any]]:
        """Returns the targets and the weights of each output, as given.

        Args:
            y: as given.
            sample_weight: as given.
            count: the number of samples.
            prefix: of the names in messages.
            entry: returns the entry of the one output in a dict.
        """
        names = self.compiled.output_names
        y, sample_weight = self.form.flat(y), self.form.flat(sample_weight)
        if not names:
            y, sample_weight = (
                entry(value) if isinstance(value, Mapping) else value for value in (y, sample_weight)
            )
            return [_of_samples(y, count)], [_of_samples(sample_weight, count)]
        targets = [None] * len(names) if y is None else self._entries(y, f"{prefix}y")
        if sample_weight is None or not isinstance(sample_weight, (list, tuple, Mapping)):
            return targets, [sample_weight] * len(names)
        return targets, self._entries(sample_weight, f"{prefix}sample_weight")

    def of_batch(self, y: Any, y_pred: Any, sample_weight: Any) -> tuple[list[Any], list[Any], list[Any]]:
        """Returns targets, predictions and weights for each output that was compiled."""
        names = self.compiled.output_names
        y, y_pred, sample_weight = map(self.form.flat, (y, y_pred, sample_weight))
        if not names:
            flat = tree.flatten(y_pred)
            single = len(flat) == 1
            target = tree.flatten(y)[0] if single and isinstance(y, (list, tuple, Mapping)) and y else y
            return [target], [flat[0] if single else y_pred], [sample_weight]
        targets = [None] * len(names) if y is None else self._entries(y, "y")
        outputs = [y_pred[name] for name in names] if isinstance(y_pred, Mapping) else list(y_pred)
        several = isinstance(sample_weight, (list, tuple, Mapping))
        weights = self._entries(sample_weight, "sample_weight") if several else [sample_weight] * len(names)
        return targets, outputs, weights

    def targeting(self, output: int, shapes: Sequence[Shape]) -> Targeting:
        """Returns what the targets of output number `output` have to suit, if the outputs have these `shapes`."""
        name = self.compiled.output_names[output] if self.compiled.output_names else None
        return Targeting(self.compiled.losses[output], shapes[output], name)

    def _entries(self, value: Any, argument: str) -> list[Any]:
        """Returns the entries of a list or dict, one for each output; those without a loss and metrics may be missing."""
        names = self.compiled.output_names
        needed = [
            number
            for number in range(len(names))
            if self.compiled.has_loss_at[number] or self.compiled.has_metrics(number)
        ]
        if isinstance(value, Mapping):
            value = {**{name: None for number, name in enumerate(names) if number not in needed}, **value}
        elif isinstance(value, (list, tuple)) and len(value) == len(needed) < len(names):
            given = dict(zip(needed, value, strict=True))
            value = [given.get(number) for number in range(len(names))]
        with self.form.explained(names):
            return entries_by_name(value, names, argument, "output")


def no_targets(count: int, targeting: Targeting) -> np.ndarray[Any, Any]:
    """Returns targets of `count` samples for a model without loss and metrics, which nothing reads."""
    indices = bool(targeting.loss._targets_are_indices)
    shape = targeting.rows if indices else targeting.output_shape
    return np.zeros((count, *shape), np.int32 if indices else np.float32)


def _of_samples(value: Any, count: int) -> Any:
    """Returns the targets or weights of `count` samples, also from a list of one array.

    For one sample, a list of a longer array is that sample's row.
    """
    if value is None or isinstance(value, np.ndarray):
        return value
    one = only_array(value, 1)
    return value if count == 1 and one is not value and len(one) != 1 else one


def weights_of_batch(value: Any, x: Any) -> Any:
    """Returns the weights of one batch `x` as `fit` takes them, (n,), from weights (1, n) or from one number for all."""
    shape = np.shape(value) if isinstance(value, (int, float, np.ndarray, np.generic)) else None
    if shape is None or not isinstance(x, np.ndarray):
        return value
    if not shape:
        return np.full(len(x), value)
    return np.reshape(value, len(x)) if shape == (1, len(x)) else value
