"""Compares softmax with masks and along several axes, and overlap losses with sums along several axes, with Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from common import compiled
from twins import assert_same_histories, twins

import engine

X = np.random.default_rng(0).random((2, 3, 4), "float32")
MASK = np.ones((2, 3, 4), bool)
MASK[0, 0, 1:] = MASK[1, 2] = False


@pytest.mark.parametrize("axis", [(1, 2), (0, 1), (2, 0), (1,), (), 1, 0, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_along_axes(name: str, axis: Any) -> None:
    theirs, ours = (getattr(api.activations, name)(X, axis=axis) for api in (keras, engine))
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5, atol=1e-7)


def test_softmax_takes_lists_and_axes_from_the_end_and_names_axes_once() -> None:
    np.testing.assert_array_equal(
        engine.activations.softmax(X, axis=[-1, -2]), engine.activations.softmax(X, axis=(2, 1))
    )
    with pytest.raises(ValueError, match="each axis once"):
        engine.activations.softmax(X, axis=(1, -2))
    with pytest.raises(ValueError, match="axis"):
        engine.activations.softmax(X, axis=(1, 3))


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), [-1, -2], (2,)])
def test_softmax_layer_with_a_mask(axis: Any) -> None:
    theirs, ours = keras.layers.Softmax(axis), engine.layers.Softmax(axis)
    np.testing.assert_allclose(ours(X), np.asarray(theirs(X)), rtol=1e-5, atol=1e-7)
    for mask in (MASK, MASK[:1], MASK[:, :, :1], MASK[0, 0], MASK.astype("float32"), np.zeros_like(MASK)):
        np.testing.assert_allclose(ours(X, mask=mask), np.asarray(theirs(X, mask=mask)), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(ours(X, MASK), ours(X, mask=MASK))


def test_a_mask_that_does_not_fit_is_refused() -> None:
    for api in (keras, engine):
        with pytest.raises(ValueError, match="broadcast"):
            api.layers.Softmax()(X, mask=MASK[:, :, 0])


def scores_model(api: Any) -> Any:
    """Returns a model with a softmax over timesteps, which gets a mask, and a sum over timesteps."""

    class Scores(api.layers.Layer):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.supports_masking = True

        def call(self, inputs: Any) -> Any:
            return inputs[..., 0] * 3.0

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            found = np.zeros_like(inputs)
            found[..., 0] = upstream * 3.0
            return found

    class Plain(api.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return inputs * 1.0

        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
            return None

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return upstream * 1.0

    layers = api.layers
    return api.Sequential(
        [
            api.Input((3, 4)),
            layers.Masking(),
            layers.Dense(5, "tanh"),
            Scores(),
            layers.Softmax(),
            Plain(),
            layers.Dense(2),
        ]
    )


def test_a_mask_in_a_model_reaches_a_softmax_of_its_shape() -> None:
    def make(api: Any) -> Any:
        return compiled(scores_model(api), api.optimizers.SGD(0.5), "mse")

    rng = np.random.default_rng(1)
    x = rng.random((16, 3, 4), "float32")
    x[::2, 2] = x[::4, 1] = 0.0
    pair = twins(make)
    pair.assert_same_outputs(x)
    assert_same_histories(*pair.fit(x, rng.random((16, 2), "float32"), batch_size=8, epochs=3), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)
    probabilities = engine.Model(pair.engine.inputs[0], pair.engine.layers[3].output).predict(x, verbose=0)
    assert not probabilities[::2, 2].any()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("axis", [1, (1, 2)])
def test_training_through_a_softmax_along_axes(axis: Any) -> None:
    """Softmax is a layer, or the activation of a layer."""

    def make(api: Any, as_layer: bool) -> Any:
        softmax = api.layers.Softmax(axis) if as_layer else partial(api.activations.softmax, axis=axis)
        last = softmax if as_layer else api.layers.Activation(softmax)
        model = api.Sequential([api.Input((3, 4)), api.layers.Dense(4), last])
        return compiled(model, api.optimizers.SGD(0.5), "mse")

    y = np.random.default_rng(2).random((2, 3, 4), "float32")
    for as_layer in (True, False):
        pair = twins(partial(make, as_layer=as_layer))
        pair.assert_same_outputs(X)
        assert_same_histories(*pair.fit(X, y, epochs=3), rtol=1e-4)
        pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_log_softmax_along_axes_has_a_gradient() -> None:
    function, upstream = engine.activations.log_softmax, np.random.default_rng(3).random(X.shape)
    found = function.gradient(X, upstream, axis=(1, 2))
    step = 1e-2
    for place in ((0, 1, 2), (1, 2, 3)):
        up, down = X.astype(float).copy(), X.astype(float).copy()
        up[place] += step
        down[place] -= step
        rise = (upstream * (function(up, (1, 2)).astype(float) - function(down, (1, 2)))).sum() / (2 * step)
        assert found[place] == pytest.approx(rise, rel=1e-2, abs=1e-3)


AXES = [None, -1, 0, 1, 2, (1, 2), [1, 2], (0, 1), (0, 1, 2), (-1, -2), (2,)]
Y = (np.random.default_rng(4).random((2, 3, 4)) > 0.5).astype("float32")


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_overlap_losses_by_hand(name: str, axis: Any) -> None:
    for reduction in ("sum_over_batch_size", "sum", None):
        theirs, ours = (getattr(api.losses, name)(axis=axis, reduction=reduction) for api in (keras, engine))
        np.testing.assert_allclose(ours(Y, X), np.asarray(theirs(Y, X)), rtol=1e-5)
    # Keras passes a list to JAX, which accepts only tuples.
    functions = [getattr(api.losses, name.lower()) for api in (keras, engine)]
    its = np.asarray(functions[0](Y, X, axis=tuple(axis) if isinstance(axis, list) else axis))
    np.testing.assert_allclose(functions[1](Y, X, axis=axis), its, rtol=1e-5)
    assert ours.get_config()["axis"] == theirs.get_config()["axis"]
    again = type(ours).from_config(ours.get_config())
    np.testing.assert_array_equal(again(Y, X), ours(Y, X))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["Dice", "Tversky"])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum"])
def test_training_with_overlap_losses(name: str, axis: Any, reduction: str) -> None:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((3, 4)), api.layers.Dense(4, "sigmoid")])
        model.compile(api.optimizers.SGD(0.5), getattr(api.losses, name)(axis=axis, reduction=reduction))
        return model

    pair = twins(make)
    assert_same_histories(*pair.fit(X, Y, epochs=3), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


def test_sums_of_samples_take_weights_for_each() -> None:
    def make(api: Any) -> Any:
        model = api.Sequential([api.Input((3, 4)), api.layers.Dense(4, "sigmoid")])
        return compiled(model, api.optimizers.SGD(0.5), api.losses.Dice(axis=(1, 2)))

    pair = twins(make)
    weights = np.array([0.5, 3.0], "float32")
    assert_same_histories(*pair.fit(X, Y, sample_weight=weights, epochs=2), rtol=1e-4)
    pair.assert_same_weights(rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axis", "error"), [(3, ValueError), ((1, 1), ValueError), ("last", TypeError)])
def test_axes_that_there_are_not(axis: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="axis"):
        engine.losses.Dice(axis=axis)(Y, X)
