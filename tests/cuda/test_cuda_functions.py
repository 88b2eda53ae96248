"""What a user's Python is recorded as runs on a GPU: losses, metrics, layers, compiled functions, steps of training."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled
from test_tracing_operations import CASES, by_sample

import engine as keras
from engine import layers, ops

CLOSE = {"rtol": 1e-5, "atol": 2e-6}


def each_case(test: Any) -> Any:
    ids = [case[0] for case in CASES]
    return pytest.mark.parametrize(("name", "function", "arrays"), CASES, ids=ids)(test)


def model_of(function: Any, arrays: Any) -> tuple[keras.Model, list[Any]]:
    """Returns a model of a function, and what the function returns for the arrays."""
    inputs = [keras.Input(array.shape[1:], dtype=array.dtype.name) for array in arrays]
    symbols, results = function(*inputs), function(*arrays)
    if not isinstance(symbols, (list, tuple)):
        symbols, results = [symbols], [results]
    pairs = [by_sample(symbol, result, inputs[0]) for symbol, result in zip(symbols, results, strict=True)]
    return keras.Model(inputs, [symbol for symbol, _ in pairs]), [wanted for _, wanted in pairs]


@each_case
def test_functions_of_arrays(name: str, function: Any, arrays: tuple[np.ndarray, ...]) -> None:
    with keras.device("cuda"):
        model, wanted = model_of(function, arrays)
        found = model.predict(list(arrays) if len(arrays) > 1 else arrays[0], verbose=0)
    assert model.device == "cuda:0"
    for got, one in zip(found if len(wanted) > 1 else [found], wanted, strict=True):
        np.testing.assert_allclose(got, np.asarray(one, np.float32), rtol=2e-4, atol=1e-5, err_msg=name)


def trained(device: str, function: Any, arrays: Any) -> Any:
    """Trains a dense layer in front of a function, and returns its weights; a message if it has no gradient."""
    with keras.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some functions make NaN
        first = keras.Input(arrays[0].shape[1:])
        inputs = [first, *(keras.Input(array.shape[1:], dtype=array.dtype.name) for array in arrays[1:])]
        # At first, the function gets the arrays themselves, which it is defined for.
        symbols = function(
            layers.Dense(arrays[0].shape[-1], kernel_initializer="identity")(first), *inputs[1:]
        )
        symbol = symbols[0] if isinstance(symbols, (list, tuple)) else symbols
        symbol, _ = by_sample(symbol, np.zeros(()), first)
        y = np.ones((len(arrays[0]), int(np.prod(symbol.shape[1:]))), "float32")
        model = keras.Model(inputs, ops.reshape(ops.cast(symbol, "float32"), (-1, y.shape[1])))
        try:
            model.compile(keras.optimizers.SGD(1e-3), "mse")
            model.fit(
                list(arrays) if len(arrays) > 1 else arrays[0],
                y,
                epochs=2,
                batch_size=5,
                shuffle=False,
                verbose=0,
            )
        except (ValueError, NotImplementedError) as error:
            return str(error)
        return model.get_weights()


@each_case
def test_gradients_of_functions(name: str, function: Any, arrays: tuple[np.ndarray, ...]) -> None:
    if arrays[0].dtype != np.float32:
        pytest.skip("integers have no gradient")
    expected, ours = trained("cpu", function, arrays), trained("cuda", function, arrays)
    if isinstance(expected, str):
        assert ours == expected
        return
    assert not isinstance(ours, str), ours
    assert_all_close(ours, expected, rtol=1e-4, atol=1e-5, err_msg=name)


def samples(rng: np.random.Generator, rows: int = 40) -> tuple[Any, Any]:
    return rng.standard_normal((rows, 6)).astype("float32"), rng.standard_normal((rows, 3)).astype("float32")


def regression(loss: Any, metrics: Any = (), last: Any = None) -> keras.Model:
    model = keras.Sequential([keras.Input((6,)), layers.Dense(9, activation="tanh")])
    if last is not None:
        model.add(last)
    model.add(layers.Dense(3))
    return compiled(model, keras.optimizers.SGD(0.05), loss, metrics=list(metrics))


def squares(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred) * ops.abs(y_true), axis=-1)


def one_number(y_true: Any, y_pred: Any) -> Any:
    return ops.log(ops.mean(ops.square(y_true - y_pred)) + 1.0)


@pytest.mark.parametrize("loss", [squares, one_number])
@pytest.mark.parametrize("weighted", [False, True])
def test_own_losses_and_metrics(loss: Any, weighted: bool, same_training: Any, rng: Any) -> None:
    x, y = samples(rng)
    options = {"sample_weight": rng.random(40).astype("float32")} if weighted else {}
    same_training(lambda: regression(loss, [squares]), x, y, batch_size=16, **options)


def test_a_loss_of_reduction_sum(same_training: Any, rng: Any) -> None:
    class Distance(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return ops.sqrt(ops.sum(ops.square(y_true - y_pred), axis=-1) + 1e-3)

    same_training(lambda: regression(Distance(reduction="sum")), *samples(rng), batch_size=16)


def test_a_contrastive_loss(same_training: Any, rng: Any) -> None:
    """Each sample is compared with all others of its batch."""

    def contrast(y_true: Any, y_pred: Any) -> Any:
        similar = ops.matmul(y_pred, ops.transpose(y_true))
        return ops.logsumexp(similar, axis=1) - ops.sum(y_pred * y_true, axis=1)

    x, y = samples(rng)
    same_training(lambda: regression(contrast), x, y, batch_size=20)


class Gated(layers.Layer):
    """A layer with weights, a random part in training, and a penalty."""

    def build(self, shape: Any) -> None:
        self.gate = self.add_weight(shape=(shape[-1],), initializer="random_normal", name="gate")
        self.matrix = self.add_weight(
            shape=(shape[-1], shape[-1]), initializer="random_normal", name="matrix"
        )

    def call(self, x: Any) -> Any:
        self.add_loss(0.01 * ops.sum(ops.square(self.gate)))
        return x * ops.sigmoid(self.gate) + ops.matmul(x, self.matrix)


def test_own_layers(same_training: Any, rng: Any) -> None:
    same_training(lambda: regression("mse", last=Gated()), *samples(rng), batch_size=16)


def test_random_numbers_of_own_layers(same_training: Any, rng: Any) -> None:
    class Noisy(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.seeds = keras.random.SeedGenerator(5)

        def call(self, x: Any, training: bool = False) -> Any:
            if not training:
                return x
            noise = keras.random.normal(ops.shape(x), seed=self.seeds)
            return x + 0.1 * noise + keras.random.uniform(ops.shape(x), seed=self.seeds)

    same_training(lambda: regression("mse", last=Noisy()), *samples(rng), batch_size=16)


def test_compiled_functions(rng: Any) -> None:
    def distances(a: Any, b: Any) -> Any:
        return ops.sqrt(ops.sum(ops.square(a[:, None] - b[None]), axis=-1)), ops.argmax(a, axis=0)

    a, b = rng.standard_normal((7, 5)).astype("float32"), rng.standard_normal((4, 5)).astype("float32")
    expected = keras.function(distances)(a, b)
    with keras.device("cuda"):
        found = keras.function(distances)(a, b)
    assert_all_close(found, expected, **CLOSE)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adafactor", "muon"])
def test_own_steps_of_training(optimizer: str, rng: Any) -> None:
    x, y = samples(rng)

    def run(device: str) -> list[np.ndarray]:
        with keras.device(device):
            keras.utils.set_random_seed(3)
            model = regression("mse")
            steps = keras.optimizers.get(optimizer)
            steps.learning_rate = 0.02

            @keras.function
            def step(x: Any, y: Any) -> Any:
                with keras.GradientTape() as tape:
                    loss = ops.mean(ops.square(model(x, training=True) - y))
                gradients = tape.gradient(loss, model.trainable_variables)
                steps.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
                return loss

            losses = [float(step(x[i : i + 8], y[i : i + 8])) for i in range(0, 40, 8)]
            return [np.float32(losses), *model.get_weights()]

    assert_all_close(run("cuda"), run("cpu"), **CLOSE)


def test_own_train_steps_of_models(same_training: Any, rng: Any) -> None:
    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with keras.GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            for metric in self.metrics:
                metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    def build() -> keras.Model:
        first = keras.Input((6,))
        model = Own(first, layers.Dense(3)(layers.Dense(9, activation="tanh")(first)))
        return compiled(model, keras.optimizers.Adam(0.01), "mse", metrics=["mae"])

    same_training(build, *samples(rng), batch_size=16)


def long_sum(x: Any) -> Any:
    """A reduction of so many numbers that a block shares it."""
    return x * ops.mean(ops.square(x)) + ops.max(ops.abs(x))


def many_numbers_at_a_time(x: Any) -> Any:
    """An elementwise function that keeps more numbers than fit its small kernel."""
    parts = [ops.tanh(x * (0.1 * i)) for i in range(40)]
    total = parts[0]
    for part in parts[1:]:
        total = total * 0.5 + part
    for part in reversed(parts):
        total = total * part + part
    return total


def attention(x: Any) -> Any:
    """Products of stacks of matrices that are larger than a tile."""
    parts = ops.reshape(x, (-1, 2, 40, 6))
    scores = ops.softmax(ops.einsum("bhic,bhjc->bhij", parts, parts))
    return ops.reshape(ops.einsum("bhij,bhjc->bihc", scores, parts), (-1, 480))


TILE = 32  # rows and columns: SmallTile of csrc/cuda/products.h
PRODUCTS = [
    # Matrices whose rows, columns and terms are an axis each, as they lie in memory or transposed.
    "ik,kj->ij", "ki,kj->ij", "ik,jk->ij", "ki,jk->ji", "bik,bkj->bij", "bki,bjk->bij", "bik,kj->bij", "bihk,bjhk->bhij",
    "bhij,bjhk->bihk", "ik,k->i", "k,kj->j", "k,k->", "i,j->ij", "b,b->b", "bk,bk->b", "abik,abkj->abij",
    # Several axes that are neighbours in both arrays, and others that are not.
    "iak,kj->iaj", "ikl,klj->ij", "ikl,lkj->ij", "kil,klj->ij", "iaj,ja->ia", "ikb,kjb->bij", "iak,kj->jia", "iak,kj->ija",
]  # fmt: skip
LENGTHS = {
    "one": {}, "below a tile": dict.fromkeys("ijk", TILE - 1), "a tile": dict.fromkeys("ijk", TILE),
    "above a tile": {"i": TILE + 1, "j": 2 * TILE + 1, "k": TILE + 1}, "ones": {"i": 1, "j": 5, "k": 1, "a": 1},
}  # fmt: skip


@pytest.mark.parametrize("letters", PRODUCTS)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_products_of_arrays(letters: str, lengths: str, rng: Any) -> None:
    chosen = {"a": 3, "b": 2, "h": 3, "i": 5, "j": 7, "k": 6, "l": 4, **LENGTHS[lengths]}
    operands = letters.split("->", maxsplit=1)[0].split(",")
    x, y = (rng.standard_normal([chosen[letter] for letter in each]).astype("float32") for each in operands)
    with keras.device("cuda"):
        found = np.asarray(keras.function(lambda x, y: ops.einsum(letters, x, y))(x, y))
    np.testing.assert_allclose(found, np.einsum(letters, x.astype("float64"), y), rtol=1e-5, atol=2e-5)


def test_products_of_large_tiles(rng: Any) -> None:
    """So many that each multiprocessor has a tile of 128 rows and columns."""
    x, y = (rng.standard_normal((140, 2, 3)).astype("float32") for _ in range(2))
    with keras.device("cuda"):
        found = np.asarray(keras.function(lambda x, y: ops.einsum("bik,bjk->bij", x, y))(x, y))
    np.testing.assert_allclose(found, np.einsum("bik,bjk->bij", x.astype("float64"), y), rtol=1e-5, atol=2e-5)


def looked_up(x: Any) -> Any:
    """Rows of a table of weights, some of them more than once."""
    table = ops.reshape(ops.mean(x, axis=0), (160, 3))
    indices = ops.cast(ops.floor(ops.abs(x[:, :70]) * 50.0), "int32")
    return ops.sum(ops.take(table, indices, axis=0), axis=(1, 2), keepdims=True)[:, 0] * ops.ones((1, 480))


def sums_from_both_ends(x: Any) -> Any:
    return ops.cumsum(x, axis=1) * 0.01 - ops.cumsum(x[:, ::-1], axis=1) * 0.02


@pytest.mark.parametrize(
    "function", [long_sum, many_numbers_at_a_time, attention, looked_up, sums_from_both_ends]
)
def test_large_arrays(function: Any, same_training: Any, rng: Any) -> None:
    x, y = rng.standard_normal((40, 30)).astype("float32"), rng.standard_normal((40, 2)).astype("float32")

    def build() -> keras.Model:
        first = keras.Input((30,))
        hidden = layers.Dense(480, activation="tanh")(first)
        model = keras.Model(first, layers.Dense(2)(layers.Lambda(function)(hidden)))
        return compiled(model, keras.optimizers.SGD(1e-3), "mse")

    same_training(build, x, y, batch_size=25)


def test_calls_in_training_move_averages(rng: Any) -> None:
    x, _ = samples(rng)
    found = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.Input((6,)), layers.BatchNormalization(), layers.Dropout(0.5)])
            found.append([np.asarray(model(x, training=True)), *model.get_weights()])
    assert_all_close(*found, **CLOSE)


def test_the_same_seed_gives_the_same_bits(rng: Any) -> None:
    tokens, y = rng.integers(0, 9, (60, 12)), rng.integers(0, 3, 60)
    runs = []
    for _ in range(2):
        with keras.device("cuda"):
            keras.utils.set_random_seed(5)
            model = keras.Sequential(
                [keras.Input((12,)), layers.Embedding(9, 40), layers.BatchNormalization()]
            )
            model.add(layers.Flatten())
            model.add(layers.Lambda(lambda x: x * ops.mean(x) + ops.take(x, tokens[0], axis=1)[:, :1]))
            model.add(layers.Dense(3, activation="softmax"))
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(tokens, y, epochs=2, batch_size=32, verbose=0)
            runs.append(model.get_weights())
    assert_all_equal(*runs)
