"""What chains of dense layers may hold, in each way of training them without a kernel for each step: as the CPU trains."""

from __future__ import annotations

import chain_trainings
import numpy as np
import pytest
from chain_trainings import ONE_KERNEL, OPTIMIZERS, TWO_KERNELS, chain, samples

import engine as keras
from engine import layers, regularizers

# One block, or several that exchange what they compute, train by one kernel; a team of blocks computes some samples of a batch.
WAYS = {
    None: (ONE_KERNEL, {}),
    **{f"teams:{blocks}": (TWO_KERNELS, {"batch_size": 100, "epochs": 2}) for blocks in (1, 2, 4)},
}
# The last batch is smaller: 14 of 32, or 10 of 100.
ROWS = 110


@pytest.fixture(params=WAYS, ids=lambda way: way or "one kernel")
def check(request, execution):
    """Compares a training in each of the ways with one on the CPU."""
    execution(request.param)
    text, options = WAYS[request.param]
    return lambda make, x, y, **more: chain_trainings.check(make, x, y, text, **{**options, **more})


@pytest.mark.parametrize(
    "sizes",
    [
        (7, 5, 3), (20, 3), (1, 1, 2), (20, 33, 17, 4), (9, 12, 10, 6, 3), (5, 30, 31, 8, 7, 3), (32, 64, 64, 16),
        (50, 65, 10),
    ],
    ids=str,
)  # fmt: skip
def test_sizes(check, sizes):
    x, y = samples(ROWS, sizes[0], sizes[-1])
    check(lambda: chain(*sizes), x, y)


@pytest.mark.parametrize("check", [None, "teams:2"], indirect=True)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("inputs", [24, 27, 131])
@pytest.mark.parametrize("scale", [None, (0.1,), (0.1, -0.5)], ids=str)
def test_types_of_rows(check, dtype, inputs, scale):
    x, y = samples(70, inputs, 4, dtype)
    x[:, 4:16] = 0  # from 128 inputs on, products leave these out
    scale = scale or ((1 / 255,) if dtype == "uint8" else None)
    check(lambda: chain(inputs, 12, 4, dtype=dtype, scale=scale), x, y)


@pytest.mark.parametrize("rate", [0.3, 1.0])
def test_dropout(check, rate):
    """Every sample has the same random numbers, whichever block or team computes it."""
    x, y = samples(ROWS, 20, 4)
    check(lambda: chain(20, 33, 17, 4, dropout=rate), x, y)


@pytest.mark.parametrize(
    "activation", ["relu", "tanh", "sigmoid", "gelu", "swish", "softplus", "elu", "leaky_relu"]
)
def test_activations(check, activation):
    x, y = samples(70, 20, 4)
    check(lambda: chain(20, 34, 17, 4, activation=activation), x, y)


@pytest.mark.parametrize("check", [None, "teams:2"], indirect=True)
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_optimizers(check, optimizer, dtype):
    x, y = samples(ROWS, 22, 4, dtype)
    check(lambda: chain(22, 33, 4, scale=(1 / 255,) if dtype == "uint8" else None), x, y, optimizer=optimizer)


@pytest.mark.parametrize("sizes", [(20, 33, 17, 4), (20, 4)], ids=str)
def test_penalties_on_weights(check, sizes):
    x, y = samples(ROWS, sizes[0], sizes[-1])
    check(lambda: chain(*sizes, regularizer=regularizers.L2(1e-2)), x, y)


@pytest.mark.parametrize(
    ("last", "loss"),
    [("sigmoid", "binary_crossentropy"), ("linear", "mse"), ("tanh", "mae"), ("linear", "huber")],
)
def test_losses(check, last, loss):
    x, y = samples(ROWS, 20, 4)
    one_hot = np.eye(4, dtype="float32")[y]
    check(lambda: chain(20, 18, 4, last=last), x, one_hot, loss=loss, metrics=["mse", "mae"])


def test_metrics_that_are_losses_or_count_the_first_classes(check):
    x, y = samples(ROWS, 20, 6)
    names = ["accuracy", "sparse_categorical_crossentropy", "sparse_top_k_categorical_accuracy"]
    check(lambda: chain(20, 18, 6), x, y, metrics=names)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_sample_weights(check, reduction):
    """All blocks and teams divide by the sum of the weights of the whole batch. The first batch of 32 rows has none."""
    x, y = samples(ROWS, 20, 4)
    weights = np.random.default_rng(1).random(ROWS).astype("float32")
    weights[:60] = 0
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=reduction)
    check(lambda: chain(20, 18, 4), x, y, loss=loss, sample_weight=weights, shuffle=False, optimizer="sgd")


def test_loss_with_logits_and_an_ignored_class(check):
    x, y = samples(ROWS, 20, 4)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    check(lambda: chain(20, 18, 4, last="linear"), x, y, loss=loss, metrics=[])


def test_layers_without_bias(check):
    def make():
        keras.utils.set_random_seed(7)
        hidden = layers.Dense(18, "relu", use_bias=False)
        return keras.Sequential([keras.Input((20,)), hidden, layers.Dense(4, "softmax", use_bias=False)])

    check(make, *samples(ROWS, 20, 4))
