"""Fixtures for the tests of the demo: drawings, and a model that reads them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import engine as keras
from engine._command.demo.reader import DigitReader
from engine._command.demo.server import SIDE, Server
from engine._command.recipes import RECIPES


@pytest.fixture(scope="session")
def reader() -> DigitReader:
    (images, labels), _ = keras.datasets.mnist.load_data()
    recipe = RECIPES["fast"]
    keras.utils.set_random_seed(7)
    model = recipe.model()
    recipe.compile(model, len(images))
    recipe.fit(model, images, labels, verbose=0)
    return DigitReader(model)


def enlarged(image: NDArray[np.uint8], factor: int, place: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns an image of MNIST, enlarged and placed somewhere on the canvas."""
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    large = np.kron(image, np.ones((factor, factor), np.uint8))
    rows, columns = np.flatnonzero(large.any(1)), np.flatnonzero(large.any(0))
    cut = large[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    drawing[place[0] : place[0] + cut.shape[0], place[1] : place[1] + cut.shape[1]] = cut
    return drawing


@pytest.fixture
def server(reader: DigitReader) -> Iterator[Server]:
    with Server(0) as server:
        server.read, server.about = reader, "Trained <b>well</b>."
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
