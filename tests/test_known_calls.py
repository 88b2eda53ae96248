"""Functions of `engine.ops` that tapes record again: what the first call has recorded holds for the later ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import ops
from engine._tracing import known_calls

rng = np.random.default_rng(3)


def gradients(function: Callable[..., Any], *arrays: Any) -> tuple[Any, list[Any]]:
    """Returns what a function of arrays computes, and the derivatives of the sum, by a tape."""
    watched = [ops.convert_to_tensor(array) for array in arrays]
    with keras.GradientTape() as tape:
        tape.watch(watched)
        result = function(*watched)
    found = tape.gradient(result, watched, unconnected_gradients="zero")
    return np.asarray(result), [np.asarray(each) for each in found]


SHARED = ops.convert_to_tensor(rng.normal(size=(4, 3)))
WEIGHT = keras.Variable(rng.normal(size=(3,)))
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "two arrays": lambda x, y: x * y,
    "one array twice": lambda x, _: x * x,
    "two views of one array": lambda x, _: ops.matmul(x, ops.reshape(x, (3, 4))),
    "an array and its transposed": lambda x, _: ops.matmul(x, x.T),
    "a plain array": lambda x, _: x - np.arange(12, dtype=np.float32).reshape(4, 3),
    "a plain array twice": lambda x, _: ops.where(x > SHARED, SHARED, x),
    "integers": lambda x, _: x * np.arange(3),
    "float64": lambda x, _: x * np.arange(3.0),
    "a variable": lambda x, _: x + WEIGHT,
    "a number": lambda x, _: 2.0 * x,
    "another number": lambda x, _: 3.0 * x,
    "an integer": lambda x, _: x**2,
    "a list": lambda x, y: ops.concatenate([x, y], axis=-1),
    "a list in another order": lambda x, y: ops.concatenate([y, x], axis=-1),
    "an axis": lambda x, _: ops.mean(x, axis=0),
    "another axis": lambda x, _: ops.mean(x, axis=1),
    "axes": lambda x, _: ops.sum(x, axis=(0, 1), keepdims=True),
    "places": lambda x, _: x[:, 1],
    "a range": lambda x, _: x[1:3, ..., None],
    "indices": lambda x, _: ops.take(x, np.array([2, 0]), axis=1),
    "itself": lambda x, _: ops.reshape(x, (4, 3)),
    "several results": lambda x, _: ops.split(x, 3, axis=1)[2],
    "statistics": lambda x, y: ops.var(x * y, axis=-1) + ops.max(y, axis=1),
    "a softmax": lambda x, y: ops.log_softmax(x) * y,
    "a loss": lambda x, y: ops.categorical_crossentropy(ops.softmax(y), x, from_logits=True),
    "NumPy's functions": lambda x, y: np.sqrt(np.abs(x)) + np.mean(y, axis=0),
}


@pytest.mark.parametrize("name", CALLS)
def test_later_calls_compute_what_the_first_one_does(name: str) -> None:
    pairs = [rng.normal(size=(2, 4, 3)).astype(np.float32) for _ in range(3)]
    known_calls._calls.clear()
    later = [gradients(CALLS[name], *pair) for pair in pairs]
    for pair, (result, found) in zip(pairs, later, strict=True):
        known_calls._calls.clear()
        expected, first = gradients(CALLS[name], *pair)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
        for each, other in zip(found, first, strict=True):
            np.testing.assert_array_equal(each, other)


def test_calls_that_differ_in_a_sign_or_a_type_alone_are_not_the_same() -> None:
    x = np.zeros(2, np.float32)
    with keras.GradientTape() as tape:
        watched = ops.convert_to_tensor(x)
        tape.watch(watched)
        results = [ops.signbit(ops.multiply(ops.ones_like(watched), each)) for each in (0.0, -0.0)]
        kept = [ops.sum(ops.reshape(watched, (1, 2)), each, keepdims=each) for each in (0, 1)]
        powers = [ops.add(ops.cast(watched, "int32"), each) for each in (1, 1.0, True)]
    assert [bool(each[0]) for each in results] == [False, True]
    assert [each.shape for each in kept] == [(2,), (1, 1)]
    assert [each.dtype for each in powers] == ["int32", "float32", "int32"]


def test_every_call_checks_its_own_numbers() -> None:
    x = ops.convert_to_tensor(np.arange(4.0))
    for indices, fits in (([0, 3], True), ([0, 4], False), ([1, 2], True)):
        with keras.GradientTape() as tape:
            tape.watch(x)
            if fits:
                assert ops.take(x, np.array(indices)).numpy().tolist() == indices
            else:
                with pytest.raises(ValueError, match="4"):
                    ops.take(x, np.array(indices)).numpy()


def test_a_call_that_cannot_be_recorded_says_so_each_time() -> None:
    for _ in range(3):
        with keras.GradientTape():
            (x,) = (ops.convert_to_tensor(np.ones((2, 3))) * keras.Variable(1.0),)
            with pytest.raises(ValueError, match=r"test_known_calls\.py:\d+: .*broadcast"):
                ops.add(x, np.ones((4, 5), np.float32))


def test_random_numbers_differ_in_each_call() -> None:
    with keras.GradientTape():
        x = ops.convert_to_tensor(np.ones(8)) * keras.Variable(1.0)
        first, other = (np.asarray(x + keras.random.normal((8,))) for _ in range(2))
    assert (first != other).all()


def test_the_first_call_draws_as_often_as_later_ones() -> None:
    known_calls._calls.clear()
    x = np.ones((3, 4), np.float32)

    def drawn() -> Any:
        keras.utils.set_random_seed(4)
        return np.asarray(keras.function(lambda x: x * keras.random.normal(ops.shape(x)))(x))

    np.testing.assert_array_equal(drawn(), drawn())


def test_kept_calls_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_calls, "_MOST_CALLS", 5)
    known_calls._calls.clear()
    with keras.GradientTape():
        x = ops.convert_to_tensor(np.ones(2)) * keras.Variable(1.0)
        results = [x * float(number) for number in range(20)]
        assert len(known_calls._calls) <= 5
    np.testing.assert_array_equal(np.stack(results), np.outer(np.arange(20), np.ones(2)))


LOSSES = {
    "huber": keras.losses.Huber(0.5),
    "another huber": keras.losses.Huber(1.5),
    "crossentropy": keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    "classes": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "binary": keras.losses.BinaryCrossentropy(from_logits=True),
    "cosine": keras.losses.CosineSimilarity(axis=0),
}


@pytest.mark.parametrize("name", LOSSES)
def test_later_calls_of_a_loss_compute_what_the_first_one_does(name: str) -> None:
    def loss(x: Any, y: Any) -> Any:
        targets = np.array([0, 2, 1, 1]) if name == "classes" else y
        return LOSSES[name](targets, ops.sin(x))

    for _ in range(2):
        pair = rng.uniform(size=(2, 4, 3)).astype(np.float32)
        later = gradients(loss, *pair)
        known_calls._calls.clear()
        first = gradients(loss, *pair)
        for each, other in zip([later[0], *later[1]], [first[0], *first[1]], strict=True):
            np.testing.assert_array_equal(each, other)
        targets = np.array([0, 2, 1, 1]) if name == "classes" else pair[1]
        np.testing.assert_allclose(later[0], LOSSES[name](targets, np.sin(pair[0])), rtol=2e-5)
