"""Training and evaluation on a compiled Program: epochs, validation, callbacks, progress."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

from engine._base.checks import Shape
from engine._base.cpp import Program, Run, Totals
from engine._base.host_steps import RunHost
from engine._data.sources import Source
from engine._printing.progress import Progress
from engine._training.batch_iteration import Passes
from engine._training.compile_arguments import Compiled
from engine._training.fit_arguments import Goals, OutOfTimeError, Plan, Validation, limited
from engine._training.recovery import Recovery
from engine.callbacks import CallbackList
from engine.callbacks.base import Logs, Mode

# Rows per batch of an evaluation, whose result doesn't depend on it: enough to feed all threads.
EVALUATION_ROWS = 1024

OUT_OF_DATA = (
    "Your input ran out of data; interrupting training. Make sure that your dataset or generator can generate at "
    "least `steps_per_epoch * epochs` batches. You may need to use the `.repeat()` function when building your dataset."
)


class _Steps(NamedTuple):
    """What makes steps of batches, whether they learn, what it calls between them, and where the batches come from."""

    mode: Mode
    run: Run
    host: RunHost | None
    passes: Passes


class Trainer:
    """One call of `fit` or `evaluate`.

    Args:
        program_for: gives the model's program, compiled, for samples of a shape.
        compiled: what it was compiled with.
        callbacks: whose hooks are called.
        progress: shown while it goes on.
        recovery: of a training, for callbacks that write it down.
        lost: called after an epoch whose loss is NaN or infinite, with this loss.
    """

    def __init__(
        self,
        program_for: Callable[[Shape], Program],
        compiled: Compiled,
        callbacks: CallbackList,
        progress: Progress,
        recovery: Recovery | None = None,
        *,
        lost: Callable[[float], None] | None = None,
    ) -> None:
        self._program_for = program_for
        self._compiled = compiled
        self._callbacks = callbacks
        self._progress = progress
        self._recovery = recovery
        self._lost = lost

    def fit(self, plan: Plan) -> None:
        """Train epoch by epoch."""
        with self._callbacks.at_work():
            self._callbacks.call("on_train_begin")
            logs = self._trained(plan)
            self._callbacks.call("on_train_end", logs=logs)

    def _trained(self, plan: Plan) -> Logs:
        """Returns the logs of the last epoch; the optimizer has had its last word."""
        passes = Passes(
            self._program_for,
            "train",
            plan.source,
            plan.batch_size,
            shuffle=plan.shuffle,
            steps=plan.steps_per_epoch,
        )
        first, logs = self._resumed(plan, passes)
        try:
            with self._callbacks.at_work():
                return self._epochs(plan, passes, first, logs)
        finally:
            if plan.epochs > 0:
                self._compiled.optimizer.finalize_variable_values()

    def _epochs(self, plan: Plan, passes: Passes, first: int, logs: Logs) -> Logs:
        """Returns the logs of the last; `logs` are those of the epoch before the `first`."""
        for epoch in range(first, plan.epochs):
            self._callbacks.call("on_epoch_begin", epoch)
            if not self._go_on(passes) and not passes.ready():
                warnings.warn(OUT_OF_DATA, stacklevel=4)
                break
            self._progress.restart(f"Epoch {epoch + 1}/{plan.epochs}" if plan.epochs > 1 else None)
            self._start_pass(passes)
            done = self._advance("train", passes, self._progress, goals=plan.goals)
            logs, loss = self._compiled.logs(passes.totals), passes.totals.loss
            if plan.validation is not None and plan.validation.due(epoch):
                totals = self._evaluate(plan.validation, None)
                logs |= {f"val_{name}": value for name, value in self._compiled.logs(totals).items()}
                logs = dict(sorted(logs.items()))
            shown = dict(logs)  # with what callbacks may add, of which Keras tells `on_train_end` nothing
            self._callbacks.call("on_epoch_end", epoch, logs=shown)
            self._progress.finish(shown, done)
            # A callback that has ended training, such as TerminateOnNaN, has said why.
            if not (math.isfinite(loss) or self._lost is None or self._callbacks.stopped("train")):
                self._lost(loss)
            if self._callbacks.stopped("train") or plan.goals.reached(logs) or plan.goals.out_of_time:
                break
        return logs

    def _resumed(self, plan: Plan, passes: Passes) -> tuple[int, Logs]:
        """The epoch to begin with, and the logs of the one before, if an earlier training is taken up."""
        if self._recovery is None:
            return plan.initial_epoch, {}
        self._recovery.passes = passes
        resumed = self._recovery.resumed
        if resumed is None:
            return plan.initial_epoch, {}
        try:
            passes.skip_to(resumed.place, resumed.totals, resumed.path)
        except BaseException:
            self._recovery.undo()
            raise
        self._recovery.apply()  # then, as data may lack batches, and whatever yields them draw random numbers
        over = resumed.stopped or (not passes.taken and plan.goals.reached(resumed.logs))
        return plan.epochs if over else resumed.epoch, resumed.logs

    def _go_on(self, passes: Passes) -> bool:
        """Whether an epoch goes on that an earlier training has begun; then all is as it was, whatever hooks did."""
        if self._recovery is None or not passes.taken:
            return False
        self._recovery.apply()
        return True

    def _start_pass(self, passes: Passes) -> None:
        self._compiled.start_pass()
        if self._recovery is not None and passes.taken:
            self._recovery.apply_metrics()

    def evaluate(self, source: Source, batch_size: int, steps: int | None) -> Totals:
        """Loss and metrics over `source`, or over the first `steps` batches of it."""
        self._progress.restart()
        with self._callbacks.at_work():
            return self._evaluate(Validation(*limited(source, steps, batch_size), 1), self._progress)

    def _evaluate(self, validation: Validation, progress: Progress | None) -> Totals:
        source, steps, size, _ = validation
        self._compiled.start_pass()
        self._callbacks.start("test")
        self._callbacks.call("on_test_begin")
        # Otherwise nobody can tell how large the batches are, unless they come as they are.
        seen = (
            self._callbacks.per_batch("test")
            or self._callbacks.stopped("test")
            or self._compiled.depends_on_batches
        )
        together = 1 if seen or source.count is None else max(1, EVALUATION_ROWS // size)
        passes = Passes(
            self._program_for, "evaluate", source, size * together, steps=steps, steps_name="steps"
        )
        if not passes.ready():
            raise ValueError(OUT_OF_DATA)
        done = self._advance("test", passes, progress, together)
        logs = self._compiled.logs(passes.totals)
        self._callbacks.call("on_test_end", logs=logs)
        if progress is not None:
            progress.finish(logs, done)
        return passes.totals

    def _advance(
        self,
        mode: Mode,
        passes: Passes,
        progress: Progress | None,
        together: int = 1,
        goals: Goals | None = None,
    ) -> int:
        """Run an epoch: in as few calls as there can be, or batch by batch where a callback looks at them.

        Args:
            mode: "train" or "test".
            passes: what the batches are taken from.
            progress: shown while it goes on.
            together: steps of `progress` in one batch.
            goals: the epoch ends when their time is over.

        Returns:
            How many steps there were.
        """
        step = passes.taken
        for run, batches, form in passes.epoch():
            first, steps = step - batches.start, _Steps(mode, run, self._compiled.host_for(form), passes)

            def show(done: int, run: Run = run, first: int = first) -> None:
                if progress is not None and progress.redraws:
                    progress.update((first + done) * together, self._compiled.logs(run.totals))
                if goals is not None and goals.out_of_time:
                    raise OutOfTimeError(first + done)

            try:
                # Keras ends after a batch where a hook before it has asked for the end.
                if self._callbacks.per_batch(mode) or self._callbacks.stopped(mode):
                    step = self._one_by_one(steps, batches, first, show)
                else:
                    live = step == 0 and progress is not None and progress.live
                    self._at_once(steps, batches, show, live)
                    step = first + batches.stop
            except OutOfTimeError as over:
                step = over.steps
                break
            if step < first + batches.stop or self._callbacks.stopped(mode):
                break
        return step * together

    def _at_once(self, steps: _Steps, batches: range, show: Callable[[int], None], live: bool) -> None:
        """Run `batches`; if `live`, show the first by itself, as Keras does."""
        begin = batches.start
        if live:
            begin += 1
            self._run(steps, range(batches.start, begin), None)
            show(begin)
        if begin < batches.stop:
            self._run(steps, range(begin, batches.stop), show)
            show(batches.stop)

    def _one_by_one(self, steps: _Steps, batches: range, first: int, show: Callable[[int], None]) -> int:
        """Run `batches` with callbacks around each, whose numbers begin with `first`; how far it came."""
        mode = steps.mode
        for batch in batches:
            self._callbacks.call(f"on_{mode}_batch_begin", first + batch)
            self._run(steps, range(batch, batch + 1), None)
            logs = self._compiled.logs(steps.run.totals)
            self._callbacks.call(f"on_{mode}_batch_end", first + batch, logs=logs)
            show(batch + 1)
            if self._callbacks.stopped(mode):
                return first + batch + 1
        return first + batches.stop

    def _run(self, steps: _Steps, batches: range, show: Callable[[int], None] | None) -> None:
        """Run `batches`; from time to time between two of them the core polls."""

        def poll(done: int) -> None:
            steps.passes.require_whole_files()
            if show is not None:
                show(done)

        steps.passes.require_whole_files()
        rates = None
        if steps.mode == "train":
            if steps.passes.program is not None:
                self._compiled.optimizer._move_to(steps.passes.program)
            rates = self._compiled.optimizer._learning_rates(len(batches))
        steps.run.advance(batches.start, batches.stop, rates, poll, steps.host)
