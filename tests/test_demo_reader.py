"""Tests how `engine demo` reads drawings and computes attributions."""

from __future__ import annotations

import numpy as np
import pytest
from drawings import enlarged
from numpy.typing import NDArray

import engine as keras
from engine._command.demo.reader import DigitReader, like_mnist
from engine._command.demo.server import SIDE


@pytest.mark.parametrize(("factor", "place"), [(1, (100, 3)), (4, (10, 40)), (5, (0, 0))])
def test_drawings_become_images_of_mnist(factor: int, place: tuple[int, int]) -> None:
    (images, _), _ = keras.datasets.mnist.load_data()
    whole = [image for image in images[:300] if max(np.ptp(np.nonzero(image), axis=1)) == 19]
    assert len(whole) > 100
    for image in whole[:100]:
        found = like_mnist(enlarged(image, factor, place))
        # The center of mass of MNIST images was rounded once more, so that a few differ by a pixel.
        near = [np.roll(image, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        assert any(np.array_equal(found, each) for each in near)


def test_proportions_are_kept() -> None:
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[20:120, 60:70] = 255
    image = like_mnist(drawing)
    assert (image == 255).sum() == 20 * 2
    assert np.array_equal(np.flatnonzero(image.any(1)), range(4, 24))
    assert np.array_equal(np.flatnonzero(image.any(0)), [13, 14])


def test_ink_is_averaged() -> None:
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[:60:2, :60] = 200
    image = like_mnist(drawing)
    assert image.max() <= 200
    assert image.sum() == pytest.approx(drawing.sum() / 9 * (60 / 59), rel=0.02)


@pytest.mark.parametrize("drawing", [np.zeros((SIDE, SIDE), np.uint8), np.full((SIDE, SIDE), 255, np.uint8)])
def test_blank_and_black_paper(drawing: NDArray[np.uint8], reader: DigitReader) -> None:
    reading = reader(drawing)
    assert reading.image.sum() == (0 if not drawing.any() else 255 * 400)
    assert reading.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(reading.attribution).all()


def test_a_dot() -> None:
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[-1, -1] = 1
    assert like_mnist(drawing).max() == 1


def test_digits_are_read(reader: DigitReader) -> None:
    _, (images, labels) = keras.datasets.mnist.load_data()
    readings = [reader(enlarged(image, 4, (5, 20))) for image in images[:100]]
    right = [
        reading.probabilities.argmax() == label for reading, label in zip(readings, labels[:100], strict=True)
    ]
    assert np.mean(right) >= 0.95


def test_attributions_add_up(reader: DigitReader) -> None:
    """The attributions add up to the change of the output by the drawing."""
    _, (images, _) = keras.datasets.mnist.load_data()
    model = reader._model
    blank = np.log(model.predict(np.zeros((1, 28, 28), np.uint8), verbose=0)[0].astype(np.float64))
    for image in images[:10]:
        found = np.log(model.predict(image[np.newaxis], verbose=0)[0].astype(np.float64))
        digit = int(found.argmax())
        attribution = reader.attribution(image[np.newaxis].astype(np.float32), digit)
        assert attribution.sum() == pytest.approx(found[digit] - blank[digit], rel=0.02, abs=0.02)
        assert not attribution[image == 0].any()


def test_attributions_are_gradients(reader: DigitReader) -> None:
    """For a model that is linear up to the softmax, the attributions are compared with their formula."""
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)])
    linear = DigitReader(model)
    x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    kernel = model.get_weights()[0].astype(np.float64)
    parts = (np.arange(2000) + 0.5) / 2000
    logits = parts[:, np.newaxis] * (x.reshape(1, -1) @ kernel)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = x.reshape(-1) * (kernel[:, 3] - (shares @ kernel.T).mean(axis=0))
    np.testing.assert_allclose(linear.attribution(x, 3).reshape(-1), expected, atol=2e-4)


def test_dropout_and_normalization_stay_still() -> None:
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.RandomTranslation(0.1, 0.1),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    reader = DigitReader(model)
    x = np.random.default_rng(0).random((1, 28, 28), np.float32)
    first, second = reader.attribution(x, 1), reader.attribution(x, 1)
    np.testing.assert_array_equal(first, second)
    change = np.log(model.predict(x, verbose=0)[0, 1] / model.predict(0 * x, verbose=0)[0, 1])
    assert first.sum() == pytest.approx(change, rel=0.05, abs=0.02)


@pytest.mark.parametrize("scaled", [True, False])
def test_ink_as_the_model_wants_it(scaled: bool) -> None:
    """Ink has values from 0 to 255 if the model rescales it, and else from 0 to 1."""
    seen: list[float] = []

    class Watch(keras.layers.Layer):
        def call(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append(float(inputs.max()))
            return inputs

        def gradient(self, inputs: NDArray[np.float32], upstream: NDArray[np.float32]) -> NDArray[np.float32]:
            return upstream

    scaling = [keras.layers.Rescaling(1 / 255)] if scaled else []
    stack = [
        keras.Input((784,)),
        Watch(),
        *scaling,
        keras.layers.Dense(10),
        keras.layers.Activation("linear"),
    ]
    reader = DigitReader(keras.Sequential(stack))
    reading = reader(np.full((SIDE, SIDE), 255, np.uint8))
    assert max(seen) == pytest.approx(255 if scaled else 1)
    assert reading.probabilities.sum() == pytest.approx(1, abs=1e-5)  # the model returns logits


def test_a_model_that_is_not_built() -> None:
    with pytest.raises(ValueError, match="no weights, as it doesn't know the shape of its inputs"):
        DigitReader(keras.Sequential([keras.layers.Dense(10)]))


@pytest.mark.parametrize(("shape", "units"), [((27, 28), 10), ((784,), 9)])
def test_models_that_do_not_fit(shape: tuple[int, ...], units: int) -> None:
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(units)])
    with pytest.raises(ValueError, match="must take images \\(28, 28\\) or \\(784,\\) and give 10 outputs"):
        DigitReader(model)
