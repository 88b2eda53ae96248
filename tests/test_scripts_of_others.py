"""What scripts written for Keras with TensorFlow say: objects of TensorFlow as arguments, and habits of its models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import activations, layers, ops

RNG = np.random.default_rng(0)


class DType:
    """A dtype as `tf.float32`, which isn't one of NumPy's, but has a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class TorchDType:
    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        return f"torch.{self._name}"


TorchDType.__module__ = "torch"


@pytest.mark.parametrize("kind", [DType, TorchDType])
def test_dtypes_of_other_libraries(kind: Any) -> None:
    assert keras.Input((3,), dtype=kind("float32")).dtype == "float32"
    assert keras.Input((3,), dtype=kind("int64")).dtype == "int64"
    assert ops.cast(np.ones(3), kind("int32")).dtype == np.int32
    assert ops.zeros((2,), dtype=kind("bfloat16")).dtype == np.float32
    assert layers.Dense(3, dtype=kind("float32")).dtype_policy.name == "float32"
    assert keras.metrics.Mean(dtype=kind("float32")).name == "mean"
    with pytest.raises(TypeError, match="`dtype` must be that of real numbers"):
        keras.Input((3,), dtype=kind("resource"))


def test_inputs_of_strings() -> None:
    words = keras.Input((1,), dtype=DType("string"))
    model = keras.Model(words, layers.StringLookup(vocabulary=["a", "b"])(words))
    np.testing.assert_array_equal(model.predict(np.array([["b"], ["x"]]), verbose=0), [[2], [0]])


def of_library(name: str, module: str) -> Any:
    def function(x: Any) -> Any:
        msg = "it belongs to another library"
        raise AssertionError(msg)

    function.__name__, function.__module__ = name, module
    return function


@pytest.mark.parametrize(
    ("name", "module", "expected"),
    [
        ("softmax_v2", "tensorflow.python.ops.nn_ops", activations.softmax),
        ("relu", "tensorflow.python.ops.gen_nn_ops", activations.relu),
        ("leaky_relu", "tensorflow.python.ops.nn_ops", activations.leaky_relu),
        ("swish", "tensorflow.python.ops.nn_impl", activations.silu),
        ("log_softmax_v2", "tensorflow.python.ops.nn_ops", activations.log_softmax),
        ("sigmoid", "tensorflow.python.ops.math_ops", activations.sigmoid),
        ("hard_sigmoid", "keras.src.activations.activations", activations.hard_sigmoid),
    ],
)
def test_activations_of_tensorflow(name: str, module: str, expected: Any, tmp_path: Path) -> None:
    given = of_library(name, module)
    assert activations.get(given) is expected
    x = RNG.standard_normal((5, 4)).astype(np.float32)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=given)])
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict(x, verbose=0), expected(x @ kernel + bias), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_functions_of_users_stay_theirs() -> None:
    for given in (of_library("relu", __name__), of_library("exp", "tensorflow.python.ops.math_ops")):
        assert activations.get(given) is given


def test_a_model_may_have_a_loss_of_its_own() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.loss: Any = []
            self.dense = layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own()
    assert model.loss == []
    model.loss.append(3.0)
    assert model.loss == [3.0]
    model.compile("sgd", "mse")
    assert model.loss == "mse"
    model.loss = []
    assert model.fit(np.ones((4, 2)), np.ones(4), verbose=0).history.keys() == {"loss"}
    assert model.get_compile_config()["loss"] == "mse"


class Pairs(keras.Model):
    """A model of ratings, as in many tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = layers.Embedding(10, 4), layers.Embedding(12, 4)
        self.flat, self.dense = layers.Flatten(), layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        users, items = inputs
        return self.dense(
            ops.concatenate([self.flat(self.users(users)), self.flat(self.items(items))], axis=1)
        )


class Products(Pairs):
    def call(self, inputs: Any) -> Any:
        return ops.sum(self.users(inputs[0]) * self.items(inputs[1]), axis=-1)


@pytest.mark.parametrize("first", ["fit", "train_on_batch", "predict", "call", "evaluate"])
@pytest.mark.parametrize("kind", [Pairs, Products])
def test_inputs_of_one_number_for_each_sample(kind: Any, first: str) -> None:
    users, items = RNG.integers(0, 10, 7), RNG.integers(0, 12, 7)
    keras.utils.set_random_seed(1)
    model = kind()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((7, 2) if kind is Pairs else 7)
    if first == "predict":
        model.predict([users, items], verbose=0)
    elif first == "call":
        model([users, items])
    else:
        getattr(model, first)([users, items], y)
    rows = [np.array(each.embeddings)[ids] for each, ids in ((model.users, users), (model.items, items))]
    expected = rows[0] * rows[1]
    if kind is Pairs:
        expected = np.concatenate(rows, axis=1) @ np.array(model.dense.kernel) + np.array(model.dense.bias)
    else:
        expected = expected.sum(axis=-1)
    found = model.predict([users, items], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        model.evaluate([users, items], y, verbose=0), np.mean((expected - y) ** 2), rtol=1e-5
    )


@pytest.mark.parametrize(
    "name", ["mse", "mae", "msle", "huber", "binary_crossentropy", "kld", "hinge", "dice", "circle"]
)
def test_results_of_losses_have_the_methods_of_tensors(name: str) -> None:
    y_true, y_pred = np.eye(3, dtype=np.float32), np.full((3, 3), 1 / 3, np.float32)
    if name == "circle":
        y_true = np.arange(3)
    found = getattr(keras.losses, name)(y_true, y_pred)
    assert type(found.numpy()) in {np.ndarray, np.float32}
    np.testing.assert_array_equal(found.numpy(), np.asarray(found))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, activation="softmax")])
    model.compile("sgd", getattr(keras.losses, name))
    if name != "circle":
        assert np.isfinite(model.fit(y_pred, y_true, verbose=0).history["loss"][0])
