"""`train_on_batch` and `test_on_batch` of arrays that the core reads as they are: the short way does what the long way does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine as keras
from engine import layers, optimizers
from engine.models.batches_at_once import CoreForm

RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 4)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)
LABELS = RNG.integers(0, 2, 40)


def network(loss: Any = "mse", optimizer: Any = None, **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    last = "softmax" if "crossentropy" in str(loss) else None
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(8, activation="tanh"),
            layers.Dropout(0.2),
            layers.Dense(2, activation=last),
        ]
    )
    model.compile(optimizer or optimizers.Adam(0.01), loss, **options)
    return model


def slowly(model: Any) -> Any:
    """Returns the model, all batches of which take the long way."""
    model._batch_forms = Forgetful()
    return model


class Forgetful(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        pass


@pytest.fixture
def short_ways(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each batch that was tried took the short way."""
    taken = list[bool]()
    original = CoreForm.run

    def noted(*args: Any) -> Any:
        done = original(*args)
        taken.append(done is not None)
        return done

    monkeypatch.setattr(CoreForm, "run", noted)
    return taken


@pytest.mark.parametrize(
    ("loss", "y", "options"),
    [
        ("mse", Y, {}),
        ("mse", Y, {"metrics": ["mae", "mse"]}),
        ("huber", Y, {"weighted_metrics": ["mae"]}),
        ("sparse_categorical_crossentropy", LABELS, {"metrics": ["accuracy"]}),
        ("sparse_categorical_crossentropy", LABELS.astype(np.int32)[:, None], {}),
        ("categorical_crossentropy", np.eye(2, dtype=np.float32)[LABELS], {"metrics": ["accuracy"]}),
        ("mse", Y.astype(np.float64), {}),
    ],
)
def test_the_short_way_has_the_bits_of_the_long_one(
    loss: Any, y: Any, options: Any, short_ways: list[bool]
) -> None:
    quick, slow = network(loss, **options), slowly(network(loss, **options))
    found, expected = list[Any](), list[Any]()
    for model, results in ((quick, found), (slow, expected)):
        keras.utils.set_random_seed(9)
        for rows in (slice(0, 8), slice(8, 40), slice(3, 4), slice(0, 40)):
            results.append(model.train_on_batch(X[rows], y[rows], return_dict=True))
            results.append(model.test_on_batch(X[rows], y[rows]))
        results.append(float(keras.random.uniform(())))  # the draws are as many
        results.extend(float(np.sum(metric.result())) for metric in model.metrics)
    assert found == expected
    assert short_ways == [True] * 6
    for one, other in zip(quick.get_weights(), slow.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def of_one_output(loss: Any, y: Any) -> tuple[Any, Any]:
    """Returns two equal models with one output, the second of which always takes the long way."""

    def made() -> Any:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((4,)), layers.Dense(1, activation="sigmoid")])
        model.compile(optimizers.SGD(0.1), loss)
        model.train_on_batch(X, y)
        return model

    return made(), slowly(made())


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "bool", "float32", "float64"])
@pytest.mark.parametrize("column", [False, True])
def test_targets_of_any_dtype_take_the_short_way(dtype: str, column: bool, short_ways: list[bool]) -> None:
    y = LABELS.astype(dtype)
    for loss, given in (
        ("sparse_categorical_crossentropy", y[:, None] if column else y),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=1), y[:, None] if column else y),
    ):
        model, slow = network(loss), slowly(network(loss))
        for rows in (slice(0, 40), slice(0, 8), slice(2, 3)):
            assert model.train_on_batch(X[rows], given[rows]) == slow.train_on_batch(X[rows], given[rows])
    for loss in ("mse", "binary_crossentropy", "hinge"):
        given = y[:, None] if column else y
        model, slow = of_one_output(loss, given)
        for rows in (slice(0, 40), slice(0, 8), slice(2, 3)):
            assert model.train_on_batch(X[rows], given[rows]) == slow.train_on_batch(X[rows], given[rows])
    assert False not in short_ways


@pytest.mark.parametrize(
    ("loss", "good", "bad", "message"),
    [
        ("sparse_categorical_crossentropy", LABELS, LABELS - 1, "class indices in"),
        ("sparse_categorical_crossentropy", LABELS.astype(float), LABELS + 0.5, "whole numbers"),
        ("sparse_categorical_crossentropy", LABELS.astype(float), LABELS * np.nan, "whole numbers"),
        ("sparse_categorical_crossentropy", LABELS.astype(np.uint8), LABELS.astype(np.uint8) + 1, "holds 2"),
    ],
)
def test_wrong_class_indices_are_refused_as_in_the_long_way(
    loss: str, good: Any, bad: Any, message: str
) -> None:
    model = network(loss)
    model.train_on_batch(X, good)
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(X, bad)
    with pytest.raises(ValueError, match=message):
        model.test_on_batch(X, bad)


@pytest.mark.parametrize(
    ("loss", "bad", "message"),
    [
        ("binary_crossentropy", np.where(LABELS, 1.5, 0.0), r"\[0, 1\]"),
        ("binary_crossentropy", np.where(LABELS, 1.0, np.inf), "infinite|inf"),
        ("hinge", np.where(LABELS, 1.0, 0.5), "-1 and 1"),
        ("mse", np.where(LABELS, 1.0, 1e60), "row"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_wrong_numbers_are_refused_as_in_the_long_way(loss: str, bad: Any, message: str) -> None:
    model, _ = of_one_output(loss, LABELS.astype(float))
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.train_on_batch(X, bad)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_signs_may_be_zeros_and_ones_or_minus_ones_and_ones() -> None:
    model, slow = of_one_output("hinge", LABELS)
    for y in (LABELS, 2 * LABELS - 1, np.ones(40, int)):
        assert model.train_on_batch(X, y) == slow.train_on_batch(X, y)
    with pytest.raises(ValueError, match="beside -1"):
        model.train_on_batch(X, np.arange(40) % 3 - 1)


def test_rows_of_bytes_with_many_zeros_have_the_bits_of_the_long_way() -> None:
    images = np.where(RNG.random((40, 200)) < 0.8, 0, RNG.integers(0, 256, (40, 200))).astype(np.uint8)

    def trained(way: Any) -> list[Any]:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((200,)), layers.Rescaling(1 / 255), layers.Dense(2)])
        model.compile(optimizers.Adam(0.01), "mse")
        model = way(model)
        for rows in (40, 40, 30, 10, 1):  # the first three have records, the others don't
            model.train_on_batch(images[:rows], Y[:rows])
        return list(model.get_weights())

    for one, other in zip(trained(lambda model: model), trained(slowly), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_arrays_take_the_long_way(short_ways: list[bool]) -> None:
    model, slow = network(), slowly(network())
    model.train_on_batch(X, Y), slow.train_on_batch(X, Y)
    model.test_on_batch(X, Y)
    wide = np.zeros((40, 8), np.float32)
    wide[:, ::2] = X
    batches: list[tuple[Any, ...]] = [
        (wide[:, ::2], Y),
        (X.astype(">f4"), Y),
        (X.tolist(), Y),
        (X, Y.astype(np.float64)),
        (X, Y.tolist()),
        (X, Y, np.ones(40)),
        (X, Y, None, {0: 1.0}),
    ]
    for batch in batches[:-1]:
        assert model.train_on_batch(*batch) == slow.train_on_batch(*batch)
    assert True not in short_ways
    for one, other in zip(model.get_weights(), slow.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors_are_those_of_the_long_way() -> None:
    model = network()
    model.train_on_batch(X, Y)
    before = model.get_weights()
    wrong = X.copy()
    wrong[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        model.train_on_batch(wrong, Y)
    targets = Y.copy()
    targets[5, 0] = np.inf
    with pytest.raises(ValueError, match="row 5"):
        model.train_on_batch(X, targets)
    with pytest.raises(ValueError, match="40 samples but `y` has 39"):
        model.train_on_batch(X, Y[:39])
    with pytest.raises(ValueError, match="empty"):
        model.train_on_batch(X[:0], Y[:0])
    with pytest.raises(ValueError, match="shape"):
        model.train_on_batch(X[:, :3], Y)
    of_labels = network("sparse_categorical_crossentropy")
    of_labels.train_on_batch(X, LABELS)
    with pytest.raises(ValueError, match=r"\[0, 2\)"):
        of_labels.train_on_batch(X, LABELS + 1)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_changes_between_batches_is_followed(short_ways: list[bool]) -> None:
    model, slow = network(), slowly(network())
    for each in (model, slow):
        keras.utils.set_random_seed(4)
        each.train_on_batch(X, Y)
        each.train_on_batch(X, Y)
        each.optimizer.learning_rate = 0.5
        each.train_on_batch(X, Y)
        each.layers[-1].kernel.assign(np.ones((8, 2)))
        each.train_on_batch(X, Y)
        each.layers[0].trainable = False
        each.compile(optimizers.SGD(0.1), "mae")
        each.train_on_batch(X, Y)
        each.train_on_batch(X, Y)
        each.add(layers.Dense(2))
        each.train_on_batch(X, Y)
        each.train_on_batch(X, Y)
    assert short_ways.count(True) == 5
    for one, other in zip(model.get_weights(), slow.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_that_a_class_gets_later_is_called() -> None:
    class Own(keras.Model):
        pass

    inputs = keras.Input((4,))
    model = Own(inputs, layers.Dense(2)(inputs))
    model.compile("sgd", "mse")
    model.train_on_batch(X, Y)
    model.train_on_batch(X, Y)
    Own.train_step = lambda self, data: {"mine": 7.0}  # type: ignore[assignment,misc,return-value]
    assert model.train_on_batch(X, Y) == 7.0


def test_a_lost_loss_is_warned_of() -> None:
    model = network(optimizer=optimizers.SGD(1e30))
    with pytest.warns(UserWarning, match="its weights are lost"):  # noqa: PT031
        for _ in range(4):
            model.train_on_batch(X, Y)


def test_an_optimizer_of_two_models_keeps_a_state_for_each() -> None:
    def trained(way: Any) -> list[Any]:
        optimizer = optimizers.Adam(0.01)
        one, two = way(network(optimizer=optimizer)), way(network(optimizer=optimizer))
        keras.utils.set_random_seed(4)
        for _ in range(3):
            one.train_on_batch(X, Y)
            two.train_on_batch(-X, Y)
        return [*one.get_weights(), *two.get_weights()]

    for one, other in zip(trained(lambda model: model), trained(slowly), strict=True):
        np.testing.assert_array_equal(one, other)
