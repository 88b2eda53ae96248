"""Traced functions: layers and models with Python code, symbols, branches by `training`, losses, and what can't be traced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import compiled

import engine as keras
from engine import layers, ops

X = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)


def model_of(layer: Any, **inputs: Any) -> keras.Model:
    x = keras.Input((4,), **inputs)
    return keras.Model(x, layer(x))


class Linear(layers.Layer):
    def __init__(self, units: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight(shape=(input_shape[-1], self.units), name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="ones", name="b")

    def call(self, inputs: Any) -> Any:
        return inputs @ self.w + self.b


class Stacked(layers.Layer):
    """Layers in a list and a layer in an attribute."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = [Linear(5), layers.Dense(3, activation="tanh")]
        self.last = layers.Dropout(0.5)

    def call(self, inputs: Any, training: bool = False) -> Any:
        for layer in self.inner:
            inputs = layer(inputs)
        return self.last(inputs, training=training)


# Lengths and shapes.


def test_lengths_of_batches_compute() -> None:
    def function(x: Any) -> Any:
        count, width = ops.shape(x)
        assert width == 4
        assert x.shape[0] == count != None  # noqa: E711 # as scripts write it
        rows = ops.zeros((count, 2)) + ops.reshape(ops.arange(count), (count, 1))
        twice = ops.reshape(ops.concatenate([x, x], axis=0), (2 * count, 4))[:count]
        return ops.concatenate([rows, twice / count, x[count - 1 :] * ops.ones((count, 1))], axis=1)

    found = model_of(layers.Lambda(function)).predict(X, batch_size=12, verbose=0)
    rows = np.repeat(np.arange(12)[:, None], 2, axis=1)
    np.testing.assert_allclose(
        found, np.concatenate([rows, X / 12, X[-1:] * np.ones((12, 1))], axis=1), rtol=1e-6
    )


def test_outputs_without_samples_are_refused() -> None:
    x = keras.Input((4,))
    with pytest.raises(ValueError, match=r"one row for each sample.*shape \(\): leave .* axis out"):
        keras.Model(x, ops.sum(x))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + np.ones(3, np.float32), r"shapes \(None, 4\) and \(3,\) can't be broadcast"),
        (lambda x: ops.reshape(x, (-1, 3)), r"shape \(None, 4\) can't have the shape"),
        (lambda x: ops.concatenate([x, x[:, :2]], axis=0), r"can't be joined along axis 0"),
        (lambda x: ops.matmul(x, np.ones((3, 2), np.float32)), "can't be multiplied"),
        (lambda x: x[:, 4], "index 4 is out of range for an axis of length 4"),
        (lambda x: x[:, 0, 0], "has 2 axes, so it can't be indexed"),
        (lambda x: ops.sum(x, axis=2), "axis 2 is out of bounds"),
        (lambda x: ops.split(x, 3, axis=1), "can't be split into 3 equal parts"),
        (lambda x: 1.0 if x[0, 0] > 0 else 2.0, r"test_tracing\.py:\d+: .*bool\(\) of it.*ops\.where"),
        (lambda x: float(ops.sum(x)), r"test_tracing\.py:\d+: .*float\(\) of it"),
        (np.asarray, "an array of it has no value"),
        (list, "a loop over it"),
        (ops.eig, "`eig` can't be recorded in a traced function"),
        (np.linalg.eigvals, "NumPy's `eigvals` can't be recorded"),
        (lambda x: x[x > 0], "an index of bools chooses so many elements as values say"),
    ],
)
def test_mistakes_are_told(function: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError, IndexError), match=message):
        function(keras.Input((4,)))


def test_symbols_are_equal_to_themselves() -> None:
    x, y = keras.Input((4,)) * 1, keras.Input((4,)) * 1
    assert x == x  # noqa: PLR0124 # as Keras' symbols
    assert not x == y  # noqa: SIM201 # `!=` is recorded
    assert (x != y).dtype == "bool"
    assert len({x, y, x}) == 2


def test_dtypes_follow_keras() -> None:
    i, x = keras.Input((4,), dtype="int32"), keras.Input((4,))
    assert [each.dtype for each in (i + 1, i + 1.5, i / 2, i > 1, ops.mean(i), ops.argmax(x), ops.cast(x, "int8"))] == [
        "int32", "float32", "float32", "bool", "float32", "int32", "int8",
    ]  # fmt: skip


# Layers.


def test_layers_within_layers_have_their_weights_in_order() -> None:
    layer = Stacked()
    model = model_of(layer)
    shapes = [(4, 5), (5,), (5, 3), (3,)]
    assert [w.shape for w in layer.weights] == [w.shape for w in model.weights] == shapes
    assert model.count_params() == layer.count_params() == 43
    values = [np.full(shape, 0.1, np.float32) for shape in shapes]
    model.set_weights(values)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), np.tanh((X @ values[0] + 0.1) @ values[2] + 0.1), rtol=1e-5
    )
    np.testing.assert_allclose(layer(X), model.predict(X, verbose=0), rtol=1e-5)
    assert (layer(X, training=True) == 0).any()
    layer.trainable = False
    assert model.trainable_weights == []
    model.compile("sgd", "mse")
    model.fit(X, X[:, :3], verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), values, strict=True))


def test_a_layer_that_is_used_twice_has_one_set_of_weights() -> None:
    x, shared = keras.Input((4,)), Stacked()
    hidden = layers.Dense(4)(shared(x))
    model = keras.Model(x, shared(hidden))
    assert len(model.weights) == 6
    model.compile("sgd", "mse")
    model.fit(X, X[:, :3], verbose=0)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), shared(model.layers[2](np.asarray(shared(X)))), rtol=1e-4, atol=1e-6
    )


def test_several_inputs_and_outputs() -> None:
    class Both(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def build(self, input_shape: Any) -> None:
            assert input_shape == [(None, 4), (None, 4)]

        def call(self, inputs: Any, factor: Any = 1.0) -> Any:
            one, other = inputs
            return self.dense(one) * factor, {"other": other * factor}

    x, y, factor = keras.Input((4,)), keras.Input((4,)), keras.Input((1,))
    layer = Both()
    left, right = layer([x, y], factor=factor)
    model = keras.Model([x, y, factor], [left, right["other"]])
    found = model.predict([X, X + 1, X[:, :1]], verbose=0)
    np.testing.assert_allclose(found[1], (X + 1) * X[:, :1], rtol=1e-6)
    np.testing.assert_allclose(found[0], layer([X, X], factor=X[:, :1])[0], rtol=1e-5)


def test_training_chooses() -> None:
    class Doubling(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(4, kernel_initializer="identity")

        def call(self, inputs: Any, training: bool | None = None) -> Any:
            hidden = self.dense(inputs)
            return hidden * 2 if training else hidden

    model = model_of(Doubling())
    assert [operation["kind"] for operation in model._built_graph.operations].count("dense") == 1
    np.testing.assert_allclose(model.predict(X, verbose=0), X, rtol=1e-6)
    np.testing.assert_allclose(model(X, training=True), 2 * X, rtol=1e-6)
    model.compile("sgd", "mse")
    assert model.evaluate(X, X, verbose=0) == pytest.approx(0)
    assert model.train_on_batch(X, X) == pytest.approx(np.mean(X**2), rel=1e-4)


def test_random_numbers_differ_from_batch_to_batch_and_use_to_use() -> None:
    class Noisy(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 0 + keras.random.normal(ops.shape(inputs))

    noisy = Noisy()
    x = keras.Input((4,))
    model = keras.Model(x, [noisy(x), noisy(x)])
    one, other = model(X, training=True)
    again, _ = model(X, training=True)
    assert (one != other).all()
    assert (one != again).any()
    assert abs(np.mean(one)) < 0.7
    assert 0.5 < np.std(one) < 1.5


def test_dropout_that_is_called_with_training_is_at_work_in_predictions() -> None:
    class Always(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = layers.Dropout(0.5)

        def call(self, inputs: Any) -> Any:
            return self.dropout(inputs, training=True)

    model = model_of(Always())
    one, other = model.predict(X, verbose=0), model.predict(X, verbose=0)
    assert (one == 0).any()
    assert (one != other).any()
    assert np.isclose(one, 2 * X)[one != 0].all()


def test_losses_of_layers_and_penalties() -> None:
    class Adding(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(0.5 * ops.mean(inputs))
            return inputs

    x = keras.Input((4,))
    model = compiled(keras.Model(x, Adding(activity_regularizer="l2")(x)), "sgd", "mse")
    wanted = 0.5 * X.mean() + 0.01 * (X**2).sum() / len(X)
    assert model.evaluate(X, X, verbose=0, batch_size=12) == pytest.approx(wanted, rel=1e-4)


def test_masks_reach_and_pass_layers() -> None:
    class Masked(layers.Layer):
        supports_masking = True

        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2, kernel_initializer="ones")

        def call(self, inputs: Any, mask: Any = None) -> Any:
            hidden = self.dense(inputs)
            return hidden if mask is None else hidden + 10 * ops.cast(mask, "float32")[:, :, None]

    x = np.array([[[1.0], [0.0], [2.0]]], np.float32)
    inputs = keras.Input((3, 1))
    out = layers.GlobalAveragePooling1D()(Masked()(layers.Masking()(inputs)))
    found = keras.Model(inputs, out).predict(x, verbose=0)
    np.testing.assert_allclose(found, [[11.5, 11.5]])  # the mean of the two rows that count


def test_what_cannot_be_recorded_runs_in_python() -> None:
    class Sorting(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return np.sort(np.asarray(inputs), axis=-1)

    model = model_of(Sorting())
    np.testing.assert_array_equal(model.predict(X, verbose=0), np.sort(X))
    assert [operation["kind"] for operation in model._built_graph.operations] == ["custom"]


def test_kernels_of_other_layers_are_shared() -> None:
    class Turned(layers.Layer):
        def __init__(self, dense: Any) -> None:
            super().__init__()
            self.dense = dense

        def call(self, inputs: Any) -> Any:
            return inputs @ self.dense.kernel.T

    x, dense = keras.Input((4,)), layers.Dense(3, use_bias=False)
    model = keras.Model(x, Turned(dense)(dense(x)))
    assert [w.shape for w in model.weights] == [(4, 3)]
    kernel = np.asarray(dense.kernel)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ kernel @ kernel.T, rtol=1e-4, atol=1e-6)
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    assert (dense.kernel != kernel).all()


def test_variables_are_weights_of_what_has_them(tmp_path: Path) -> None:
    class Scaled(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.factors = [
                keras.Variable(2.0),
                keras.Variable("ones", shape=(4,), trainable=False, name="fixed"),
            ]

        def call(self, inputs: Any) -> Any:
            return inputs * self.factors[0] * self.factors[1]

    class Warm(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scaled, self.temperature = Scaled(), keras.Variable(4.0, name="temperature")

        def call(self, inputs: Any) -> Any:
            return self.scaled(inputs) / self.temperature

    model = Warm()
    np.testing.assert_allclose(model.predict(X, verbose=0), X / 2)
    assert [w.shape for w in model.weights] == [(), (), (4,)]
    assert [len(model.trainable_weights), len(model.non_trainable_weights)] == [2, 1]
    model.temperature.assign(2.0)
    np.testing.assert_allclose(model.predict(X, verbose=0), X)
    model.compile("sgd", "mse")
    model.fit(X, 3 * X, verbose=0)
    assert model.temperature.value < 2 < model.scaled.factors[0].value
    model.save_weights(tmp_path / "m.weights.h5")
    other = Warm()
    other.build((None, 4))
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    alone = keras.Variable([1.0, 2.0])
    alone.assign_add([1.0, 1.0])
    assert (alone * 2).tolist() == [4.0, 6.0]
    assert repr(alone).startswith("<Variable path=variable")
    with pytest.raises(ValueError, match="must match"):
        alone.assign(np.zeros(3))
    with pytest.raises(ValueError, match="`shape` is missing"):
        keras.Variable("zeros")


def test_lambdas_train_without_a_gradient() -> None:
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3), layers.Lambda(lambda x: ops.log(ops.exp(x) + 1))]
    )
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, X[:, :3], verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert "custom" not in {operation["kind"] for operation in model._built_graph.operations}


# Models.


class Net(keras.Model):
    def __init__(self, units: int = 5, **options: Any) -> None:
        super().__init__(**options)
        self.stacked, self.out = Stacked(), layers.Dense(units)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.out(self.stacked(inputs, training=training)) + ops.mean(inputs, axis=-1, keepdims=True)


def test_models_with_a_call(tmp_path: Path) -> None:
    model = Net(2)
    assert not model.built
    model.compile("adam", "mse", metrics=["mae"])
    history = model.fit(X, X[:, :2], epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert [layer.name.rstrip("_0123456789") for layer in model.layers] == ["stacked", "dense"]
    assert len(model.weights) == 6
    outputs = model.predict(X, verbose=0)
    np.testing.assert_array_equal(np.asarray(model(X)), outputs)
    assert model.evaluate(X, X[:, :2], verbose=0, return_dict=True).keys() == {"loss", "mae"}
    model.save_weights(tmp_path / "m.weights.h5")
    other = Net(2)
    other.build((None, 4))
    other.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(other.predict(X, verbose=0), outputs)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Net": Net})
    np.testing.assert_array_equal(again.predict(X, verbose=0), outputs)
    assert model.get_config() == {"name": model.name, "trainable": True, "units": 2}


def test_models_in_models() -> None:
    class Outer(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.chain = Net(3), keras.Sequential([layers.Dense(4), layers.Dense(2)])

        def call(self, inputs: Any) -> Any:
            return {"net": self.inner(inputs["a"]), "chain": self.chain(inputs["b"])}

    model = compiled(Outer(), "sgd", {"net": "mse", "chain": "mae"})
    y = {"net": X[:, :3], "chain": X[:, :2]}
    history = model.fit({"a": X, "b": X}, y, verbose=0).history
    assert set(history) == {"loss", "net_loss", "chain_loss"}
    assert model.predict({"a": X, "b": X}, verbose=0)["chain"].shape == (12, 2)
    assert len(model.weights) == 10
    x = keras.Input((4,))
    around = compiled(keras.Model(x, layers.Dense(1)(Net(3)(x))), "sgd", "mse")
    around.fit(X, X[:, :1], verbose=0)
    assert len(around.weights) == 8


def test_a_call_must_return_symbols() -> None:
    class Odd(keras.Model):
        def call(self, inputs: Any) -> Any:
            return [inputs, "no symbol"]

    with pytest.raises(TypeError, match="must return a symbol, or lists, tuples and dicts of symbols"):
        Odd().build((None, 4))


# Losses.


def test_losses_get_targets_of_any_shape() -> None:
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(x))

    def loss(y_true: Any, y_pred: Any) -> Any:
        assert y_true.shape[1:] == (5,)
        return ops.abs(ops.sum(y_true, axis=-1) - ops.sum(y_pred, axis=-1))

    model.compile("sgd", loss)
    y = np.random.default_rng(1).normal(size=(12, 5))
    found = model.evaluate(X, y, verbose=0)
    wanted = np.mean(np.abs(y.sum(axis=1) - model.predict(X, verbose=0).sum(axis=1)))
    assert found == pytest.approx(wanted, rel=1e-4)
    weights = np.arange(12.0)
    found = model.evaluate(X, y, sample_weight=weights, verbose=0)
    each = np.abs(y.sum(axis=1) - model.predict(X, verbose=0).sum(axis=1))
    assert found == pytest.approx(np.mean(each * weights), rel=1e-4)


def test_losses_of_classes() -> None:
    class Margin(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            hot = ops.one_hot(ops.cast(y_true, "int32"), 3)
            own = ops.sum(hot * y_pred, axis=-1, keepdims=True)
            return ops.sum(ops.relu(1 + y_pred - own) * (1 - hot), axis=-1)

    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.05), Margin(), metrics=["accuracy"])
    y = X[:, :3].argmax(axis=1)
    history = model.fit(X, y, epochs=60, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["accuracy"][-1] > 0.8


def test_losses_that_need_values_say_so() -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return y_pred if float(ops.sum(y_true)) > 0 else y_true

    model = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(3)]), "sgd", loss)
    with pytest.raises(TypeError, match=r"test_tracing\.py:\d+: .*float\(\) of it"):
        model.fit(X, X[:, :3], verbose=0)


def test_copies_keep_the_sign_of_zero() -> None:
    layer = layers.Lambda(lambda x: ops.broadcast_to(x[:, None], (ops.shape(x)[0], 2, 4)))
    found = model_of(layer).predict(np.full((3, 4), -0.0, np.float32), verbose=0)
    assert found.shape == (3, 2, 4)
    assert np.signbit(found).all()


# Configs.


def test_configs_hold_operations() -> None:
    x, y = keras.Input((4,)), keras.Input((4,))
    z = ops.concatenate([x[:, None, 1:], (y / 2)[:, None, :3]], axis=1)
    a, b = ops.unstack(ops.softmax(z, axis=1) * np.arange(3, dtype=np.float32), axis=1)
    model = keras.Model([x, y], layers.Dense(2)(ops.where(a > b, a, -b)))
    config = json.loads(json.dumps(model.get_config()))
    for again in (keras.Model.from_config(config), keras.models.clone_model(model)):
        again.set_weights(model.get_weights())
        np.testing.assert_array_equal(again.predict([X, X], verbose=0), model.predict([X, X], verbose=0))
        assert again.get_config() == model.get_config()
    names = [each["class_name"] for each in config["layers"]]
    assert {
        "GetItem",
        "TrueDivide",
        "Concatenate",
        "Softmax",
        "Multiply",
        "Unstack",
        "Greater",
        "Where",
    } <= set(names)
    assert [layer.name for layer in model.layers][2:] == [model.layers[-1].name]


def test_random_numbers_of_a_batch_size_are_drawn_for_each_sample() -> None:
    # As in the variational autoencoder of Keras' blog.
    inputs = keras.Input(batch_shape=(100, 2))
    drawn: list[Any] = []

    def sample(values: Any) -> Any:
        noise = keras.backend.random_normal(shape=(100, 2), mean=0.0, stddev=2.0)
        drawn.append(noise)
        return values + keras.ops.exp(values) * noise + 0 * noise

    model = keras.Model(inputs, keras.layers.Lambda(sample)(inputs))
    assert model.output_shape[1:] == (2,)
    found = model.predict(np.zeros((250, 2)), batch_size=100, verbose=0)
    assert found.shape == (250, 2)
    assert len(np.unique(found)) == found.size
    assert 1.6 < found.std() < 2.4


def test_random_numbers_that_something_has_read_keep_their_shape() -> None:
    def sample(values: Any) -> Any:
        noise = keras.random.normal((100, 2))
        return values * keras.ops.sum(noise) + noise

    with pytest.raises(ValueError, match="broadcast"):
        keras.layers.Lambda(sample)(keras.Input((2,)))


def test_the_place_of_a_sample_is_that_in_its_batch() -> None:
    def with_places(x: Any) -> Any:
        count = ops.shape(x)[0]
        return x * 0 + ops.cast(ops.arange(count), "float32")[:, None] + 10 * ops.cast(count, "float32")

    model = model_of(layers.Lambda(with_places))
    for batch_size in (1, 3, 12):
        found = model.predict(X, batch_size=batch_size, verbose=0)[:, 0]
        np.testing.assert_array_equal(found, np.arange(12) % batch_size + 10 * batch_size)
