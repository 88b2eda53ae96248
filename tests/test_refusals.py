"""A refused call changes nothing, so that the next call does the same as without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier

import engine as keras
from engine import initializers, layers, losses, metrics


def test_a_metric_that_does_not_suit_the_first_targets(blobs: Blobs) -> None:
    model = classifier(loss="crossentropy", metrics=["categorical_accuracy"])
    for _ in range(2):
        with pytest.raises(ValueError, match="takes one number per output as targets but the loss"):
            model.fit(blobs.x, blobs.y, verbose=0)
    model.fit(blobs.x, blobs.one_hot, verbose=0)


def test_a_metric_for_another_number_of_outputs(blobs: Blobs) -> None:
    model = classifier(loss="crossentropy", metrics=[keras.metrics.AUC(multi_label=True, num_labels=5)])
    for y in (blobs.y, blobs.y, blobs.one_hot):
        with pytest.raises(ValueError, match="`num_labels` of 'auc' is for 5 outputs, but there are 3"):
            model.fit(blobs.x, y, verbose=0)


@pytest.mark.parametrize("exact", [False, True])
def test_layers_that_a_metric_refuses(blobs: Blobs, exact: bool) -> None:
    metrics = [
        keras.metrics.AUC(multi_label=True, exact=exact, name="first"),
        keras.metrics.AUC(label_weights=[1, 2, 3], name="second"),
    ]
    model = classifier(loss="categorical_crossentropy", metrics=metrics)
    before = model.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match="`label_weights` of 'second' is for 3 outputs, but there are 5"):
        model.add(layers.Dense(5))
    assert model.get_metrics_result() == dict(zip(model.metrics_names, before, strict=True))
    assert model.evaluate(blobs.x, blobs.one_hot) == before


def test_a_metric_tells_of_the_pass_that_it_saw(blobs: Blobs) -> None:
    """Neither further layers nor direct calls change the results of the last pass."""
    model = classifier(loss="categorical_crossentropy", metrics=[keras.metrics.AUC(multi_label=True)])
    _, area = model.evaluate(blobs.x, blobs.one_hot)
    model.add(layers.Dense(5, "softmax"))
    assert model.get_metrics_result()["auc"] == area


@pytest.mark.parametrize("make", [lambda: layers.Dense(4), layers.LayerNormalization])
def test_layers_called_on_another_shape(make: Any) -> None:
    layer = make()
    layer(np.ones((2, 6)))
    before = [weight.shape for weight in layer._trainable_specs]
    with pytest.raises(ValueError, match=r"make a new layer instead of moving this one"):
        layer(np.ones((2, 5)))
    assert [weight.shape for weight in layer._trainable_specs] == before


def test_a_normalization_called_on_another_shape() -> None:
    layer = layers.Normalization()
    layer.adapt(np.arange(12.0).reshape(2, 6))
    layer(np.ones((2, 6)))
    before = layer.mean
    with pytest.raises(ValueError, match="make a new layer instead of moving this one"):
        layer(np.ones((2, 5)))
    assert np.array_equal(layer.mean, before)


def test_a_start_that_fails() -> None:
    """If the weights of a layer cannot be made, the layer has none, and no names of weights."""

    def short(shape: tuple[int, ...], dtype: object = None) -> Any:
        return np.zeros(1, np.float32)

    layer = layers.Dense(4, kernel_initializer=short, name="dense")
    with pytest.raises(ValueError, match="the start of dense's kernel must have shape"):
        layer(np.ones((2, 6)))
    assert (layer.built, layer._weight_names) == (False, [])


def test_a_callback_that_refuses_the_model(blobs: Blobs) -> None:
    """Then there is no training that could be backed up."""

    class Refusing(keras.callbacks.Callback):
        def set_model(self, model: Any) -> None:
            msg = "not this one"
            raise RuntimeError(msg)

    model = classifier()
    with pytest.raises(RuntimeError, match="not this one"):
        model.fit(blobs.x, blobs.y, callbacks=[Refusing()], verbose=0)
    backup = keras.callbacks.BackupAndRestore("never_made")
    backup.set_model(model)
    with pytest.raises(RuntimeError, match=r"use BackupAndRestore in `callbacks` of fit\(\)"):
        backup.on_epoch_end(0)
    assert not Path("never_made").exists()


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_trainable_is_a_flag(value: object) -> None:
    layer = layers.Dense(4)
    with pytest.raises(TypeError, match=f"`trainable` must be True or False, got {value!r}"):
        layer.trainable = value
    assert layer.trainable is True
    layer.trainable = 0
    assert layer.trainable is False


TYPED = {
    "weight": lambda dtype: layers.Layer().add_weight((1,), dtype=dtype),
    "loss": lambda dtype: losses.Huber(dtype=dtype),
    "metric": lambda dtype: metrics.AUC(dtype=dtype),
    "initializer": lambda dtype: initializers.Zeros()((1,), dtype),
}


@pytest.mark.parametrize("make", TYPED.values(), ids=TYPED)
def test_there_is_one_dtype(make: Any) -> None:
    for known in (None, "float32", np.float32, np.dtype("f4"), {"config": {"name": "float32"}}):
        make(known)
    for wrong in ("float64", np.float16, "nonsense", 32, {"config": {"name": "mixed_float16"}}):
        with pytest.raises(ValueError, match=r"`dtype` must be 'float32', .* or None; got"):
            make(wrong)


@pytest.mark.parametrize("kind", [losses.Huber, metrics.AUC, metrics.Mean])
def test_names_are_texts(kind: Any) -> None:
    """Names are the headings of columns in logs, which are sorted."""
    with pytest.raises(TypeError, match="`name` must be a string, got 5"):
        kind(name=5)
    assert kind(name="mine").name == "mine"
