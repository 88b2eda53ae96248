"""What `fit`, `evaluate` and `predict` do for models whose class has a `train_step` or another step of its own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

from engine._printing.progress import PATIENCE, Progress, require_verbose
from engine._training.fit_arguments import positive_or_none
from engine._training.step_batches import batches_of, split, validation_of
from engine._training.step_loops import StepLoop
from engine.callbacks import CallbackList, History
from engine.config import _capped_steps


def fit_by_steps(
    model: Any,
    data: tuple[Any, Any, Any],
    *,
    batch_size: int | None,
    epochs: range,
    verbose: Any,
    callbacks: Any,
    share: float,
    validation_data: Any,
    shuffle: Any,
    class_weight: Any,
    steps: int | None,
    validation: tuple[Any, Any, Any],
    time_budget: float | None,
) -> History:
    """Does what `fit` says, step by step. Arguments have the names of those of `fit`, checked."""
    model._require_compiled()
    require_verbose(verbose)
    if validation_data is None and share > 0:
        data, validation_data = split(*data, share)
    batches = batches_of(*data, batch_size=batch_size, shuffle=shuffle, class_weight=class_weight)
    held_out = validation_of(validation_data, *validation)
    limit = _capped_steps(steps, batches.total)
    deadline = math.inf if time_budget is None else time.monotonic() + float(time_budget)
    hooks = CallbackList(callbacks, add_history=True)
    with Progress(hooks.verbose_beside(verbose), limit or batches.total) as progress:
        hooks.join(model, {"verbose": verbose, "epochs": epochs.stop, "steps": progress.steps})
        model.history, model.stop_training = hooks.history, False
        model._fitting = threading.current_thread()
        try:
            StepLoop(model, hooks, progress).fit(
                batches, epochs, limit, held_out, lambda: time.monotonic() >= deadline
            )
        finally:
            model._fitting = None
    return hooks.history


def evaluate_by_steps(
    model: Any,
    data: tuple[Any, Any, Any],
    *,
    batch_size: int | None,
    verbose: Any,
    steps: Any,
    callbacks: Any,
) -> dict[str, float]:
    """Returns the logs of `evaluate`, step by step."""
    model._require_compiled()
    require_verbose(verbose)
    batches, hooks = batches_of(*data, batch_size=batch_size), CallbackList(callbacks)
    limit = _capped_steps(positive_or_none(steps, "steps"), batches.total)
    with Progress(hooks.verbose_beside(verbose), limit or batches.total) as progress:
        hooks.join(model, {"verbose": verbose, "epochs": 1, "steps": progress.steps})
        with hooks.at_work():
            return StepLoop(model, hooks, progress).evaluate(batches, limit, progress)


def predict_by_steps(
    model: Any, x: Any, *, batch_size: int | None, verbose: Any, steps: Any, callbacks: Any
) -> Any:
    """Returns the outputs of `predict`, step by step."""
    batches, hooks = batches_of(x, batch_size=batch_size), CallbackList(callbacks)
    limit = _capped_steps(positive_or_none(steps, "steps"), batches.total)
    with Progress(hooks.verbose_beside(verbose), limit or batches.total, PATIENCE) as progress:
        hooks.join(model, {"verbose": verbose, "epochs": 1, "steps": progress.steps})
        return StepLoop(model, hooks, progress).predict(batches, limit)


def in_order_of_metrics(logs: Mapping[str, float], model: Any) -> Any:
    """Returns logs as `evaluate` returns them: in the order of the metrics, or the one that there is."""
    names = [name for name in model.get_metrics_result() if name in logs]
    values = [logs[name] for name in [*names, *(name for name in logs if name not in names)]]
    return values[0] if len(values) == 1 else values
