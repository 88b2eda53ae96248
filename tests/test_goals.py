"""Tests of arguments of `fit` that Keras does not have: target, time_budget, stratify, balanced class weights."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier, same_weights, trained

import engine as keras
from engine.models.execution import CoreExecution


def test_a_target_ends_training(blobs: Blobs) -> None:
    model = trained(
        blobs.x, blobs.y, epochs=200, validation_split=0.2, target={"val_accuracy": 0.9, "loss": 0.5}
    )
    history = model.history.history
    assert len(model.history.epoch) < 200
    reached = [a >= 0.9 and b <= 0.5 for a, b in zip(history["val_accuracy"], history["loss"], strict=True)]
    assert reached == [False] * (len(reached) - 1) + [True]
    assert same_weights(model, trained(blobs.x, blobs.y, epochs=len(reached), validation_split=0.2))


def test_a_target_waits_for_its_validation(blobs: Blobs) -> None:
    model = trained(
        blobs.x, blobs.y, epochs=9, validation_split=0.2, validation_freq=3, target={"val_accuracy": 0.0}
    )
    assert model.history.epoch == [0, 1, 2]


@pytest.mark.parametrize("per_batch", [False, True])
def test_a_time_budget_ends_training(per_batch: bool, blobs: Blobs) -> None:
    watch = [keras.callbacks.TerminateOnNaN()] if per_batch else []
    x, y = np.tile(blobs.x, (6000, 1)), np.tile(blobs.y, 6000)
    begin = time.monotonic()
    model = trained(
        x, y, epochs=10**6, batch_size=1, time_budget=0.1, callbacks=watch, validation_data=(x, y)
    )
    assert time.monotonic() - begin >= 0.1
    assert 0 < model.optimizer.iterations < len(x)
    assert len(model.history.history["val_loss"]) == 1
    model.fit(blobs.x, blobs.y, verbose=0)


def test_no_time_still_takes_a_step(blobs: Blobs) -> None:
    assert trained(blobs.x, blobs.y, epochs=5, time_budget=0).history.epoch == [0]


def test_a_time_budget_ends_a_stream(blobs: Blobs) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield blobs.x, blobs.y

    model = trained(endless(), epochs=1, time_budget=0.1)
    assert model.optimizer.iterations > 0


GOAL_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"target": 0.9}, r"`target` must be a dict such as \{'val_accuracy': 0.98\}, got 0.9"),
    (
        {"target": {"acuracy": 1}},
        "`target` has the name 'acuracy'; did you mean 'accuracy'. The logs have: loss, acc",
    ),
    ({"target": {"val_loss": 1}}, "`target` has the name 'val_loss'.*names with `val_` need validation data"),
    ({"target": {"loss": "low"}}, r"`target\['loss'\]` must be a number, got 'low'"),
    ({"time_budget": -1}, "`time_budget` must be a finite number of at least 0, got -1"),
    ({"time_budget": "1 min"}, "`time_budget` must be a number"),
    ({"stratify": True}, "`stratify=True` says how `validation_split` splits"),
    ({"stratify": "yes", "validation_split": 0.1}, "`stratify` must be True or False"),
    (
        {"class_weight": "equal"},
        "`class_weight` must be a dict of class index -> weight, or 'balanced', got 'equal'",
    ),
]


@pytest.mark.parametrize(("options", "message"), GOAL_MISTAKES)
def test_mistakes(options: dict[str, Any], message: str, blobs: Blobs) -> None:
    model = classifier()
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(blobs.x, blobs.y, **options)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_stratified_split_takes_its_share_of_every_class(one_hot: bool, blobs: Blobs) -> None:
    y = np.sort(blobs.y)
    shares: list[Any] = []
    model = classifier(loss="categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy")
    source = CoreExecution(model).source(blobs.x, keras.utils.to_categorical(y, 3) if one_hot else y)
    for part in source.split(0.2, True):
        classes = part.arrays.outputs[0].y.argmax(axis=1) if one_hot else part.arrays.outputs[0].y
        shares.append(np.bincount(classes))
        rows = [np.flatnonzero((blobs.x == row).all(axis=1))[0] for row in part.x]
        assert rows == sorted(rows)
    assert np.array_equal(sum(shares), np.bincount(y))
    assert np.allclose(shares[1] / np.bincount(y), 0.2, atol=0.02)
    model.fit(
        blobs.x,
        keras.utils.to_categorical(y, 3) if one_hot else y,
        validation_split=0.2,
        stratify=True,
        verbose=0,
    )


def test_a_stratified_split_of_few(blobs: Blobs) -> None:
    y = np.zeros(150, int)
    y[70] = 1
    model = classifier()
    training, validation = CoreExecution(model).source(blobs.x, y).split(0.5, True)
    assert (training.arrays.outputs[0].y.sum(), len(validation)) == (1, 75)
    with pytest.raises(ValueError, match="leaves none for validation"):
        model.fit(blobs.x[:3], [0, 1, 2], validation_split=0.9, stratify=True)


def test_balanced_classes_weigh_the_same(blobs: Blobs) -> None:
    y = np.where(np.arange(150) < 100, 0, blobs.y)
    counts = np.bincount(y)
    expected = trained(blobs.x, y, class_weight={c: 150 / (3 * counts[c]) for c in range(3)})
    assert same_weights(trained(blobs.x, y, class_weight="balanced"), expected)
