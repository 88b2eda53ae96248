"""The solvers that step batch by batch: one call of `fit`, watched at the end of every epoch as scikit-learn does."""

from __future__ import annotations

import math
import warnings
from typing import Any

from engine._progress import print_message
from engine.callbacks import Callback
from engine.callbacks.base import listed
from engine.models import Sequential
from engine.sklearn._network import Design
from engine.sklearn._record import Record
from engine.sklearn._samples import Encoded

# Where a learning rate that adapts can't become smaller, and what it is divided by.
SMALLEST_RATE, RATE_DIVISOR = 1e-6, 5.0


class Solver:
    """A compiled model, made when it is needed. Pickles hold its optimizer's state in its place.

    Args:
        design: of model and optimizer.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self._model: Sequential | None = None
        self._state: Any = None

    @property
    def model(self) -> Sequential:
        """The model."""
        if self._model is None:
            self._model = self.design.compiled()
            if self._state is not None:
                self._optimizer._restore(self._state)
        return self._model

    @property
    def _optimizer(self) -> Any:
        return self.model.optimizer

    def __getstate__(self) -> dict[str, Any]:
        state = self._state if self._model is None else self._optimizer._snapshot()
        return {"design": self.design, "_model": None, "_state": state}


class Watch(Callback):
    """Keeps an estimator's record of its epochs, and ends them by its rules.

    Args:
        estimator: whose attributes tell of the training.
        design: of its network.
        held_out: samples for scores, or None.
        count: samples of an epoch.
        constant: what the loss lacks of scikit-learn's.
    """

    def __init__(
        self,
        estimator: Record,
        design: Design,
        held_out: Encoded | None,
        count: int,
        constant: float,
    ) -> None:
        self._estimator, self._design, self._held_out = estimator, design, held_out
        self._count, self._constant = count, constant

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch; other callbacks see scikit-learn's loss, too."""
        seen = {} if logs is None else logs
        for prefix in ("", "val_"):
            if f"{prefix}loss" in seen:
                seen[f"{prefix}loss"] = self._design.shown_loss(seen, prefix) + self._constant
        estimator = self._estimator
        estimator.n_iter_ = epoch + 1
        estimator.loss_ = seen["loss"]
        estimator.t_ += self._count
        estimator.loss_curve_.append(seen["loss"])
        if estimator.verbose:
            print_message(f"Iteration {estimator.n_iter_}, loss = {seen['loss']:.8f}")
        if self._held_out is not None:
            self._score(self._held_out)
        if not estimator.early_stopping:
            best = math.inf if estimator.best_loss_ is None else estimator.best_loss_
            self._count_if(seen["loss"] > best - estimator.tol)
            estimator.best_loss_ = min(best, seen["loss"])
        self._adapt()

    def _score(self, held_out: Encoded) -> None:
        estimator = self._estimator
        score = estimator._score_of(self.model.predict(held_out.x, verbose=0), held_out)
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print_message(f"Validation score: {score:f}")
        best = estimator.best_validation_score_
        if estimator.early_stopping:
            self._count_if(score < best + estimator.tol)
        if score > best:
            estimator.best_validation_score_ = score
            if estimator.early_stopping:
                estimator._best_weights = self.model.get_weights()

    def _count_if(self, unimproved: bool) -> None:
        estimator = self._estimator
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if unimproved else 0

    def _adapt(self) -> None:
        """The learning rate of the next epoch, or the end."""
        estimator, optimizer = self._estimator, self.model.optimizer
        falls = self._design.solver == "sgd"
        if falls and estimator.learning_rate == "invscaling":
            optimizer.learning_rate = estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t
        if estimator._no_improvement_count <= estimator.n_iter_no_change:
            return
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} consecutive "
            "epochs."
        )
        adapts = falls and estimator.learning_rate == "adaptive"
        if adapts and optimizer.learning_rate > SMALLEST_RATE:
            optimizer.learning_rate /= RATE_DIVISOR
            estimator._no_improvement_count = 0
            message += f" Setting learning rate to {optimizer.learning_rate:f}"
        else:
            message += " Learning rate too small. Stopping." if adapts else " Stopping."
            self.model.stop_training = True
        if estimator.verbose:
            print_message(message)


def train(
    estimator: Record,
    model: Sequential,
    watch: Watch,
    samples: Encoded,
    *,
    held_out: Encoded | None,
    batch_size: int,
    epochs: int,
) -> None:
    """Fit `model`; Ctrl-C ends it with what it has learnt.

    Args:
        estimator: has the callbacks.
        model: compiled, with the weights to begin with.
        watch: called first.
        samples: to learn.
        held_out: for the logs of other callbacks, or None.
        batch_size: of a step.
        epochs: most of them.
    """
    others = listed(estimator.callbacks)
    seen = None if held_out is None or not others else (held_out.x, held_out.y, held_out.weights)
    try:
        model.fit(
            samples.x,
            samples.y,
            batch_size,
            epochs,
            verbose=0,
            callbacks=[watch, *others],
            validation_data=seen,
            shuffle=bool(estimator.shuffle) and batch_size < samples.size,
            sample_weight=samples.weights,
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=5)
    finally:
        for callback in others:
            callback.model = None  # which neither copies nor pickles of the estimator shall carry along
