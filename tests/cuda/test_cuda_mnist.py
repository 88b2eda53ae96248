"""Five epochs of the MNIST network on a GPU, beside the CPU."""

from __future__ import annotations

import numpy as np
import pytest

import engine as keras
from engine import layers
from engine._core_interface.cpp import build_info

# The emulation runs every thread by itself. With 6,000 images, a change of all initial weights by one unit in the last place
# changes the losses of five epochs by less than 3e-8 of them, so that 1e-5 is several hundred such changes. (With 60,000 it
# changes them by 1e-2 after five epochs: then nothing can be compared.)
ROWS = 64 if "Emulated" in build_info()["cuda"] else 6000
TOLERANCE = 1e-5


def losses_on(device: str) -> tuple[list[float], list[np.ndarray]]:
    (images, labels), _ = keras.datasets.mnist.load_data()
    with keras.device(device):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((784,), dtype="uint8"),
                layers.Rescaling(1 / 255),
                layers.Dense(128, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
    model.compile("adam", "sparse_categorical_crossentropy")
    history = model.fit(images[:ROWS].reshape(-1, 784), labels[:ROWS], batch_size=32, epochs=5, verbose=0)
    return history.history["loss"], model.get_weights()


@pytest.mark.parametrize("way", ["steps", "as the GPU chooses"])
def test_losses_of_five_epochs(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "steps":
        monkeypatch.setenv("ENGINE_CUDA_EXECUTION", way)
    losses, weights = losses_on("cuda")
    np.testing.assert_allclose(losses, losses_on("cpu")[0], rtol=TOLERANCE)
    again, weights_again = losses_on("cuda")
    assert again == losses
    for one, other in zip(weights, weights_again, strict=True):
        np.testing.assert_array_equal(one, other)
