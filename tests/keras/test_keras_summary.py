"""Compares summaries with Keras, character by character, and copies of models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from twins import twins


def make(api: Any) -> Any:
    layers = api.layers
    return api.Sequential(
        [
            api.Input((8,)),
            layers.Dense(16, activation="relu", name="a"),
            layers.BatchNormalization(name="normalization_of_a_batch"),
            layers.Dropout(0.5, name="c"),
            layers.Dense(3, trainable=False, name="d"),
        ],
        name="model",
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"show_trainable": True},
        {"layer_range": ["norm", "c"]},
        {"layer_range": ["d", "a"]},
        {"positions": [0.5, 0.8, 1.0]},
        {"positions": [0.3, 0.6, 1.0], "show_trainable": True},
        {"expand_nested": True, "line_length": 71},
    ],
    ids=str,
)
def test_summary(options: dict[str, Any]) -> None:
    texts: list[list[str]] = []
    for model in twins(make):
        texts.append([])
        model.summary(**{"line_length": 80, "print_fn": texts[-1].append} | options)
    assert texts[1] == texts[0]


def test_trainable_and_clones() -> None:
    pair = twins(make)
    for api, model in zip(("keras", "engine"), pair, strict=True):
        module = __import__(api)
        copy = module.models.clone_model(model)
        assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
        assert (copy.name, copy.built, copy.output_shape) == ("model", True, (None, 3))
        assert not np.array_equal(copy.get_weights()[0], model.get_weights()[0])
        assert model.trainable
        assert len(model.trainable_weights) == 4
        model.trainable = False
        assert not any(layer.trainable for layer in model.layers)
        assert not model.trainable_weights
