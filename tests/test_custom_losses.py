"""Tests of losses written in Python, of reductions, and of the targets that losses accept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, compiled
from conftest import Blobs, classifier, same_weights, with_gradient
from numpy.typing import NDArray

import engine as keras
from engine import losses

Array = NDArray[Any]


@with_gradient(lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1])
def squared(y_true: Array, y_pred: Array) -> Array:
    return np.mean((y_pred - y_true) ** 2, axis=-1)


class Squared(losses.Loss):
    """The squared error as a class, for class indices."""

    _targets_are_indices = True
    broken = False

    def call(self, y_true: Array, y_pred: Array) -> Array:
        if self.broken:
            msg = "out of order"
            raise ArithmeticError(msg)
        return squared(np.eye(3)[y_true], y_pred)

    def gradient(self, y_true: Array, y_pred: Array) -> Array:
        return 2 * (y_pred - np.eye(3)[y_true]) / 3


def pair(loss: object, **options: Any) -> tuple[keras.Sequential, keras.Sequential]:
    """Returns a model with `loss` and one with the built-in loss, with the same weights."""
    ours = classifier(loss="mse", metrics=None, **options)
    other = classifier(loss=loss, metrics=None, **options)
    other.set_weights(ours.get_weights())
    return ours, other


@pytest.mark.parametrize("weighted", [False, True])
def test_a_function_trains_like_the_engines_own(blobs: Blobs, weighted: bool) -> None:
    ours, other = pair(squared, loss_weights=0.5)
    weight = np.linspace(0, 2, 150) if weighted else None
    runs = [
        model.fit(
            blobs.x,
            blobs.one_hot,
            sample_weight=weight,
            shuffle=False,
            validation_split=0.2,
            epochs=3,
            verbose=0,
        )
        for model in (ours, other)
    ]
    for name, values in runs[0].history.items():
        np.testing.assert_allclose(runs[1].history[name], values, rtol=1e-5)
    assert_all_close(other.get_weights(), ours.get_weights(), rtol=1e-4, atol=1e-6)


def test_a_class_takes_what_it_asks_for(blobs: Blobs) -> None:
    model = classifier(loss=Squared(), metrics=["accuracy"])
    before, _ = model.evaluate(blobs.x, blobs.y)
    assert before == pytest.approx(squared(blobs.one_hot, model.predict(blobs.x)).mean(), rel=1e-5)
    model.fit(blobs.x, blobs.y, epochs=5, verbose=0)
    model.train_on_batch(blobs.x, blobs.y)
    assert model.test_on_batch(blobs.x, blobs.y)[0] < before


def test_an_error_inside_leaves_the_model_usable(blobs: Blobs) -> None:
    loss = Squared()
    model = classifier(loss=loss, metrics=None)
    model.fit(blobs.x, blobs.y, verbose=0)
    before = model.get_weights()
    loss.broken = True
    with pytest.raises(ArithmeticError, match="out of order"):
        model.fit(blobs.x, blobs.y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    loss.broken = False
    model.fit(blobs.x, blobs.y, verbose=0)


@pytest.mark.parametrize("axis", [-1, None])
@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_overlap_losses_learn(name: str, axis: int | None, blobs: Blobs) -> None:
    model = classifier(loss=getattr(losses, name)(axis=axis), optimizer=keras.optimizers.Adam(0.02))
    model.fit(blobs.x, blobs.one_hot, epochs=20, verbose=0)
    assert model.evaluate(blobs.x, blobs.one_hot)[1] > 0.9


@pytest.mark.parametrize("name", ["Dice", "Tversky"])
def test_overlap_functions_are_their_classes(name: str, blobs: Blobs) -> None:
    """The functions also compute the loss over the whole batch."""
    found = []
    for loss in (name, name.lower(), getattr(losses, name)(), getattr(losses, name.lower())):
        keras.utils.set_random_seed(0)
        model = classifier(loss=loss)
        found.append(model.fit(blobs.x, blobs.one_hot, verbose=0).history["loss"])
    assert found == [found[0]] * 4


def test_what_a_loss_of_ones_own_must_return(blobs: Blobs) -> None:
    @with_gradient(squared.gradient)
    def columns(y_true: Array, y_pred: Array) -> Array:
        return ((y_pred - y_true) ** 2)[:, :2]

    with pytest.raises(ValueError, match=r"'columns' must return one number per sample.*\(32, 2\)"):
        classifier(loss=columns).fit(blobs.x, blobs.one_hot, verbose=0)

    @with_gradient(lambda y_true, y_pred: y_pred[:, 0])
    def flat(y_true: Array, y_pred: Array) -> Any:
        return squared(y_true, y_pred)

    with pytest.raises(ValueError, match=r"gradient of .* 'flat' must .* \(32, 3\), got \(32,\)"):
        classifier(loss=flat).fit(blobs.x, blobs.one_hot, verbose=0)


def test_a_loss_without_call_says_so() -> None:
    class Nothing(losses.Loss):
        pass

    with pytest.raises(NotImplementedError, match="Nothing has no `call`: give it `def call"):
        Nothing()([1.0], [1.0])


@pytest.mark.parametrize("reduction", ["none", None])
def test_without_a_reduction_there_is_evaluation_but_no_training(reduction: str | None, blobs: Blobs) -> None:
    plain, model = pair(losses.MeanSquaredError(reduction=reduction))
    assert model.evaluate(blobs.x, blobs.one_hot) == plain.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match="one number per sample, but training needs one per batch"):
        model.fit(blobs.x, blobs.one_hot)
    assert same_weights(plain, model)


def test_an_unknown_reduction() -> None:
    with pytest.raises(ValueError, match=r"`reduction` must be one of .* got 'median'"):
        losses.MeanSquaredError(reduction="median")
    with pytest.raises(ValueError, match=r"`dtype` must be 'float32'.* got 'float64'"):
        losses.Huber(dtype="float64")


def test_a_loss_of_ones_own_takes_lists() -> None:
    class Distance(losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

    assert Distance()([[1, 2]], [[0.5, 4.0]]) == 1.25


def test_a_loss_in_a_list_or_dict_of_one(blobs: Blobs) -> None:
    plain, listed = pair(["mse"])
    named = classifier(metrics=None)
    named.compile("adam", {named.layers[-1].name: "mse"}, loss_weights=[1.0])
    named.set_weights(plain.get_weights())
    expected = plain.evaluate(blobs.x, blobs.one_hot)
    assert listed.evaluate(blobs.x, blobs.one_hot) == expected == named.evaluate(blobs.x, blobs.one_hot)


def test_labels_of_hinges(blobs: Blobs) -> None:
    y = (blobs.y > 0).astype(float)
    found = []
    for labels in (y, 2 * y - 1, y.astype(bool)):
        keras.utils.set_random_seed(0)
        model = compiled(keras.Sequential([keras.layers.Dense(1, "tanh", input_shape=(6,))]), "sgd", "hinge")
        model.fit(blobs.x, labels, epochs=2, verbose=0)
        found.append((model.evaluate(blobs.x, labels), *model.get_weights()[0][:, 0]))
    assert found[0] == found[1] == found[2]
    for wrong, message in (
        ([-1.0, 0.0], "row 1 holds 0 beside -1"),
        ([0.5, 1.0], "row 0 holds 0.5"),
        ([0, 2], "row 1 holds 2"),
    ):
        with pytest.raises(ValueError, match=f"-1 and 1, or 0 and 1, for the loss 'hinge', but {message}"):
            model.fit(blobs.x[:2], np.array(wrong))


def test_ignored_labels_need_be_no_class(blobs: Blobs) -> None:
    y = np.where(blobs.y == 2, 255, blobs.y)
    model = classifier(loss=losses.SparseCategoricalCrossentropy(ignore_class=255))
    model.fit(blobs.x, y, verbose=0)
    kept = y != 255
    assert model.evaluate(blobs.x, y, batch_size=150)[0] == pytest.approx(
        model.evaluate(blobs.x[kept], y[kept])[0], rel=1e-6
    )
    with pytest.raises(ValueError, match=r"class indices in \[0, 3\), .* but row 0 holds 7"):
        model.fit(blobs.x[:1], [7])


def test_serialize_and_deserialize() -> None:
    loss = losses.Huber(0.5, name="mine")
    again = losses.deserialize(losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    assert losses.deserialize("Squared", custom_objects={"Squared": Squared}) is Squared
    assert isinstance(
        losses.deserialize({"class_name": "Squared", "config": {}}, custom_objects={"Squared": Squared}),
        Squared,
    )


@pytest.mark.parametrize("name", ["categorical_crossentropy", "categorical_focal_crossentropy"])
def test_a_crossentropy_of_one_class_warns(name: str) -> None:
    with pytest.warns(
        SyntaxWarning, match=rf"In loss {name}, expected y_pred.shape .* Received: y_pred.shape=\(2, 1\)"
    ):
        getattr(losses, name)(np.ones((2, 1)), np.ones((2, 1)))


def from_numbers(y_true: Any, y_pred: Any) -> Any:
    """One target for each sample, which is compared with the mean of its outputs."""
    return keras.ops.square(keras.ops.reshape(y_true, (-1,)) - keras.ops.mean(y_pred, axis=-1))


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_first_targets_that_are_whole_numbers_need_not_be_class_indices(shape: tuple[int, ...]) -> None:
    x, zeros, halves = np.ones((4, 2)), np.zeros(shape, np.float32), np.full(shape, 0.5, np.float32)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), from_numbers)
    assert model.train_on_batch(x, zeros) == 4.0
    assert model.evaluate(x, halves, verbose=0) == 2.25
    history = model.fit(iter([(x, zeros), (x, halves)]), steps_per_epoch=2, verbose=0).history
    assert history["loss"] == [(4.0 + 2.25) / 2]


def test_class_indices_stay_class_indices() -> None:
    x = np.ones((4, 2))
    model = compiled(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]), "sgd", from_numbers)
    model.train_on_batch(x, np.zeros(4, int))
    with pytest.raises(ValueError, match="`y` must hold class indices below 3"):
        model.train_on_batch(x, np.full(4, 0.5))
