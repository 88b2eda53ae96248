"""Sums over many rows, columns, places and weights: a GPU adds them in slices, whose sums it adds in their order."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers

SLICE = 128  # rows: kSliceRows of csrc/cuda/column_sums.h
ROWS = [1, SLICE - 1, SLICE, SLICE + 1, 5 * SLICE + 3]


def samples(rng: np.random.Generator, rows: int, inputs: int = 20) -> tuple[Any, Any]:
    return rng.standard_normal((rows, inputs)).astype("float32"), rng.integers(0, 5, rows)


def classifier(*stack: Any, inputs: int = 20, optimizer: Any = None) -> keras.Model:
    model = keras.Sequential(
        [keras.Input((inputs,)), *stack, layers.Flatten(), layers.Dense(5, activation="softmax")]
    )
    return compiled(model, optimizer or keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")


# ---- Rows of a batch ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("columns", [1, 33])
def test_normalization_of_many_rows(columns: int, rows: int, same_training: Any, rng: Any) -> None:
    """The last batch of an epoch is shorter than the others, and may have fewer slices."""
    x, y = samples(rng, rows + rows // 2)

    def build() -> keras.Model:
        return classifier(
            layers.Dense(columns, activation="tanh"),
            layers.BatchNormalization(momentum=0.7), layers.LayerNormalization(), layers.PReLU("random_normal"),
        )  # fmt: skip

    same_training(build, x, y, batch_size=rows)


@pytest.mark.parametrize("kept", ["none", "first slice", "some"])
def test_normalization_of_masked_rows(kept: str, same_training: Any, rng: Any) -> None:
    x, y = rng.random((60, 5, 3)).astype("float32"), rng.integers(0, 5, 60)
    if kept == "none":
        x[:] = 0.0
    elif kept == "first slice":
        x[20:] = 0.0
    else:
        x[rng.random((60, 5)) < 0.5] = 0.0

    def build() -> keras.Model:
        model = keras.Sequential(
            [keras.Input((5, 3)), layers.Masking(0.0), layers.BatchNormalization(momentum=0.7)]
        )
        model.add(layers.GlobalAveragePooling1D())
        model.add(layers.Dense(5, activation="softmax"))
        return compiled(model, keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")

    same_training(build, x, y, batch_size=60, shuffle=False)


def test_variances_of_large_numbers(rng: Any) -> None:
    """No sum of squares of the numbers themselves is made, in which their deviations would be lost."""
    x = (1000.0 + 0.1 * rng.standard_normal((5 * SLICE + 3, 3))).astype("float32")
    with keras.device("cuda"):
        model = keras.Sequential(
            [keras.Input((3,)), layers.BatchNormalization(momentum=0.0), layers.Dense(1)]
        )
        model.compile(keras.optimizers.SGD(0.0), "mse")
        model.fit(x, np.zeros(len(x)), batch_size=len(x), verbose=0)
        mean, variance = model.layers[0].get_weights()[2:]
    # A mean that differs by one ulp of 1000 from the true one adds the square of that.
    ulp = float(np.spacing(np.float32(1000.0)))
    np.testing.assert_allclose(mean, x.mean(0, dtype="float64"), atol=4 * ulp)
    np.testing.assert_allclose(variance, x.var(0, dtype="float64"), rtol=1e-4, atol=16 * ulp**2)


PIECE_ROWS = 4096  # kPieceRows of csrc/cuda/batch_sums.h


@pytest.mark.parametrize("rows", [PIECE_ROWS, PIECE_ROWS + 1])
def test_losses_and_metrics_of_many_rows(rows: int, rng: Any) -> None:
    """The second batch is shorter, and the mean of its losses is divided by a sum of weights."""
    x, y = rng.standard_normal((rows + 5, 2)).astype("float32"), rng.integers(0, 2, rows + 5)
    weights = rng.random(rows + 5).astype("float32")
    found = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.Input((2,))])
            model.add(layers.Dense(2, activation="softmax", kernel_regularizer="l2"))
            model.add(layers.ActivityRegularization(0.01, 0.02))
            loss = keras.losses.SparseCategoricalCrossentropy(reduction="mean_with_sample_weight")
            metrics = {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
            model.compile(keras.optimizers.SGD(0.1), loss, **metrics)
            history = model.fit(x, y, batch_size=rows, epochs=1, sample_weight=weights, verbose=0).history
            found.append([*history.values(), *model.get_weights()])
    assert_all_close(*found, rtol=1e-5, atol=1e-6)


# ---- Rows of weights ------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.1, global_clipnorm=0.1),
    "clipnorm with accumulation": lambda: keras.optimizers.SGD(
        0.1, clipnorm=0.1, gradient_accumulation_steps=2
    ),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "muon": lambda: keras.optimizers.Muon(0.01),
}


@pytest.mark.parametrize("inputs", ROWS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_norms_of_tall_matrices(name: str, inputs: int, same_training: Any, rng: Any) -> None:
    if name == "muon" and inputs > SLICE + 1:
        pytest.skip("its products take long in the emulator, and its norms are those of the others")
    x, y = samples(rng, 12, inputs)
    same_training(lambda: classifier(inputs=inputs, optimizer=OPTIMIZERS[name]()), x, y, batch_size=6)


@pytest.mark.parametrize("rule", ["clipnorm", "global_clipnorm", "lamb"])
def test_norms_of_many_variables(rule: str, same_training: Any, rng: Any) -> None:
    """A kernel gets 24 variables at a time."""
    x, y = samples(rng, 12, 4)

    def build() -> keras.Model:
        stack = [layers.Dense(3, activation="tanh") for _ in range(13)]
        return classifier(*stack, inputs=4, optimizer=OPTIMIZERS[rule]())

    same_training(build, x, y, batch_size=6)


@pytest.mark.parametrize("inputs", ROWS)
@pytest.mark.parametrize(
    "constraint",
    [
        lambda: keras.constraints.MaxNorm(0.5), lambda: keras.constraints.MaxNorm(0.2, axis=1),
        lambda: keras.constraints.MaxNorm(1.0, axis=[0, 1]), keras.constraints.UnitNorm,
        lambda: keras.constraints.MinMaxNorm(0.3, 0.6, rate=0.5),
    ],
)  # fmt: skip
def test_constraints_of_tall_matrices(constraint: Any, inputs: int, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, 12, inputs)

    def build() -> keras.Model:
        return classifier(layers.Dense(7, activation="tanh", kernel_constraint=constraint()), inputs=inputs)

    same_training(build, x, y, batch_size=6)


@pytest.mark.parametrize("inputs", [1, 15, 16, 17, SLICE + 1])
@pytest.mark.parametrize("units", [1, 40])
def test_penalties_of_tall_matrices(units: int, inputs: int, same_training: Any, rng: Any) -> None:
    x, y = samples(rng, 12, inputs)

    def build() -> keras.Model:
        penalty = keras.regularizers.L1L2(0.01, 0.02)
        dense = layers.Dense(units, activation="tanh", kernel_regularizer=penalty)
        return classifier(dense, inputs=inputs, optimizer=keras.optimizers.Adam(0.01))

    same_training(build, x, y, batch_size=6)


@pytest.mark.filterwarnings("ignore:the loss of model")
@pytest.mark.parametrize("rule", ["clipnorm", "global_clipnorm"])
def test_norms_of_nan(rule: str, rng: Any) -> None:
    """A gradient with a NaN has a norm of NaN, which makes all of its weights NaN, as on the CPU and in Keras."""
    x, y = rng.integers(0, 4, (12, 3)), rng.integers(0, 5, 12)
    found = []
    for device in ("cuda", "cpu"):
        with keras.device(device):
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.Input((3,)), layers.Embedding(5, 2, embeddings_regularizer="l2")])
            model.add(layers.Flatten())
            model.add(layers.Dense(5, activation="softmax"))
            model.compile(keras.optimizers.SGD(0.1, **{rule: 0.1}), "sparse_categorical_crossentropy")
            table = model.layers[0].get_weights()[0]
            table[4] = np.nan  # of a token that no sample has
            model.layers[0].set_weights([table])
            model.fit(x, y, batch_size=12, epochs=1, verbose=0)
            found.append([np.isnan(weights) for weights in model.get_weights()])
    assert found[0][0].all()
    assert_all_equal(*found)


def test_wide_matrices(same_training: Any, rng: Any) -> None:
    """More columns than the blocks of a grid have lanes."""
    x, y = samples(rng, 4, 3)

    def build() -> keras.Model:
        wide = layers.Dense(9000, activation="relu", kernel_constraint="max_norm")
        return classifier(wide, inputs=3, optimizer=keras.optimizers.SGD(0.01, clipnorm=0.1))

    same_training(build, x, y, batch_size=4)


# ---- Rows of tables -------------------------------------------------------------------------------------------------

PIECE, RUN = (
    64,
    512,
)  # positions: SortedRows::kPiece and SortRuns::kLength of csrc/cuda/operations/embedding.cu
TOKENS = {
    "one token": lambda rng, size: np.full(size, 3),
    "half padding": lambda rng, size: np.where(rng.random(size) < 0.5, 0, rng.integers(0, 40, size)),
    "many tokens": lambda rng, size: rng.integers(0, 2000, size),
    "in descending order": lambda rng, size: np.arange(size)[::-1] // 3,
}


def embedding(length: int, columns: int, optimizer: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((length,)), layers.Embedding(2000, columns)])
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dense(3, activation="softmax"))
    return compiled(model, optimizer, "sparse_categorical_crossentropy")


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, PIECE - 1), (2, PIECE // 2), (5, 13), (1, RUN - 1), (4, RUN // 4), (27, 19), (10, 230)],
)
@pytest.mark.parametrize("steps", [True, False])
def test_embeddings_of_many_positions(
    name: str, shape: tuple[int, int], steps: bool, same_training: Any, rng: Any
) -> None:
    """A second batch has fewer samples. The optimizer steps the rows of the tokens at once, or has the whole gradient."""
    rows, length = shape
    total = rows + (rows + 1) // 2
    x, y = TOKENS[name](rng, total * length).reshape(total, length), rng.integers(0, 3, total)

    def build() -> keras.Model:
        optimizer = keras.optimizers.SGD(0.5) if steps else keras.optimizers.SGD(0.5, global_clipnorm=0.3)
        return embedding(length, 5, optimizer)

    same_training(build, x, y, batch_size=rows, epochs=1, shuffle=False)


@pytest.mark.parametrize("columns", [1, 31, 127, 128, 129, 300])
@pytest.mark.parametrize("clipvalue", [None, 1e-4])
def test_embeddings_of_many_columns(
    columns: int, clipvalue: float | None, same_training: Any, rng: Any
) -> None:
    x, y = TOKENS["half padding"](rng, 300).reshape(15, 20), rng.integers(0, 3, 15)
    same_training(
        lambda: embedding(20, columns, keras.optimizers.Adam(0.01, clipvalue=clipvalue)), x, y, batch_size=10
    )


def test_gradients_of_embeddings_in_float64(rng: Any) -> None:
    """A step of gradient descent from zero with a learning rate of 1 leaves the negative gradient."""
    x = TOKENS["half padding"](rng, 40 * 33).reshape(40, 33)
    with keras.device("cuda"):
        table = layers.Embedding(40, 3, embeddings_initializer="zeros")
        model = keras.Sequential(
            [keras.Input((33,)), table, layers.Flatten(), layers.Dense(1, use_bias=False)]
        )
        model.compile(keras.optimizers.SGD(1.0), keras.losses.MeanSquaredError(reduction="sum"))
        kernel = model.layers[-1].get_weights()[0].astype("float64")
        y = rng.standard_normal((40, 1)).astype("float32")
        model.fit(x, y, batch_size=40, epochs=1, shuffle=False, verbose=0)
    expected, magnitude = np.zeros((40, 3)), np.zeros((40, 3))
    terms = 2.0 * y.astype("float64")[:, :, None] * kernel.reshape(1, 33, 3)
    np.add.at(expected, x, terms)
    np.add.at(magnitude, x, np.abs(terms))
    error = np.abs(table.get_weights()[0] - expected)
    assert (error <= 64 * np.finfo("float32").eps * magnitude).all()


# ---- Reductions of arrays -------------------------------------------------------------------------------------------

REDUCTIONS = {
    "sum": (keras.ops.sum, np.sum), "max": (keras.ops.max, np.max), "min": (keras.ops.min, np.min),
    "prod": (keras.ops.prod, np.prod), "argmax": (keras.ops.argmax, np.argmax), "argmin": (keras.ops.argmin, np.argmin),
}  # fmt: skip
WARP_SLICE = 1024  # numbers: csrc/cuda/operations/reduction.cu
SHAPES = [
    *(((rows, columns), 0) for rows in ROWS for columns in (1, 33)),
    *(((3, numbers), 1) for numbers in (1, 7, 8, 33, WARP_SLICE - 1, WARP_SLICE, WARP_SLICE + 1, 5 * WARP_SLICE + 3)),
    ((3, SLICE + 1, 5), 1), ((40, 3, 70), (0, 2)), ((40, 3, 70), None), ((3, 5, 1), 1), ((2, 300, 1), 1),
]  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_reductions_of_any_size(name: str, shape: Any, axis: Any, rng: Any) -> None:
    ours, expected = REDUCTIONS[name]
    if name.startswith("arg") and isinstance(axis, tuple):
        pytest.skip("an extreme has its index along one axis, or in the whole array")
    x = (1.0 + 0.01 * rng.standard_normal(shape)).astype("float32")
    with keras.device("cuda"):
        found = np.asarray(keras.function(lambda a: ours(a, axis=axis))(x))
    np.testing.assert_allclose(found, expected(x.astype("float64"), axis=axis), rtol=2e-5)


@pytest.mark.parametrize("shape", [(50, 3), (3, 50), (2000, 3), (3, 2000)])
@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremes_with_equal_numbers_and_nan(name: str, shape: tuple[int, int], rng: Any) -> None:
    """The first of equal numbers is the extreme, and a NaN comes before all of them."""
    ours, expected = REDUCTIONS[name]
    axis = int(shape[1] > shape[0])
    x = rng.integers(0, 3, shape).astype("float32")
    x[1, 1] = np.nan
    x[-1, -1], x[-2, -2] = np.inf, -np.inf
    with keras.device("cuda"):
        found = np.asarray(keras.function(lambda a: ours(a, axis=axis))(x))
    np.testing.assert_array_equal(found, expected(x, axis=axis))


# ---- The order of additions -----------------------------------------------------------------------------------------


def train_everything() -> str:
    """Returns a digest of what a training with all of these sums leaves."""
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 9, (300, 7)), rng.integers(0, 5, 300)
    x[rng.random(x.shape) < 0.5] = 0
    with keras.device("cuda"):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((7,)), layers.Embedding(9, 33), layers.BatchNormalization()])
        model.add(layers.LayerNormalization())
        model.add(layers.Flatten())
        model.add(layers.Dense(40, kernel_constraint="max_norm", kernel_regularizer="l2"))
        model.add(layers.Lambda(lambda z: z - keras.ops.mean(z, axis=0)))
        model.add(layers.Dense(5, activation="softmax"))
        model.compile(keras.optimizers.Adam(0.01, global_clipnorm=0.5), "sparse_categorical_crossentropy")
        history = model.fit(x, y, batch_size=200, epochs=2, verbose=0).history
    digest = hashlib.sha256(repr(history).encode())
    for array in model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()


def test_the_same_bits_on_cards_of_any_size() -> None:
    """The order depends on shapes alone. (A real card has the multiprocessors that it has.)"""
    digests = set()
    for multiprocessors in ("1", "7", "132"):
        run = subprocess.run(
            [sys.executable, __file__], env={**os.environ, "EMULATED_CUDA_MULTIPROCESSORS": multiprocessors},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        digests.add(run.stdout)
    assert len(digests) == 1


if __name__ == "__main__":
    sys.stdout.write(train_everything())
