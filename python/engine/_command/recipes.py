"""How `engine mnist` trains: the network, and sets of hyper-parameters for it, each with a purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import layers, losses, optimizers, utils
from engine.models import Sequential
from engine.optimizers.schedules import LearningRateSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from engine.callbacks import Callback

_CLASSES = 10


class WarmUpThenLinear(LearningRateSchedule):
    """A learning rate that rises linearly from `peak / warm_up_steps` to `peak`, and then falls linearly to 0 at `steps`.

    `peak * min((step + 1) / warm_up_steps, (steps - step) / (steps - warm_up_steps))`, and 0 from `steps` on.

    Args:
        peak: the largest learning rate.
        warm_up_steps: steps of the way up, from 1 to `steps - 1`.
        steps: steps of the whole training.
    """

    def __init__(self, peak: float, warm_up_steps: int, steps: int) -> None:
        if not 1 <= warm_up_steps < steps:
            msg = f"`warm_up_steps` must be at least 1 and less than `steps`, {steps}, got {warm_up_steps}"
            raise ValueError(msg)
        self.peak = peak
        self.warm_up_steps = warm_up_steps
        self.steps = steps

    def __call__(self, step: ArrayLike) -> Any:
        """Returns the learning rate of step `step`, counted from 0: a float, or an array for an array."""
        done = np.asarray(step, np.float64)
        up = (done + 1) / self.warm_up_steps
        down = np.maximum(self.steps - done, 0) / (self.steps - self.warm_up_steps)
        rates = self.peak * np.minimum(up, down)
        return rates if np.ndim(step) else float(rates)

    def _rates(self, first: int, count: int) -> NDArray[np.float64]:
        """Returns the learning rates of the steps `first` to `first + count`."""
        rates: NDArray[np.float64] = self(np.arange(first, first + count))
        return rates


@dataclass(frozen=True)
class Recipe:
    """A set of hyper-parameters. The defaults are those of Keras.

    Args:
        epochs: passes over the images.
        batch_size: images per step.
        learning_rate: the learning rate of Adam; with a warm-up its largest value.
        warm_up: the share of the steps in which the learning rate rises, before it falls to 0; None keeps it constant.
        beta_1: the decay of Adam's mean of gradients.
        beta_2: the decay of Adam's mean of squared gradients.
        weight_decay: decoupled weight decay; 0 is none.
        label_smoothing: the share of each label that is spread evenly over the digits.
        output_initializer: the initializer of the last layer's kernel.
        chosen: whether hyper-parameters were chosen by their accuracy on held-out images.
    """

    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.001
    warm_up: float | None = None
    beta_1: float = 0.9
    beta_2: float = 0.999
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    output_initializer: str = "glorot_uniform"
    chosen: bool = True

    def model(self) -> Sequential:
        """Returns the network, which is compiled later, since the learning rates depend on the number of images."""
        return Sequential(
            [
                layers.Flatten(input_shape=(28, 28)),
                layers.Rescaling(1 / 255),
                layers.Dense(128, activation="relu"),
                layers.Dense(_CLASSES, activation="softmax", kernel_initializer=self.output_initializer),
            ]
        )

    def compile(self, model: Sequential, images: int) -> None:
        """Compiles `model` for a training on `images` images."""
        model.compile(
            optimizer=optimizers.Adam(
                self.schedule(images),
                self.beta_1,
                self.beta_2,
                weight_decay=self.weight_decay or None,
            ),
            loss=losses.CategoricalCrossentropy(label_smoothing=self.label_smoothing)
            if self.label_smoothing
            else "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

    def schedule(self, images: int) -> float | WarmUpThenLinear:
        """Returns the learning rate, or its schedule, for a training on `images` images."""
        if self.warm_up is None:
            return self.learning_rate
        steps = self.epochs * -(-images // self.batch_size)
        return WarmUpThenLinear(self.learning_rate, max(1, round(self.warm_up * steps)), steps)

    def targets(self, labels: NDArray[np.uint8]) -> NDArray[Any]:
        """Returns the labels in the form that the loss reads: one-hot if they are smoothed, else class indices."""
        return utils.to_categorical(labels, _CLASSES) if self.label_smoothing else labels

    def fit(
        self,
        model: Sequential,
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        callbacks: Sequence[Callback] = (),
        verbose: int | str = "auto",
    ) -> dict[str, list[float]]:
        """Trains the compiled `model` and returns its history."""
        return model.fit(
            images,
            self.targets(labels),
            batch_size=self.batch_size,
            epochs=self.epochs,
            callbacks=list(callbacks),
            verbose=verbose,
        ).history

    def __str__(self) -> str:
        words = [f"{self.epochs} epoch{'s' * (self.epochs > 1)}", f"batch {self.batch_size}"]
        if self.warm_up is not None:
            words.append(
                f"learning rate to {self.learning_rate:g} in {self.warm_up:.0%} of the steps, then to 0"
            )
        if (self.beta_1, self.beta_2) != (Recipe.beta_1, Recipe.beta_2):
            words.append(f"betas {self.beta_1:g} and {self.beta_2:g}")
        if self.weight_decay:
            words.append(f"weight decay {self.weight_decay:g}")
        if self.label_smoothing:
            words.append(f"labels smoothed by {self.label_smoothing:g}")
        if self.output_initializer != Recipe.output_initializer:
            words.append(f"output weights from {self.output_initializer}")
        return ", ".join(words)


# `python -m bench.recipes` prints the accuracies by which they were chosen.
RECIPES = {
    "textbook": Recipe(chosen=False),
    "fast": Recipe(
        epochs=2,
        batch_size=128,
        learning_rate=0.012,
        warm_up=0.1,
        beta_1=0.8,
        beta_2=0.98,
        label_smoothing=0.1,
        output_initializer="zeros",
    ),
    "accurate": Recipe(
        epochs=20,
        batch_size=128,
        learning_rate=0.01,
        warm_up=0.1,
        weight_decay=0.15,
        label_smoothing=0.1,
    ),
}
CHOICE = (
    "hyper-parameters chosen on a 50,000/10,000 split of the training images; "
    "the test images were looked at once, after that"
)
