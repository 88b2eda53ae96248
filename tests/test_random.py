"""Tests of random numbers: the bits of Philox, and the distributions made from it."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from common import compiled
from numpy.typing import NDArray
from python_threads import side_by_side

import engine as keras
from engine import _core, layers, random, utils
from engine._base import random_state

Array = NDArray[Any]

MASK = 0xFFFFFFFF
# SHA-256 of the numbers in test_draws_are_the_same_on_every_machine.
DIGESTS = ["f2cddddd85184faf", "5c1f4f93703f616b", "0966837a1e529bbf"]


def philox(counter: Sequence[Any], key: tuple[int, int]) -> tuple[Any, ...]:
    """Computes Philox 4x32-10 (Salmon et al. 2011) of a counter of four words: integers or uint64 arrays."""
    (a, b, c, d), (e, f) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ e, q & MASK, (p >> 32) ^ d ^ f, p & MASK
        e, f = (e + 0x9E3779B9) & MASK, (f + 0xBB67AE85) & MASK
    return a, b, c, d


def words(seed: int, stream: int, count: int) -> Array:
    """Returns the engine's stream of random words: the key is the seed, and the counter is (block, stream)."""
    blocks = np.arange(-(-count // 4), dtype=np.uint64)
    counter = (blocks, np.uint64(0), np.uint64(stream & MASK), np.uint64(stream >> 32))
    return np.stack(np.broadcast_arrays(*philox(counter, (seed & MASK, seed >> 32))), axis=1).ravel()[:count]


def test_philox_known_answers() -> None:
    """The test vectors are those of Random123 (kat_vectors, philox4x32 10)."""
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    for counter, key, want in [
        ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((MASK,) * 4, (MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (*pi, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ]:
        assert philox(counter, key) == want


@pytest.mark.parametrize(
    ("seed", "stream"),
    [(0, 0), (1, 2), (2**32 + 5, 2**40 + 7), (2**64 - 1, 2**64 - 1), (0xA4093822, 0x13198A2E)],
)
def test_uniform_is_philox(seed: int, stream: int) -> None:
    """The upper 24 bits of each word give a float in [0, 1)."""
    want = ((words(seed, stream, 1001) >> np.uint64(8)) * 2.0**-24).astype(np.float32)
    np.testing.assert_array_equal(_core.uniform(seed, stream, len(want), 0.0, 1.0), want)


def test_uniform_is_scaled_and_keeps_its_prefix() -> None:
    unit = _core.uniform(3, 1, 1000, 0.0, 1.0)
    for n in (0, 1, 63, 64, 65, 999):
        np.testing.assert_array_equal(_core.uniform(3, 1, n, 0.0, 1.0), unit[:n])
    low, high = -0.25, 1.5
    # low + (high - low) u is computed in float64 and rounded once.
    want = (low + (high - low) * unit.astype(float)).astype(np.float32)
    np.testing.assert_array_equal(_core.uniform(3, 1, 1000, low, high), want)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-0.05, 0.05), (1.0, 1.0000001), (16777216.0, 16777218.0)]
)
def test_uniform_stays_below_its_upper_bound(low: float, high: float) -> None:
    draws = _core.uniform(0, 0, 100_000, low, high)
    assert draws.dtype == np.float32
    assert (draws >= np.float32(low)).all()
    assert (draws < np.float32(high)).all()


def test_uniform_moments_and_independence() -> None:
    n = 1_000_000
    x = _core.uniform(7, 3, n, 0.0, 1.0).astype(float)
    five_sigma = 5 / np.sqrt(n)
    assert abs(x.mean() - 1 / 2) <= five_sigma * np.sqrt(1 / 12)
    assert abs((x**2).mean() - 1 / 3) <= five_sigma * np.sqrt(4 / 45)
    others = [x[1:], x[2:], x[4:], x[64:]]
    others += [
        _core.uniform(seed, stream, n, 0.0, 1.0) for seed, stream in [(8, 3), (7, 4), (3, 7), (7, 2**32 + 3)]
    ]
    for y in others:
        assert abs(np.corrcoef(x[: len(y)], y)[0, 1]) <= five_sigma
    counts = np.bincount((x * 256).astype(int), minlength=256)
    assert chi_square(counts) <= quantile(255)


def chi_square(counts: Array) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def quantile(freedom: int) -> float:
    """Returns about the 1 - 3e-7 quantile (five standard deviations) of chi-square, by Wilson and Hilferty."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + 5 * np.sqrt(spread)) ** 3)


@pytest.mark.parametrize("n", [0, 1, 2, 16, 17, 1000, 60_000])
def test_permutation_holds_every_index_once(n: int) -> None:
    order = _core.permutation(5, 9, n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, _core.permutation(5, 9, n))


@pytest.mark.parametrize(("stream", "rejections"), [(0, 0), (4, 2), (5, 1)])
def test_permutation_is_fisher_yates_with_unbiased_draws(stream: int, rejections: int) -> None:
    """A draw below n is the high half of word * n. It is repeated if the low half is less than 2**32 mod n (Lemire)."""
    n, rejected = 100_000, 0
    order, draws = list(range(n)), iter(words(6, stream, n + 10).tolist())
    for left in range(n, 1, -1):
        product = next(draws) * left
        while product & MASK < 2**32 % left:
            product, rejected = next(draws) * left, rejected + 1
        i = product >> 32
        order[left - 1], order[i] = order[i], order[left - 1]
    np.testing.assert_array_equal(_core.permutation(6, stream, n), order)
    assert rejected == rejections, "these streams were chosen to show what a rejected draw does"


def test_permutation_is_keyed_by_seed_and_stream() -> None:
    orders = [_core.permutation(seed, stream, 1000) for seed, stream in [(0, 0), (1, 0), (0, 1), (0, 2**32)]]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            # Two random orders agree at one position on average, and at more than 15 with probability 1e-13.
            assert (a == b).sum() <= 15


@pytest.mark.parametrize("over", ["streams", "seeds"])
def test_permutations_are_equally_likely(over: str) -> None:
    index = {order: i for i, order in enumerate(permutations(range(4)))}
    counts = np.zeros(len(index), int)
    for i in range(24_000):
        key = (1, i) if over == "streams" else (i, 1)
        counts[index[tuple(_core.permutation(*key, 4).tolist())]] += 1
    assert chi_square(counts) <= quantile(len(index) - 1)


def test_permutation_positions_of_a_longer_order() -> None:
    """Element 0 gets every position with equal probability, also in orders longer than a block of words."""
    n = 100
    counts = np.zeros(n, int)
    for stream in range(20_000):
        counts[np.flatnonzero(_core.permutation(2, stream, n) == 0)[0]] += 1
    assert chi_square(counts) <= quantile(n - 1)


def digest(values: Array) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def test_normal_is_box_and_muller() -> None:
    first, second = words(7, 3, 2000).astype(float).reshape(-1, 2).T
    radius, turn = np.sqrt(-2 * np.log((first + 1) * 2.0**-32)), 2 * np.pi * second * 2.0**-32
    exact = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1).ravel()
    got = _core.normal(7, 3, 2000, 0.5, 2.0)
    np.testing.assert_allclose(got, 0.5 + 2 * exact, rtol=2.0**-23, atol=1e-12)
    np.testing.assert_array_equal(_core.normal(7, 3, 333, 0.5, 2.0), got[:333])


def test_truncated_normal_leaves_out_what_is_far() -> None:
    normal = _core.normal(1, 0, 5000, 0.0, 1.0)
    kept = normal[np.abs(normal) <= 2]
    np.testing.assert_array_equal(_core.truncated_normal(1, 0, len(kept), 0.0, 1.0), kept)
    shifted = _core.truncated_normal(1, 0, len(kept), -1.0, 0.25)
    np.testing.assert_allclose(shifted, kept / 4 - 1, rtol=1e-6, atol=1e-7)


def test_normal_has_the_moments_of_one() -> None:
    z = _core.normal(11, 5, 400_000, 0.0, 1.0).astype(float)
    for power, (moment, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], 1):
        assert abs((z**power).mean() - moment) < 5 * np.sqrt(variance / len(z)), power
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 5 / np.sqrt(len(z))
    assert np.abs(z).max() > 4


@pytest.mark.parametrize("shape", [(1, 1), (9, 1), (8, 8), (17, 5), (130, 70)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    q = _core.orthogonal(4, 2, *shape, 1.0).astype(float)
    assert q.shape == shape
    np.testing.assert_allclose(q.T @ q, np.eye(shape[1]), atol=1e-6)
    scaled = _core.orthogonal(4, 2, *shape, 3.0)
    np.testing.assert_allclose(scaled, 3 * q, rtol=1e-6, atol=1e-7)


def test_orthogonal_has_no_preferred_direction() -> None:
    """A column is a normal vector divided by its length, so that the signs on the diagonal are random."""
    entries = np.array([_core.orthogonal(seed, 0, 3, 3, 1.0) for seed in range(2000)], float)
    np.testing.assert_allclose(entries.mean(axis=0), 0, atol=5 * np.sqrt(1 / 3 / 2000))
    np.testing.assert_allclose((entries**2).mean(axis=0), 1 / 3, atol=5 * np.sqrt(4 / 45 / 2000))


def test_draws_are_the_same_on_every_machine() -> None:
    found = [
        digest(_core.normal(1, 2, 1000, 0.0, 1.0)),
        digest(_core.truncated_normal(1, 2, 1000, 0.5, 0.1)),
        digest(_core.orthogonal(1, 2, 40, 30, 1.0)),
    ]
    assert found == DIGESTS


@pytest.mark.parametrize("draw", [_core.normal, _core.truncated_normal])
def test_bad_sizes_of_normal_draws(draw: Any) -> None:
    with pytest.raises(ValueError, match="`size` must not be negative, got -1"):
        draw(0, 0, -1, 0.0, 1.0)
    with pytest.raises(ValueError, match="as many rows as columns"):
        _core.orthogonal(0, 0, 2, 3, 1.0)


# Tests of `keras.random` and of windows of time series: bits, ranges, errors.


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
        model = compiled(keras.Sequential([keras.Input((3,)), Noisy(), layers.Dense(1)]), "sgd", "mse")
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


# Threads that draw while another one goes back to earlier numbers.


class _DrawsInItsStep(keras.Model):
    """A model whose steps draw while they are recorded; in the meantime it lets another thread draw, too."""

    def __init__(self) -> None:
        super().__init__()
        self.last = layers.Dense(1)
        self.generator = random.SeedGenerator(5)
        self.meanwhile: Any = None
        self.recorded = 0

    def call(self, inputs: Any) -> Any:
        return self.last(inputs)

    def train_step(self, data: Any) -> Any:
        self.recorded += 1
        x, y = data
        noise = random.normal((2,)) + random.normal((2,), seed=self.generator)
        if self.meanwhile is not None:
            self.meanwhile()
        return super().train_step((x + noise, y))


def _in_a_thread(work: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.mark.parametrize("own", [False, True])
def test_a_thread_that_draws_while_a_step_is_compiled_gets_numbers_of_its_own(own: bool) -> None:
    x, y = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)
    utils.set_random_seed(1)
    model = compiled(_DrawsInItsStep(), "sgd", "mse")
    found = list[float]()
    seed = model.generator if own else None

    def draw() -> None:
        found.append(float(random.normal((), seed=seed)))

    model.train_on_batch(x, y)
    for _ in range(8):
        draw()
    model.meanwhile = lambda: [_in_a_thread(draw) for _ in range(3)]
    model.train_on_batch(x[:3], y[:3])  # another form, which draws from where the first one began
    model.meanwhile = None
    for _ in range(8):
        draw()
    assert model.recorded == 2
    assert len(set(found)) == len(found) == 19


def test_a_model_that_steps_have_to_build_gives_back_no_numbers_of_others() -> None:
    found = list[float]()

    class Refuses(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.kernel = self.add_weight((2, 1))
            found.append(_in_a_thread(lambda: float(random.normal(()))))
            if len(found) == 1:
                raise ValueError

        def call(self, inputs: Any) -> Any:
            return inputs @ self.kernel

    class OwnStep(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = Refuses()

        def call(self, inputs: Any) -> Any:
            return self.last(inputs)

        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    model = compiled(OwnStep(), "sgd", "mse")
    model.fit(np.ones((4, 2), np.float32), np.ones((4, 1), np.float32), verbose=0)
    found += [float(random.normal(())) for _ in range(8)]
    assert len(found) > 9
    assert len(set(found)) == len(found)


def test_threads_that_share_a_generator_get_different_numbers() -> None:
    generator = random.SeedGenerator(3)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        states = side_by_side(lambda: [tuple(generator.next().tolist()) for _ in range(500)])
    finally:
        sys.setswitchinterval(before)
    assert len({state for each in states for state in each}) == 2000
    assert generator.state.tolist() == [3, 2000]


def test_what_is_drawn_within_a_thread_with_a_seed_of_its_own_stays_there() -> None:
    utils.set_random_seed(4)
    expected = [float(random.normal(())) for _ in range(3)]
    utils.set_random_seed(4)
    found = [float(random.normal(()))]
    with random_state.seeded(9):
        inside = float(random.normal(()))
        found.append(_in_a_thread(lambda: float(random.normal(()))))
        with suppress(KeyError), random_state.giving_back():
            random.normal(())
            raise KeyError
        again = random_state.position()
    found.append(float(random.normal(())))
    assert found == expected
    assert again == (9, 1)
    assert inside not in expected


def test_blocks_that_give_draws_back_nest() -> None:
    utils.set_random_seed(4)
    with suppress(KeyError), random_state.giving_back():
        random.normal(())
        with suppress(ValueError), random_state.giving_back():
            random.normal(())
            raise ValueError
        assert random_state.position() == (4, 1)
        with random_state.giving_back():
            random.normal(())
        assert random_state.position() == (4, 2)
        raise KeyError
    assert random_state.position() == (4, 0)


def test_an_interrupt_reaches_whoever_builds_a_model_within_another_one() -> None:
    class Inner(keras.Model):
        def call(self, inputs: Any) -> Any:
            random.normal((1,))
            raise KeyboardInterrupt

        def train_step(self, data: Any) -> Any:
            return {}

    class Outer(keras.Model):
        interrupted = False

        def call(self, inputs: Any) -> Any:
            if not self.interrupted:
                inner = compiled(Inner(), "sgd", "mse")
                try:
                    inner.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
                except KeyboardInterrupt:
                    self.interrupted = True
            return inputs

        def train_step(self, data: Any) -> Any:
            return {}

    model = compiled(Outer(), "sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 3)), verbose=0)
    assert model.interrupted


def test_a_random_state_never_gives_two_threads_the_same_draw() -> None:
    state = random_state.RandomState(5)

    def draws() -> list[tuple[int, int]]:
        return [state.draw() for _ in range(2000)]

    with ThreadPoolExecutor(4) as pool:
        found = [draw for each in [pool.submit(draws) for _ in range(4)] for draw in each.result()]
    assert sorted(found) == [(5, number) for number in range(8000)]
    state.give_back((5, 7999), 1)
    assert state.position == (5, 7999)
    state.give_back((5, 0), 1)  # others have drawn since
    assert state.position == (5, 7999)
    assert pickle.loads(pickle.dumps(state)).position == (5, 7999)
    state.position = 2**80, 3
    assert state.draw() == (2**80, 3)
