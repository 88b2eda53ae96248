"""What many tests use: comparisons of several arrays, models that are compiled where they are made, classes of users."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import engine as keras


def assert_all_close(found: Iterable[Any], expected: Iterable[Any], **tolerance: Any) -> None:
    """Compares arrays one by one; `tolerance` goes to `np.testing.assert_allclose`."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


def assert_all_equal(found: Iterable[Any], expected: Iterable[Any]) -> None:
    """Checks that arrays, one by one, have the same numbers."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def compiled(model: Any, *args: Any, **options: Any) -> Any:
    """Returns a model after its `compile`."""
    model.compile(*args, **options)
    return model


class OwnStep(keras.Model):
    """A model that overrides its step, and leaves the work to the step of `Model`."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


class OwnStepOfChain(keras.Sequential):
    """The same for a chain of layers."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


class WrittenStep(keras.Model):
    """A step as guides of Keras write it."""

    def train_step(self, data: Any) -> Any:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        with keras.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True), sample_weight=weights)
            loss = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


class InTurn(keras.Model):
    """A model whose `call` runs layers in turn."""

    def __init__(self, *stack: Any) -> None:
        super().__init__()
        self.stack = list(stack)

    def call(self, inputs: Any) -> Any:
        for layer in self.stack:
            inputs = layer(inputs)
        return inputs


class Scale(keras.layers.Layer):
    """A layer with a weight for each feature."""

    def build(self, input_shape: Any) -> None:
        self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor


class Doubled(keras.layers.Layer):
    """A layer whose gradient is written by hand."""

    def call(self, inputs: Any) -> Any:
        return 2 * inputs

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return 2 * upstream


class Largest(keras.metrics.Metric):
    """A metric with a state that is no sum, which counts its calls."""

    def __init__(self, name: str = "largest") -> None:
        super().__init__(name=name)
        self.seen = self.add_variable((), "zeros")
        self.calls = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.calls += 1
        self.seen.assign(np.maximum(self.seen, np.max(y_pred)))

    def result(self) -> Any:
        return self.seen


class CrashError(Exception):
    """Simulates a crash within the process."""


class Crashing(keras.callbacks.Callback):
    """Raises CrashError after some batches, before other callbacks are called for the last one."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if not self.left:
            raise CrashError
