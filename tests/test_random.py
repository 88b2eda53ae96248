"""Tests of random numbers: the bits of Philox, and the distributions made from it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import _core

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
