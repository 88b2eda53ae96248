"""Reads a drawing: the probabilities of the digits, and how much each pixel contributes to the most probable one."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from engine import activations, layers, losses, optimizers
from engine._base.locks import Lock, Order
from engine.layers.core import named_leaves
from engine.models import Sequential

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine._core_interface.cpp import Float32

# The sizes of MNIST: a digit fits into a box of 20 x 20 pixels, and its center of mass is the middle of the image.
_BOX, _SIDE = 20, 28
_DIGITS = 10
_STEPS = 128  # steps of the integral, whose error is then about a percent because of the kinks of relu
# Layers that change their inputs only in training.
_TRAINING_ONLY = (
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    *(getattr(layers, name) for name in layers.__all__ if name.startswith("Random")),
)


class DigitReading(NamedTuple):
    """The result of reading a drawing."""

    image: NDArray[np.uint8]  # (28, 28), the image that the network gets
    probabilities: Float32  # (10,)
    attribution: Float32  # (28, 28), what each pixel contributes to the most probable digit


def like_mnist(drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts a drawing in the way in which the images of MNIST were made (LeCun et al., 1998).

    The digit is cut out, scaled to fit into 20 x 20 pixels, and placed so that its center of mass is in the middle of
    28 x 28 pixels.

    Args:
        drawing: (height, width), 0 for paper, 255 for ink.

    Returns:
        The image, (28, 28), which is all 0 if there is no ink.
    """
    image = np.zeros((_SIDE, _SIDE), np.uint8)
    rows, columns = np.flatnonzero(drawing.any(axis=1)), np.flatnonzero(drawing.any(axis=0))
    if not rows.size:
        return image
    cut = drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX / max(cut.shape)
    height, width = (max(1, round(size * scale)) for size in cut.shape)
    small = _averaging(height, cut.shape[0]) @ cut @ _averaging(width, cut.shape[1]).T
    total = small.sum()
    down = float(small.sum(axis=1) @ (np.arange(height) + 0.5) / total)
    right = float(small.sum(axis=0) @ (np.arange(width) + 0.5) / total)
    top = int(np.clip(round(_SIDE / 2 - down), 0, _SIDE - height))
    left = int(np.clip(round(_SIDE / 2 - right), 0, _SIDE - width))
    image[top : top + height, left : left + width] = np.rint(small)
    return image


def _averaging(pixels: int, size: int) -> NDArray[np.float64]:
    """Returns the matrix (pixels, size) that averages `size` numbers over `pixels` equal parts, which may split a number."""
    ends = np.arange(pixels + 1)[:, np.newaxis] * (size / pixels)
    reached = np.clip(ends - np.arange(size), 0, 1)  # the share of each number that lies before each end
    weights_by_size: NDArray[np.float64] = np.diff(reached, axis=0) * (pixels / size)
    return weights_by_size


class _Probe(layers.Layer):
    """A layer that returns its inputs and keeps the gradient of the loss with respect to them."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        # The backward pass ends at the first layer with weights, so the probe needs one.
        self.add_weight((1,), "zeros")

    def call(self, inputs: Any, *args: Any, **options: Any) -> Any:
        return inputs

    def gradient(self, inputs: Float32, upstream: Float32) -> Any:
        self.seen: Float32 = np.array(upstream)
        return upstream, np.zeros(1)


class DigitReader:
    """A network that reads digits.

    Args:
        model: a model for images (28, 28) or (784,), from 0 to 255 if it rescales or normalizes them itself, else from 0
            to 1. Its ten outputs are probabilities or logits.

    Raises:
        ValueError: for any other model.
    """

    def __init__(self, model: Any) -> None:
        if not model.built:
            msg = "the model has no weights, as it doesn't know the shape of its inputs: build it before it is saved"
            raise ValueError(msg)
        sample, outputs = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
        if sample not in {(_SIDE, _SIDE), (_SIDE, _SIDE, 1), (_SIDE * _SIDE,)} or outputs != (_DIGITS,):
            msg = f"the model must take images (28, 28) or (784,) and give 10 outputs, but takes {sample} and gives {outputs}"
            raise ValueError(msg)
        if not model._built_graph.network.wiring.is_chain:
            msg = f"the demo takes a chain of layers from one input to one output, but model {model.name!r} has branches"
            raise ValueError(msg)
        self._model, self._sample = model, sample
        scales = (layers.Rescaling, layers.Normalization, layers.BatchNormalization)
        stack = [layer for _, layer in named_leaves(model._parts_in_order)]
        first = takewhile(lambda layer: not isinstance(layer, layers.Dense), stack)
        # The factor from pixels to inputs.
        self._scale = 1.0 if any(isinstance(layer, scales) for layer in first) else 1 / 255
        blank = model.predict(np.zeros((1, *sample), np.float32), verbose=0)
        self._from_logits = not (np.isclose(blank.sum(), 1, atol=1e-3) and blank.min() >= 0)
        self._lock = Lock("a reader", Order.OBJECT)  # held while the probe keeps the gradient of one drawing
        self._probe = _Probe(name="probe")
        self._probed = self._with_probe()

    def __call__(self, drawing: NDArray[np.uint8]) -> DigitReading:
        """Reads a drawing, (height, width), 255 for ink."""
        image = like_mnist(drawing)
        x = (image * np.float32(self._scale)).reshape(1, *self._sample)
        outputs = self._model.predict(x, verbose=0)[0]
        probabilities = activations.softmax(outputs) if self._from_logits else outputs / outputs.sum()
        return DigitReading(image, probabilities, self.attribution(x, int(probabilities.argmax())))

    def attribution(self, x: Float32, digit: int) -> Float32:
        """Returns what each pixel adds to the logarithm of the probability of `digit`, compared with blank paper.

        These are integrated gradients (Sundararajan et al., 2017): `x * mean(dlog p / dx)`, the mean over images between
        blank paper and `x`. Their sum is `log p(x) - log p(blank)`.

        Args:
            x: one image in the form of the model's inputs, (1, ...).
            digit: the digit.

        Returns:
            float32 (28, 28).
        """
        parts = (np.arange(_STEPS, dtype=np.float32) + 0.5) / _STEPS
        path = x.reshape(1, -1) * parts[:, np.newaxis]
        with self._lock.held():
            self._probed.train_on_batch(path.reshape(_STEPS, *self._sample), np.full(_STEPS, digit))
            gradients = self._probe.seen
        gradient: Float32 = gradients.reshape(_STEPS, -1).mean(axis=0)
        return -(gradient * x.reshape(-1)).reshape(_SIDE, _SIDE)  # the loss is -log p

    def _with_probe(self) -> Sequential:
        """Returns a frozen copy of the model that begins with the probe."""
        named = named_leaves(self._model._parts_in_order)
        stack = [(name, layer) for name, layer in named if not isinstance(layer, _TRAINING_ONLY)]
        copies = {layer: type(layer).from_config(layer.get_config()) for _, layer in stack}
        for name, layer in stack:
            copies[layer].name, copies[layer].trainable = name, False
        probed = Sequential([layers.Input(self._sample), self._probe, *(copies[layer] for _, layer in stack)])
        for layer, copy in copies.items():
            copy.set_weights(layer.get_weights())
        loss = losses.SparseCategoricalCrossentropy(from_logits=self._from_logits, reduction="sum")
        probed.compile(optimizers.SGD(0.0), loss)
        return probed
