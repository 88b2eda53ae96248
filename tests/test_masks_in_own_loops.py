"""Masks in loops and steps of one's own: losses and metrics leave out what the mask of the predictions leaves out, as `fit` does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from common import assert_all_close, compiled

import engine as keras
from engine import layers

STEPS = 5
X = np.array([[1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [4, 1, 2, 3, 0], [0, 0, 0, 0, 0]])
KEPT = (X != 0).astype(float)
Y = np.random.default_rng(0).normal(size=(*X.shape, 2))
WEIGHTS = np.array([1.0, 2.0, 0.5, 3.0])


def model_of(kind: type[keras.Model] = keras.Model, seed: int = 1) -> Any:
    inputs = keras.Input((STEPS,))
    rows = layers.Embedding(
        6, 3, mask_zero=True, embeddings_initializer=keras.initializers.RandomNormal(seed=seed)
    )
    dense = layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(seed=seed))
    return kind(inputs, dense(rows(inputs)))


def squared_errors(model: Any) -> Any:
    """The mean of the squared errors of each timestep, in double precision."""
    return np.square(model.predict(X, verbose=0).astype(float) - Y).mean(axis=-1)


def test_outputs_carry_their_masks() -> None:
    model = model_of()
    np.testing.assert_array_equal(model(X)._keras_mask, X != 0)
    np.testing.assert_array_equal(model(X.tolist())._keras_mask, X != 0)
    np.testing.assert_array_equal(model(X), model.predict(X, verbose=0))
    with keras.GradientTape():
        recorded = model(X)
        assert (recorded * 2.0)._keras_mask is None  # as in Keras, operations don't pass masks on
        assert layers.Flatten()(layers.Dense(1)(np.ones((2, 3), np.float32)))._keras_mask is None
        np.testing.assert_array_equal(np.asarray(layers.Dense(1)(recorded)._keras_mask), X != 0)
    np.testing.assert_array_equal(np.asarray(recorded._keras_mask), X != 0)


@pytest.mark.parametrize("weights", [None, WEIGHTS, np.arange(20.0).reshape(4, 5)])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "sum", "none"])
@pytest.mark.parametrize("recorded", [False, True])
def test_losses_of_outputs(weights: Any, reduction: str, recorded: bool) -> None:
    model, loss = model_of(), keras.losses.MeanSquaredError(reduction=reduction)
    of_step = np.ones(X.shape) if weights is None else np.broadcast_to(weights.T, X.T.shape).T
    losses = squared_errors(model) * of_step * KEPT
    divisors = {
        "sum_over_batch_size": KEPT.sum(),
        "mean_with_sample_weight": (of_step * KEPT).sum(),
        "sum": 1.0,
    }
    expected = losses if reduction == "none" else losses.sum() / divisors[reduction]
    if recorded:
        with keras.GradientTape():
            found = np.asarray(loss(Y, model(X), sample_weight=weights))
    else:
        found = np.asarray(loss(Y, model(X), sample_weight=weights))
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_losses_of_samples_and_of_single_outputs() -> None:
    """A loss of a sample counts by the share of its timesteps that are kept, and one of an output as its timestep."""
    model = model_of()

    class BySample(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return keras.ops.mean(keras.ops.square(y_pred - y_true), axis=(1, 2))

    class ByOutput(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return keras.ops.square(y_pred - y_true)

    class Transposed(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return keras.ops.transpose(keras.ops.mean(keras.ops.square(y_pred - y_true), axis=-1))

    by_step, y = squared_errors(model), Y.astype(np.float32)
    shares = KEPT.mean(axis=1)
    assert BySample()(y, model(X)) == pytest.approx(
        (by_step.mean(axis=1) * shares).sum() / shares.sum(), rel=2e-6
    )
    assert ByOutput()(y, model(X)) == pytest.approx((by_step * KEPT).sum() / KEPT.sum(), rel=2e-6)
    with pytest.raises(ValueError, match=r"the mask of `y_pred` has one value for each of \(4, 5\)"):
        Transposed()(y, model(X))


def test_the_mask_and_the_ignored_class() -> None:
    labels = np.where(X == 2, -1, X % 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model = model_of()
    logits = model.predict(X, verbose=0).astype(float)
    counts = (X != 0) & (X != 2)
    crossentropy = (
        np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, (labels % 2)[..., None], -1)[..., 0]
    )
    assert loss(labels, model(X)) == pytest.approx(crossentropy[counts].mean(), rel=2e-6)
    with keras.GradientTape():
        assert float(loss(labels, model(X))) == pytest.approx(crossentropy[counts].mean(), rel=2e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_metrics_of_outputs(weights: Any) -> None:
    model = model_of()
    of_step = KEPT if weights is None else KEPT * weights[:, None]
    expected = (squared_errors(model) * of_step).sum() / of_step.sum()

    def error(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.square(y_pred - y_true), axis=-1)

    for metric in (keras.metrics.MeanSquaredError(), keras.metrics.MeanMetricWrapper(error)):
        metric.update_state(Y.astype(np.float32), model(X), sample_weight=weights)
        assert float(metric.result()) == pytest.approx(expected, rel=2e-6)
        metric.reset_state()
        with keras.GradientTape() as tape:
            found = model(X)
            loss = keras.ops.sum(found)
        tape.gradient(loss, model.trainable_weights)
        metric.update_state(Y.astype(np.float32), found, sample_weight=weights)
        assert float(metric.result()) == pytest.approx(expected, rel=2e-6)
    root = keras.metrics.RootMeanSquaredError()  # as in Keras, it ignores masks
    root.update_state(Y, model(X))
    assert float(root.result()) == pytest.approx(np.sqrt(squared_errors(model).mean()), rel=2e-6)


class OwnSteps(keras.Model):
    """Steps as scripts write them."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            found = self(x, training=True)
            loss = keras.losses.MeanSquaredError()(y, found)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.measured.update_state(y, found)
        return {"loss": loss, "measured": self.measured.result()}

    def test_step(self, data: Any) -> Any:
        x, y = data
        return {
            "loss": self.compute_loss(y=y, y_pred=self(x)),
            "other": keras.losses.MeanSquaredError()(y, self(x)),
        }


class OwnLoss(keras.Model):
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **options: Any) -> Any:
        return keras.losses.MeanSquaredError()(y, y_pred)


@pytest.mark.parametrize("eager", [False, True])
def test_own_steps_train_as_fit_does(eager: bool) -> None:
    plain, stepped, lossy = model_of(), model_of(OwnSteps), model_of(OwnLoss)
    stepped.measured = keras.metrics.MeanSquaredError()
    first = (squared_errors(plain) * KEPT).sum() / KEPT.sum()
    for model in (plain, stepped, lossy):
        model.compile(
            keras.optimizers.SGD(0.1), "mse", metrics=["mae"], run_eagerly=eager and model is not plain
        )
    logs = [model.fit(X, Y, epochs=3, shuffle=False, verbose=0).history for model in (plain, stepped, lossy)]
    assert logs[1]["measured"][0] == pytest.approx(first, rel=2e-6)
    for found in (stepped, lossy):
        assert_all_close(plain.get_weights(), found.get_weights(), rtol=2e-6, atol=1e-7)
    for found in logs[1:]:
        np.testing.assert_allclose(found["loss"], logs[0]["loss"], rtol=2e-6)
    np.testing.assert_allclose(logs[2]["mae"], logs[0]["mae"], rtol=2e-6)
    evaluated = [model.evaluate(X, Y, verbose=0, return_dict=True) for model in (plain, stepped, lossy)]
    assert evaluated[1]["loss"] == evaluated[1]["other"] == pytest.approx(evaluated[0]["loss"], rel=2e-6)
    assert evaluated[2]["mae"] == pytest.approx(evaluated[0]["mae"], rel=2e-6)


def test_compiled_functions() -> None:
    model, loss = model_of(), keras.losses.MeanSquaredError()
    expected = (squared_errors(model) * KEPT).sum() / KEPT.sum()

    @keras.function
    def measured(x: Any, y: Any) -> Any:
        return loss(y, model(x))

    assert float(measured(X, Y.astype(np.float32))) == pytest.approx(expected, rel=2e-6)


def test_masks_behind_look_ups_and_in_nested_models() -> None:
    words = np.array([["a", "b", ""], ["c", "", ""]])
    y = np.arange(6.0).reshape(2, 3, 1)
    strings = keras.Input((3,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a", "b", "c"], mask_token="")
    rows = layers.Embedding(5, 1, mask_zero=True, embeddings_initializer="ones")
    inner = keras.Sequential([keras.Input((3, 1)), layers.Dense(1, kernel_initializer="ones")])
    model = keras.Model(strings, inner(rows(lookup(strings))))
    np.testing.assert_array_equal(model(words)._keras_mask, words != "")
    expected = np.square(1.0 - y[..., 0])[words != ""].mean()
    assert keras.losses.MeanSquaredError()(y, model(words)) == pytest.approx(expected)
    ids = np.array([[2, 3, 0], [1, 0, 0]])
    outer = keras.Sequential([keras.Input((3,)), rows, inner])
    with keras.GradientTape():
        assert float(keras.losses.MeanSquaredError()(y, outer(ids))) == pytest.approx(expected)
        assert float(keras.losses.MeanSquaredError()(y, inner(rows(ids)))) == pytest.approx(expected)


def test_models_with_a_call_of_their_own_and_several_outputs() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rows = layers.Embedding(6, 2, mask_zero=True, embeddings_initializer="ones")
            self.dense = layers.Dense(2, kernel_initializer="ones")

        def call(self, x: Any) -> Any:
            rows = self.rows(x)
            return {"masked": self.dense(rows), "plain": rows * 2.0}

    model = Own()
    for recorded in (False, True):
        if recorded:
            with keras.GradientTape():
                found = model(X)
        else:
            found = model(X)
        np.testing.assert_array_equal(np.asarray(found["masked"]._keras_mask), X != 0)
        assert found["plain"]._keras_mask is None


class Doubled(layers.Layer):
    """A layer whose `call` is recorded, and that passes its mask on."""

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return 1.0 - 2.0 * inputs


def doubled(inputs: Any) -> Any:
    return 1.0 - 2.0 * inputs


FORMULAS = {
    "average": lambda rows: layers.Average()([rows, layers.Dense(3)(rows)]),
    "subtract": lambda rows: layers.Subtract()([layers.Dense(3)(rows), rows]),
    "multiply": lambda rows: layers.Multiply()([rows, layers.Dense(3)(rows)]),
    "maximum": lambda rows: layers.Maximum()([rows, layers.Dense(3)(rows)]),
    "minimum": lambda rows: layers.Minimum()([rows, layers.Dense(3)(rows)]),
    "broadcast": lambda rows: layers.Add()([rows, layers.Dense(1)(rows)]),
    "own": lambda rows: layers.Dense(3)(Doubled()(rows)),
    "activation": lambda rows: layers.Dense(3)(layers.Activation(doubled)(rows)),
    "dense": lambda rows: layers.Add()([rows, layers.Dense(3, activation=doubled)(rows)]),
    "last": lambda rows: layers.Activation(doubled)(layers.Dense(3)(rows)),
}


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_pass_masks_on(name: str, ends: bool) -> None:
    """`fit`, steps and losses of one's own leave out the same timesteps, also behind what a formula computes."""

    def made(kind: type[keras.Model]) -> Any:
        keras.utils.set_random_seed(4)
        inputs = keras.Input((STEPS,))
        outputs = FORMULAS[name](layers.Embedding(6, 3, mask_zero=True)(inputs))
        model: Any = kind(inputs, outputs if ends else layers.Dense(2)(outputs))
        model.measured = keras.metrics.MeanSquaredError()
        return compiled(model, keras.optimizers.SGD(0.1), "mse")

    y = np.random.default_rng(0).normal(size=(*X.shape, 3 if ends else 2))
    plain, stepped, lossy = made(keras.Model), made(OwnSteps), made(OwnLoss)
    np.testing.assert_array_equal(plain(X)._keras_mask, X != 0)
    errors = np.square(plain.predict(X, verbose=0).astype(float) - y).mean(axis=-1)
    expected = (errors * KEPT).sum() / KEPT.sum()
    for model in (plain, stepped, lossy):
        found = model.fit(X, y, shuffle=False, verbose=0).history["loss"]
        np.testing.assert_allclose(found, [expected], rtol=2e-6)
        assert_all_close(plain.get_weights(), model.get_weights(), rtol=2e-6, atol=1e-7)


def test_tapes_keep_masks_from_outside() -> None:
    rows = layers.Embedding(6, 3, mask_zero=True)(X)
    pool, dense = layers.GlobalAveragePooling1D(), layers.Dense(3)
    values = np.asarray(rows).astype(float)
    expected = (values * KEPT[..., None]).sum(axis=1) / np.maximum(KEPT.sum(axis=1), 1)[:, None]
    np.testing.assert_allclose(pool(rows), expected, rtol=2e-6)
    with keras.GradientTape() as tape:
        tape.watch(rows)
        found = pool(rows)
        np.testing.assert_array_equal(np.asarray(dense(rows)._keras_mask), X != 0)
        given = pool(np.asarray(rows), mask=X != 0)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-6)
    np.testing.assert_allclose(np.asarray(given), expected, rtol=2e-6)
    shares = KEPT / np.maximum(KEPT.sum(axis=1), 1)[:, None]
    slopes = np.broadcast_to(shares[..., None], rows.shape)
    np.testing.assert_allclose(np.asarray(tape.gradient(found, rows)), slopes, rtol=2e-6)
    with keras.GradientTape() as other:
        recorded = layers.Embedding(6, 3, mask_zero=True)(X)
    del other
    with keras.GradientTape():
        means = pool(recorded)
    kept = np.asarray(recorded).astype(float) * KEPT[..., None]
    np.testing.assert_allclose(
        np.asarray(means), kept.sum(axis=1) / np.maximum(KEPT.sum(axis=1), 1)[:, None], rtol=2e-6
    )


class OwnMean(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.pool = layers.Dense(2), layers.GlobalAveragePooling1D()

    def call(self, inputs: Any) -> Any:
        return self.pool(self.dense(inputs))


class OwnMeanOfMask(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        if mask is None:  # where the shape of the outputs is asked for
            return keras.ops.mean(self.dense(inputs), axis=1)
        kept = keras.ops.cast(mask, "float32")[..., None]
        return keras.ops.sum(self.dense(inputs) * kept, 1) / keras.ops.maximum(keras.ops.sum(kept, 1), 1.0)


class MeanLayer(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dense, self.pool = layers.Dense(2), layers.GlobalAveragePooling1D()

    def call(self, inputs: Any) -> Any:
        return self.pool(self.dense(inputs))


def model_of_means() -> Any:
    return keras.Sequential([keras.Input((STEPS, 3)), layers.Dense(2), layers.GlobalAveragePooling1D()])


def nested_model_of_means() -> Any:
    inner = keras.Sequential([keras.Input((STEPS, 3)), layers.Dense(2)])
    return keras.Sequential([keras.Input((STEPS, 3)), inner, layers.GlobalAveragePooling1D()])


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("make", [model_of_means, nested_model_of_means, OwnMean, OwnMeanOfMask, MeanLayer])
def test_models_use_the_masks_of_what_they_are_called_on(make: Any) -> None:
    rows, model = layers.Embedding(6, 3, mask_zero=True)(X), make()
    first = np.asarray(model(rows))
    kernel, bias = (np.asarray(each).astype(float) for each in model.get_weights())
    outputs = (np.asarray(rows).astype(float) @ kernel + bias) * KEPT[..., None]
    expected = outputs.sum(axis=1) / np.maximum(KEPT.sum(axis=1), 1)[:, None]
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-7)
    for training in (None, False, True):
        np.testing.assert_allclose(model(rows, training=training), expected, rtol=1e-5, atol=1e-7)
    with keras.GradientTape():
        found = np.asarray(model(rows))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_models_pass_masks_of_their_inputs_on() -> None:
    rows = layers.Embedding(6, 3, mask_zero=True)(X)
    inner = keras.Sequential([keras.Input((STEPS, 3)), layers.Dense(2)])
    np.testing.assert_array_equal(inner(rows)._keras_mask, X != 0)
    assert inner(np.asarray(rows))._keras_mask is None
    one, other = keras.Input((STEPS, 3), name="one"), keras.Input((STEPS, 3), name="other")
    joined = keras.Model([one, other], layers.Average()([one, other]))
    assert joined([rows, np.asarray(rows)])._keras_mask is None
    for both in ([rows, rows], {"one": rows, "other": rows}):
        np.testing.assert_array_equal(joined(both)._keras_mask, X != 0)
        np.testing.assert_allclose(joined(both), rows, rtol=1e-6)


class OwnSum(keras.Model):
    """The sum of the means of two inputs, from a list or a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = layers.GlobalAveragePooling1D(activity_regularizer="l2")

    def call(self, inputs: Any) -> Any:
        one, other = inputs.values() if isinstance(inputs, dict) else inputs
        return self.pool(one) + self.pool(other)


class SumLayer(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.pool = layers.GlobalAveragePooling1D()

    def call(self, inputs: Any) -> Any:
        one, other = inputs.values() if isinstance(inputs, dict) else inputs
        return self.pool(one) + self.pool(other)


@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("make", [OwnSum, SumLayer])
@pytest.mark.parametrize("named", [False, True])
def test_several_inputs_keep_their_masks(make: Any, named: bool) -> None:
    rows = layers.Embedding(6, 3, mask_zero=True)(X)
    plain = np.asarray(rows)
    kept = plain.astype(float) * KEPT[..., None]
    masked_means = kept.sum(axis=1) / np.maximum(KEPT.sum(axis=1), 1)[:, None]
    both = masked_means + plain.astype(float).mean(axis=1)
    whole = make()({"a": plain, "b": plain} if named else [plain, plain])
    np.testing.assert_allclose(whole, 2 * plain.astype(float).mean(axis=1), rtol=1e-5, atol=1e-7)
    given = {"a": rows, "b": plain} if named else [rows, plain]
    np.testing.assert_allclose(make()(given), both, rtol=1e-5, atol=1e-7)


def test_the_first_call_of_an_own_model_reads_masks_in_nested_structures():
    class Pooled(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.pool = keras.layers.GlobalAveragePooling1D()

        def call(self, inputs):
            return self.pool(inputs["a"][0])

    masked = keras.layers.Masking()(np.array([[[1.0], [3.0], [0.0]]]))
    model = Pooled()
    with pytest.warns(UserWarning, match="does not support masking"):
        outputs = [np.asarray(model({"a": [masked]})) for _ in range(2)]
    np.testing.assert_array_equal(outputs, [[[2]], [[2]]])
