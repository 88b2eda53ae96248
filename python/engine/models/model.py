"""The verbs of every model: compile, fit, evaluate, predict, and the same for single batches."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from engine._base.checks import Shape, flag
from engine._base.cpp import Float32, NotFiniteError, Program, first_nonfinite_row
from engine._base.random_state import next_sampling
from engine._base.tensor_like import Tensor
from engine._base.tracebacks import without_own_frames
from engine._data.array_conversion import complaint, require_sample_shape, sample_shape_of_none
from engine._data.batch_streams import batches_of, yields_batches
from engine._data.lazy_rows import LazyRows, part_of, require_tokens, taken_at_once, unchecked_rows
from engine._printing.progress import PATIENCE, Progress, impatient, require_verbose
from engine._training.compile_arguments import Compiled
from engine._training.fit_arguments import FitOptions, goals, limited, optional, resolve_batch_size
from engine._training.prediction import delivered, predict, predict_stream, target_for
from engine._training.recovery import Recovery
from engine._training.trainer import Trainer
from engine.callbacks import CallbackList, History
from engine.config import _capped_steps
from engine.layers.symbols import symbol_of
from engine.models.exchange import ExchangedModel
from engine.models.saved import SavedModel


class TrainableModel(ExchangedModel, SavedModel):
    """Base class of models: `compile`, `fit`, `evaluate` and `predict`."""

    @without_own_frames
    def fit(  # noqa: PLR0917 # Keras' signature
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: object = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Mapping[int, float] | str | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
        *,
        target: Mapping[str, float] | None = None,
        time_budget: float | None = None,
        stratify: bool = False,
    ) -> History:
        """Trains the model for a number of epochs.

        Args:
            x: samples (n, ...), real numbers of any dtype and memory layout: an array (memory-mapped or not),
                lists, a pandas DataFrame, a scipy.sparse matrix, or an object with `__array__` or DLPack. Don't
                change the data before `fit` returns. Or a source of batches (x, y) or (x, y, sample_weight): a
                generator, another iterable, a `utils.PyDataset`, or another object with `__getitem__` and
                `__len__`.
            y: class indices (n,) for the sparse crossentropy, otherwise one number per output (n, outputs); None if
                `x` yields batches.
            batch_size: samples per step, default 32; the last batch of an epoch may be smaller. Ignored if `x`
                yields batches.
            epochs: number of the epoch at which training ends: `epochs - initial_epoch` epochs are run.
            verbose: 0 prints nothing, 1 a progress bar, 2 a line per epoch; "auto" is 1 on a terminal, otherwise 2.
            callbacks: list of instances from `engine.callbacks`.
            validation_split: fraction of the samples, taken from the end, that is used for validation, in [0, 1).
            validation_data: data for validation: `(x, y)`, `(x, y, sample_weight)`, or a source of batches.
            shuffle: whether to shuffle the samples in each epoch. "batch" shuffles only within each batch. If `x`
                has `__getitem__`, the order of its batches is shuffled; batches of a generator are never shuffled.
            class_weight: dict from class index to weight, or "balanced" for `n / (classes * count)`. Multiplied by
                `sample_weight`. Not used in validation.
            sample_weight: weights of the samples (n,); the loss is `sum(weight * loss) / n`.
            initial_epoch: number of the first epoch, from 0.
            steps_per_epoch: batches per epoch; the next epoch continues with the batch after.
            validation_steps: number of batches of a validation, from the first sample on; default all.
            validation_batch_size: samples per batch in validation; default `batch_size`.
            validation_freq: number of epochs from one validation to the next, or a list of epochs, counted from 1,
                after which to validate.
            target: values of the logs at which to stop, such as `{"val_accuracy": 0.98}`. Training ends after the
                first epoch that reaches them.
            time_budget: time limit in seconds. Training ends after the batch that exceeds it; validation still runs.
            stratify: whether `validation_split` takes the same fraction of every class.

        Returns:
            The `History` callback, whose attribute `history` is a dict from each name to a list with one float per
            epoch.

        Raises:
            ValueError, TypeError: if data or arguments don't match the model. The model is unchanged then.
        """
        with self._lock:
            compiled = self._require_compiled()
            compiled.require_reduction()
            self._forget_penalties()
            options = FitOptions(
                batch_size=batch_size,
                epochs=epochs,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                shuffle=shuffle,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )
            require_verbose(verbose)
            hooks = CallbackList(callbacks, add_history=True)
            with self._checking(compiled):
                source = self._source(x, y, sample_weight)
                source, held_out = self._parted(
                    source, class_weight, validation_data, validation_split, stratify
                )
                plan = options.plan(
                    source, held_out, goals(compiled, held_out is not None, target, time_budget)
                )
                self._built_for(source.sample_shape, compiled)
            with Progress(hooks.verbose_beside(verbose), plan.steps) as progress:
                self._warn_of_dead_ends(compiled)
                recovery = Recovery(self, compiled, hooks)
                params = {"verbose": verbose, "epochs": plan.epochs, "steps": plan.steps}
                hooks.join(self, params, self._lock.lent)
                earlier = self.history, self._feature_names
                self.history, self.stop_training = hooks.history, False
                self._feature_names = source.feature_names
                self._fitting, self._recovery = threading.current_thread(), recovery

                def lost(loss: float) -> None:
                    self._warn_of_loss(compiled, loss, source)

                try:
                    Trainer(
                        partial(self._built_for, compiled=compiled),
                        compiled,
                        hooks,
                        progress,
                        recovery,
                        lost=lost,
                    ).fit(plan)
                except BaseException:
                    if recovery.refused:
                        self.history, self._feature_names = earlier
                    raise
                finally:
                    self._fitting, self._recovery = None, None
            return hooks.history

    @without_own_frames
    def evaluate(  # noqa: PLR0917 # Keras' signature
        self,
        x: Any = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        callbacks: object = None,
        return_dict: bool = False,
    ) -> Any:
        """Returns the loss and the metrics over samples.

        It waits for other threads that train, compile or evaluate the model.

        Args:
            x: samples, as for `fit`.
            y: targets, as for `fit`.
            batch_size: samples per step for the progress bar and callbacks, default 32. It has no effect on the
                result.
            verbose: 0 prints nothing, 1 a progress bar, 2 a line; "auto" is 1 on a terminal and in a notebook,
                otherwise 2.
            sample_weight: weights of the samples (n,); the loss is `sum(weight * loss) / n`.
            steps: number of batches to use, from the first sample on; default all.
            callbacks: list of instances from `engine.callbacks`.
            return_dict: whether to return a dict.

        Returns:
            A list of the loss and the metrics in the order of `metrics_names`; the loss alone if there are no
            metrics; or a dict from names to values.

        Raises:
            ValueError, TypeError: if data or arguments don't match the model, or it isn't compiled.
        """
        with self._lock.borrowed():
            compiled, as_dict = self._require_compiled(), _wants_dict(return_dict)
            limit, given_size = optional(steps, "steps"), optional(batch_size, "batch_size")
            require_verbose(verbose)
            hooks = CallbackList(callbacks)
            self._forget_penalties()
            with self._checking(compiled):
                source = self._source(x, y, sample_weight)
                size = resolve_batch_size(given_size, limit, source.count)
                limit = _capped_steps(limit, source.steps(size))
                source, limit, size = limited(source, limit, size)
                self._built_for(source.sample_shape, compiled)
            with Progress(hooks.verbose_beside(verbose), limit or source.steps(size)) as progress:
                trainer = Trainer(partial(self._built_for, compiled=compiled), compiled, hooks, progress)
                params = {"verbose": verbose, "epochs": 1, "steps": progress.steps}
                hooks.join(self, params, self._lock.lent)
                return compiled.result(trainer.evaluate(source, size, limit), as_dict)

    @without_own_frames
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: object = None,
        *,
        out: Float32 | None = None,
    ) -> Float32:
        """Returns the outputs of the model for samples. Several threads may call it at the same time.

        Args:
            x: samples, as for `fit`.
            batch_size: samples per step for the progress bar and callbacks, default 32. It has no effect on the
                result.
            verbose: 0 prints nothing, 1 a progress bar, 2 a line; "auto" prints one of them if prediction takes
                more than half a second.
            steps: number of batches to use, from the first sample on; default all.
            callbacks: list of instances from `engine.callbacks`.
            out: float32 array (n, outputs) to write the result to. It is unchanged if an argument is wrong, except
                when `x` holds NaN or infinity, which is found during computation.

        Returns:
            float32 (n, outputs), or `out`; `predict(x)[i]` has the same bits as `predict(x[i:i + 1])[0]`.

        Raises:
            ValueError, TypeError: if data or arguments don't match the model.
        """
        limit, given_size = optional(steps, "steps"), optional(batch_size, "batch_size")
        if self._suspect:
            self._warn_of_weights("predict()")
        if yields_batches(x):
            return self._predict_stream(x, _capped_steps(limit, batches_of(x)), verbose, callbacks, out)
        x = self._input_in(x, "x", self._feature_names)
        rows = unchecked_rows(x, self._sample_shape)
        require_tokens(rows, self._tokens, "x")
        size = resolve_batch_size(given_size, limit, len(rows))
        limit = _capped_steps(limit, math.ceil(len(rows) / size))
        rows = rows if limit is None else part_of(rows, 0, limit * size)
        self._forget_penalties()
        shape = self._output_shape_of(rows.shape[1:])
        target = None if out is None else target_for(out, shape, rows)
        try:
            nobody_to_tell = callbacks is None and len(rows) <= size and not impatient(verbose)
            if nobody_to_tell and not isinstance(rows, LazyRows):
                outputs = self._built_for(rows.shape[1:]).predict(rows, target, True)
            else:
                hooks, program = CallbackList(callbacks), self._built_for(rows.shape[1:])
                shown = hooks.verbose_beside(verbose)
                with Progress(shown, math.ceil(len(rows) / size), PATIENCE) as progress:
                    hooks.join(self, {"verbose": verbose, "epochs": 1, "steps": progress.steps})
                    outputs = predict(program, rows, size, hooks, progress, out=target)
        except NotFiniteError as error:
            raise complaint(x, self._sample_shape, error) from None
        return outputs.reshape(len(outputs), *shape) if out is None else delivered(outputs, out)

    def _predict_stream(
        self, x: object, steps: int | None, verbose: object, callbacks: object, out: object
    ) -> Float32:
        """The outputs for batches as `x` yields them, or for the first `steps` of them."""
        if out is not None:
            msg = "`out` needs samples whose number is known, but `x` yields batches: leave it out"
            raise ValueError(msg)
        hooks = CallbackList(callbacks)
        with Progress(hooks.verbose_beside(verbose), steps or batches_of(x), PATIENCE) as progress:
            hooks.join(self, {"verbose": verbose, "epochs": 1, "steps": progress.steps})
            return predict_stream(self._outputs, x, steps, hooks, progress)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Returns the outputs for one batch, or the symbolic output for a symbolic input.

        Args:
            x: samples (n, ...), or a symbolic input, as returned by `Input` or a layer.
            training: whether layers behave as in training, such as dropout. With None each layer uses the value it
                was called with in the model, or its default: True for layers that augment images, otherwise False.

        Returns:
            float32 (n, ...).

        Raises:
            ValueError, TypeError: if the data doesn't match the model.
        """
        given = None if training is None else flag(training, "training")
        symbol = symbol_of(x)
        if symbol is not None:
            return symbol.through(self, given)
        return self._outputs(x, "x", given, called=True).view(Tensor)

    def _outputs(
        self, x: object, name: str, training: bool | None = False, *, called: bool = False
    ) -> Float32:
        """The outputs for one batch; `called` notes the penalties on outputs, which `losses` then tells."""
        x = self._input_in(x, name, self._feature_names)
        if (sample := sample_shape_of_none(x, name)) is not None:
            require_sample_shape(sample, self._sample_shape, name)
            self._built_for(sample)
            return np.zeros((0, *self._output_shape_of(sample)), np.float32)
        rows = unchecked_rows(x, self._sample_shape, name)
        require_tokens(rows, self._tokens, name)
        program = self._built_for(rows.shape[1:])
        if (self._mixed and training is None) or (called and self._penalised):
            array = rows[:] if isinstance(rows, LazyRows) else rows
            if array.dtype != np.uint8 and first_nonfinite_row(array) >= 0:
                raise complaint(x, self._sample_shape, NotFiniteError(), name)
            return self._by_layer(array, training)
        seed = next_sampling(self) if training else 0
        try:
            outputs = program.predict(taken_at_once(rows), None, True, bool(training), seed)
            return self._shaped(outputs, rows.shape[1:])
        except NotFiniteError as error:
            raise complaint(x, self._sample_shape, error, name) from None

    @without_own_frames
    def train_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Runs one training step on one batch, all of `x`, and returns the loss and metrics.

        The arguments are those of `fit`, the result is that of `evaluate`, computed before the weights are updated.
        """
        with self._lock:
            compiled, as_dict = self._require_compiled(), _wants_dict(return_dict)
            compiled.require_reduction()
            self._forget_penalties()
            with self._checking(compiled):
                samples = self._samples(x, y, sample_weight, names=self._feature_names)
                samples = samples.with_class_weight(class_weight)
                program = self._built_for(samples.sample_shape, compiled)
            chunk = next(samples.chunks(len(samples), "none"))
            self._warn_of_dead_ends(compiled)
            run, host = program.begin("train", *chunk.batches), compiled.host_for(chunk.form)
            compiled.start_pass()
            compiled.optimizer._move_to(program)
            run.advance(0, 1, compiled.optimizer._learning_rates(1), host=host)
            totals = run.totals
            if not math.isfinite(totals.loss):
                self._warn_of_loss(compiled, totals.loss, samples)
            self._feature_names = self._feature_names or samples.feature_names
            return compiled.result(totals, as_dict)

    @without_own_frames
    def test_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Returns the loss and metrics of one batch, all of `x`. Arguments and result are those of `evaluate`."""
        with self._lock.borrowed():
            compiled, as_dict = self._require_compiled(), _wants_dict(return_dict)
            self._forget_penalties()
            with self._checking(compiled):
                samples = self._samples(x, y, sample_weight, names=self._feature_names)
                program = self._built_for(samples.sample_shape, compiled)
            chunk = next(samples.chunks(len(samples), None))
            run, host = program.begin("evaluate", *chunk.batches), compiled.host_for(chunk.form)
            compiled.start_pass()
            run.advance(0, 1, host=host)
            return compiled.result(run.totals, as_dict)

    @without_own_frames
    def predict_on_batch(self, x: ArrayLike) -> Float32:
        """Returns the outputs of the model for one batch, all of `x`."""
        return self._outputs(x, "x")

    def _built_for(self, shape: Shape, compiled: Compiled | None = None) -> Program:
        """The program for samples of `shape`, built for them if there was none.

        Args:
            shape: of one sample.
            compiled: with what the program must be compiled; None for predictions, which need no optimizer.
        """
        if self._program is None:
            self.build((None, *self._shape_to_build_for(shape)))
        if self._by_shape is not None:
            return self._by_shape.program(shape, compiled)
        return cast(Program, self._program)

    def _shaped(self, outputs: Float32, sample: Shape) -> Float32:
        """Outputs for samples of shape `sample` in the model's output shape, where that isn't one row per sample."""
        shape = self._output_shape_of(sample)
        return outputs if len(shape) == 1 else outputs.reshape(len(outputs), *shape)


def _wants_dict(return_dict: object) -> bool:
    """Whether results come as a dict; None means not, as in Keras."""
    return return_dict is not None and flag(return_dict, "return_dict")
