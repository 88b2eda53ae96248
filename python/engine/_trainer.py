"""Training and evaluation on a compiled Program: epochs, validation, callbacks, progress."""

from __future__ import annotations

import warnings

from engine._compiled import Compiled
from engine._plan import Plan
from engine._program import Dataset, Program, Run, Totals
from engine._progress import Progress
from engine._random import next_key
from engine.callbacks import CallbackList, Logs, Mode

# Rows per batch of an evaluation, whose result doesn't depend on it: enough to feed all threads.
EVALUATION_ROWS = 1024


class Trainer:
    """One call of `fit` or `evaluate`.

    Args:
        program: the model, compiled.
        compiled: what it was compiled with.
        callbacks: told about every turn.
        progress: shown while it goes on.
    """

    def __init__(
        self, program: Program, compiled: Compiled, callbacks: CallbackList, progress: Progress
    ) -> None:
        self._program = program
        self._compiled = compiled
        self._callbacks = callbacks
        self._progress = progress

    def fit(self, plan: Plan) -> None:
        """Train epoch by epoch."""
        passes = _Passes(self._program, plan)
        logs: Logs = {}
        self._callbacks.call("on_train_begin")
        for epoch in range(plan.initial_epoch, plan.epochs):
            self._callbacks.call("on_epoch_begin", epoch)
            self._progress.restart(f"Epoch {epoch + 1}/{plan.epochs}" if plan.epochs > 1 else None)
            run, batches = passes.next_epoch()
            self._advance("train", run, batches, self._progress)
            logs = self._compiled.logs(run.totals)
            if plan.validation is not None and plan.validation.due(epoch):
                totals = self._evaluate(plan.validation.dataset, plan.validation.batch_size, None)
                logs |= {f"val_{name}": value for name, value in self._compiled.logs(totals).items()}
                logs = dict(sorted(logs.items()))
            self._callbacks.call("on_epoch_end", epoch, logs=logs)
            self._progress.finish(logs, len(batches))
            if self._callbacks.stop_training:
                break
        self._callbacks.call("on_train_end", logs=logs)

    def evaluate(self, dataset: Dataset, batch_size: int) -> Totals:
        """Loss and metrics over all of `dataset`."""
        self._progress.restart()
        totals = self._evaluate(dataset, batch_size, self._progress)
        self._progress.finish(self._compiled.logs(totals), 0)
        return totals

    def _evaluate(self, dataset: Dataset, batch_size: int, progress: Progress | None) -> Totals:
        # Otherwise nobody can tell how large the batches are.
        alone = self._callbacks.per_batch("test") or self._compiled.depends_on_batches
        together = 1 if alone else max(1, EVALUATION_ROWS // batch_size)
        run = self._program.begin("evaluate", dataset, batch_size * together)
        self._callbacks.call("on_test_begin")
        self._advance("test", run, range(run.batches), progress, together)
        self._callbacks.call("on_test_end", logs=self._compiled.logs(run.totals))
        return run.totals

    def _advance(
        self, mode: Mode, run: Run, batches: range, progress: Progress | None, together: int = 1
    ) -> None:
        """Run `batches`: in one call, or one by one where a callback looks at them.

        Args:
            mode: "train" or "test".
            run: what the batches belong to.
            batches: their numbers.
            progress: shown while it goes on.
            together: steps of `progress` in one batch.
        """

        def show(done: int) -> None:
            if progress is not None:
                progress.update((done - batches.start) * together, self._compiled.logs(run.totals))

        optimizer, host = self._compiled.optimizer, self._compiled.host
        if not self._callbacks.per_batch(mode):
            rates = optimizer.learning_rates(len(batches)) if mode == "train" else None
            begin = batches.start
            if progress is not None and progress.live and len(batches) > 1:  # Keras shows the first at once
                begin += 1
                run.advance(batches.start, begin, None if rates is None else rates[:1], host=host)
                show(begin)
            rates = None if rates is None else rates[begin - batches.start :]
            run.advance(begin, batches.stop, rates, show, host)
            return
        for step, batch in enumerate(batches):
            self._callbacks.call(f"on_{mode}_batch_begin", step)
            rates = optimizer.learning_rates(1) if mode == "train" else None
            run.advance(batch, batch + 1, rates, host=host)
            self._callbacks.call(f"on_{mode}_batch_end", step, logs=self._compiled.logs(run.totals))
            show(batch + 1)
            if mode == "train" and self._callbacks.stop_training:
                return


class _Passes:
    """Goes over the training samples again and again, each time in a new order."""

    def __init__(self, program: Program, plan: Plan) -> None:
        self._program = program
        self._dataset = plan.samples.dataset()
        self._plan = plan
        self._run: Run | None = None
        self._done = 0

    def next_epoch(self) -> tuple[Run, range]:
        """The batches of one epoch: a whole pass, or the next `steps_per_epoch` of one."""
        if self._run is None or self._done == self._run.batches:
            seed, stream = next_key()
            self._run = self._program.begin(
                "train", self._dataset, self._plan.batch_size, self._plan.shuffle, seed, stream
            )
            self._done = 0
        self._run.reset_totals()
        begin, wanted = self._done, self._plan.steps_per_epoch
        self._done = self._run.batches if wanted is None else min(begin + wanted, self._run.batches)
        if wanted is not None and self._done < begin + wanted:
            message = (
                f"`steps_per_epoch={wanted}` asks for more batches than the data has left; this epoch ends "
                f"after {self._done - begin}"
            )
            warnings.warn(message, stacklevel=4)
        return self._run, range(begin, self._done)
