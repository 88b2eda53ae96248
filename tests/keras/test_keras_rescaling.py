"""`Rescaling` by arrays, `CategoryEncoding` of one sample and `Normalization.adapt` of samples with targets, beside Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (np.array(1 / 255), 0.0),
        (np.float32(2), np.array(-1)),
        (np.array([1.0, 2.0, 3.0]), np.array(1.0)),
        (np.array([[1.0, 2.0, 3.0]]), np.array([[0.5]])),
        (np.array([2.0]), [1.0, 2.0, 3.0]),
    ],
)
def test_rescaling_by_arrays(scale: Any, offset: Any) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    ours = engine.layers.Rescaling(scale, offset)
    np.testing.assert_allclose(ours(x), keras.layers.Rescaling(scale, offset)(x), rtol=1e-6)
    np.testing.assert_array_equal(engine.layers.Rescaling.from_config(ours.get_config())(x), ours(x))


def test_arrays_that_do_not_fit() -> None:
    with pytest.raises(TypeError, match="`scale` must be a number"):
        engine.layers.Rescaling(np.ones((2, 2)))
    with pytest.raises(ValueError, match="has 2 numbers as `scale`"):
        engine.layers.Rescaling(np.ones(2))(np.ones((1, 3)))


@pytest.mark.parametrize("mode", ["multi_hot", "one_hot", "count"])
@pytest.mark.parametrize("inputs", [3, [3, 2, 2], [[0, 1], [2, 2]], [[0], [3]]])
def test_categories_of_one_sample_and_of_several(mode: str, inputs: Any) -> None:
    ours, theirs = (
        api.layers.CategoryEncoding(4, output_mode=mode)(np.array(inputs)) for api in (engine, keras)
    )
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(engine.layers.CategoryEncoding(4, output_mode=mode)(inputs), theirs)


def test_statistics_of_samples_with_targets() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), np.ones(20)
    theirs = keras.layers.Normalization()
    theirs.adapt(x)
    ours = engine.layers.Normalization()
    ours.adapt((x[begin : begin + 6], y[begin : begin + 6]) for begin in range(0, 20, 6))
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-5)
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-5)
