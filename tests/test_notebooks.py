"""Tests of what notebooks show for models and histories."""

from __future__ import annotations

import re

import numpy as np

import engine as keras
from engine import layers

X = np.random.default_rng(0).random((40, 4))
Y = (X[:, :1] > 0.5).astype(float)


def cells(html: str) -> list[str]:
    return re.findall(r"<t[dh] [^>]*>(.*?)</t[dh]>", html)


def test_models() -> None:
    inner = keras.Sequential([layers.Dense(3)], name="inner")
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, name="<b>&"), inner, layers.Dense(1)], name="net <i>"
    )
    shown = model._repr_html_()
    assert "Model: net &lt;i&gt;" in shown
    heading, *rows = [cells(shown)[i : i + 3] for i in range(0, 12, 3)]
    assert heading == ["Layer (type)", "Output Shape", "Param #"]
    assert rows[:2] == [
        ["&lt;b&gt;&amp; (Dense)", "(None, 8)", "40"],
        ["inner (Sequential)", "(None, 3)", "27"],
    ]
    assert "Total params: 71 (284.00 B)" in shown
    unbuilt = keras.Sequential([layers.Dense(2)])._repr_html_()
    assert "0 (unbuilt)" in unbuilt
    chain = keras.Model(model.input, model.output)
    assert "(InputLayer)" in chain._repr_html_()


def test_histories() -> None:
    history = keras.callbacks.History()
    assert repr(history) == "<History of 0 epochs>"
    assert history._repr_html_().count("<tr>") == 1
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
    several = keras.metrics.Precision(thresholds=[0.2, 0.5], name="<p>")
    model.compile("adam", "binary_crossentropy", metrics=[several])
    history = model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y), validation_freq=2)
    last = history.history["loss"][-1]
    assert repr(history).startswith("<History of 3 epochs, last <p>: [")
    assert f"loss: {last:.4g}, val_<p>: " in repr(history)
    found = cells(history._repr_html_())
    losses = history.history["loss"]
    place = found.index("loss")
    assert found[place : place + 4] == [
        "loss",
        *(f"{value:.4g}" for value in (last, min(losses), max(losses))),
    ]
    assert "&lt;p&gt;" in found
    model.fit(X, Y, verbose=0)
    assert repr(model.history).startswith("<History of 1 epoch, last ")
