"""Batches in arrays that the core reads as they are: what `train_on_batch` and `test_on_batch` do for them, without the long way.

The long way, an `Execution`, checks every form of data, and prepares the model. For the next batch of the same form, this finds
nothing else, and takes longer than a step of a small network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from engine._base.random_state import next_key
from engine._core_interface.cpp import BatchCall
from engine._data.memory_maps import require_whole_file
from engine._data.sources import CoreArrays, OutputTargets, Samples
from engine._training.checked_samples import Targeting
from engine._training.compile_arguments import Compiled
from engine.callbacks.base import Logs, Mode
from engine.losses.custom import HostLoss
from engine.losses.traced import TracedLoss
from engine.models.built_graph import BuiltGraph
from engine.models.execution import CoreExecution, Execution

if TYPE_CHECKING:
    from engine.models.model_interface import ModelInterface


class BatchForm(NamedTuple):
    """The form of a batch that has taken the long way, and what the model was then. While all that stays, so does the rest."""

    compiled: Compiled
    arguments: Any
    """Of the program's compilation."""
    graph: BuiltGraph
    steps: tuple[Any, ...]
    """The methods that the class has for steps."""
    call: BatchCall
    """Runs a batch of this form."""


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
    if type(x) is not np.ndarray or type(y) is not np.ndarray or not isinstance(execution, CoreExecution):
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
    return BatchForm(compiled, compiled.program_arguments, graph, _steps_of(model), call)


def logs_at_once(model: Any, form: BatchForm, mode: Mode, x: Any, y: Any) -> Logs | None:
    """Returns loss and metrics of one batch; None, and nothing has changed, if it must take the long way.

    Args:
        model: the model, whose lock is held.
        form: the form of a batch that has taken the long way in the same mode.
        mode: "train" or "test".
        x: the samples, as given.
        y: the targets, as given.
    """
    compiled, arguments, graph, steps, call = form
    if (
        type(x) is not np.ndarray
        or type(y) is not np.ndarray
        or model._compiled is not compiled
        or compiled.program_arguments is not arguments
        or model._built_graph is not graph
        or model._feature_names is not None
        or model._own_input_spec is not None
        or model._model_with_values is not None
        or _steps_of(model) != steps
    ):
        return None
    require_whole_file(x, "x")
    if mode == "train":
        state = compiled.claim_optimizer()
        sums = call.run(x, y, compiled.optimizer._next_rate(), state)
        if sums is not None:
            next_key()  # as the long way draws an order
    else:
        sums = call.run(x, y)
    return None if sums is None else compiled.logs(sums)


def samples_at_once(x: Any, y: Any) -> Samples:
    """Returns a batch that `logs_at_once` has run as the long way has it."""
    return Samples(CoreArrays(x, [OutputTargets(y, None, indices=False)]))


def _steps_of(model: Any) -> tuple[Any, ...]:
    kind = type(model)
    return kind.train_step, kind.test_step, kind.compute_loss, kind.compute_metrics
