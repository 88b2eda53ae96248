"""The area under the ROC curve and other curves over all thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine._base.checks import choice, flag, integer, real, reals
from engine._core_interface.cpp import Float32
from engine.metrics.confusion import (
    COUNT_OF_VARIABLE,
    MOST_THRESHOLDS,
    Counts,
    counts_above,
    evenly_distributed,
    lower_thresholds,
    ratio,
    set_count,
)
from engine.metrics.metric import CoreMetric, Metric, register
from engine.metrics.variables import State, StateField

Array = NDArray[Any]

_MARGIN = 1e-7
"""The first threshold is below 0 and the last above 1 by this much, as in Keras."""


@register()
class AUC(CoreMetric):
    """Area under the ROC curve (recall against the rate of false positives), or under another curve.

    Targets may be one-hot rows or class indices.

    Args:
        num_thresholds: number of thresholds from 0 to 1 at which the curve is computed.
        curve: "ROC", "PR" (precision against recall) or "PRGAIN" (Flach and Kull, 2015).
        summation_method: how to compute the area: "interpolation" uses trapezoids (for PR the formula of Davis and
            Goadrich, 2006), "minoring" the lower and "majoring" the upper of two neighbouring points.
        name: name of the metric, which is its key in logs.
        dtype: None or "float32".
        thresholds: list of thresholds in [0, 1], instead of `num_thresholds`.
        multi_label: whether to compute the area for each output and return the mean.
        num_labels: number of outputs with `multi_label`; optional.
        label_weights: weight of each output in the mean.
        from_logits: whether predictions are logits, to which sigmoid is applied.
        exact: whether to use every prediction as a threshold, which needs memory for all predictions. For PR the
            area is then the average precision. `num_thresholds`, `thresholds` and `summation_method` are ignored
            then.
    """

    _accepts_indices = True
    _direction = "up"
    true_positives, false_positives = StateField(), StateField()
    true_negatives, false_negatives = StateField(), StateField()

    def __init__(  # noqa: PLR0917 # Keras' signature
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: object = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: ArrayLike | None = None,
        from_logits: bool = False,
        *,
        exact: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self.curve = choice(str(curve).upper(), "curve", ("ROC", "PR", "PRGAIN"))
        methods = ("interpolation", "minoring", "majoring")
        self.summation_method = choice(str(summation_method).lower(), "summation_method", methods)
        if thresholds is None:
            count = integer(num_thresholds, "num_thresholds", 2, MOST_THRESHOLDS)
            inner = [(i + 1) / (count - 1) for i in range(count - 2)]
            self._even = True
        else:
            inner = sorted(reals(thresholds, "thresholds", 0.0, 1.0))
            self._even = evenly_distributed([0.0, *inner, 1.0])
        self._from_thresholds = thresholds is not None
        self.num_thresholds = len(inner) + 2
        self._points = [-_MARGIN, *inner, 1 + _MARGIN]
        self.multi_label = flag(multi_label, "multi_label")
        self.num_labels = None if num_labels is None else integer(num_labels, "num_labels", 1)
        if num_labels is not None and not multi_label:
            msg = "`num_labels` is for `multi_label=True`: leave it out"
            raise ValueError(msg)
        self.label_weights = (
            None
            if label_weights is None
            else [real(w, "label_weights", 0.0) for w in np.ravel(label_weights).tolist()]
        )
        self._width = self.num_labels or len(self.label_weights or [0])
        self.from_logits = flag(from_logits, "from_logits")
        self.exact = flag(exact, "exact")
        if self.exact and self.curve == "PRGAIN":
            msg = "`exact=True` is for the curves 'ROC' and 'PR', got 'PRGAIN'"
            raise ValueError(msg)

    @property
    def thresholds(self) -> list[float]:
        """The thresholds. The first and the last lie just outside of [0, 1]."""
        return list(self._points)

    @property
    def _needs_rows(self) -> bool:  # type: ignore[override] # it depends on the arguments
        """Whether there is an area for each output."""
        return self.multi_label

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        names = (
            "num_thresholds",
            "curve",
            "summation_method",
            "name",
            "dtype",
            "multi_label",
            "num_labels",
            "label_weights",
        )
        config = {name: getattr(self, name) for name in (*names, "from_logits")}
        if self.exact:
            config["exact"] = True
        return {**config, "thresholds": self._points[1:-1]} if self._from_thresholds else config

    def _resolve(self, indices: bool, outputs: int) -> Metric:
        """Returns the metric itself, after checking the arguments that are given for each output."""
        for setting, argument in ((self.num_labels, "num_labels"), (self.label_weights, "label_weights")):
            count = len(setting) if isinstance(setting, list) else setting
            if count is not None and count != outputs:
                msg = f"`{argument}` of {self.name!r} is for {count} outputs, but there are {outputs}: give one for each"
                raise ValueError(msg)
        return self

    def _lower(self) -> dict[str, Any]:
        """Returns one entry of the `metrics` argument of `Program.compile`."""
        if self.exact:
            return {"kind": "scores"}
        by_column = self.multi_label or self.label_weights is not None
        points = lower_thresholds(self._points, self._even)
        return {**points, "by_column": by_column, "logits": self.from_logits}

    def _add_by_output(self, predictions: Float32, targets: Float32, weights: Float32) -> None:
        if self.exact:
            super()._add_by_output(predictions, targets, weights)
        if not self.multi_label and self.label_weights is None:
            self._add_single_outputs(predictions, targets, weights)
            return
        state = np.concatenate(self._columns(predictions, targets, weights))
        self._load_state(state if self._state is None else self._state + state, predictions.shape[1])

    def _compute(self, state: State) -> float:
        """Returns the area for all outputs together, or the mean of the areas for each output."""
        weights = np.ones(self._width) if self.label_weights is None else np.array(self.label_weights)
        if self.exact:
            areas = self._exact_areas(state.reshape(-1, self._width, 3), weights)
        else:
            counts = counts_above(state, self._points)
            if not self.multi_label and self.label_weights is not None:
                counts = Counts(*(weights @ count for count in counts))
                counts = Counts(*(count[np.newaxis] for count in counts))
            areas = self._areas(counts)
        if not self.multi_label:
            return float(areas[0])
        return float(areas @ weights / weights.sum()) if weights.any() else 0.0

    @property
    def _state_size(self) -> int:
        """Size of the state; 0 if it depends on the number of outputs."""
        labels = self.num_labels or 0 if self.multi_label else len(self.label_weights or [0])
        return 0 if self.exact else labels * 2 * (self.num_thresholds + 1)

    def reset_state(self) -> None:
        """Resets the state."""
        super().reset_state()
        self._state = None if self.exact else self._state

    def _read(self, state: State) -> dict[str, Array]:
        """Returns the counts (thresholds,), or (thresholds, labels) with `multi_label`; nothing with `exact`."""
        if self.exact:
            return {}
        counts = counts_above(state, self._points)
        counts_by_variable = {name: counts._asdict()[field] for name, field in COUNT_OF_VARIABLE.items()}
        return {name: self._by_threshold(count) for name, count in counts_by_variable.items()}

    def _write(self, state: State, name: str, value: Array) -> None:
        """Sets one of the variables."""
        if self.multi_label:
            by_label = value.T
        else:  # the sum over labels becomes that of the label with the largest weight
            weights = np.array(self.label_weights or [1.0])
            by_label = np.outer(np.arange(len(weights)) == weights.argmax(), value / weights.max())
        set_count(state, self._points, COUNT_OF_VARIABLE[name], by_label)

    def _by_threshold(self, count: Array) -> Array:
        """Returns a count (labels, thresholds) in the shape of Keras' variable."""
        if self.multi_label:
            return count.T
        weighed: Array = np.array(self.label_weights or [1.0]) @ count
        return weighed

    def _areas(self, counts: Counts) -> Array:
        """Returns the area for each label, from counts (labels, thresholds)."""
        tp, fp, tn, fn = counts
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated_precision(counts)
        if self.curve == "ROC":
            x, y = ratio(fp, fp + tn), counts.recall
        elif self.curve == "PR":
            x, y = counts.recall, counts.precision
        else:
            odds, none = ratio(tp + fn, tn + fp), tp == 0
            x = np.maximum(np.where(none, 0.0, 1 - odds * ratio(fn, tp)), 0.0)
            y = np.where(none, 1.0, 1 - odds * ratio(fp, tp))
        left, right = y[:, :-1], y[:, 1:]
        if self.summation_method == "interpolation":
            heights = (left + right) / 2
        else:
            heights = (np.minimum if self.summation_method == "minoring" else np.maximum)(left, right)
        areas: Array = ((x[:, :-1] - x[:, 1:]) * heights).sum(axis=1)
        return areas

    def _exact_areas(self, scores: Array, weights: Array) -> Array:
        """Returns the area for each output or for all, from (n, outputs, 3): prediction, target and weight."""
        scores = scores.copy()
        if self.multi_label:
            return np.array([_exact_area(scores[:, j], self.curve) for j in range(self._width)])
        scores[..., 2] *= weights
        return np.array([_exact_area(scores.reshape(-1, 3), self.curve)])


def _interpolated_precision(counts: Counts) -> Array:
    """Returns the area under precision over recall, with false positives linear in true positives between thresholds."""
    tp, fp, _, fn = counts
    positives = tp + fp
    gained, grown = tp[:, :-1] - tp[:, 1:], positives[:, :-1] - positives[:, 1:]
    slope = ratio(gained, np.maximum(grown, 0))
    intercept = tp[:, 1:] - slope * positives[:, 1:]
    both_positive = (positives[:, :-1] > 0) & (positives[:, 1:] > 0)
    growth = np.where(both_positive, ratio(positives[:, :-1], np.maximum(positives[:, 1:], 0)), 1.0)
    parts = ratio(slope * (gained + intercept * np.log(growth)), np.maximum(tp[:, 1:] + fn[:, 1:], 0))
    areas: Array = parts.sum(axis=1)
    return areas


def _exact_area(scores: Array, curve: str) -> float:
    """Returns the area with each distinct prediction as a threshold, from (n, 3): prediction, target and weight."""
    order = np.argsort(-scores[:, 0], kind="stable")
    output, target, weight = scores[order].T
    ends = np.append(np.flatnonzero(np.diff(output)), len(output) - 1) if len(output) else np.zeros(0, int)
    tp, fp = np.cumsum(weight * target)[ends], np.cumsum(weight * (1 - target))[ends]
    if not len(ends) or not tp[-1]:
        return 0.0
    if curve == "PR":
        return float((np.diff(tp, prepend=0.0) * ratio(tp, tp + fp)).sum() / tp[-1])
    if not fp[-1]:
        return 0.0
    heights = (np.append(0.0, tp[:-1]) + tp) / 2
    return float((np.diff(fp, prepend=0.0) * heights).sum() / (tp[-1] * fp[-1]))
