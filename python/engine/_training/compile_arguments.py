"""The arguments of `compile`: optimizer, loss and metrics, and how the core or Python computes each of them.

A model makes a `Compiled` of them. It compiles the model's program, makes the host step, in which Python computes what the
core can't, and turns the core's sums into logs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from engine import losses, metrics
from engine._base.checks import Shape, text_of_shape
from engine._base.registered_objects import overrides
from engine._core_interface.cpp import Float32, OptimizerState, Program, Sums
from engine._core_interface.host_steps import Penalty, RunHost, RunStep, TargetsOfStep, targets_of
from engine._data.sources import Samples
from engine._data.target_forms import TargetForm, mask_of_batch, masked_weights, weights_of_step
from engine._training.arguments_by_output import (
    MetricOfOutput,
    is_per_output,
    loss_weights_of_outputs,
    losses_of_outputs,
    metrics_of_outputs,
    with_missing_outputs,
)
from engine._training.checked_samples import missing_targets
from engine._training.penalties_and_constraints import weights_step_result
from engine.callbacks.base import Logs, NamedValues
from engine.losses.custom import HostLoss, is_called_itself, loss_for_training, no_loss
from engine.losses.loss import REDUCTIONS, FunctionLoss
from engine.losses.traced import TracedLoss
from engine.metrics.metric import CoreMetric, in_core
from engine.metrics.traced import TracedMetric, traced_metric
from engine.optimizers.optimizer import registry as optimizer_registry
from engine.optimizers.variables import Tracked

# The function for host steps, which gets the forms of the targets of each output before the step.
Host = Callable[[Sequence[TargetForm], RunStep], Penalty | Float32 | None]


class _CompiledProgram(NamedTuple):
    """The program that `Compiled.apply` has compiled, and what it was compiled for."""

    program: Program
    weights: list[Tracked]
    output_shapes: list[Shape]
    masked: list[bool]
    """Whether a mask removes rows of each output from the loss."""


class _MetricResult(NamedTuple):
    """How the result of a metric is found."""

    metric: metrics.Metric
    core_metric: Any
    """The same metric if the core adds batches to its state; else None."""
    calls_result: bool
    """Whether the metric's own method `result` is called, which a user's class may define."""


class Compiled:
    """Optimizer, losses and metrics of a model.

    Args:
        optimizer: name, object or config dict; None is for models that are evaluated alone.
        loss: name, function, object or config dict; for several outputs also a list or dict of them. None is no loss:
            then the loss is the sum of what layers add to it.
        loss_weights: a factor of the loss, or a list or dict of them; None is 1.
        metric_list: metrics without sample weights.
        weighted_metric_list: metrics with sample weights.
        outputs: the names of the outputs, if the model has several.
        by_key: whether these names are the keys of a dict of outputs. A dict of losses may lack some of them then, and
            its order is that of the losses in the results, as in Keras.
        loss_names: the names of the outputs in those of their losses; default `outputs`.
    """

    def __init__(
        self,
        optimizer: object,
        loss: object,
        loss_weights: object,
        metric_list: object,
        weighted_metric_list: object,
        *,
        outputs: Sequence[str] = (),
        by_key: bool = False,
        loss_names: Sequence[str] = (),
    ) -> None:
        # The core has one in any case; without one, `require_optimizer` refuses to train.
        self.optimizer = optimizer_registry.get("sgd" if optimizer is None else optimizer)
        self._lacks_optimizer = optimizer is None
        self.arguments: dict[str, Any] = {}
        """What `compile` of the model got, by name, without the optimizer."""
        self.awaits_outputs = False
        """Whether the outputs of the model must be known before losses and metrics can be made of these arguments."""
        self._state_of_optimizer: tuple[OptimizerState, list[Tracked]] | None = None
        self._warned: set[str] = set()  # the subjects of warnings that were given
        self.output_names = tuple(outputs)
        if by_key and is_per_output(loss) and isinstance(loss, Mapping) and set(loss) < set(outputs):
            loss, loss_weights = (
                with_missing_outputs(argument, outputs) for argument in (loss, loss_weights)
            )
        losses_given = losses_of_outputs(loss, self.output_names)
        self.has_loss_at = [one_loss is not None for one_loss in losses_given]
        """Whether each output has a loss."""
        self.losses = [
            no_loss() if one_loss is None else loss_for_training(one_loss) for one_loss in losses_given
        ]
        """The loss of each output; one that is always 0 where there is none."""
        self.calls_losses = any(map(is_called_itself, self.losses))
        """Whether the loss of a batch is what a call of a user's class returns, so that steps run batch by batch."""
        self._loss_weights = loss_weights_of_outputs(loss_weights, self.output_names)
        self.program_arguments: tuple[Any, ...] = ()
        """The arguments of `Program.compile`; empty until the loss is resolved."""
        self._whole_batches = self._masked = False
        self.trainable: Any = None
        """What was trainable when the program was compiled; None before."""
        self.trains = False
        """Whether what is trained stays the same: once the model has been trained, or another one around it was compiled."""
        self._widths = [1] * len(self.losses)
        self._entries = metrics_of_outputs(metric_list, weighted_metric_list, self.output_names)
        # Keras reports the loss of each output if several have one.
        self._shown = (
            [i for i, has_loss in enumerate(self.has_loss_at) if has_loss]
            if sum(self.has_loss_at) > 1
            else []
        )
        if by_key and is_per_output(loss) and isinstance(loss, Mapping):
            self._shown.sort(key=lambda output: [*loss].index(self.output_names[output]))
        losses_shown = [f"{(loss_names or self.output_names)[i]}_loss" for i in self._shown]
        self.names = ["loss", *losses_shown, *(entry.name for entry in self._entries)]
        self._alphabetical = sorted((name, number) for number, name in enumerate(self.names))
        self._loss_metrics = [metrics.Mean(name) for name in ("loss", *losses_shown)]
        self._resolved = [entry.metric for entry in self._entries]
        self.metric_forms: list[tuple[bool, int]] | None = None
        """What `resolve_metrics` got, if the steps of the user's model resolved the metrics."""
        # The shapes and dtypes of the targets of each output; None before the first ones, empty if they differ.
        self._forms: list[tuple[Shape, str]] | None = None
        self._compiled_program: _CompiledProgram | None = None
        self._mixes_samples = False  # whether a metric that the core computes depends on how batches are cut
        # The metrics that Python computes.
        self._python_metrics: list[MetricOfOutput] = []
        self._results: list[_MetricResult] = []
        # The losses, the metrics and the output shapes that `require_readable` has accepted, so that it checks each once.
        self._readable: tuple[list[losses.Loss], list[metrics.Metric], list[Shape]] | None = None
        self._host_step: Host | None = None
        for number, loss_of_output in enumerate(self.losses):
            if loss_of_output._targets_are_indices is not None:
                self._require_same_targets(number, loss_of_output)

    @property
    def user_optimizer(self) -> Any:
        """The optimizer, or None."""
        return None if self._lacks_optimizer else self.optimizer

    @user_optimizer.setter
    def user_optimizer(self, value: Any) -> None:
        self.optimizer, self._lacks_optimizer = self.optimizer if value is None else value, value is None

    def require_optimizer(self) -> None:
        """Raises ValueError if there is no optimizer, which training needs."""
        if self._lacks_optimizer:
            msg = (
                "the model was compiled with `optimizer=None`, so that it can be evaluated but not trained: give compile() an "
                "optimizer, such as 'adam'"
            )
            raise ValueError(msg)

    @property
    def loss(self) -> losses.Loss:
        """The loss of the first output."""
        return self.losses[0]

    @property
    def has_loss(self) -> bool:
        """Whether an output has a loss."""
        return any(self.has_loss_at)

    @property
    def reads_outputs(self) -> bool:
        """Whether there is a loss or a metric of an output."""
        return self.has_loss or bool(self._entries)

    def has_metrics(self, output: int) -> bool:
        """Returns whether there are metrics of output number `output`."""
        return any(entry.output == output for entry in self._entries)

    @property
    def metrics_and_outputs(self) -> list[tuple[metrics.Metric, int]]:
        """The metrics with the number of the output that each reads; an accuracy is the one that suits the targets, once it is known."""
        return [(metric, entry.output) for metric, entry in zip(self._resolved, self._entries, strict=True)]

    def once(self, subject: str, warn: Callable[[], None]) -> None:
        """Calls `warn`, unless a warning of the same subject was given before."""
        if subject not in self._warned:
            self._warned.add(subject)
            warn()

    @property
    def is_resolved(self) -> bool:
        """Whether it is known which targets the losses read. If not, as for "crossentropy", the first targets decide it."""
        return all(loss._targets_are_indices is not None for loss in self.losses)

    @contextmanager
    def resolving(self, indices: Sequence[bool], widths: Sequence[int]) -> Iterator[None]:
        """Resolves the losses by the first targets. If the block raises, they are unresolved again.

        Args:
            indices: whether the targets of each output are class indices.
            widths: the number of values in a row of predictions of each output.

        Raises:
            ValueError: if a metric reads other targets than the resolved loss.
        """
        before = self.losses
        resolved = list(before)
        for number, loss in enumerate(before):
            if loss._targets_are_indices is None:
                resolved[number] = loss._resolve(indices[number], widths[number])
                self._require_same_targets(number, resolved[number])
        self.losses = resolved
        try:
            yield
        except BaseException:
            self.losses = before
            raise

    def require_readable(self, shapes: Sequence[Shape]) -> None:
        """Raises ValueError if a loss or a metric can't read outputs, if `shapes` are those of one sample's."""
        accepted = self._readable
        if (
            accepted
            and accepted[0] is self.losses
            and accepted[1] is self._resolved
            and accepted[2] == list(shapes)
        ):
            return
        readers: list[tuple[str, Any, Shape]] = [
            *(("loss", loss, shape) for loss, shape in zip(self.losses, shapes, strict=True)),
            *(
                ("metric", metric, shapes[entry.output])
                for metric, entry in zip(self._resolved, self._entries, strict=True)
            ),
        ]
        for kind, function, shape in readers:
            built_in = isinstance(function, (FunctionLoss, CoreMetric))
            axis = getattr(function, "axis", None) if built_in else None  # only some of them have it
            if axis not in (None, -1, len(shape)):
                msg = f"`axis={axis}` of the {kind} {function.name!r} is not that of a model's outputs: use axis=-1"
                raise ValueError(msg)
            if isinstance(function, metrics.Metric) and function._needs_rows and len(shape) > 1:
                msg = (
                    f"the metric {function.name!r} needs one row per sample, (n, outputs), but the model's output is "
                    f"{text_of_shape(shape)}: put a Flatten() before the last layer"
                )
                raise ValueError(msg)
        self._readable = self.losses, self._resolved, list(shapes)

    def require_python_metrics(self, shape: Shape, output: int = 0) -> None:
        """Raises ValueError for a metric of the core, if only a loss in Python can read targets of this shape.

        Args:
            shape: the shape of the targets of one sample.
            output: the number of the output.
        """
        for metric, entry in zip(self._resolved, self._entries, strict=True):
            if entry.output == output and in_core(metric):
                msg = (
                    f"the metric {metric.name!r} reads targets like the outputs, or indices of these, but `y` of shape "
                    f"{text_of_shape(shape)} is something else: write a metric that reads it, or leave it out"
                )
                raise ValueError(msg)

    def apply(
        self,
        program: Program,
        weights: Sequence[Tracked],
        output_shapes: Sequence[Shape],
        program_shapes: Sequence[Shape],
        *,
        whole_batches: bool = False,
        masked: Sequence[bool] = (False,),
    ) -> None:
        """Compiles `program`, with a new optimizer state, or with that which the optimizer has for the same weights.

        Args:
            program: the program of a model.
            weights: the weights of the model.
            output_shapes: the shape of each output for one sample, with None for a length that differs from batch to batch.
            program_shapes: the same with the lengths that this program has.
            whole_batches: whether some layer in Python is called with whole batches, so that its result for a sample may
                depend on the rest of the batch.
            masked: for each output whether a mask removes rows of it from the loss.

        Raises:
            ValueError: if a loss or a metric doesn't suit the program. Nothing has changed then.
        """
        self.require_readable(output_shapes)
        if self.is_resolved:
            widths = [shape[-1] if shape else 1 for shape in output_shapes]
            widths[0] = program.output_width if len(widths) == 1 else widths[0]
            resolved = [
                entry.metric._resolve(
                    bool(self.losses[entry.output]._targets_are_indices), widths[entry.output]
                )
                for entry in self._entries
            ]
            of_outputs = self._lowered_losses(output_shapes, program_shapes, masked)
            lowered = self._lowered_metrics(resolved, output_shapes, masked)
            in_core = [fields for fields in lowered if fields is not None]
            arguments = of_outputs, self.optimizer._lower(weights), in_core, None in lowered
            program.compile(*arguments)
            self.program_arguments, self._resolved, self._widths = arguments, resolved, widths
        else:  # the steps of the user's model know the loss; the state of the optimizer is that of this program
            self.program_arguments = [], self.optimizer._lower(weights), [], False
            program.compile(*self.program_arguments)
            lowered = [
                {} if self._adds_in_core(metric, entry) else None
                for metric, entry in zip(self._resolved, self._entries, strict=True)
            ]
        self._whole_batches = whole_batches or program.joins_samples or program.losses_join_samples
        self._masked = any(masked)
        compiled = _CompiledProgram(program, list(weights), list(output_shapes), list(masked))
        self._compiled_program = compiled
        self._split_metrics(lowered, compiled.weights)
        self.optimizer._follow_on(program.state, weights)
        self._state_of_optimizer = program.state, list(weights)

    def claim_optimizer(self) -> OptimizerState | None:
        """Makes the optimizer that of this model, and returns the state that it has here, for the model's programs.

        A generator, a discriminator and both together may have one optimizer. Then each has a state of its own.
        """
        optimizer = self.optimizer
        if self._state_of_optimizer is not None:
            state, weights = self._state_of_optimizer
            if not optimizer._follows(weights):
                optimizer._follow(state, weights)
        if optimizer._state is not None:
            self._state_of_optimizer = optimizer._state, optimizer._tracked
        return optimizer._state

    def _lowered_losses(
        self, output_shapes: Sequence[Shape], program_shapes: Sequence[Shape], masked: Sequence[bool]
    ) -> list[dict[str, Any]]:
        """Returns the losses as the core reads them. The arguments are those of `apply`."""
        lowered = [
            loss._lower_for(shape, lengths) if isinstance(loss, TracedLoss) else loss._lower()
            for loss, shape, lengths in zip(self.losses, output_shapes, program_shapes, strict=True)
        ]
        return [
            {**fields, "weight": weight, "masked": mask}
            for fields, weight, mask in zip(lowered, self._loss_weights, masked, strict=True)
        ]

    def _lowered_metrics(
        self, resolved: Sequence[metrics.Metric], output_shapes: Sequence[Shape], masked: Sequence[bool]
    ) -> list[dict[str, Any] | None]:
        """Returns the metrics as the core reads them; None for those that Python computes."""
        lowered = list[dict[str, Any] | None]()
        self._mixes_samples = False
        for metric, entry in zip(resolved, self._entries, strict=True):
            masks = masked[entry.output] and metric._respects_mask
            fields = {"weighted": entry.weighted, "masked": masks, "output": entry.output}
            if self._adds_in_core(metric, entry):
                lowered.append({**metric._lower(), **fields})
                continue
            plain = not entry.weighted and not masks
            traced = self._traced(metric, entry, output_shapes[entry.output], plain)
            lowered.append(None if traced is None else {**traced.fields, **fields})
            self._mixes_samples = self._mixes_samples or (traced is not None and not traced.by_sample)
        return lowered

    def _traced(
        self, metric: metrics.Metric, entry: MetricOfOutput, output_shape: Shape, plain: bool
    ) -> TracedMetric | None:
        """Returns a metric that is a function of the user's as the core computes it, or None."""
        form, loss = self._forms[entry.output] if self._forms else None, self.losses[entry.output]
        may_be = isinstance(metric, metrics.MeanMetricWrapper) and metric._may_be_recorded
        if not may_be or form is None or isinstance(loss, HostLoss) or None in output_shape:
            return None
        shape, dtype = form
        rows = output_shape[:-1] if loss._targets_are_indices else output_shape
        if not isinstance(loss, TracedLoss) and math.prod(shape) != math.prod(rows):
            return None
        return traced_metric(metric._of_batch, shape, dtype, output_shape, plain)  # type: ignore[attr-defined] # of its class

    def _split_metrics(self, lowered: Sequence[dict[str, Any] | None], weights: list[Tracked]) -> None:
        """Sorts the metrics into those of the core, for which `lowered` has fields, and those of Python, where it has None."""
        self._python_metrics, self._results = [], []
        for metric, entry, fields in zip(self._resolved, self._entries, lowered, strict=True):
            calls_result = not isinstance(metric, CoreMetric) or overrides(type(metric), "result")
            if fields is None:
                self._python_metrics.append(entry._replace(metric=metric))
            self._results.append(_MetricResult(metric, None if fields is None else metric, calls_result))
        self._host_step = self._make_host_step(weights)

    def set_target_forms(self, sources: Sequence[Any]) -> None:
        """Lets the core compute the metrics that are functions of the user's, if all targets have one form.

        Args:
            sources: the samples that will be read. Their targets were checked.
        """
        if (
            not any(isinstance(metric, metrics.MeanMetricWrapper) for metric in self._resolved)
            or self._forms == []
        ):
            return
        forms = [_forms_in(source) for source in sources if source is not None]
        first = forms[0] if self._forms is None else self._forms
        # Without a form, Python computes these metrics.
        common_forms = [] if first is None or any(form != first for form in forms) else first
        if common_forms == self._forms:
            return
        self._forms = common_forms
        compiled = self._compiled_program
        if compiled is not None and self.is_resolved and self.program_arguments[0]:
            of_outputs, optimizer, _, _ = self.program_arguments
            lowered = self._lowered_metrics(self._resolved, compiled.output_shapes, compiled.masked)
            in_core = [fields for fields in lowered if fields is not None]
            self.program_arguments = of_outputs, optimizer, in_core, None in lowered
            compiled.program.compile(*self.program_arguments, compiled.program.state)
            self._split_metrics(lowered, compiled.weights)

    def compile_again(self, program: Program, program_shapes: Sequence[Shape]) -> None:
        """Compiles another program of the same model, for samples of another length.

        Args:
            program: the program.
            program_shapes: the shape of each of its outputs for one sample.
        """
        if self.program_arguments:
            of_outputs, optimizer, in_core, in_python = self.program_arguments
            compiled = self._compiled_program
            if of_outputs and compiled is not None:
                of_outputs = self._lowered_losses(compiled.output_shapes, program_shapes, compiled.masked)
            state = None if self._state_of_optimizer is None else self._state_of_optimizer[0]
            program.compile(of_outputs, optimizer, in_core, in_python, state)

    def host_for(self, forms: Sequence[TargetForm]) -> RunHost | None:
        """Returns the function for host steps with targets of these forms; None if the core computes everything itself."""
        return None if self._host_step is None else partial(self._host_step, forms)

    def require_reduction(self) -> None:
        """Raises ValueError if a loss is not one number per batch, which training needs."""
        for loss in self.losses:
            if loss.reduction in (None, "none"):
                msg = (
                    f"the loss {loss.name!r} has `reduction={loss.reduction!r}`, one number per sample, but "
                    "training needs one per batch: leave `reduction` out, or use 'sum'"
                )
                raise ValueError(msg)

    # For steps that are methods of the user's class.

    def computed_loss(
        self, targets: Sequence[Any], outputs: Sequence[Any], weights: Sequence[Any]
    ) -> list[Any]:
        """Returns the loss of each output that has one, times its factor.

        Args:
            targets: of each output.
            outputs: the predictions of each output.
            weights: the weights of the samples for each output, or None.
        """
        self.resolve_by_batch(targets, outputs)
        values = []
        for number, loss in enumerate(self.losses):
            if self.has_loss_at[number]:
                if targets[number] is None and not isinstance(loss, (HostLoss, TracedLoss)):
                    raise ValueError(
                        missing_targets(self.output_names[number] if self.output_names else None)
                    )
                value = loss(targets[number], outputs[number], sample_weight=weights[number])
                factor = self._loss_weights[number]
                values.append(value if factor == 1.0 else value * factor)
                if number in self._shown:
                    samples = float(np.shape(outputs[number])[0])
                    mean = self._loss_metrics[1 + self._shown.index(number)]
                    mean.update_state(value, sample_weight=samples)
        return values

    def resolve_by_batch(self, targets: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Lets the first targets decide which losses and metrics are meant."""
        if not self.is_resolved:
            indices = [
                _may_be_indices(target, output) for target, output in zip(targets, outputs, strict=True)
            ]
            with self.resolving(indices, [int(np.shape(output)[-1]) for output in outputs]):
                pass
        if self._resolved == [entry.metric for entry in self._entries]:
            forms = [
                (
                    _may_be_indices(targets[entry.output], outputs[entry.output]),
                    np.shape(outputs[entry.output]),
                )
                for entry in self._entries
            ]
            self.resolve_metrics([(indices, int(shape[-1])) for indices, shape in forms])

    def resolve_metrics(self, forms: Sequence[tuple[bool, int]]) -> None:
        """Settles which metrics are meant: for each whether targets are class indices, and how many outputs there are."""
        self.metric_forms = list(forms)
        self._resolved = [
            entry.metric._resolve(*form) for entry, form in zip(self._entries, forms, strict=True)
        ]

    @property
    def resolved_metrics(self) -> tuple[list[tuple[bool, int]] | None, list[metrics.Metric]]:
        """What `resolve_metrics` got, and what it has settled; it can be assigned, to undo a later one."""
        return self.metric_forms, self._resolved

    @resolved_metrics.setter
    def resolved_metrics(self, before: tuple[list[tuple[bool, int]] | None, list[metrics.Metric]]) -> None:
        self.metric_forms, self._resolved = before

    def update_metrics(self, targets: Sequence[Any], outputs: Sequence[Any], weights: Sequence[Any]) -> None:
        """Adds a batch to the metrics. The arguments are those of `computed_loss`."""
        self.resolve_by_batch(targets, outputs)
        for metric, entry in zip(self._resolved, self._entries, strict=True):
            weight = weights[entry.output] if entry.weighted else None
            metric.update_state(targets[entry.output], outputs[entry.output], sample_weight=weight)

    @property
    def loss_tracker(self) -> metrics.Mean:
        """The mean of the loss."""
        return self._loss_metrics[0]

    @property
    def names_by_metric(self) -> dict[metrics.Metric, str]:
        """The name of each metric in logs; of one that was given twice the first."""
        return dict(zip(reversed(self.all_metrics), reversed(self.names), strict=True))

    @property
    def all_metrics(self) -> list[metrics.Metric]:
        """The means of the loss and of the losses of outputs, and the other metrics, in the order of `names`."""
        return [*self._loss_metrics, *self._resolved]

    @property
    def depends_on_batches(self) -> bool:
        """Whether loss and metrics of the same samples depend on how these are cut into batches."""
        if self._python_metrics or self._whole_batches or self._masked or self._mixes_samples:
            return True
        plain = all(
            REDUCTIONS[loss.reduction] == "mean" and loss._ignored_class is None for loss in self.losses
        )
        return not plain or any(
            isinstance(loss, HostLoss) or (isinstance(loss, TracedLoss) and not loss.by_sample)
            for loss in self.losses
        )

    def _make_host_step(self, weights: list[Tracked]) -> Host | None:
        """Returns the function for the host steps of a program with these weights; None if it has none."""
        python_losses = [loss if isinstance(loss, HostLoss) else None for loss in self.losses]
        factors, python_metrics = self._loss_weights, self._python_metrics
        if not (any(python_losses) or python_metrics or any(variable.needs_python for variable in weights)):
            return None

        def run(forms: Sequence[TargetForm], step: RunStep) -> Penalty | Float32 | None:
            if step["kind"] == "penalty" or step["kind"] == "constraint":
                return weights_step_result(weights, step)
            if step["kind"] == "loss":
                output = step["output"]
                loss = python_losses[output]
                if loss is not None:
                    loss._run(step, forms[output], factors[output], forms[output].outputs)
                return None
            for output, form in enumerate(forms):
                of_output = [entry for entry in python_metrics if entry.output == output]
                if of_output:
                    _update(of_output, form, targets_of(step, output))
            return None

        return run

    @property
    def python_metrics(self) -> list[metrics.Metric]:
        """The metrics that Python computes."""
        return [entry.metric for entry in self._python_metrics]

    def _adds_in_core(self, metric: metrics.Metric, entry: MetricOfOutput) -> TypeGuard[CoreMetric]:
        """Returns whether the core computes `metric`, the resolved one of `entry`.

        With a loss in Python there may be one sample weight for each output. The core can't read these, so Python computes
        the weighted metrics then.
        """
        return in_core(metric) and not (entry.weighted and isinstance(self.losses[entry.output], HostLoss))

    def _require_same_targets(self, output: int, loss: losses.Loss) -> None:
        for entry in self._entries:
            if entry.output == output:
                _require_same_targets(entry.metric, loss)

    def logs(self, sums: Sums) -> Logs:
        """Returns loss and metrics by name, in alphabetical order.

        Args:
            sums: what the core has added up over the batches.
        """
        values = self._values(sums)
        if len(values) == 1:
            return NamedValues({"loss": values[0]})
        return NamedValues([(name, values[number]) for name, number in self._alphabetical])

    def _values(self, sums: Sums) -> list[float]:
        """Returns loss and metrics in the order of `names`, and sets the states of the metrics, so that `result` agrees."""
        loss, samples, output_losses, states = sums
        losses = [loss, *(output_losses[output] for output in self._shown)] if self._shown else [loss]
        values: list[float] = [total / samples if samples else 0.0 for total in losses]
        for mean, total in zip(self._loss_metrics, losses, strict=True):
            mean._set_sums(total, samples)
        if not self._results:
            return values
        state_of = iter(states)
        for (metric, core_metric, calls_result), entry in zip(self._results, self._entries, strict=True):
            if core_metric is not None:
                core_metric._load_state(state := next(state_of), self._widths[entry.output])
                if not calls_result:
                    values.append(core_metric._compute(state))
                    continue
            result = np.asarray(metric.result())
            values.append(float(result) if result.size == 1 else result)  # type: ignore[arg-type] # as in Keras
        return values

    def direction(self, name: str) -> str | None:
        """Returns "up" if more of `name` in the logs is better, "down" if less is better, None if it is unknown."""
        if name in self.names[: len(self._loss_metrics)]:
            return "down"
        directions = NamedValues({entry.name: entry.metric._direction for entry in self._entries})
        known_direction: str | None = directions.get(name)
        return known_direction


def _forms_in(source: Any) -> list[tuple[Shape, str]] | None:
    """Returns shape and dtype of the targets of each output; None if they aren't known, or the core has others."""
    if not isinstance(source, Samples):
        return None
    forms = list[tuple[Shape, str]]()
    for form in (targets.form for targets in source.arrays.outputs.values()):
        if form.original is not None or form.weights is not None or form.repeated:
            return None
        forms.append((form.shape, form.restored_dtype.name))
    return forms


def _may_be_indices(targets: Any, outputs: Any) -> bool:
    """Returns whether targets are class indices for outputs."""
    target_shape, output_shape = np.shape(targets), np.shape(outputs)
    return (
        len(output_shape) > 1
        and output_shape[-1] > 1
        and target_shape in (output_shape[:-1], (*output_shape[:-1], 1))
    )


def _update(entries: Sequence[MetricOfOutput], form: TargetForm, batch: TargetsOfStep) -> None:
    """Updates the metrics of one output, which Python computes, for one batch."""
    y_pred = batch["y_pred"].reshape(-1, *(form.outputs or (1,))).copy()
    y_true, weights_given = form.restored(batch), weights_of_step(batch, form, y_pred)
    mask = None if batch["training"] else mask_of_batch(batch, y_pred)  # as in Keras on JAX
    for entry in entries:
        sample_weight = weights_given if entry.weighted else None
        if entry.metric._respects_mask and mask is not None:
            sample_weight = masked_weights(mask, sample_weight)
        entry.metric.update_state(y_true, y_pred, sample_weight=sample_weight)


def _require_same_targets(metric: metrics.Metric, loss: losses.Loss) -> None:
    """Raises ValueError unless `metric` and `loss` read the same targets."""
    indices = bool(loss._targets_are_indices)
    if not metric._suits(indices):
        form = {True: "class indices", False: "one number per output"}
        msg = (
            f"the metric {metric.name!r} takes {form[not indices]} as targets but the loss {loss.name!r} "
            f"takes {form[indices]}: use 'accuracy', which suits every loss, or change one of the two"
        )
        raise ValueError(msg)
