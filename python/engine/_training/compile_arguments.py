"""The arguments of `compile`: optimizer, loss and metrics, and how the core or Python computes each of them.

A model makes a `Compiled` of them. It compiles the model's program, makes the host step, in which Python computes what the
core can't, and turns the core's sums into logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from engine import losses, metrics
from engine._base.checks import Shape, real, text_of_shape
from engine._base.cpp import Float32, Program, Totals
from engine._base.host_steps import Penalty, RunHost, RunStep
from engine._base.registered_objects import overrides
from engine._data.given_targets import Form, mask_of_batch, masked_weights, weights_of_batch
from engine._training.penalties_and_constraints import answer
from engine.callbacks.base import Logs
from engine.losses.custom import HostLoss, no_loss
from engine.losses.custom import for_training as loss_for_training
from engine.losses.loss import REDUCTIONS, FunctionLoss
from engine.metrics.metric import CoreMetric, in_core
from engine.optimizers.optimizer import registry as optimizer_registry
from engine.optimizers.variables import Tracked

# The function for host steps, which gets the form of the targets before the step.
Host = Callable[[Form, RunStep], Penalty | Float32 | None]


class Compiled:
    """Optimizer, loss and metrics of a model.

    Args:
        optimizer: name, object or config dict.
        loss: name, function, object or config dict. With None the loss is the sum of what layers add to it.
        loss_weights: a factor of the loss, or None.
        metric_list: metrics without sample weights.
        weighted_metric_list: metrics with sample weights.
    """

    def __init__(
        self,
        optimizer: object,
        loss: object,
        loss_weights: object,
        metric_list: object,
        weighted_metric_list: object,
    ) -> None:
        self.optimizer = optimizer_registry.get(optimizer)
        loss, weight = _single(loss, "loss"), _single(loss_weights, "loss_weights")
        self._warned: set[str] = set()  # the subjects of warnings that were given
        self.has_loss = loss is not None
        self.loss = loss_for_training(loss) if self.has_loss else no_loss()
        self._loss_weight = 1.0 if weight is None else real(weight, "loss_weights")
        plain = _metrics("metrics", metric_list)
        weighted = _metrics("weighted_metrics", weighted_metric_list)
        self.plan: tuple[Any, ...] = ()
        """The arguments of `Program.compile`; empty until the loss is resolved."""
        self._whole_batches = self._masked = False
        self._width = 1
        self._metrics = [(metric, False) for metric in plain] + [(metric, True) for metric in weighted]
        self.names = _unique_names([metric.name for metric in plain], [metric.name for metric in weighted])
        self._loss_metric = metrics.Mean("loss")
        self._resolved = [metric for metric, _ in self._metrics]
        # The metrics that Python computes, and whether they use sample weights.
        self._python_metrics: list[tuple[metrics.Metric, bool]] = []
        # Each metric, the same again if the core computes it (else None), and whether its class overrides `result`.
        self._results: list[tuple[metrics.Metric, CoreMetric | None, bool]] = []
        # The loss, the metrics and the output shape that `require_readable` has accepted, so that it checks each once.
        self._readable: tuple[losses.Loss, list[metrics.Metric], Shape] | None = None
        self._host_step: Host | None = None
        if self.settled:
            self._require_same_targets(self.loss)

    def once(self, subject: str, warn: Callable[[], None]) -> None:
        """Calls `warn`, unless a warning of the same subject was given before."""
        if subject not in self._warned:
            self._warned.add(subject)
            warn()

    @property
    def settled(self) -> bool:
        """Whether it is known which targets the loss reads. If not, as for "crossentropy", the first targets decide it."""
        return self.loss._wants_indices is not None

    @contextmanager
    def settling(self, indices: bool, outputs: int) -> Iterator[None]:
        """Resolves the loss by the first targets. If the block raises, the loss is unresolved again.

        Args:
            indices: whether the targets are class indices.
            outputs: the number of outputs in a row of predictions.

        Raises:
            ValueError: if a metric reads other targets than the resolved loss.
        """
        open_loss = self.loss
        loss = open_loss._resolve(indices, outputs)
        self._require_same_targets(loss)
        self.loss = loss
        try:
            yield
        except BaseException:
            self.loss = open_loss
            raise

    def require_readable(self, shape: Shape) -> None:
        """Raises ValueError if the loss or a metric can't read outputs, if `shape` is that of one sample's."""
        known = self._readable
        if known and known[0] is self.loss and known[1] is self._resolved and known[2] == shape:
            return
        readers: list[tuple[str, Any]] = [("loss", self.loss), *(("metric", one) for one in self._resolved)]
        for what, one in readers:
            built_in = isinstance(one, (FunctionLoss, CoreMetric))
            axis = getattr(one, "axis", None) if built_in else None  # only some of them have it
            if axis not in (None, -1, len(shape)):
                msg = (
                    f"`axis={axis}` of the {what} {one.name!r} is not that of a model's outputs: use axis=-1"
                )
                raise ValueError(msg)
            if isinstance(one, metrics.Metric) and one._wants_rows and len(shape) > 1:
                msg = (
                    f"the metric {one.name!r} needs one row per sample, (n, outputs), but the model's output is "
                    f"{text_of_shape(shape)}: put a Flatten() before the last layer"
                )
                raise ValueError(msg)
        self._readable = self.loss, self._resolved, shape

    def require_own_metrics(self, shape: Shape) -> None:
        """Raises ValueError for a metric of the core, if only a loss in Python can read targets of this shape.

        Args:
            shape: the shape of the targets of one sample.
        """
        for metric in self._resolved:
            if in_core(metric):
                msg = (
                    f"the metric {metric.name!r} reads targets like the outputs, or indices of these, but `y` of shape "
                    f"{text_of_shape(shape)} is something else: write a metric that reads it, or leave it out"
                )
                raise ValueError(msg)

    def apply(
        self,
        program: Program,
        weights: Sequence[Tracked],
        output_shape: Shape,
        whole_batches: bool = False,
        masked: bool = False,
    ) -> None:
        """Compiles `program`, with a new optimizer state.

        Args:
            program: the program of a model.
            weights: the weights of the model.
            output_shape: the shape of the output for one sample.
            whole_batches: whether some layer in Python is called with whole batches, so that its result for a sample may
                depend on the rest of the batch.
            masked: whether a mask removes rows of outputs from the loss.

        Raises:
            ValueError: if the loss or a metric doesn't suit the program. Nothing has changed then.
        """
        self.require_readable(output_shape)
        if self.settled:
            indices = bool(self.loss._wants_indices)
            resolved = [metric._resolve(indices, program.output_width) for metric, _ in self._metrics]
            lowered = []
            for metric, (_, weighted) in zip(resolved, self._metrics, strict=True):
                if self._adds_in_core(metric, weighted):
                    masks = masked and metric._respects_mask
                    lowered.append({**metric._lower(), "weighted": weighted, "masked": masks})
            loss = {**self.loss._lower(), "weight": self._loss_weight, "masked": masked}
            plan = (loss, self.optimizer._lower(weights), lowered, len(lowered) < len(resolved))
            program.compile(*plan)
            self.plan, self._resolved, self._width = plan, resolved, program.output_width
        self._whole_batches, self._masked = whole_batches, masked
        self._python_metrics, self._results = [], []
        for metric, (_, weighted) in zip(self._resolved, self._metrics, strict=True):
            own_result = overrides(type(metric), "result") if isinstance(metric, CoreMetric) else True
            if self._adds_in_core(metric, weighted):
                self._results.append((metric, metric, own_result))
            else:
                self._python_metrics.append((metric, weighted))
                self._results.append((metric, None, own_result))
        self._host_step = self._make_host_step(list(weights))
        self.optimizer._follow(program, weights)

    def compile_again(self, program: Program) -> None:
        """Compiles another program of the same model, for samples of another length. The optimizer state is kept."""
        if self.plan:
            program.compile(*self.plan)

    def host_for(self, form: Form) -> RunHost | None:
        """Returns the function for host steps with targets of this form; None if the core computes everything itself."""
        return None if self._host_step is None else partial(self._host_step, form)

    def require_reduction(self) -> None:
        """Raises ValueError if the loss is not one number per batch, which training needs."""
        if self.loss.reduction in (None, "none"):
            msg = (
                f"the loss {self.loss.name!r} has `reduction={self.loss.reduction!r}`, one number per sample, but "
                "training needs one per batch: leave `reduction` out, or use 'sum'"
            )
            raise ValueError(msg)

    @property
    def tracked(self) -> list[metrics.Metric]:
        """The metric "loss", which is the mean of the loss, and the other metrics, in the order of `names`."""
        return [self._loss_metric, *self._resolved]

    @property
    def depends_on_batches(self) -> bool:
        """Whether loss and metrics of the same samples depend on how these are cut into batches."""
        loss = self.loss
        if self._python_metrics or self._whole_batches or self._masked:
            return True
        plain = REDUCTIONS[loss.reduction] == "mean" and loss._ignored_class is None
        return not plain or isinstance(loss, HostLoss)

    def _make_host_step(self, weights: list[Tracked]) -> Host | None:
        """Returns the function for the host steps of a program with these weights; None if it has none."""
        loss, weight, python_metrics = self.loss, self._loss_weight, self._python_metrics
        python_loss = loss if isinstance(loss, HostLoss) else None
        if python_loss is None and not python_metrics and not any(one.asks_python for one in weights):
            return None

        def run(form: Form, step: RunStep) -> Penalty | Float32 | None:
            if "task" in step:
                return answer(weights, step)
            if step["step"] == "loss":
                if python_loss is not None:
                    python_loss._run(step, form, weight, form.outputs)
                return None
            y_pred = step["y_pred"].reshape(-1, *(form.outputs or (1,))).copy()
            y_true, weights_given = form.restored(step), weights_of_batch(step, form, y_pred)
            mask = None if step["training"] else mask_of_batch(step, y_pred)  # as in Keras on JAX
            for metric, weighted in python_metrics:
                sample_weight = weights_given if weighted else None
                if metric._respects_mask and mask is not None:
                    sample_weight = masked_weights(mask, sample_weight)
                metric.update_state(y_true, y_pred, sample_weight=sample_weight)
            return None

        return run

    def start_pass(self) -> None:
        """Resets the state of the metrics that Python computes."""
        for metric in self.own_metrics:
            metric.reset_state()

    @property
    def own_metrics(self) -> list[metrics.Metric]:
        """The metrics that Python computes."""
        return [metric for metric, _ in self._python_metrics]

    def _adds_in_core(self, metric: metrics.Metric, weighted: bool) -> TypeGuard[CoreMetric]:
        """Returns whether the core computes `metric`.

        With a loss in Python there may be one sample weight for each output. The core can't read these, so Python computes
        the weighted metrics then.
        """
        return in_core(metric) and not (weighted and isinstance(self.loss, HostLoss))

    def _require_same_targets(self, loss: losses.Loss) -> None:
        for metric, _ in self._metrics:
            _require_same_targets(metric, loss)

    def logs(self, totals: Totals) -> Logs:
        """Returns loss and metrics by name, in alphabetical order."""
        return dict(sorted(zip(self.names, self._values(totals), strict=True)))

    def _values(self, totals: Totals) -> list[float]:
        """Returns loss and metrics in the order of `names`, and sets the states of the metrics, so that `result` agrees."""
        self._loss_metric._hold(totals.loss_sum, totals.samples)
        values, states = [totals.loss], iter(totals.metrics)
        for metric, in_sums, own_result in self._results:
            if in_sums is not None:
                in_sums._take(state := np.array(next(states)), self._width)
                if not own_result:
                    values.append(in_sums._compute(state))  # type: ignore[arg-type] # as in Keras
                    continue
            result = np.asarray(metric.result())
            values.append(float(result) if result.size == 1 else result)  # type: ignore[arg-type] # as in Keras
        return values

    def direction(self, name: str) -> str | None:
        """Returns "up" if more of `name` in the logs is better, "down" if less is better, None if it is unknown."""
        if name == "loss":
            return "down"
        metric = dict(zip(self.names[1:], self._metrics, strict=True)).get(name)
        return None if metric is None else metric[0]._direction

    def result(self, totals: Totals, return_dict: bool) -> float | list[float] | Logs:
        """Returns loss and metrics as `evaluate` returns them."""
        if return_dict:
            return self.logs(totals)
        values = self._values(totals)
        return values if len(values) > 1 else values[0]


def _single(given: object, argument: str) -> object:
    """Returns the loss or weight for the one output of a model, which Keras also accepts in a list or dict of one."""
    if isinstance(given, (list, tuple)) or (isinstance(given, Mapping) and "class_name" not in given):
        parts = list(given.values()) if isinstance(given, Mapping) else list(given)
        if len(parts) != 1:
            msg = f"`{argument}` must be one, as the model has one output, got {len(parts)}: {given!r}"
            raise ValueError(msg)
        return parts[0]
    return given


def _metrics(argument: str, given: object) -> list[metrics.Metric]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple, dict)):
        msg = f"`{argument}` must be a list such as ['accuracy'], a tuple or a dict, got {given!r}"
        raise ValueError(msg)
    return [metrics.for_training(identifier) for identifier in _flat(given)]


def _flat(given: object) -> Iterator[object]:
    """Yields the metrics in nested lists and dicts, in order. A config dict is a metric itself."""
    if isinstance(given, Mapping) and "class_name" not in given:
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        for part in given:
            yield from _flat(part)
    else:
        yield given


def _unique_names(plain: Sequence[str], weighted: Sequence[str]) -> list[str]:
    """Returns "loss" and the names of all metrics, made unique as in Keras: `weighted_accuracy`, `accuracy_1`."""
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
    """Raises ValueError unless `metric` and `loss` read the same targets."""
    indices = bool(loss._wants_indices)
    if not metric._suits(indices):
        form = {True: "class indices", False: "one number per output"}
        msg = (
            f"the metric {metric.name!r} takes {form[not indices]} as targets but the loss {loss.name!r} "
            f"takes {form[indices]}: use 'accuracy', which suits every loss, or change one of the two"
        )
        raise ValueError(msg)
