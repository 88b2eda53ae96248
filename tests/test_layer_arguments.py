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
        (lambda: layers.LayerNormalization(rms_scaling=True), "`rms_scaling` must be False"),
        (
            lambda: layers.Dense(3, lora_rank=2),
            "`lora_rank` must be None, got 2: low-rank adaptation is left out",
        ),
        (lambda: layers.Dense(3, quantization_config={}), "`quantization_config` must be None"),
        (lambda: layers.Embedding(3, 2, lora_alpha=2), "`lora_alpha` must be None"),
        (lambda: layers.Lambda(len, mask=[True]), "`mask` must be None"),
        (
            lambda: layers.Lambda.from_config(layers.Lambda(lambda x: x).get_config()),
            "whose `function` is a Pyt",
        ),
        (
            lambda: layers.Lambda.from_config({"function": {"class_name": "function", "config": "nobodys"}}),
            "unknown function 'nobodys': pass it in `custom_objects`, or register it",
        ),
        (lambda: keras.Input((3,), sparse=True), "`sparse` must be"),
        (lambda: keras.Input((3,), ragged=True), "`ragged` must be"),
        (lambda: keras.Input((3,), optional=True), "`optional` must be"),
        (lambda: keras.Input(tensor=np.zeros(3)), "`input_tensor` must be None"),
    ],
)
def test_what_is_left_out(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@keras.utils.register_keras_serializable("mine")
def doubled(x: Any, factor: float = 2.0) -> Any:
    return factor * x


doubled.gradient = lambda x, upstream, factor=2.0: factor * upstream  # type: ignore[attr-defined]


def test_functions_go_through_configs() -> None:
    """By the name that they are registered under."""
    made = layers.Lambda(doubled, arguments={"factor": 3.0}, output_shape=(2,))
    dense, activation = layers.Dense(2, activation=doubled), layers.Activation(doubled)
    for layer in (made, dense, activation):
        copy = layers.deserialize(layers.serialize(layer))
        assert copy.get_config() == layer.get_config()
    copy = layers.Lambda.from_config(made.get_config())
    np.testing.assert_array_equal(copy(np.ones((1, 2))), [[3.0, 3.0]])
    assert layers.Dense.from_config(dense.get_config()).activation is doubled


def test_functions_without_a_derivative_predict_and_do_not_train() -> None:
    for layer in (layers.Lambda(np.tanh), layers.Activation(np.tanh)):
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2), layer])
        model.compile("sgd", "mse")
        x = np.ones((3, 2), np.float32)
        before, outputs = model.get_weights(), model.predict(x, verbose=0)
        with pytest.raises(TypeError, match="has no derivative, which training needs"):
            model.fit(x, x, verbose=0)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
        np.testing.assert_array_equal(model.predict(x, verbose=0), outputs)


def test_penalties_of_ones_own_on_outputs_leave_nothing_half_done() -> None:
    class Odd(keras.regularizers.Regularizer):
        def __call__(self, x: Any) -> float:
            return float(np.sum(x**4))

        def gradient(self, x: Any) -> Any:
            return (4 * x**3)[:, :1]

    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(2, activity_regularizer=Odd()), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    x, y, before = np.ones((3, 2), np.float32), np.ones(3), model.get_weights()
    with pytest.raises(ValueError, match=r"must have the shape \(3, 2\) of the outputs, got \(3, 1\)"):
        model.fit(x, y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.predict(x, verbose=0).shape == (3, 1)
    assert np.isfinite(model.evaluate(x, y, verbose=0))
