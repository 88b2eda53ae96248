"""Arguments of layers that Keras has: what they do here, and which values are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers


def test_an_embedding_starts_from_weights() -> None:
    table = np.arange(6.0).reshape(3, 2)
    for given in (table, [table], table.tolist()):
        layer = layers.Embedding(3, 2, weights=given)
        assert layer.built
        assert np.array_equal(layer.embeddings, table)
        assert "weights" not in layer.get_config()
        model = keras.Sequential([keras.Input((1,)), layer])
        assert np.array_equal(model.predict(np.array([[2]]), verbose=0)[0, 0], table[2])
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\), got \(2, 3\)"):
        layers.Embedding(3, 2, weights=table.T)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (layers.CategoryEncoding, "`num_tokens` must be set"),
        (lambda: layers.BatchNormalization(renorm=True), "`renorm` must be False, got True: .* left out"),
        (lambda: layers.BatchNormalization(renorm_clipping={}), "`renorm_clipping` must be None"),
        (lambda: layers.BatchNormalization(renorm_momentum=0.5), "`renorm_momentum` must be 0.99"),
        (lambda: layers.BatchNormalization(synchronized=True), "`synchronized` must be False"),
        (lambda: keras.Input((3,), sparse=True), "`sparse` must be"),
        (lambda: keras.Input((3,), ragged=True), "`ragged` must be"),
        (lambda: keras.Input((3,), optional=True), "`optional` must be"),
        (lambda: keras.Input(tensor=np.zeros(3)), "`input_tensor` must be None"),
    ],
)
def test_what_is_left_out(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
