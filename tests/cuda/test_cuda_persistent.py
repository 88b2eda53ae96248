"""Training by the persistent kernel: as the CPU trains, and with the same bits however many blocks there are."""

from __future__ import annotations

import numpy as np
import pytest
from chain_trainings import TOLERANCE, chain, check, require_way, samples, train
from common import assert_all_close, compiled

import engine as keras
from engine import layers, optimizers


@pytest.mark.parametrize("way", ["cluster:2", "cluster:4", "cluster:8", "cluster:16", "grid:4", "grid:16"])
@pytest.mark.parametrize("units", [(33, 17, 18, 4), (33, 18, 4)], ids=["even", "odd"])
def test_bits_depend_neither_on_blocks_nor_on_their_exchange(execution, way, units):
    """Of an odd number of layers, every block has the last one."""
    x, y = samples(70, 20, 4)
    trained = []
    for each in ("block", way, way):
        execution(each)
        with keras.device("cuda"):
            model, history = train(lambda: chain(20, *units, dropout=0.1), x, y)
            require_way(keras.utils.explain_batch(model))
        trained.append((model.get_weights(), history["loss"]))
    for weights, loss in trained[1:]:
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(weights, trained[0][0], strict=True))
        np.testing.assert_allclose(loss, trained[0][1], rtol=1e-12)
    assert trained[1][1] == trained[2][1]


def test_mnist_network_in_bytes(execution):
    x, y = samples(3 * 32 + 5, 784, 10, "uint8")
    check(lambda: chain(784, 128, 10, dropout=0.2, dtype="uint8", scale=(1 / 255,)), x, y, epochs=1)


@pytest.mark.parametrize("way", ["block", "cluster:4", "grid:4"])
@pytest.mark.parametrize("inputs", [64, 80, 83])
def test_bytes_that_blocks_divide(execution, way, inputs):
    """Rows of a single layer are split among blocks: 16 bytes, 4 bytes or single ones are copied at a time."""
    execution(way)
    x, y = samples(70, inputs, 4, "uint8")
    check(lambda: chain(inputs, 4, dtype="uint8", scale=(1 / 255,)), x, y, epochs=1)


def test_metrics_that_compute_probabilities_leave_short_batches_alone(execution):
    """A metric of logits writes probabilities where the next batch has its slopes; behind a short batch they are zeros."""

    def make():
        keras.utils.set_random_seed(7)
        return keras.Sequential([keras.Input((21,), dtype="uint8"), layers.Dense(4)])

    x, y = samples(3 * 32 + 5, 21, 4, "uint8")
    metric = keras.metrics.CategoricalCrossentropy(from_logits=True, name="logits")
    check(make, x // 64, np.eye(4, dtype="float32")[y], loss="mse", metrics=[metric], optimizer="sgd")


def test_padding_stays_zero_without_epsilon(execution):
    """Adam's step of a weight without gradient is 0 / 0 then, and 21 inputs leave three places of a quad empty."""
    x, y = samples(70, 21, 4)
    check(lambda: chain(21, 19, 4), x, y, optimizer=lambda: optimizers.Adam(0.01, epsilon=0.0), epochs=1)


def test_ways_that_are_none(execution):
    with keras.device("cuda"):
        model = compiled(chain(7, 5, 3), "adam", "sparse_categorical_crossentropy")
        execution("cluster:3")
        with pytest.raises(ValueError, match="ENGINE_CUDA_EXECUTION must be 'steps', 'block'"):
            model.fit(*samples(8, 7, 3), verbose=0)
        execution("steps")
        assert "ENGINE_CUDA_EXECUTION asks for that" in keras.utils.explain_batch(model)


@pytest.mark.parametrize("batch_size", [1, 31, 32, 33, 100])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_batch_sizes_with_a_short_last_batch(execution, batch_size, dtype):
    x, y = samples(7 if batch_size == 1 else 2 * batch_size + 3, 21, 4, dtype)
    check(lambda: chain(21, 19, 4), x, y, batch_size=batch_size)


def test_samples_in_their_order(execution):
    x, y = samples(70, 20, 4)
    check(lambda: chain(20, 12, 4), x, y, shuffle=False)


def test_more_batches_than_one_launch_takes(execution):
    """The first run sets how many batches are told to the card together: 32, as it has few."""
    few, many = samples(6, 9, 3), samples(4 * 70 + 1, 9, 3)

    def twice():
        model = chain(9, 5, 3, dropout=0.1)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(*few, batch_size=4, verbose=0)
        history = model.fit(*many, batch_size=4, epochs=2, verbose=0).history
        return model, history

    on_cpu, expected = twice()
    with keras.device("cuda"):
        on_card, history = twice()
    assert_all_close(on_card.get_weights(), on_cpu.get_weights(), atol=TOLERANCE)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=TOLERANCE)


def test_launches_that_grow(execution):
    """The first launch has 64 batches, the next one twice as many."""
    x, y = samples(2 * 200 + 1, 9, 3)
    check(lambda: chain(9, 5, 3, dropout=0.1), x, y, batch_size=2, epochs=1)


def test_single_batches_and_what_follows_training(execution):
    x, y = samples(64, 20, 4)

    def step_by_step():
        model = compiled(chain(20, 18, 4), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        losses = [model.train_on_batch(x[:32], y[:32]), model.train_on_batch(x[32:], y[32:])]
        seen = []
        callback = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
        )
        model.fit(x, y, batch_size=32, verbose=0, callbacks=[callback])
        return losses, seen, model.evaluate(x, y, verbose=0), model.predict(x, verbose=0)

    expected = step_by_step()
    with keras.device("cuda"):
        results = step_by_step()
    assert_all_close(results, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (
            lambda: keras.Sequential([keras.Input((9,)), layers.Dropout(0.1), layers.Dense(3)]),
            {},
            "'dropout rate=0.1'",
        ),
        (
            lambda: keras.Sequential([keras.Input((9,)), layers.Dense(4), layers.Dense(3, "softmax")]),
            {},
            "row_activation",
        ),
        (lambda: chain(9, 4, 3, last="linear"), {"optimizer": "rmsprop"}, "dense_weight_gradient"),
        (lambda: chain(9, 5000, 5000, 3, last="linear"), {}, "don't fit"),
        (lambda: chain(9, 4, 4, 4, 4, 4, 4, 4, last="linear"), {}, "six dense layers"),
    ],
    ids=["dropout of inputs", "softmax without its crossentropy", "rmsprop", "wide", "deep"],
)
def test_explanation_says_why_there_is_a_kernel_for_each_step(execution, make, options, reason):
    with keras.device("cuda"):
        model = compiled(make(), **{"optimizer": "sgd", "loss": "mse", **options})
        text = keras.utils.explain_batch(model)
    assert "a kernel for each step" in text
    assert reason in text


def test_steps_when_asked_for_them(execution):
    execution("steps")
    x, y = samples(70, 20, 4)
    on_cpu, _ = train(lambda: chain(20, 18, 4), x, y)
    with keras.device("cuda"):
        on_card, _ = train(lambda: chain(20, 18, 4), x, y)
        assert "a kernel for each step" in keras.utils.explain_batch(on_card)
    assert_all_close(on_card.get_weights(), on_cpu.get_weights(), atol=TOLERANCE)
