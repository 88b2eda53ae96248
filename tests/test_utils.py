"""Tests of utilities: reports, splits, tuples of batches, plain values of objects, settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import classifier, same_weights

import engine as keras
from engine import utils

# classification_report

CASES = [(100, 3, 2), (1000, 12, 4), (5, 2, 0), (20, 2, 15), (1, 1, 2)]


@pytest.mark.parametrize(("samples", "classes", "digits"), CASES)
def test_the_report_is_that_of_scikit_learn(
    samples: int, classes: int, digits: int, rng: np.random.Generator
) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, found = rng.integers(0, classes, samples), rng.integers(0, classes, samples)
    options = {"digits": digits, "zero_division": 0.0}
    assert utils.classification_report(truth, found, digits=digits) == metrics.classification_report(
        truth, found, **options
    )
    ours = utils.classification_report(truth, found, output_dict=True)
    theirs = metrics.classification_report(truth, found, output_dict=True, zero_division=0.0)
    assert isinstance(ours, dict)
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        assert ours[name] == pytest.approx(expected)


def test_the_report_by_hand() -> None:
    report = utils.classification_report([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], output_dict=True)
    assert isinstance(report, dict)
    assert report["1"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1-score": 2 / 3, "support": 3}
    )
    assert report["accuracy"] == pytest.approx(0.6)
    assert report["macro avg"]["recall"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert report["weighted avg"]["recall"] == pytest.approx(0.6)


def test_the_report_takes_what_models_return() -> None:
    expected = utils.classification_report([0, 1, 1], [0, 1, 0])
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    one_hot = np.eye(2)[[0, 1, 1]]
    assert utils.classification_report(one_hot, outputs) == expected
    assert utils.classification_report([[0], [1], [1]], outputs[:, 1:]) == expected
    named = utils.classification_report(one_hot, outputs, target_names=["a rather long name", "b"])
    assert isinstance(named, str)
    assert "\na rather long name       0.50" in named


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0, 1], [0]), {}, "`y_true` has 2 samples but `y_pred` has 1"),
        (([0.5], [0]), {}, "`y_true` must hold class indices, whole numbers from 0, but row 0 holds 0.5"),
        (([0], [-1]), {}, "`y_pred` must hold class indices, whole numbers from 0, but row 0 holds -1"),
        ((["a"], [0]), {}, r"`y_true` must hold class indices \(n,\) or outputs \(n, classes\), got <U1"),
        (([0, 1], [0, 1]), {"target_names": ["a"]}, "`target_names` has 1 names, but there are 2 classes"),
        (([0], [0]), {"digits": -1}, "`digits` must be at least 0"),
        (([0], [0]), {"output_dict": 2}, "`output_dict` must be True or False"),
    ],
)
def test_mistakes_in_reports(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        utils.classification_report(*arguments, **options)


# split_dataset, and tuples


def test_splits() -> None:
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    left, right = utils.split_dataset(x, left_size=0.8)
    assert (left.tolist(), right.tolist()) == (x[:8].tolist(), x[8:].tolist())
    (a, b), (c, d) = utils.split_dataset((x, y), left_size=3, right_size=2)
    assert [len(part) for part in (a, b, c, d)] == [3, 3, 2, 2]
    left, right = utils.split_dataset([x, y], right_size=0.3, shuffle=True, seed=3)
    assert isinstance(left, list)
    assert sorted(left[1].tolist() + right[1].tolist()) == y.tolist()
    assert left[1].tolist() != y[:7].tolist()
    assert np.array_equal(left[0][:, 0], 2 * left[1])
    assert np.array_equal(utils.split_dataset(y, right_size=0.3, shuffle=True, seed=3)[0], left[1])


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.ones(4), {}, "give `left_size`, `right_size` or both"),
        (np.ones(4), {"left_size": 4}, "`left_size=4` and `right_size=None` make 4 and 0 of 4 rows"),
        (np.ones(4), {"left_size": 0.5, "right_size": 3}, "make 2 and 3 of 4 rows"),
        (np.ones(4), {"left_size": 1.5}, "`left_size` must be between 0 and 1"),
        ((np.ones(4), np.ones(3)), {"left_size": 1}, r"equally long, got \[3, 4\]"),
        (np.ones(4), {"left_size": 1, "shuffle": "yes"}, "`shuffle` must be True or False"),
    ],
)
def test_mistakes_in_splits(data: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        utils.split_dataset(data, **options)


class Squares:
    """A data set that returns sample by sample."""

    read = 0

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[int, int]:
        self.read += 1
        return index, index**2


def test_splits_of_samples() -> None:
    squares = Squares()
    left, right = utils.split_dataset(squares, left_size=0.8)
    assert squares.read == 0
    assert [len(left), len(right), left[7], right[-1]] == [8, 2, (7, 49), (9, 81)]
    assert [*right] == [*left[8:], (8, 64), (9, 81)]
    left, right = utils.split_dataset(squares, right_size=4, shuffle=True, seed=1)
    assert sorted([*left, *right]) == [(i, i * i) for i in range(10)]
    assert [*left] != [(i, i * i) for i in range(6)]


def test_parts_for_a_loader_of_pytorch() -> None:
    x, y = np.arange(20).reshape(10, 2), np.arange(10)
    left, right = utils.split_dataset((x, y), left_size=0.2, preferred_backend="torch")
    assert (len(left), len(right)) == (2, 8)
    assert [(a.tolist(), b) for a, b in left] == [([0, 1], 0), ([2, 3], 1)]


def test_tuples_of_batches() -> None:
    assert utils.pack_x_y_sample_weight("x") == "x"
    assert utils.pack_x_y_sample_weight(["x"]) == (["x"],)
    assert utils.pack_x_y_sample_weight("x", "y") == ("x", "y")
    assert utils.pack_x_y_sample_weight("x", "y", "w") == ("x", "y", "w")
    for data, expected in (
        ("x", ("x", None, None)), (("x",), ("x", None, None)),
        (["x", "y"], ("x", "y", None)), (("x", "y", "w"), ("x", "y", "w")),
    ):  # fmt: skip
        assert utils.unpack_x_y_sample_weight(data) == expected
    with pytest.raises(ValueError, match=r"`data` must be x, .* got 4 parts"):
        utils.unpack_x_y_sample_weight((1, 2, 3, 4))


def test_normalize() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    assert np.array_equal(utils.normalize(x), [[0.6, 0.8], [0.0, 0.0]])
    assert np.array_equal(utils.normalize(x, axis=0), [[1.0, 1.0], [0.0, 0.0]])
    assert np.allclose(utils.normalize([1, 3], order=1), [0.25, 0.75])


# Objects as plain values


@pytest.mark.parametrize(
    "value",
    [
        None, 3, 2.5, "text", True, [1, [2]], {"a": (1, 2)}, np.arange(3.0), np.float32(0.5),
        keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError(), keras.layers.Dense(3, "relu", name="d"),
        keras.initializers.Constant(2.0), keras.regularizers.L2(0.1), keras.losses.mean_squared_error,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_come_back(value: Any) -> None:
    plain = utils.serialize_keras_object(value)
    again = utils.deserialize_keras_object(plain)
    if hasattr(value, "get_config"):
        assert set(plain) == {"module", "class_name", "config", "registered_name"}
        assert type(again) is type(value)
        assert again.get_config() == value.get_config()
    else:
        assert np.array_equal(again, value) if isinstance(value, np.ndarray) else again == value


def test_models_come_back() -> None:
    model = classifier()
    again = utils.deserialize_keras_object(utils.serialize_keras_object(model))
    again.set_weights(model.get_weights())
    assert same_weights(again, model)


def test_keras_own_configs_are_understood() -> None:
    config = {
        "module": "keras.initializers",
        "class_name": "Constant",
        "config": {"value": 3.0},
        "registered_name": None,
    }
    assert utils.deserialize_keras_object(config).value == 3.0


@pytest.fixture
def custom() -> Any:
    class Tripled(keras.initializers.Constant):
        """A custom class."""

    yield Tripled
    utils.get_custom_objects().pop("mine>Tripled", None)  # other classes stay registered


def test_classes_of_ones_own(custom: Any) -> None:
    with pytest.raises(ValueError, match="unknown `initializer` 'Tripled'"):
        keras.layers.Dense(2, kernel_initializer="Tripled")
    plain = utils.serialize_keras_object(custom(3.0))
    with pytest.raises(ValueError, match="function 'Tripled' of module 'test_utils': pass it in"):
        utils.deserialize_keras_object(plain)
    assert utils.deserialize_keras_object(plain, custom_objects={"Tripled": custom}).value == 3.0
    with utils.custom_object_scope({"Tripled": custom}), utils.CustomObjectScope({"other": custom}):
        assert utils.get_registered_object("Tripled") is custom
        config = {"class_name": "Tripled", "config": {"value": 2.0}}
        assert isinstance(keras.layers.Dense(2, kernel_initializer=config).kernel_initializer, custom)
    assert utils.get_registered_object("Tripled") is None
    assert utils.register_keras_serializable("mine")(custom) is custom
    assert utils.get_registered_name(custom) == "mine>Tripled"
    assert utils.get_registered_object("mine>Tripled") is custom
    plain = utils.serialize_keras_object(custom(3.0))
    assert plain["registered_name"] == "mine>Tripled"
    assert utils.deserialize_keras_object(plain).value == 3.0


def test_names_of_the_library_are_not_replaced() -> None:
    """Only the name with its package, or a scope, means what a user has registered under the name of a loss, say."""
    registered = utils.register_keras_serializable

    @registered(name="mse")
    def sevens(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_true + y_pred, axis=-1) * 0.0 + 7.0

    @registered(name="relu")
    def ones(x: Any) -> Any:
        return x * 0.0 + 1.0

    @registered(name="zeros")
    def start(shape: Any, dtype: Any = None) -> Any:
        return np.ones(shape)

    @registered(name="Dense")
    class Twice(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2

    try:
        x = np.full((2, 3), -1.0)
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(1, "relu", kernel_initializer="zeros"), Twice()]
        )
        model.compile("sgd", "mse", metrics=["mse"])
        assert model.evaluate(x, np.full((2, 1), 3.0), verbose=0) == [9.0, 9.0]
        model.compile("sgd", "Custom>mse")
        assert model.evaluate(x, np.full((2, 1), 3.0), verbose=0) == 7.0
        model.compile("sgd", sevens)
        assert model.evaluate(x, np.full((2, 1), 3.0), verbose=0) == 7.0
        assert keras.losses.get("mse") is keras.losses.mean_squared_error
        assert keras.activations.get("relu") is keras.activations.relu
        assert keras.activations.get("Custom>relu") is ones
        assert isinstance(keras.initializers.get("zeros"), keras.initializers.Zeros)
        with utils.custom_object_scope({"mse": sevens}):
            assert keras.losses.get("mse") is sevens
        again = keras.Sequential.from_config(model.get_config())
        assert [type(layer) for layer in again.layers] == [keras.layers.Dense, Twice]
    finally:
        for name in ("mse", "relu", "zeros", "Dense"):
            del utils.get_custom_objects()[f"Custom>{name}"]


def test_mistakes_in_registering() -> None:
    with pytest.raises(TypeError, match="only a class or a function can be registered, got 3"):
        utils.register_keras_serializable()(3)
    with pytest.raises(ValueError, match="int can't be registered: it has no `get_config`"):
        utils.register_keras_serializable()(int)
    with pytest.raises(TypeError, match="can't be serialized: it is no plain value and has no `get_config`"):
        utils.serialize_keras_object(object())


# Settings


def test_settings() -> None:
    config = keras.config
    assert (config.backend(), config.floatx(), config.epsilon()) == ("engine", "float32", 1e-7)
    config.set_floatx("float32")
    config.set_epsilon(1e-7)
    config.set_image_data_format(config.image_data_format())
    for set_it, value, message in (
        (config.set_floatx, "float128", "`value` must be one of 'bfloat16'.*, got 'float128'"),
        (config.set_epsilon, 1e-3, "`value` must be 1e-07, which is built into the core, got 0.001"),
        (config.set_image_data_format, "channels_first", "`data_format` must be 'channels_last'"),
    ):
        with pytest.raises(ValueError, match=message):
            set_it(value)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_dtypes_of_weights_are_a_warning(dtype: str) -> None:
    with pytest.warns(UserWarning, match="weights and results stay float32") as told:
        keras.backend.set_floatx(dtype)
    assert told[0].filename == __file__
    assert keras.config.floatx() == "float32"
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    assert layer.kernel.dtype == np.float32


def test_a_new_session_names_anew() -> None:
    utils.clear_session()
    assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
    utils.clear_session()
    assert keras.layers.Dense(1).name == "dense"
    assert utils.is_interactive_logging_enabled()


# pad_sequences


def test_sequences_are_padded_and_cut() -> None:
    sequences = [[1], [2, 3], [], [4, 5, 6]]
    assert utils.pad_sequences(sequences).tolist() == [[0, 0, 1], [0, 2, 3], [0, 0, 0], [4, 5, 6]]
    assert utils.pad_sequences(sequences, padding="post", value=-1).tolist()[1] == [2, 3, -1]
    assert utils.pad_sequences(sequences, maxlen=2).tolist() == [[0, 1], [2, 3], [0, 0], [5, 6]]
    assert utils.pad_sequences(sequences, maxlen=2, truncating="post").tolist()[3] == [4, 5]
    assert utils.pad_sequences(sequences).dtype == np.int32
    assert utils.pad_sequences([[[1, 2]], [[3, 4], [5, 6]]], dtype="float32").shape == (2, 2, 2)
    assert utils.pad_sequences([["a"], ["b", "c"]], dtype=object, value="").tolist() == [
        ["", "a"],
        ["b", "c"],
    ]
    assert utils.pad_sequences([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, "`sequences` must be a list of sequences, got 3"),
        (([1, 2],), ValueError, "`sequences` must hold sequences"),
        (([[1], [[2]]],), ValueError, "`sequences` must have entries of one shape"),
        (([[1]], -1), ValueError, "`maxlen` must be at least 0"),
        (([[1]], 2, "int32", "before"), ValueError, "`padding` must be one of"),
        (([[1]], 2, "int32", "pre", "before"), ValueError, "`truncating` must be one of"),
        (([[1]], 2, "int32", "pre", "pre", "x"), ValueError, "`dtype` int32 doesn't hold `value` 'x'"),
    ],
)
def test_sequences_that_are_none(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        utils.pad_sequences(*arguments)
