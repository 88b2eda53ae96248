"""Tests of `add` and `pop` on models that are parts of other models."""

from __future__ import annotations

import numpy as np
import pytest
from common import compiled
from conftest import CLASSES, Blobs, same_weights
from test_nested import LOSS, encoder_of, flat, stack_of

import engine as keras
from engine import layers


def test_models_around_one_follow_it(blobs: Blobs) -> None:
    inner = encoder_of("inner")
    middle = stack_of(inner, layers.Dense(4), name="middle")
    outer = compiled(stack_of(middle, layers.Dense(CLASSES, "softmax"), name="outer"), "sgd", LOSS)
    outer.fit(blobs.x, blobs.y, verbose=0)
    added = layers.Dense(2, "tanh")
    inner.add(added)
    for model in (inner, middle, outer):
        assert added in model._leaves
        assert same_weights(model, flat(model))
        np.testing.assert_array_equal(model.predict(blobs.x), flat(model).predict(blobs.x))
    outer.fit(blobs.x, blobs.y, verbose=0)
    learnt = added.get_weights()
    assert all(map(np.array_equal, learnt, outer.get_weights()[4:6]))
    assert inner.pop() is added
    assert all(map(np.array_equal, learnt, added.get_weights()))
    assert len(outer.get_weights()) == 8
    np.testing.assert_array_equal(outer.predict(blobs.x), flat(outer).predict(blobs.x))
    outer.fit(blobs.x, blobs.y, verbose=0)


def test_what_does_not_suit_a_model_around_changes_nothing(blobs: Blobs) -> None:
    inner, last = encoder_of("inner"), layers.Dense(CLASSES, "softmax")
    outer = compiled(stack_of(inner, last, name="outer"), keras.optimizers.SGD(0.1, momentum=0.9), LOSS)
    outer.fit(blobs.x, blobs.y, verbose=0)
    before, state = outer.get_weights(), outer.optimizer.variables[2].numpy()
    for change, message in (
        (lambda: inner.add(layers.Dense(3)), "has a kernel of shape"),
        (inner.pop, "has a kernel of shape"),
        (lambda: inner.add(last), "'dense.*' comes twice"),
        (lambda: inner.add(outer), "can't be a part of itself"),
    ):
        with pytest.raises(ValueError, match=message):
            change()
        assert len(inner.layers) == 2
        assert all(map(np.array_equal, before, outer.get_weights()))
        assert np.array_equal(outer.optimizer.variables[2].numpy(), state)
    outer.fit(blobs.x, blobs.y, verbose=0)
