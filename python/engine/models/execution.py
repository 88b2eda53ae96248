"""How the batches of a model are run: by the core, or by steps that are methods of the user's class, such as `train_step`.

An `Execution` brings data into the form that its runner reads, builds what is needed for them, and makes the runner. The methods
of `Model` and the loops in `_training/trainer` are the same for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from engine._base.checks import Shape, below_one, flag, listing
from engine._base.random_state import giving_back
from engine._data.array_conversion import real_array, require_sample_shape
from engine._data.batch_streams import Stream, yields_batches
from engine._data.device_arrays import to_device
from engine._data.frames import columns_by_name
from engine._data.several_arrays import sample_shape_of
from engine._data.sources import CoreArrays, Samples, Source, unpacked
from engine._training.checked_samples import checked_targets, require_readable
from engine._training.compile_arguments import Compiled
from engine._training.diagnostic_warnings import (
    lost_loss,
    warn_of_absent_classes,
    warn_of_layers,
    warn_of_loss,
    warn_of_metrics,
    warn_of_unread_inputs,
    warn_of_unseen_classes,
)
from engine._training.runner import CoreRunner, Runner, StepRunner
from engine._training.step_batches import StepArrays, batch_of_steps, samples_of_steps, unpacked_batch
from engine.callbacks.base import Logs, Mode
from engine.losses.traced import TracedLoss
from engine.models.building import (
    apply_compiled,
    follow_settings,
    output_shapes_for,
    program_for,
    shapes_of_leaves,
    suits,
    trainable_in,
)
from engine.models.compiled_steps import CompilableStep
from engine.models.first_inputs import build_for_data, read_inputs
from engine.models.network import paths_to_outputs
from engine.models.output_data import OutputData, no_targets, weights_of_batch
from engine.models.structures import arrays_of

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface


class DataArguments(NamedTuple):
    """Samples with their targets and weights as the user gave them, and what is known of them."""

    x: Any
    y: Any = None
    sample_weight: Any = None
    prefix: str = ""
    """Of the names in messages."""
    shape: Shape | None = None
    """Of one sample, for a model that doesn't know it."""
    names: list[str] | None = None
    """The columns of a data frame in the order of the features; None keeps their order."""


class Execution(ABC):
    """How the batches of one call of `fit`, `evaluate` and their like are run.

    Args:
        model: the model.
    """

    def __init__(self, model: ModelInterface) -> None:
        self._model = model

    @property
    def _compiled(self) -> Compiled:
        return self._model._require_compiled()

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The names of loss and metrics, in the order in which `evaluate` returns them."""

    def begin(self, x: Any, *, trains: bool) -> None:
        """Prepares the model before the data `x` are checked; ValueError if it is not compiled."""
        del x, trains
        self._model._require_compiled()
        follow_settings(self._model)

    @abstractmethod
    def samples(self, arguments: DataArguments) -> Samples:
        """Returns arrays, checked, in the form that the runner reads."""

    @abstractmethod
    def _batch(self, batch: DataArguments, number: int) -> Samples:
        """Returns batch `number` of a source of batches, which `batch.x` is, as `samples` returns arrays."""

    @abstractmethod
    def _unpacked(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """Returns x, y and sample_weight of the argument of `fit`."""

    @abstractmethod
    def ready(self, sources: Sequence[Source | None], *, trains: bool) -> None:
        """Builds the model for the sources, of which the first is run first, and warns of what can't be learnt."""

    @abstractmethod
    def runner(self, mode: Mode) -> Runner:
        """Returns what trains or evaluates batches."""

    @property
    def _own_step(self) -> str | None:
        """The name of the user's method that trains; None if there is none."""
        return None

    def check(self, source: Source, logs: Logs) -> None:
        """Warns, once for each `compile`, if a loss in the logs of a training on `source` is NaN or infinite."""
        model, step, lost = self._model, self._own_step, lost_loss(logs)
        if lost is not None:
            model._may_hold_nan = True
            paths = () if step else paths_to_outputs(model._built_graph.network)
            loss, weights = (lost, logs[lost]), model.weights
            warn_of_loss(
                model.name, self._compiled, loss, paths=paths, step=step, source=source, weights=weights
            )

    def returned(self, logs: Logs, as_dict: bool, names: Sequence[str] | None = None) -> Any:
        """Returns logs as `evaluate` does: as a dict, or in the order of `names`, or the one that there is.

        Args:
            logs: the logs.
            as_dict: whether to return a dict.
            names: the attribute of this name, if it is known.
        """
        if as_dict:
            return logs
        if len(logs) == 1:
            return next(iter(logs.values()))
        names = [name for name in (self.names if names is None else names) if name in logs]
        if len(names) < len(logs):
            names += [name for name in logs if name not in names]
        return [logs[name] for name in names]

    def source(
        self, x: object, y: object = None, sample_weight: object = None, *, like: Source | None = None
    ) -> Source:
        """Returns the samples, checked, or the batches, each of which is checked when it comes.

        Args:
            x: as given.
            y: as given.
            sample_weight: as given.
            like: the training data, if these are for validation.
        """
        prefix = "" if like is None else "validation "
        names = self._model._feature_names if like is None else like.feature_names
        arguments = DataArguments(
            x, y, sample_weight, prefix, None if like is None else like.sample_shape, names
        )

        def check(batch: object, number: int) -> Samples:
            nonlocal arguments  # the columns of the first batch are those of the others
            samples = self._batch(arguments._replace(x=batch), number)
            if arguments.names is None:
                arguments = arguments._replace(names=samples.feature_names)
            return samples

        if not yields_batches(x):
            return self.samples(arguments)
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                msg = (
                    f"`{prefix}{name}` must not be given beside an `x` that yields batches, here a "
                    f"{type(x).__name__}: it must yield (x, y) or (x, y, sample_weight)"
                )
                raise ValueError(msg)
        return Stream(x, check, f"{prefix}x", replays=like is not None)

    def split_validation(
        self,
        data: tuple[object, object, object],
        class_weight: object,
        validation_data: object,
        validation_split: float,
        stratify: bool,
        *,
        testing: Execution,
    ) -> tuple[Source, Source | None]:
        """Returns the data to train on, with the weights of classes, and the data to validate with, which `testing` runs.

        Args:
            data: the arguments x, y and sample_weight of `fit`.
            class_weight: as given, as all others.
            validation_data: see `fit`.
            validation_split: see `fit`.
            stratify: see `fit`.
            testing: how the batches of validations are run.
        """
        source = self.source(*data)
        share = below_one(validation_split, "validation_split")
        if flag(stratify, "stratify") and (validation_data is not None or share == 0):
            msg = "`stratify=True` says how `validation_split` splits, which isn't at work here"
            raise ValueError(msg)
        held_out: Source | None = None
        if validation_data is None and share > 0:
            if not isinstance(source, Samples):
                msg = (
                    "`validation_split` needs samples whose number is known, but `x` yields batches: pass "
                    "`validation_data`"
                )
                raise ValueError(msg)
            source, held_out = source.split(share, stratify)
            if not stratify and isinstance(self, CoreExecution):
                warn_of_unseen_classes(self._compiled, source, held_out, share)
            if type(testing) is not type(self):
                whole = cast("Samples", testing.source(*data))
                held_out = whole.split(share, stratify)[1]
        weighted = source.with_class_weight(self.class_weights(class_weight))
        if isinstance(source, Samples):
            warn_of_absent_classes(class_weight, source)
        source = weighted
        if validation_data is not None:
            stream = yields_batches(validation_data)
            parts = (validation_data, None, None) if stream else testing._unpacked(validation_data)
            held_out = testing.source(*parts, like=source)
            # This reads the first batch of a stream, so that it is checked before training begins.
            _ = held_out.sample_shape
        return source, held_out

    @property
    def _names_of_outputs(self) -> list[str]:
        """The names of several outputs; empty for one."""
        return self._model._names_of_outputs if len(self._model._built_graph.wiring.outputs) > 1 else []

    def class_weights(self, class_weight: Any) -> Any:
        """Returns `class_weight`; weights for several outputs as a dict with those of each output by name, or None."""
        names = self._names_of_outputs
        if isinstance(class_weight, (list, tuple)) and names and len(class_weight) == len(names):
            return dict(zip(names, class_weight, strict=True))
        if not (
            names and isinstance(class_weight, Mapping) and any(isinstance(key, str) for key in class_weight)
        ):
            return class_weight
        unknown = [key for key in class_weight if key not in names]
        if unknown:
            msg = f"`class_weight` has an entry {unknown[0]!r}, but the outputs are {listing(names)}"
            raise ValueError(msg)
        return {name: class_weight.get(name) for name in names}

    def batch(self, x: Any, y: Any, sample_weight: Any, class_weight: Any = None, *, trains: bool) -> Samples:
        """Returns one batch, checked, and prepares the model for it. The arguments are those of `train_on_batch`."""
        self.begin(x, trains=trains)
        model, weights = self._model, weights_of_batch(sample_weight, x)
        model._built_graph.forget_penalties()
        with self.restoring_loss_on_error():
            samples = self.samples(DataArguments(x, y, weights, names=model._feature_names))
            samples = samples.with_class_weight(self.class_weights(class_weight))
            self.ready([samples], trains=trains)
        return samples

    @contextmanager
    def restoring_loss_on_error(self) -> Iterator[None]:
        """Resets the loss to what it was before the block if the block, in which arguments are checked, raises.

        The first targets decide which loss "crossentropy" stands for; those of a call that fails must not.
        """
        compiled = self._compiled
        before = compiled.losses
        try:
            yield
        except BaseException:
            compiled.losses = before
            raise


class CoreExecution(Execution):
    """The core runs whole stretches of batches, by the program of the model."""

    @property
    def names(self) -> list[str]:
        """The names of loss and metrics, in the order in which `evaluate` returns them."""
        return self._compiled.names

    def begin(self, x: Any, *, trains: bool) -> None:
        """Builds the model if it waits for data. As in Keras, the first training decides what is trained from then on."""
        super().begin(x, trains=trains)
        model = self._model
        build_for_data(model, x, single=True)
        if trains:
            compiled = self._compiled
            compiled.require_optimizer()
            if not compiled.trains and compiled.trainable not in (
                None,
                trainable_in(model, model._built_graph.network),
            ):
                apply_compiled(model, compiled)
            compiled.trains = True
            compiled.require_reduction()

    def samples(self, arguments: DataArguments) -> Samples:
        """Returns arrays, checked against the model and the loss. It doesn't build the model."""
        model, compiled = self._model, self._compiled
        x, y, sample_weight, prefix, shape, names = arguments
        graph, rows, columns = read_inputs(
            model, x, lambda data: data.checked(x, f"{prefix}x", shape, names), builds=False
        )
        shapes = output_shapes_for(model, graph, sample_shape_of(rows))
        form = OutputData(compiled, model._built_graph.output_form)
        targets, weights = form.targets_and_weights(
            y, sample_weight, len(rows), prefix, self._entry_of_output
        )
        for number, name in enumerate(compiled.output_names or [None]):
            place = "" if name is None else f"[{name!r}]"
            targets[number] = to_device(targets[number], model.device, f"{prefix}y{place}")
            weights[number] = to_device(weights[number], model.device, f"{prefix}sample_weight{place}")
        for number, each in enumerate(targets):
            unread = each is None and not compiled.has_loss_at[number] and not compiled.has_metrics(number)
            if unread:
                targets[number] = no_targets(len(rows), form.targeting(number, shapes))
        if not compiled.is_resolved:
            self._resolve_loss(targets, shapes)
        compiled.require_readable(shapes)
        outputs = [
            checked_targets(rows, each, form.targeting(number, shapes), weight, prefix)
            for number, (each, weight) in enumerate(zip(targets, weights, strict=True))
        ]
        for number, output in enumerate(outputs):
            if output.form.original is not None:
                compiled.require_python_metrics(output.form.shape, number)
        return Samples(CoreArrays(rows, outputs, prefix), columns)

    def _batch(self, batch: DataArguments, number: int) -> Samples:
        x, y, sample_weight = unpacked(batch.x, f"batch {number} of {batch.prefix}x")
        prefix = f"{batch.prefix}batch {number} "
        return self.samples(batch._replace(x=x, y=y, sample_weight=sample_weight, prefix=prefix))

    def _unpacked(self, validation_data: Any) -> tuple[Any, Any, Any]:
        return unpacked(validation_data, "validation_data")

    def _entry_of_output(self, values: Mapping[Any, Any]) -> Any:
        """Returns the entry of the one output; `values` itself if the output has no name or there is no such entry."""
        model = self._model
        keys = model._built_graph.output_form.keys or tuple(
            model._names_of_outputs if model._built_graph.listed else ()
        )
        return values[keys[0]] if keys and keys[0] in values else values

    def _resolve_loss(self, targets: Sequence[Any], shapes: Sequence[Shape]) -> None:
        """Lets the first targets decide which losses are meant."""
        compiled, indices = self._compiled, list[Any]()
        given_data = OutputData(compiled, self._model._built_graph.output_form)
        targetings = [given_data.targeting(number, shapes) for number in range(len(shapes))]
        for given, targeting in zip(targets, targetings, strict=True):
            if targeting.loss._targets_are_indices is not None:
                indices.append(targeting.loss._targets_are_indices)
                continue
            array = real_array(given, "y" if targeting.name is None else f"y[{targeting.name!r}]")
            number, may_be_indices = len(indices), targeting.may_be_indices(array.shape[1:])
            if isinstance(targeting.loss, TracedLoss):
                found = targeting.loss._for(array.shape[1:], targeting.output_shape)
                compiled.losses = [*compiled.losses[:number], found, *compiled.losses[number + 1 :]]
                # Floats that happen to be whole numbers, such as zeros, may be others in the next batch.
                may_be_indices &= array.dtype.kind != "f" or compiled.has_metrics(number)
            indices.append(may_be_indices and targeting.read_by_core(array))
        with compiled.resolving(indices, [targeting.width for targeting in targetings]):
            if self._model._built_graph.program is not None:
                apply_compiled(self._model, compiled)

    def ready(self, sources: Sequence[Source | None], *, trains: bool) -> None:
        """Builds the program, and warns, in the first training after `compile`, of layers with which it can't learn."""
        model, compiled = self._model, self._compiled
        if (
            trains or model._fitting is None
        ):  # an evaluation must not change the program of a training that runs
            compiled.set_target_forms(sources)
        first = next(source for source in sources if source is not None)
        program_for(model, first.sample_shape, compiled)
        if trains and model._checked_to_learn is not compiled:
            model._checked_to_learn = compiled
            graph, network = model._built_graph, model._built_graph.network
            shapes = shapes_of_leaves(graph, network).values
            warn_of_layers(compiled, network.leaves, shapes, paths_to_outputs(network))
            warn_of_metrics(compiled, first)
            warn_of_unread_inputs(
                model.name, [each.name for each in graph.input_layers], network.wiring.reads
            )

    def runner(self, mode: Mode) -> Runner:
        """Returns what has the core run batches."""
        compiled = self._compiled
        return CoreRunner(partial(program_for, self._model, compiled=compiled), compiled, mode)


class StepExecution(Execution):
    """Each batch is passed to a step of the user's class, which is compiled if that is possible."""

    @property
    def names(self) -> list[str]:
        """The names of the metrics, which the logs may have."""
        return list(self._model.get_metrics_result())

    def samples(self, arguments: DataArguments) -> Samples:
        """Returns arrays in the structure in which the user gave them. A step may take samples of any shape."""
        x, y, sample_weight, prefix, _, names = arguments
        x = columns_by_name(x) if len(self._model._built_graph.input_layers) > 1 else x
        return samples_of_steps(x, y, sample_weight, prefix, names, indices=self._indices)

    def _batch(self, batch: DataArguments, number: int) -> Samples:
        return batch_of_steps(batch.x, f"{batch.prefix}batch {number} ", batch.names, indices=self._indices)

    def _unpacked(self, validation_data: Any) -> tuple[Any, Any, Any]:
        return unpacked_batch(validation_data)

    @property
    def _indices(self) -> dict[Any, bool]:
        """By number and by name of an output whether the loss given to `compile` takes class indices."""
        compiled: Compiled | None = self._model._compiled
        found = [] if compiled is None else [bool(each._targets_are_indices) for each in compiled.losses]
        return dict(enumerate(found)) | dict(zip(self._names_of_outputs, found, strict=False))

    def ready(self, sources: Sequence[Source | None], *, trains: bool) -> None:
        """Builds the model for its samples, as Keras does, if a loss or metrics read its outputs for them.

        Otherwise, and if its `call` doesn't take the samples as they are, its steps build what they call.
        """
        model, (first, *_) = self._model, sources
        if model._built_graph.program is not None or first is None or not self._compiled.reads_outputs:
            return
        with suppress(Exception), giving_back():  # code of the user may raise anything
            x, _, _ = unpacked_batch(cast("StepArrays", first.example.arrays).structure)
            build_for_data(model, x, single=True)
            if not model._built_graph.input_layers and len(getattr(x, "shape", ())) > 1:
                program_for(model, x.shape[1:])

    def require_like(self, held_out: Source, source: Source) -> None:
        """Raises ValueError for validation data that don't fit the model or its losses where the training data do.

        A step may take any data. But where those of training are such as the core would take, those of validation must be, too,
        or be such as the user's own `test_step` or `compute_loss` takes: training would refuse others after its first epoch.

        Args:
            held_out: the data to validate with.
            source: the data to train on.
        """
        try:
            if isinstance(source.example.arrays, StepArrays):  # those of the core are checked
                self._require_fitting(source.example, "")
        except (TypeError, ValueError):
            return
        try:
            self._require_fitting(held_out.example, "validation ")
        except (TypeError, ValueError):
            own = self._model._user_overrides("test_step", "compute_loss")
            if not (own and CompilableStep(self._model, "test_step").takes(held_out.example)):
                raise

    def _require_fitting(self, samples: Samples, prefix: str) -> None:
        """Raises ValueError for arrays of other shapes than those of inputs and outputs, and for wrong class indices."""
        model, graph, compiled = self._model, self._model._built_graph, self._compiled
        x, y, _ = unpacked_batch(cast("StepArrays", samples.arrays).structure)
        inputs = arrays_of(graph.input_form, x)
        shapes = [each.shape[1:] for each in inputs]
        if graph.has_declared_shape or (len(shapes) == len(graph.input_layers) and not suits(model, shapes)):
            for array, start in zip(inputs, graph.input_layers, strict=False):
                if len(array.shape) == len(start.sample_shape) + 1:  # a last axis of length 1 may be missing
                    place = f"{prefix}x" if len(inputs) == 1 else f"{prefix}x[{start.name!r}]"
                    require_sample_shape(array.shape[1:], start.sample_shape, place, array.shape)
        form = OutputData(compiled, model._built_graph.output_form)
        for number, (array, shape) in enumerate(
            zip(arrays_of(graph.output_form, y), graph.output_shapes, strict=False)
        ):
            numeric = isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
            if numeric and compiled.has_loss_at[number] and None not in shape:
                targeting = form.targeting(number, graph.output_shapes)
                place = "" if targeting.name is None else f"[{targeting.name!r}]"
                require_readable(array, targeting, f"{prefix}y{place}")

    def runner(self, mode: Mode) -> Runner:
        """Returns what passes batches to `train_step` or `test_step`."""
        return StepRunner(self._model, CompilableStep(self._model, f"{mode}_step"))

    @property
    def _own_step(self) -> str:
        return "train_step"
