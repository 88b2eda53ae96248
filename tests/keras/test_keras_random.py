"""Compares random arrays and windows of time series with Keras: arguments, shapes, dtypes, errors. The numbers differ."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import engine

SERIES = np.arange(60, dtype=np.float32).reshape(30, 2)
LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 1e-9]], np.float32))

CALLS: dict[str, Any] = {
    "normal": lambda r, s: r.normal((200, 300), 2.0, 3.0, seed=s),
    "normal_by_column": lambda r, s: r.normal((50000, 2), np.array([0.0, 5.0]), np.array([1.0, 2.0]), seed=s),
    "normal_half": lambda r, s: r.normal((200, 300), dtype="float16", seed=s),
    "truncated": lambda r, s: r.truncated_normal((200, 300), 1.0, 0.5, seed=s),
    "uniform": lambda r, s: r.uniform((200, 300), -1.0, 4.0, seed=s),
    "scalar": lambda r, s: r.uniform((), seed=s) * 0,
    "empty": lambda r, s: r.normal((0, 3), seed=s),
    "randint": lambda r, s: r.randint((200, 300), -5, 17, seed=s),
    "randint_bytes": lambda r, s: r.randint((200, 300), 0, 200, dtype="uint8", seed=s),
    "categorical": lambda r, s: r.categorical(LOGITS, 40000, seed=s),
    "categorical_bytes": lambda r, s: r.categorical(LOGITS, 3000, dtype="int8", seed=s) * 0,
    "dropout": lambda r, s: r.dropout(np.ones((200, 300), np.float32), 0.3, seed=s),
    "dropout_of_rows": lambda r, s: r.dropout(np.ones((40000, 2), np.float32), 0.6, (None, 1), seed=s),
    "dropout_of_all": lambda r, s: r.dropout(np.ones((2, 3), np.float32), 1.0, seed=s),
    "dropout_of_none": lambda r, s: r.dropout(np.ones((2, 3), np.float32), 0.0, seed=s),
    "gamma": lambda r, s: r.gamma((200, 300), 1.7, seed=s),
    "gamma_by_column": lambda r, s: r.gamma((60000, 2), np.array([0.3, 5.0], np.float32), seed=s),
    "beta": lambda r, s: r.beta((200, 300), 2.0, 0.5, seed=s),
    "beta_half": lambda r, s: r.beta(
        (100, 100), np.full(100, 2, np.float16), np.float16(3), dtype="float16", seed=s
    ),
    "binomial": lambda r, s: r.binomial((200, 300), 12.0, 0.3, seed=s),
    "binomial_by_column": lambda r, s: r.binomial((50000, 2), np.array([3.0, 90.0]), [0.5, 0.1], seed=s),
    "shuffle": lambda r, s: r.shuffle(np.arange(20000.0, dtype=np.float32), seed=s),
    "shuffle_of_columns": lambda r, s: r.shuffle(
        np.arange(40000, dtype=np.int32).reshape(2, -1), axis=1, seed=s
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_distributions(name: str) -> None:
    """Compares shape, dtype, mean, spread and bounds. Only the same seed gives the same numbers."""
    theirs, ours = (np.asarray(CALLS[name](api.random, 7)) for api in (keras, engine))
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    again, other = (np.asarray(CALLS[name](engine.random, seed)) for seed in (7, 8))
    assert np.array_equal(ours, again)
    if ours.size > 1000 and ours.any():
        assert not np.array_equal(ours, other)
    if not ours.size:
        return
    a, b = (x.astype(float) for x in (ours, theirs))
    if "shuffle" in name:
        np.testing.assert_array_equal(np.sort(a, axis=-1), np.sort(b, axis=-1))
        a, b = (np.abs(np.diff(x, axis=-1)) for x in (a, b))
    spread = b.std(axis=0) / len(b) ** 0.5 if a.ndim > 1 and a.shape[1] < 10 else b.std() / b.size**0.5
    axis = 0 if np.ndim(spread) else None
    assert np.all(np.abs(a.mean(axis=axis) - b.mean(axis=axis)) <= 8 * spread + 1e-9)
    np.testing.assert_allclose(a.std(axis=axis), b.std(axis=axis), rtol=0.05, atol=1e-9)
    if not any(kind in name for kind in ("normal", "shuffle", "gamma", "beta", "binomial")):
        np.testing.assert_allclose((a.min(), a.max()), (b.min(), b.max()), rtol=1e-3, atol=1e-3)


WRONG: dict[str, Any] = {
    "shapes_of_gamma": lambda r: r.gamma((2, 3), np.ones(2, np.float32)),
    "shapes_of_beta": lambda r: r.beta((2, 3), 1.0, np.ones(2, np.float32)),
    "shapes_of_binomial": lambda r: r.binomial((2, 3), np.ones(2, np.float32), 0.5),
    "gamma_of_ints": lambda r: r.gamma((2,), 1.0, dtype="int32"),
    "uniform_ints": lambda r: r.uniform((2,), dtype="int32"),
    "normal_ints": lambda r: r.normal((2,), dtype="int32"),
    "randint_floats": lambda r: r.randint((2,), 0, 3, dtype="float32"),
    "logits": lambda r: r.categorical(np.zeros(3, np.float32), 2),
    "seed": lambda r: r.normal((2,), seed="a"),
    "seed_of_a_generator": lambda r: r.SeedGenerator("a"),
    "shape": lambda r: r.normal(("a",)),
    "noise_shape": lambda r: r.dropout(np.ones((2, 3), np.float32), 0.5, noise_shape=(7, 3)),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name: str) -> None:
    for api in (keras, engine):
        with pytest.raises((ValueError, TypeError)):
            WRONG[name](api.random)


def test_seed_generators() -> None:
    for api in (keras, engine):
        one, other = (api.random.SeedGenerator(3) for _ in range(2))
        drawn = [np.asarray(api.random.normal((4,), seed=one)) for _ in range(3)]
        assert not np.array_equal(drawn[0], drawn[1])
        assert np.array_equal(drawn[0], api.random.normal((4,), seed=3))
        again = [np.asarray(api.random.normal((4,), seed=other)) for _ in range(3)]
        assert np.array_equal(drawn, again)
        config = api.random.SeedGenerator(3, name="s").get_config()
        assert config == {"seed": 3, "name": "s"}
        assert api.random.SeedGenerator.from_config(config).get_config() == config
        api.utils.set_random_seed(1)
        globally = [np.asarray(api.random.uniform((3,))) for _ in range(2)]
        api.utils.set_random_seed(1)
        assert np.array_equal(globally, [np.asarray(api.random.uniform((3,))) for _ in range(2)])


WINDOWS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (SERIES[:, 0], {"sequence_length": 4, "batch_size": 5}),
    "alone": (None, {"sequence_length": 4}),
    "apart": (
        SERIES[:, 0],
        {"sequence_length": 3, "sampling_rate": 2, "sequence_stride": 4, "batch_size": 2},
    ),
    "a_part": (SERIES, {"sequence_length": 3, "start_index": 5, "end_index": 20}),
    "fewer_targets": (SERIES[:11], {"sequence_length": 3}),
    "one_by_one": (SERIES[:, 0], {"sequence_length": 3, "batch_size": None}),
    "one_step": (SERIES[:, 1], {"sequence_length": 1, "batch_size": 7}),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str) -> None:
    pytest.importorskip("tensorflow")
    targets, options = WINDOWS[name]
    found = []
    for api in (keras, engine):
        windows = api.utils.timeseries_dataset_from_array(SERIES, targets, **options)
        batches = [b if isinstance(b, tuple) else (b,) for b in windows]
        assert len(windows) == len(batches)
        found.append([np.asarray(part) for batch in batches for part in batch])
    assert len(found[0]) == len(found[1])
    for theirs, ours in zip(*found, strict=True):
        assert theirs.dtype == ours.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_index": -1},
        {"start_index": 30},
        {"end_index": 30},
        {"start_index": 4, "end_index": 4},
        {"sampling_rate": 0},
        {"sampling_rate": 30},
        {"sequence_stride": 0},
        {"sequence_stride": 30},
        {"format": "other"},
    ],
)
def test_wrong_windows(wrong: dict[str, Any]) -> None:
    for api in (keras, engine):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            api.utils.timeseries_dataset_from_array(SERIES, None, 3, **wrong)


def test_windows_train() -> None:
    """Windows come in another order in each pass, each with its target."""
    windows = engine.utils.timeseries_dataset_from_array(
        SERIES, SERIES[3:, 0], 3, batch_size=8, shuffle=True, seed=4
    )
    passes = [np.concatenate([y for _, y in windows]) for _ in range(2)]
    assert not np.array_equal(*passes)
    assert np.array_equal(np.sort(passes[0]), SERIES[3:, 0])
    for x, y in windows:
        assert np.array_equal(x[:, -1, 0] + 2, y)
    model = engine.Sequential([engine.layers.Flatten(), engine.layers.Dense(1)])
    model.compile("adam", "mse")
    history = model.fit(windows, validation_data=windows, epochs=2, verbose=0)
    assert history.params["steps"] == 4
