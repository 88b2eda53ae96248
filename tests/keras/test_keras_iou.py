"""Compares intersection over union with Keras: alone, in files and in training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from twins import assert_same_histories, twins

import engine

Array = NDArray[Any]

ROWS, CLASSES = 30, 4
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, ROWS)  # class 3 is absent
GUESSES = RNG.integers(0, CLASSES, ROWS)
ONE_HOT = np.eye(CLASSES, dtype=np.float32)[LABELS]
SCORES = RNG.random((ROWS, CLASSES)).astype(np.float32)
WEIGHT = RNG.integers(0, 4, ROWS)

CASES: list[tuple[str, dict[str, Any], Array, Array]] = [
    ("IoU", {"num_classes": CLASSES, "target_class_ids": [0]}, LABELS, GUESSES),
    ("IoU", {"num_classes": CLASSES, "target_class_ids": (0, 2, 3)}, LABELS, GUESSES),
    (
        "IoU",
        {"num_classes": CLASSES, "target_class_ids": [1, 2], "sparse_y_pred": False},
        LABELS,
        SCORES,
    ),
    ("IoU", {"num_classes": 3, "target_class_ids": [1, 2], "ignore_class": 0}, LABELS, GUESSES),
    ("BinaryIoU", {}, LABELS % 2, SCORES[:, 0]),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, LABELS % 2, SCORES[:, 0]),
    ("MeanIoU", {"num_classes": CLASSES}, LABELS, GUESSES),
    ("MeanIoU", {"num_classes": CLASSES}, LABELS.reshape(10, 3), GUESSES.reshape(10, 3)),
    ("MeanIoU", {"num_classes": CLASSES, "sparse_y_pred": False, "ignore_class": -1}, LABELS - 1, SCORES),
    ("OneHotIoU", {"num_classes": CLASSES, "target_class_ids": [0, 3]}, ONE_HOT, SCORES),
    (
        "OneHotIoU",
        {"num_classes": CLASSES, "target_class_ids": [0], "sparse_y_pred": True},
        ONE_HOT,
        GUESSES,
    ),
    ("OneHotMeanIoU", {"num_classes": CLASSES}, ONE_HOT, SCORES),
    ("OneHotMeanIoU", {"num_classes": CLASSES, "axis": 0}, ONE_HOT.T, SCORES.T),
]


@pytest.mark.parametrize(("name", "config", "y", "p"), CASES, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("weighted", [False, True])
def test_alone(name: str, config: dict[str, Any], y: Array, p: Array, weighted: bool) -> None:
    theirs, ours = (getattr(api.metrics, name)(**config, name="iou") for api in (keras, engine))
    weight = WEIGHT.reshape(y.shape) if weighted and y.size == ROWS else WEIGHT if weighted else None
    assert float(ours.result()) == float(theirs.result()) == 0
    for _ in range(2):
        theirs.update_state(y, p, weight)
        ours.update_state(y, p, weight)
        np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(np.asarray(ours.total_cm), np.asarray(theirs.total_cm))
    assert [v.name for v in ours.variables] == [v.name for v in theirs.variables]
    config_of_theirs = {
        key: list(value) if isinstance(value, tuple) else value for key, value in theirs.get_config().items()
    }
    assert ours.get_config() == config_of_theirs
    assert type(ours).from_config(theirs.get_config()).get_config() == ours.get_config()
    ours.reset_state()
    assert ours.result() == 0


def test_in_training() -> None:
    x = RNG.normal(size=(ROWS, 5)).astype(np.float32)

    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((5,)), api.layers.Dense(CLASSES, "softmax")])
        metrics = [
            api.metrics.OneHotMeanIoU(CLASSES, name="mean"),
            api.metrics.OneHotIoU(CLASSES, [0, 1], name="two"),
        ]
        model.compile(api.optimizers.SGD(0.1), "categorical_crossentropy", metrics=metrics, run_eagerly=True)
        return model

    pair = twins(make)
    assert_same_histories(*pair.fit(x, ONE_HOT, batch_size=8, epochs=3, validation_split=0.2))


def test_weights_count_as_they_are() -> None:
    """Keras truncates sample weights to integers, unless `dtype` is "float32"."""
    options = {"num_classes": 2}
    theirs, ours = keras.metrics.MeanIoU(**options, dtype="float32"), engine.metrics.MeanIoU(**options)
    for metric in (theirs, ours):
        metric.update_state([0, 0, 1, 1], [0, 1, 0, 1], [0.3, 0.3, 0.3, 0.1])
    np.testing.assert_allclose(ours.result(), theirs.result(), rtol=1e-5)


@pytest.mark.parametrize("dtype", [None, "int", "float32"])
def test_dtypes(dtype: str | None) -> None:
    assert engine.metrics.MeanIoU(2, dtype=dtype).dtype == keras.metrics.MeanIoU(2, dtype=dtype).dtype


def test_what_does_not_fit() -> None:
    for api in (keras, engine):
        with pytest.raises(ValueError, match=r"arget.class.id"):
            api.metrics.IoU(2, [2])
    with pytest.raises(ValueError, match="`y_pred` must have one class per target"):
        engine.metrics.MeanIoU(2).update_state([0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="`sample_weight` must have one weight per target"):
        engine.metrics.MeanIoU(2).update_state([0, 1], [0, 1], [1, 2, 3])
