"""Tests of `keras.random` and of windows of time series: bits, ranges, errors."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, random, utils

DRAWN = {
    "normal": lambda seed: random.normal((7, 5), 1.0, 2.0, seed=seed),
    "truncated_normal": lambda seed: random.truncated_normal((7, 5), seed=seed),
    "uniform": lambda seed: random.uniform((7, 5), -1.0, 3.0, seed=seed),
    "randint": lambda seed: random.randint((7, 5), -3, 10**9, seed=seed),
    "categorical": lambda seed: random.categorical(np.zeros((7, 9)), 5, seed=seed),
    "dropout": lambda seed: random.dropout(np.ones((7, 5), np.float32), 0.25, seed=seed),
    "shuffle": lambda seed: random.shuffle(np.arange(35, dtype=np.int32).reshape(7, 5), 1, seed=seed),
}
DIGEST = "c1e8062f5c79dfc9"


def test_the_same_bits_on_every_machine() -> None:
    seen = hashlib.sha256()
    for draw in DRAWN.values():
        seen.update(draw(11).tobytes())
    assert seen.hexdigest()[:16] == DIGEST


@pytest.mark.parametrize("name", DRAWN)
def test_seeds(name: str) -> None:
    draw, generator = DRAWN[name], random.SeedGenerator(11)
    first, second = draw(generator), draw(generator)
    assert np.array_equal(first, draw(11))
    assert not np.array_equal(first, second)
    assert not np.array_equal(draw(11), draw(-11))
    assert np.array_equal(draw(np.int64(11)), draw(11))
    utils.set_random_seed(5)
    before = [draw(None), draw(None), draw(random.SeedGenerator())]
    utils.set_random_seed(5)
    assert np.array_equal(before, [draw(None), draw(None), draw(random.SeedGenerator())])
    assert not np.array_equal(before[0], before[1])


def test_whole_numbers_are_as_likely_in_large_ranges() -> None:
    most = 2**40 + 2**39
    drawn = random.randint((100_000,), 0, most, dtype="int64", seed=1)
    assert drawn.min() >= 0
    assert drawn.max() < most
    for bit in range(30):  # the lowest, too
        assert abs(((drawn >> bit) & 1).mean() - 0.5) < 0.01
    assert set(random.randint((1000,), -2, 1, seed=2).tolist()) == {-2, -1, 0}


def test_impossible_classes_are_never_drawn() -> None:
    logits = [[-np.inf, 0.0, -np.inf], [0.0, -np.inf, -np.inf], [-np.inf, -np.inf, 1e4]]
    drawn = random.categorical(logits, 5000, seed=3)
    assert [set(row.tolist()) for row in drawn] == [{1}, {0}, {2}]


def test_noise_in_a_layer_of_ones_own() -> None:
    class Noisy(layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.seed_generator = random.SeedGenerator(1337)

        def call(self, inputs: Any, training: bool = False) -> Any:
            noise = random.normal(inputs.shape, stddev=0.1, seed=self.seed_generator)
            return inputs + noise if training else inputs

        def gradient(self, inputs: Any, upstream: Any) -> Any:
            return upstream

    x, found = np.ones((20, 3), np.float32), []
    for _ in range(2):
        utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), Noisy(), layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, x[:, 0], epochs=2, verbose=0)
        found.append(model.get_weights()[0])
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: random.normal((3,), 1.0, 2.0, seed=3),
        lambda: random.normal((3,), 0.0, 1.0, None, 3),
        lambda: random.uniform((2, 3), seed=np.int64(5))[1],
        lambda: random.truncated_normal((3,), seed=7),
        lambda: random.randint((3,), 0, 1000, seed=3),
        lambda: random.dropout(np.ones(3, "float32"), 0.5, seed=3),
        lambda: random.categorical(np.zeros((3, 50), "float32"), 1, seed=1)[:, 0],
    ],
)
def test_one_seed_gives_the_same_numbers_where_code_is_recorded(draw: Any) -> None:
    class Drawn(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs + draw()

    x = np.zeros((2, 3), np.float32)
    expected = np.broadcast_to(np.asarray(draw(), np.float32), (2, 3))
    model = keras.Sequential([keras.Input((3,)), Drawn()])
    step = keras.function(lambda inputs: inputs + draw())
    with keras.GradientTape() as tape:
        recorded = keras.ops.convert_to_tensor(x)
        tape.watch(recorded)
        on_tape = Drawn()(recorded)
    for found in (Drawn()(x), model(x), model.predict(x, verbose=0), step(x), on_tape):
        np.testing.assert_array_equal(found, expected)


def test_messages() -> None:
    for call, error, message in (
        (
            lambda: random.normal((2,), seed="a"),
            ValueError,
            "`seed` must be either an integer or an instance",
        ),
        (lambda: random.SeedGenerator(sed=1), ValueError, "Unrecognized keyword arguments: sed"),
        (lambda: random.SeedGenerator(1.5), ValueError, "`seed` must be an integer, got 1.5"),
        (lambda: random.uniform((2,), 3, 1), ValueError, "`maxval` must be a finite number of at least 3"),
        (
            lambda: random.uniform((2,), dtype="int8"),
            ValueError,
            "`dtype` must be that of floats, such as 'float32', got 'int8'",
        ),
        (lambda: random.randint((2,), 0, 4, "float32"), ValueError, "`dtype` must be that of integers"),
        (lambda: random.randint((2,), 4, 4), ValueError, "`maxval` must be above `minval=4`"),
        (lambda: random.categorical([1.0], 2), ValueError, "`logits` should be a 2-D tensor"),
        (lambda: random.dropout([1.0], 1.5), ValueError, "`rate` must be between 0 and 1"),
        (lambda: random.normal(3), TypeError, "`shape` must be a tuple of integers"),
        (lambda: random.normal((2,), stddev="x"), TypeError, "`stddev` must be of real numbers, got 'x'"),
        (
            lambda: random.normal((2,), np.ones(3)),
            ValueError,
            r"`mean` must be .* fits \(2,\), got shape \(3,\)",
        ),
        (lambda: random.randint((2,), "a", 4), TypeError, "`minval` must be an integer, got 'a'"),
        (lambda: random.categorical([["a"]], 2), TypeError, "`logits` must be of real numbers"),
        (lambda: random.dropout("a", 0.5), TypeError, "`inputs` must be of real numbers, got 'a'"),
        (
            lambda: random.dropout([1.0], 0.5, (1, 1)),
            ValueError,
            "`noise_shape` must have an entry for each of the 1",
        ),
        (
            lambda: utils.timeseries_dataset_from_array(np.ones(5), None, 2, end_index=9),
            ValueError,
            "`end_index` must be at most 4",
        ),
    ):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(AttributeError, match="has no attribute 'timeseriez'"):
        _ = utils.timeseriez


def test_windows_that_are_longer_than_the_series_are_none() -> None:
    assert len(utils.timeseries_dataset_from_array(np.ones(5), None, 6)) == 0
    windows = utils.timeseries_dataset_from_array(np.ones(5), None, 5)
    assert [window.shape for window in windows] == [(1, 5)]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: random.gamma((2,), 0.0), "`alpha` must be above 0, got 0.0"),
        (lambda: random.beta((2,), 1.0, [-1.0, 2.0]), "`beta` must be above 0"),
        (lambda: random.binomial((2,), 1.5, 0.5), "`counts` must be whole numbers"),
        (lambda: random.binomial((2,), -1, 0.5), "`counts` must be whole numbers"),
        (lambda: random.binomial((2,), 3, 1.5), r"`probabilities` must be in \[0, 1\]"),
        (lambda: random.gamma((2, 3), np.ones(2)), r"`alpha` must be .* array that fits \(2, 3\)"),
    ],
)
def test_parameters_of_distributions(draw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()


def test_distributions_follow_seeds() -> None:
    draws = (
        lambda seed: random.gamma((5,), 2.0, seed=seed),
        lambda seed: random.beta((5,), 2.0, 3.0, seed=seed),
        lambda seed: random.binomial((5,), 1000, 0.4, seed=seed),
    )
    for draw in draws:
        generator = random.SeedGenerator(2**63 + 5)
        first, second = draw(generator), draw(generator)
        assert np.array_equal(first, draw(2**63 + 5))
        assert not np.array_equal(first, second)
        utils.set_random_seed(3)
        before = draw(None)
        utils.set_random_seed(3)
        assert np.array_equal(before, draw(None))


class _Noise(keras.layers.Layer):
    """Adds noise of a shape that is known, or that of the inputs."""

    def __init__(self, seed: Any, by_sample: bool) -> None:
        super().__init__()
        self.seed, self.by_sample = seed, by_sample

    def call(self, x: Any) -> Any:
        shape = keras.ops.shape(x) if self.by_sample else (2,)
        return x + keras.random.normal(shape, seed=self.seed) + keras.random.uniform((2,), seed=self.seed)


@pytest.mark.parametrize("by_sample", [False, True])
def test_a_number_as_the_seed_gives_the_same_numbers_in_each_batch(by_sample: bool) -> None:
    x, generator = np.zeros((4, 2), np.float32), keras.random.SeedGenerator(3)
    model = keras.Sequential([keras.Input((2,)), _Noise(3, by_sample)])
    other = keras.Sequential([keras.Input((2,)), _Noise(generator, by_sample)])
    first = np.asarray(model(x))
    for found in (
        model(x),
        model.predict(x, verbose=0),
        model.predict(x, batch_size=1, verbose=0),
        model(x, training=True),
    ):
        np.testing.assert_array_equal(np.asarray(found), first)
    assert not np.array_equal(np.asarray(other(x)), np.asarray(other(x)))
    # In training, each batch gets them, too: the loss is the same in all of them.
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = [float(model.train_on_batch(x, x)) for _ in range(3)]
    assert losses[0] == losses[1] == losses[2] == pytest.approx(float(np.square(first).mean()), rel=1e-6)
    with keras.GradientTape():
        one, two = (np.asarray(model(x)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
