"""What `compile` was given: optimizer, loss and metrics, and what they mean to the core."""

from __future__ import annotations

from collections.abc import Sequence

from engine import losses, metrics, optimizers
from engine._program import Program, Totals
from engine.callbacks import Logs


class Compiled:
    """Optimizer, loss and metrics of a model.

    Args:
        optimizer: name, object or config dict.
        loss: name, function, object or config dict; None allows nothing but predictions.
        metric_list: metrics that leave sample weights aside.
        weighted_metric_list: metrics that use them.
    """

    def __init__(
        self, optimizer: object, loss: object, metric_list: object, weighted_metric_list: object
    ) -> None:
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        plain = _metrics("metrics", metric_list)
        weighted = _metrics("weighted_metrics", weighted_metric_list)
        self._metrics = [(metric, False) for metric in plain] + [(metric, True) for metric in weighted]
        self.names = _unique_names([metric.name for metric in plain], [metric.name for metric in weighted])
        if self.loss is not None:
            for metric, _ in self._metrics:
                _require_same_targets(metric, self.loss)

    def apply(self, program: Program) -> None:
        """Compile `program`; its optimizer state starts anew."""
        if self.loss is not None:
            lowered = []
            for metric, weighted in self._metrics:
                resolved = metric.resolve(self.loss.wants_indices, program.output_size)
                lowered.append({**resolved.lower(), "weighted": weighted})
            program.compile(self.loss.lower(), self.optimizer.lower(), lowered)
        self.optimizer.follow(program)

    def logs(self, totals: Totals) -> Logs:
        """Loss and metrics by name, in alphabetical order."""
        return dict(sorted(zip(self.names, [totals.loss, *totals.metrics], strict=True)))

    def direction(self, name: str) -> str | None:
        """Whether more of what the logs call `name` is better, "up", or less, "down"; None if nobody can say."""
        if name == "loss":
            return "down"
        metric = dict(zip(self.names[1:], self._metrics, strict=True)).get(name)
        return None if metric is None else metric[0]._direction

    def result(self, totals: Totals, return_dict: bool) -> float | list[float] | Logs:
        """Loss and metrics as `evaluate` returns them."""
        if return_dict:
            return self.logs(totals)
        return [totals.loss, *totals.metrics] if totals.metrics else totals.loss


def _metrics(argument: str, given: object) -> list[metrics.Metric]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        msg = f"`{argument}` must be a list such as ['accuracy'], got {given!r}"
        raise ValueError(msg)
    return [metrics.get(identifier) for identifier in given]


def _unique_names(plain: Sequence[str], weighted: Sequence[str]) -> list[str]:
    """`loss` and the names of all metrics; one that is taken becomes `accuracy_1` or `weighted_accuracy`."""
    names = ["loss"]
    for name, weighs in [*((name, False) for name in plain), *((name, True) for name in weighted)]:
        base = f"weighted_{name}" if weighs and name in names else name
        candidate, number = base, 0
        while candidate in names:
            number += 1
            candidate = f"{base}_{number}"
        names.append(candidate)
    return names


def _require_same_targets(metric: metrics.Metric, loss: losses.Loss) -> None:
    """Raise ValueError unless `metric` and `loss` read the same targets."""
    wants = metric.resolve(loss.wants_indices, 1)
    if wants.wants_indices != loss.wants_indices:
        form = {True: "class indices", False: "one number per output"}
        msg = (
            f"the metric {metric.name!r} takes {form[wants.wants_indices]} as targets but the loss {loss.name!r} "
            f"takes {form[loss.wants_indices]}: use 'accuracy', which suits every loss, or change one of the two"
        )
        raise ValueError(msg)
