"""What `compile` was given: optimizer, loss and metrics, and what they mean to the core."""

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
from engine.losses.base import REDUCTIONS, FunctionLoss
from engine.losses.custom import HostLoss, no_loss
from engine.losses.custom import for_training as loss_for_training
from engine.metrics.base import CoreMetric, in_core
from engine.optimizers.optimizer import registry as optimizer_registry
from engine.optimizers.variables import Tracked

# The function for host steps, which gets the form of the targets before the step.
Host = Callable[[Form, RunStep], Penalty | Float32 | None]


class Compiled:
    """Optimizer, loss and metrics of a model.

    Args:
        optimizer: name, object or config dict.
        loss: name, function, object or config dict; None leaves what layers add to it.
        loss_weights: factor of the loss, or None.
        metric_list: metrics that leave sample weights aside.
        weighted_metric_list: metrics that use them.
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
        self._told: set[str] = set()  # what has been warned of
        self.has_loss = loss is not None
        self.loss = loss_for_training(loss) if self.has_loss else no_loss()
        self._loss_weight = 1.0 if weight is None else real(weight, "loss_weights")
        plain = _metrics("metrics", metric_list)
        weighted = _metrics("weighted_metrics", weighted_metric_list)
        self.plan: tuple[Any, ...] = ()
        """The arguments of `Program.compile`, empty before the first targets where these tell the loss."""
        self._whole_batches = self._masked = False
        self._width = 1
        self._metrics = [(metric, False) for metric in plain] + [(metric, True) for metric in weighted]
        self.names = _unique_names([metric.name for metric in plain], [metric.name for metric in weighted])
        self._loss_metric = metrics.Mean("loss")
        self._resolved = [metric for metric, _ in self._metrics]
        self._on_host: list[tuple[metrics.Metric, bool]] = []  # metrics in NumPy, and whether by weight
        # Each metric, the same if the core adds it up, and whether its class has a `result` of its own.
        self._results: list[tuple[metrics.Metric, CoreMetric | None, bool]] = []
        # The loss and the metrics that were found to suit outputs of a shape, so that it isn't checked in each batch.
        self._readable: tuple[losses.Loss, list[metrics.Metric], Shape] | None = None
        self._host: Host | None = None
        if self.settled:
            self._require_same_targets(self.loss)

    def once(self, subject: str, tell: Callable[[], None]) -> None:
        """Call `tell`, which warns of something, unless it has been called for the same subject."""
        if subject not in self._told:
            self._told.add(subject)
            tell()

    @property
    def settled(self) -> bool:
        """Whether the form of the targets is known; if not, the first ones tell."""
        return self.loss._wants_indices is not None

    @contextmanager
    def settling(self, indices: bool, outputs: int) -> Iterator[None]:
        """Let the first targets tell which loss is meant, unless the block raises.

        Args:
            indices: whether they are class indices.
            outputs: width of the predictions.

        Raises:
            ValueError: if a metric doesn't suit that loss.
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
        """Raise ValueError if the loss or a metric can't read outputs of `shape`, that of one sample."""
        known = self._readable
        if known and known[0] is self.loss and known[1] is self._resolved and known[2] == shape:
            return
        readers: list[tuple[str, Any]] = [("loss", self.loss), *(("metric", one) for one in self._resolved)]
        for what, one in readers:
            ours = isinstance(one, (FunctionLoss, CoreMetric))
            axis = getattr(one, "axis", None) if ours else None  # which some have
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
        """Raise ValueError for a metric that can't read targets of such a shape of one sample, as a loss in NumPy does."""
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
        """Compile `program`; its optimizer state starts anew.

        Args:
            program: of a model.
            weights: that it has.
            output_shape: of one sample.
            whole_batches: whether a part of it, in Python, is called with a batch and may look at it as a whole.
            masked: whether a mask leaves rows of outputs out of the loss.

        Raises:
            ValueError: if something doesn't suit the program; nothing has changed then.
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
        self._on_host, self._results = [], []
        for metric, (_, weighted) in zip(self._resolved, self._metrics, strict=True):
            own_result = overrides(type(metric), "result") if isinstance(metric, CoreMetric) else True
            if self._adds_in_core(metric, weighted):
                self._results.append((metric, metric, own_result))
            else:
                self._on_host.append((metric, weighted))
                self._results.append((metric, None, own_result))
        self._host = self._host_of(list(weights))
        self.optimizer._follow(program, weights)

    def compile_again(self, program: Program) -> None:
        """Compile another program of the same model, for samples of another length; the optimizer stays where it is."""
        if self.plan:
            program.compile(*self.plan)

    def host_for(self, form: Form) -> RunHost | None:
        """The function for the host steps of a pass over targets of that form; None if there are no such steps."""
        return None if self._host is None else partial(self._host, form)

    def require_reduction(self) -> None:
        """Raise ValueError if the loss is not one number per batch, which training needs."""
        if self.loss.reduction in (None, "none"):
            msg = (
                f"the loss {self.loss.name!r} has `reduction={self.loss.reduction!r}`, one number per sample, but "
                "training needs one per batch: leave `reduction` out, or use 'sum'"
            )
            raise ValueError(msg)

    @property
    def tracked(self) -> list[metrics.Metric]:
        """The loss, as a mean, and the metrics in the order of `names`."""
        return [self._loss_metric, *self._resolved]

    @property
    def depends_on_batches(self) -> bool:
        """Whether results for the same samples differ with how they are cut into batches."""
        loss = self.loss
        if self._on_host or self._whole_batches or self._masked:
            return True
        plain = REDUCTIONS[loss.reduction] == "mean" and loss._ignored_class is None
        return not plain or isinstance(loss, HostLoss)

    def _host_of(self, weights: list[Tracked]) -> Host | None:
        """The function for the host steps of a program with these weights; None if it has none."""
        loss, weight, on_host = self.loss, self._loss_weight, self._on_host
        own = loss if isinstance(loss, HostLoss) else None
        if own is None and not on_host and not any(one.asks_python for one in weights):
            return None

        def run(form: Form, step: RunStep) -> Penalty | Float32 | None:
            if "task" in step:
                return answer(weights, step)
            if step["step"] == "loss":
                if own is not None:
                    own._run(step, form, weight, form.outputs)
                return None
            y_pred = step["y_pred"].reshape(-1, *(form.outputs or (1,))).copy()
            y_true, weights_given = form.restored(step), weights_of_batch(step, form, y_pred)
            mask = None if step["training"] else mask_of_batch(step, y_pred)  # as in Keras on JAX
            for metric, weighted in on_host:
                sample_weight = weights_given if weighted else None
                if metric._respects_mask and mask is not None:
                    sample_weight = masked_weights(mask, sample_weight)
                metric.update_state(y_true, y_pred, sample_weight=sample_weight)
            return None

        return run

    def start_pass(self) -> None:
        """Let metrics in NumPy forget the pass before."""
        for metric in self.own_metrics:
            metric.reset_state()

    @property
    def own_metrics(self) -> list[metrics.Metric]:
        """Metrics that NumPy computes."""
        return [metric for metric, _ in self._on_host]

    def _adds_in_core(self, metric: metrics.Metric, weighted: bool) -> TypeGuard[CoreMetric]:
        """Whether the core adds up `metric`.

        Beside a loss in NumPy there may be one weight for each output, which the core doesn't take.
        """
        return in_core(metric) and not (weighted and isinstance(self.loss, HostLoss))

    def _require_same_targets(self, loss: losses.Loss) -> None:
        for metric, _ in self._metrics:
            _require_same_targets(metric, loss)

    def logs(self, totals: Totals) -> Logs:
        """Loss and metrics by name, in alphabetical order."""
        return dict(sorted(zip(self.names, self._values(totals), strict=True)))

    def _values(self, totals: Totals) -> list[float]:
        """Loss and metrics in the order of `names`, which the metrics remember."""
        self._loss_metric._hold(totals.loss_sum, totals.samples)
        values, states = [totals.loss], iter(totals.metrics)
        for metric, in_sums, own_result in self._results:
            if in_sums is not None:
                in_sums._take(state := np.array(next(states)), self._width)
                if not own_result:
                    values.append(in_sums._compute(state))
                    continue
            result = np.asarray(metric.result())
            values.append(float(result) if result.size == 1 else result)  # type: ignore[arg-type] # as in Keras
        return values

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
        values = self._values(totals)
        return values if len(values) > 1 else values[0]


def _single(given: object, argument: str) -> object:
    """What is meant for the one output, which Keras also takes in a list of one or a dict of one."""
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
    """What is in lists and dicts of metrics, in order; a config dict is a metric."""
    if isinstance(given, Mapping) and "class_name" not in given:
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        for part in given:
            yield from _flat(part)
    else:
        yield given


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
    indices = bool(loss._wants_indices)
    if not metric._suits(indices):
        form = {True: "class indices", False: "one number per output"}
        msg = (
            f"the metric {metric.name!r} takes {form[not indices]} as targets but the loss {loss.name!r} "
            f"takes {form[indices]}: use 'accuracy', which suits every loss, or change one of the two"
        )
        raise ValueError(msg)
