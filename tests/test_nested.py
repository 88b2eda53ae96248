"""Models within models, and the methods of tensors that published scripts call."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, Blobs, classifier

import engine as keras
from engine import layers


def test_a_model_with_one_more_layer(blobs: Blobs) -> None:
    """As the best known of all scripts ends: logits, then probabilities."""
    model = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(CLASSES)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits = model(blobs.x[:2]).numpy()
    assert type(logits) is np.ndarray
    assert loss(blobs.y[:2], logits).numpy() == pytest.approx(loss(blobs.y[:2], logits))
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(blobs.x, blobs.y, verbose=0)
    whole = keras.Sequential([model, layers.Softmax()])
    expected = keras.activations.softmax(model.predict(blobs.x, verbose=0))
    np.testing.assert_allclose(whole(blobs.x), expected, rtol=1e-6)
    np.testing.assert_allclose(whole.predict(blobs.x, verbose=0), expected, rtol=1e-6)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    np.testing.assert_allclose(whole.predict(blobs.x, verbose=0), 1 / CLASSES, rtol=1e-6)


def test_what_a_model_tells_of_one_within() -> None:
    inner = classifier()
    outer = keras.Sequential([inner, layers.Dense(2, name="top")])
    assert outer.layers[0].layers == inner.layers
    assert outer.count_params() == inner.count_params() + 8
    lines: list[str] = []
    outer.summary(print_fn=lines.append)
    assert f"{inner.name} (Sequential)" in lines[0]
    outer.set_weights([np.full_like(w, i) for i, w in enumerate(outer.get_weights())])
    assert [w.flat[0] for w in outer.get_weights()] == list(range(6))
    assert [w.flat[0] for w in inner.get_weights()] == list(range(4))
    for copy in (keras.models.clone_model(outer), keras.Sequential.from_config(outer.get_config())):
        assert [type(part).__name__ for part in copy.layers] == ["Nested", "Dense"]
        assert [w.shape for w in copy.get_weights()] == [w.shape for w in outer.get_weights()]


def test_a_model_within_is_not_trained(blobs: Blobs) -> None:
    inner = classifier()
    outer = keras.Sequential([inner, layers.Dense(CLASSES, "softmax")])
    with pytest.raises(ValueError, match="within another can't be trained there: set `trainable = False`"):
        outer.compile("adam", "sparse_categorical_crossentropy")
    inner.trainable = False
    outer.compile("adam", "sparse_categorical_crossentropy")
    before = inner.get_weights()
    first, *_, last = outer.fit(blobs.x, blobs.y, epochs=20, verbose=0).history["loss"]
    assert last < first
    assert all(np.array_equal(a, b) for a, b in zip(before, inner.get_weights(), strict=True))
    assert (len(outer.trainable_weights), len(outer.non_trainable_weights)) == (2, 4)


def test_numbers_and_arrays_have_numpy(blobs: Blobs) -> None:
    model = classifier(optimizer=keras.optimizers.Adam(0.5))
    outputs = model(blobs.x)
    for array in (outputs, model.layers[0](blobs.x), model.layers[0].kernel):
        assert type(array.numpy()) is np.ndarray
        assert type(array + 1) is np.ndarray
    rate = model.optimizer.learning_rate
    assert (rate, rate.numpy(), rate.value) == (0.5, 0.5, 0.5)
    rate.assign(0.25)
    assert model.optimizer.learning_rate == 0.25
    assert model.optimizer.get_config()["learning_rate"] == 0.25
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 2.0])
    assert metric.result().numpy() == metric.result() == 1.5
    with pytest.raises(ValueError, match="`learning_rate` must be a finite number"):
        rate.assign(-1)
