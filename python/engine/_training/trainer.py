"""The loops of `fit` and `evaluate`: epochs, batches, validation, callbacks and progress.

A `Trainer` is one call of `fit` or `evaluate` of a model. A `Runner` runs the batches, as many as possible in one call: a whole
epoch, unless a callback has hooks for batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

from engine._data.sources import Source
from engine._printing.progress import Progress
from engine._training.batch_iteration import BatchIterator
from engine._training.fit_arguments import EarlyEndError, FitPlan, Goals, Validation, limited_steps
from engine._training.recovery import Recovery
from engine._training.runner import Runner
from engine.callbacks import CallbackList
from engine.callbacks.base import Logs, Mode, NamedValues

# Samples in a batch of an evaluation if its result doesn't depend on the batches: enough work for all threads.
EVALUATION_ROWS = 1024

TRAINING_OUT_OF_DATA = (
    "Your input ran out of data; interrupting training. Make sure that your dataset or generator can generate at "
    "least `steps_per_epoch * epochs` batches. You may need to use the `.repeat()` function when building your dataset."
)
EVALUATION_OUT_OF_DATA = (
    "The data of this evaluation yielded batches before, but no more now: each evaluation needs one at least. Pass data "
    "that begin anew each time, such as arrays or a `PyDataset`"
)


class Trainer:
    """One call of `fit` or `evaluate`.

    Args:
        runner_for: returns what trains or evaluates batches, for "train" or "test".
        callbacks: the callbacks whose hooks are called.
        progress: the progress bar.
        recovery: saves and restores the training for the callback `BackupAndRestore`.
        check: called with the logs of the training of each epoch, for warnings.
        steps_per_execution: how many batches run between two calls of the hooks for batches.
    """

    def __init__(
        self,
        runner_for: Callable[[Mode], Runner],
        callbacks: CallbackList,
        progress: Progress,
        recovery: Recovery | None = None,
        *,
        check: Callable[[Logs], None] | None = None,
        steps_per_execution: int = 1,
    ) -> None:
        self._runner_for = runner_for
        self._callbacks = callbacks
        self._progress = progress
        self._recovery = recovery
        self._check = check
        self._steps_per_execution = steps_per_execution

    def fit(self, plan: FitPlan) -> None:
        """Trains the model."""
        batch_iterator = BatchIterator(
            self._runner_for("train"),
            plan.source,
            plan.batch_size,
            shuffle=plan.shuffle,
            steps=plan.steps_per_epoch,
        )
        if self._recovery is not None:
            self._recovery.batch_iterator = batch_iterator
        with self._callbacks.at_work():
            self._callbacks.call("on_train_begin")
            logs = self._trained(plan, batch_iterator)
            self._callbacks.call("on_train_end", logs=logs)

    def _trained(self, plan: FitPlan, batch_iterator: BatchIterator) -> Logs:
        """Trains, has the optimizer finish its variables, and returns the logs of the last epoch."""
        first, logs = self._resumed(plan, batch_iterator)
        try:
            # The callbacks undo what they have begun, such as an exchange of weights, before the optimizer finishes below.
            # The block in `fit` does the same for hooks outside of epochs; what is undone is not undone twice.
            with self._callbacks.at_work():
                return self._epochs(plan, batch_iterator, first, logs)
        finally:
            if plan.epochs > 0:
                batch_iterator.runner.finish()

    def _epochs(self, plan: FitPlan, batch_iterator: BatchIterator, first: int, logs: Logs) -> Logs:
        """Trains from epoch `first` on and returns the logs of the last; `logs` are those of the epoch before `first`."""
        for epoch in range(first, plan.epochs):
            self._callbacks.call("on_epoch_begin", epoch)
            if self._callbacks.run_code_of_users:
                batch_iterator.read_anew()
            if not self._restored_within_epoch(batch_iterator) and not batch_iterator.has_next():
                warnings.warn(TRAINING_OUT_OF_DATA, stacklevel=4)
                break
            self._progress.restart(f"Epoch {epoch + 1}/{plan.epochs}" if plan.epochs > 1 else None)
            self._start_pass(batch_iterator)
            done = self._advance("train", batch_iterator, self._progress, goals=plan.goals)
            logs = trained = batch_iterator.runner.logs_of_pass()
            if epoch == first:
                plan.goals.warn_of_missing(logs)
            if plan.validation is not None and plan.validation.due(epoch):
                tested = self._evaluate(plan.validation, None).logs_of_pass()
                logs = NamedValues(
                    sorted({**logs, **{f"val_{name}": value for name, value in tested.items()}}.items())
                )
            # Callbacks may add to this copy. As in Keras, `on_train_end` gets the logs without what they add.
            shown = NamedValues(logs)
            self._callbacks.call("on_epoch_end", epoch, logs=shown)
            self._progress.finish(shown, done)
            # No warning after a callback such as TerminateOnNaN has ended the training: it has printed the reason.
            if not (self._check is None or self._callbacks.stopped("train")):
                self._check(trained)
            if self._callbacks.stopped("train") or plan.goals.reached(logs) or plan.goals.out_of_time:
                break
        return logs

    def _resumed(self, plan: FitPlan, batch_iterator: BatchIterator) -> tuple[int, Logs]:
        """Restores an interrupted training, if there is one. Returns the first epoch and the logs of the epoch before."""
        if self._recovery is None:
            return plan.initial_epoch, {}
        resumed = self._recovery.resumed
        if resumed is None:
            return plan.initial_epoch, {}
        try:
            batch_iterator.skip_to(resumed.place, resumed.totals, resumed.path)
        except BaseException:
            self._recovery.undo()
            raise
        # After `skip_to`: that may fail for lack of batches, and the data that yield them may draw random numbers.
        self._recovery.apply()
        over = resumed.stopped or (not batch_iterator.batches_of_epoch and plan.goals.reached(resumed.logs))
        return plan.epochs if over else resumed.epoch, resumed.logs

    def _restored_within_epoch(self, batch_iterator: BatchIterator) -> bool:
        """Returns whether the epoch is the rest of an interrupted one.

        Then it also restores everything once more, as the hooks for the beginning of the epoch have been called again.
        """
        if self._recovery is None or not batch_iterator.batches_of_epoch:
            return False
        self._recovery.apply()
        return True

    def _start_pass(self, batch_iterator: BatchIterator) -> None:
        """Resets loss and metrics; in the rest of an interrupted epoch it restores them."""
        if self._recovery is not None and batch_iterator.batches_of_epoch:
            self._recovery.apply_metrics()
        else:
            batch_iterator.runner.start_pass()

    def evaluate(self, source: Source, batch_size: int, steps: int | None) -> Logs:
        """Returns loss and metrics over `source`, or over its first `steps` batches."""
        self._progress.restart()
        with self._callbacks.at_work():
            validation = Validation(*limited_steps(source, steps, batch_size), 1)
            return self._evaluate(validation, self._progress).logs_of_pass()

    def _evaluate(self, validation: Validation, progress: Progress | None) -> Runner:
        """Evaluates the model, and returns what has run the batches."""
        source, steps, size, _ = validation
        runner = self._runner_for("test")
        runner.start_pass()
        self._callbacks.start("test")
        self._callbacks.call("on_test_begin")
        if self._callbacks.run_code_of_users:
            source.read_anew(None)
        # Several batches are evaluated as one large batch, unless callbacks or the result would show the difference, or the
        # source yields the batches itself.
        visible = (
            self._callbacks.per_batch("test") or self._callbacks.stopped("test") or runner.depends_on_batches
        )
        merged = 1 if visible or source.count is None else max(1, EVALUATION_ROWS // size)
        batch_iterator = BatchIterator(runner, source, size * merged, steps=steps, steps_name="steps")
        if not batch_iterator.has_next():
            raise ValueError(EVALUATION_OUT_OF_DATA)
        done = self._advance("test", batch_iterator, progress, merged)
        logs = runner.logs_of_pass()
        self._callbacks.call("on_test_end", logs=logs)
        if progress is not None:
            progress.finish(logs, done)
        return runner

    def _advance(
        self,
        mode: Mode,
        batch_iterator: BatchIterator,
        progress: Progress | None,
        merged: int = 1,
        goals: Goals | None = None,
    ) -> int:
        """Runs an epoch, in as few calls of the core as possible, or batch by batch if callbacks have hooks for batches.

        Args:
            mode: "train" or "test".
            batch_iterator: yields the batches.
            progress: the progress bar.
            merged: the number of steps of the progress bar in one batch.
            goals: the epoch ends when their time budget is used up.

        Returns:
            The number of steps of the progress bar.
        """
        runner, step = batch_iterator.runner, batch_iterator.batches_of_epoch
        for batches in batch_iterator.epoch():
            first = step - batches.start

            def show(done: int, first: int = first) -> None:
                if progress is not None and progress.redraws:
                    progress.update((first + done) * merged, runner.logs())
                if (goals is not None and goals.out_of_time) or self._callbacks.stopped(mode):
                    raise EarlyEndError(first + done)

            try:
                # If a hook has asked for the end before the first batch, Keras still runs one batch.
                if self._callbacks.per_batch(mode) or self._callbacks.stopped(mode):
                    step = self._by_groups(mode, batch_iterator, batches, first, show)
                else:
                    live = step == 0 and progress is not None and progress.live
                    _at_once(batch_iterator, batches, show, live)
                    step = first + batches.stop
            except EarlyEndError as over:
                step = over.steps
                break
            if step < first + batches.stop or self._callbacks.stopped(mode):
                break
        return step * merged

    def _by_groups(
        self,
        mode: Mode,
        batch_iterator: BatchIterator,
        batches: range,
        first: int,
        show: Callable[[int], None],
    ) -> int:
        """Runs `batches` by groups of `steps_per_execution`, and calls the hooks for batches once for each group.

        Args:
            mode: "train" or "test".
            batch_iterator: runs the batches.
            batches: their numbers in the chunk.
            first: the number that hooks get for batch 0 of the chunk.
            show: called after each batch.

        Returns:
            The number of batches of the epoch that are done.
        """
        size, end = self._steps_per_execution, batches.start
        while end < batches.stop:
            begin, end = end, min(batches.stop, end + size - (first + end) % size)
            self._callbacks.call(f"on_{mode}_batch_begin", first + begin)
            batch_iterator.advance(range(begin, end))
            logs = batch_iterator.runner.logs()
            self._callbacks.call(f"on_{mode}_batch_end", first + end - 1, logs=logs)
            show(end)
            if self._callbacks.stopped(mode):
                break
        return first + end


def _at_once(batch_iterator: BatchIterator, batches: range, show: Callable[[int], None], live: bool) -> None:
    """Runs `batches` in one call; if `live`, runs and shows the first one before, as Keras does."""
    begin = batches.start
    if live:
        begin += 1
        batch_iterator.advance(range(batches.start, begin))
        show(begin)
    if begin < batches.stop:
        batch_iterator.advance(range(begin, batches.stop), show)
        show(batches.stop)
