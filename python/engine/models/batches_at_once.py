"""Batches in arrays that the core reads as they are: what `train_on_batch` and `test_on_batch` do for them, without the long way.

The long way, an `Execution`, checks every form of data, and prepares the model. For the next batch of the same form, this finds
nothing else, and takes longer than a step of a small network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from engine._base.random_state import next_key
from engine._base.tensor_like import Tensor, plain_array
from engine._core_interface.cpp import BatchCall, first_nonfinite_row
from engine._data.memory_maps import in_a_file, require_whole_file
from engine._data.sources import CoreArrays, OutputTargets, Samples
from engine._training.checked_samples import Targeting
from engine._training.runner import logs_and_names
from engine._training.step_batches import packed, tensor_from
from engine.callbacks.base import Logs, Mode
from engine.losses.custom import HostLoss
from engine.losses.traced import TracedLoss
from engine.models.building import follow_settings
from engine.models.compiled_steps import CompilableStep
from engine.models.execution import CoreExecution, DataArguments, Execution, StepExecution

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface


class Finished(NamedTuple):
    """What a batch has come to."""

    logs: Logs
    """Loss and metrics by name."""
    names: Sequence[str]
    """The names in the order in which `evaluate` returns them."""


class BatchForm(ABC):
    """The form of a batch that has taken the long way, and what the model was then. While all that stays, so does the rest.

    Args:
        model: the model.
        mode: "train" or "test".
    """

    execution: ClassVar[type[Execution]]
    """How the long way runs such batches."""

    def __init__(self, model: ModelInterface, mode: Mode) -> None:
        self._mode = mode
        self._compiled = model._require_compiled()
        self._steps = _steps_of(model)

    def _is_of(self, model: Any) -> bool:
        """Whether the compilation of a model, and the methods that its class has for steps, are those of the form."""
        return model._compiled is self._compiled and _steps_of(model) == self._steps

    @abstractmethod
    def run(self, model: Any, x: Any, y: Any) -> Finished | None:
        """Runs one batch; returns None, and nothing has changed, if it must take the long way.

        Args:
            model: the model, whose lock is held.
            x: the samples, as given.
            y: the targets, as given.
        """

    @abstractmethod
    def samples(self, model: Any, x: Any, y: Any) -> Samples:
        """Returns a batch that `run` has run as the long way has it."""


class CoreForm(BatchForm):
    """The form of a batch that the program of a model runs.

    Args:
        model: the model.
        mode: "train" or "test".
        call: runs a batch of this form.
    """

    execution = CoreExecution

    def __init__(self, model: ModelInterface, mode: Mode, call: BatchCall) -> None:
        super().__init__(model, mode)
        self._arguments, self._graph, self._call = self._compiled.program_arguments, model._built_graph, call

    def run(self, model: Any, x: Any, y: Any) -> Finished | None:
        """Runs one batch; returns None if it must take the long way."""
        compiled = self._compiled
        if (
            type(x) is not np.ndarray
            or type(y) is not np.ndarray
            or not self._is_of(model)
            or compiled.program_arguments is not self._arguments
            or model._built_graph is not self._graph
            or model._feature_names is not None
            or model._own_input_spec is not None
            or model._model_with_values is not None
        ):
            return None
        require_whole_file(x, "x")
        if self._mode == "train":
            state = compiled.claim_optimizer()
            sums = self._call.run(x, y, compiled.optimizer._next_rate(), state)
            if sums is not None:
                next_key()  # as the long way draws an order
        else:
            sums = self._call.run(x, y)
        return None if sums is None else Finished(compiled.logs(sums), compiled.names)

    def samples(self, model: Any, x: Any, y: Any) -> Samples:
        """Returns a batch that `run` has run as the long way has it."""
        del model
        return Samples(CoreArrays(x, [OutputTargets(y, None, indices=False)]))


class StepForm(BatchForm):
    """The form of batches that a step of the model's class runs. `CallTable` knows for which shapes and dtypes it is compiled."""

    execution = StepExecution

    def __init__(self, model: ModelInterface, mode: Mode) -> None:
        super().__init__(model, mode)
        self._step = f"{mode}_step"

    def run(self, model: Any, x: Any, y: Any) -> Finished | None:
        """Runs one batch; returns None if it must take the long way."""
        if not self._is_of(model) or model._feature_names is not None:
            return None
        of_x, of_y = list[Any](), list[Any]()
        try:
            batch = packed(_as_in_steps(x, of_x), None if y is None else _as_in_steps(y, of_y), None)
        except _OtherDataError:
            return None
        follow_settings(model)
        found = CompilableStep(model, self._step).known_for(batch)
        if found is None or len({len(each) for each in of_x + of_y}) != 1 or not all(map(_is_finite, of_x)):
            return None
        compiled, arrays = found
        model._built_graph.forget_penalties()
        if self._mode == "train":
            next_key()  # as the long way draws an order
        model.reset_metrics()
        return Finished(*logs_and_names(model, compiled.call.run(arrays)))

    def samples(self, model: Any, x: Any, y: Any) -> Samples:
        """Returns a batch that `run` has run as the long way has it."""
        return StepExecution(model).samples(DataArguments(x, y))


class _OtherDataError(Exception):
    """Data are no arrays that a step gets nearly as they are."""


def _as_in_steps(value: Any, found: list[Any]) -> Any:
    """Returns arrays, or lists, tuples and dicts of arrays, as a step gets them, and adds the arrays to `found`.

    Raises:
        _OtherDataError: for anything else, and for arrays in files.
    """
    if type(value) is dict:
        return {name: _as_in_steps(each, found) for name, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)([_as_in_steps(each, found) for each in value])
    if (
        type(value) not in (np.ndarray, Tensor)
        or not value.shape
        or value.dtype.kind not in "biuf"
        or in_a_file(value)
    ):
        raise _OtherDataError
    is_as_it_is = value.dtype.kind != "f" or value.dtype == np.float32
    found.append(plain_array(value) if is_as_it_is else tensor_from(value))
    return found[-1]


def _is_finite(array: Any) -> bool:
    """Whether an array is known to hold finite numbers; nobody looks at those that are not contiguous."""
    return array.dtype.kind != "f" or (array.flags.c_contiguous and first_nonfinite_row(array) < 0)


def form_of_batch(
    model: ModelInterface, execution: Execution, mode: Mode, x: Any, y: Any
) -> BatchForm | None:
    """Returns the form of a batch that has taken the long way; None if others like it must take that, too.

    Args:
        model: the model.
        execution: what has run the batch.
        mode: "train" or "test".
        x: the samples, as given.
        y: the targets, as given. There were no weights.
    """
    graph, compiled = model._built_graph, model._require_compiled()
    if isinstance(execution, StepExecution):
        return StepForm(model, mode)
    if type(x) is not np.ndarray or type(y) is not np.ndarray:
        return None
    program, shape, sample = graph.program, graph.output_shape, graph.sample_shape
    loss = compiled.losses[0]
    if (
        program is None
        or shape is None
        or sample is None
        or graph.by_shape is not None
        or graph.reads_values
        or graph.penalised
        or any(graph.tokens)
        or model._own_input_spec is not None
        or model._feature_names is not None
        or model.device != "cpu"
        or compiled.output_names
        or not compiled.has_loss_at[0]
        or compiled.python_metrics
        or compiled.host_for(()) is not None
        or isinstance(loss, (HostLoss, TracedLoss))
        or x.shape[1:] != sample
    ):
        return None
    targeting = Targeting(loss, shape)
    if y.dtype.kind not in "biuf" or targeting.repeats(y):
        return None
    call = BatchCall(
        program,
        mode == "train",
        sample,
        y.shape[1:],
        y.dtype,
        targeting.width if loss._targets_are_indices else 0,
        loss._ignored_class,
        loss._wants_fractions,
        loss._wants_signs,
    )
    return CoreForm(model, mode, call)


def _steps_of(model: Any) -> tuple[Any, ...]:
    kind = type(model)
    return kind.train_step, kind.test_step, kind.compute_loss, kind.compute_metrics
