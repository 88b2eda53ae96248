"""Losses and metrics that are called directly: shapes are not broadcast, and negative labels are errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine as keras

Y = np.array([0.0, 1, 1, 0])
P = np.array([[0.1], [0.9], [0.8], [0.2]])


@pytest.mark.parametrize("y", [Y, Y[:, None]], ids=["(n,)", "(n, 1)"])
def test_labels_of_one_output_may_lack_its_axis(y: np.ndarray) -> None:
    assert keras.losses.MeanSquaredError()(y, P) == pytest.approx(0.025)
    assert keras.losses.BinaryCrossentropy()(y, P) == pytest.approx(-np.log([0.9, 0.9, 0.8, 0.8]).mean())
    assert keras.metrics.BinaryAccuracy()(y, P) == 1.0
    assert keras.metrics.MeanSquaredError()(y, P) == pytest.approx(0.025)


def test_weights_may_be_a_column() -> None:
    loss, weights = keras.losses.MeanSquaredError(), np.arange(4.0)
    assert loss(Y, P, weights[:, None]) == loss(Y, P, weights)
    with pytest.raises(ValueError, match=r"`sample_weight` must have shape \(4,\), got \(3,\)"):
        loss(Y, P, weights[:3])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`y_true` must have the shape of `y_pred`, \(4, 1\), got \(3, 1\)"):
        keras.losses.MeanSquaredError()(Y[:3], P)
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        keras.losses.CategoricalCrossentropy()(Y, np.hstack([P, 1 - P]))


@pytest.mark.parametrize("label", [-1, 1.7, 5, np.nan])
def test_labels_must_be_classes(label: float) -> None:
    with pytest.raises(ValueError, match=r"`y_true` must hold class indices in \[0, 2\)"):
        keras.losses.SparseCategoricalCrossentropy()([label], [[0.1, 0.9]])
