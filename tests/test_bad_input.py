"""Every mistake raises an error that says what came, what was expected and what to do, and changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier

import engine as keras
from engine import layers, losses, metrics, optimizers

Build = Callable[[Blobs], dict[str, Any]]


def changed(array: np.ndarray[Any, Any], index: Any, value: object) -> np.ndarray[Any, Any]:
    array = array.copy()
    array[index] = value
    return array


def ragged() -> object:
    return [[1.0] * 6, [1.0]]


X_MISTAKES: dict[str, tuple[Callable[[Blobs], object], str]] = {
    "width": (lambda b: b.x[:, :5], r"`x` must have shape \(n, 6\), got \(150, 5\)"),
    "rank": (
        lambda b: b.x.reshape(150, 2, 3),
        r"must have shape \(n, 6\), got \(150, 2, 3\): reshape it with x.reshape\(len\(x\), 6\)",
    ),
    "one sample": (lambda b: b.x[0], r"got \(6,\): for one sample pass x\[np.newaxis\]"),
    "number": (lambda b: 3.0, "`x` must be an array with one entry per sample, got the single number 3.0"),
    "nothing": (lambda b: None, "`x` must hold real numbers, got NoneType"),
    "empty": (lambda b: b.x[:0], r"`x` is empty, of shape \(0, 6\): pass at least one sample"),
    "nan": (lambda b: changed(b.x, (3, 1), np.nan), "`x` must be finite .* but row 3 holds nan"),
    "infinity": (lambda b: changed(b.x, (149, 0), -np.inf), "but row 149 holds -inf"),
    "too large": (lambda b: changed(b.x.astype(float), (7, 0), 1e39), "but row 7 holds 1e\\+39"),
    "nan as float16": (lambda b: changed(b.x.astype(np.float16), (3, 1), np.nan), "but row 3 holds nan"),
    "objects": (
        lambda b: b.x.astype(object),
        "`x` must hold real numbers, got dtype object: all of them are",
    ),
    "strings": (
        lambda b: b.x.astype(str),
        r"`x` must hold real numbers, got dtype <U.*\.astype\('float32'\)",
    ),
    "complex": (
        lambda b: b.x.astype(complex),
        r"`x` must hold real numbers, got dtype complex128: take the part that counts, its \.real",
    ),
    "times": (lambda b: b.x.astype("M8[D]"), r"got dtype datetime64\[D\]: turn it into a number of units"),
    "one string among objects": (
        lambda b: changed(b.x.astype(object), (3, 1), "4,5"),
        r"got dtype object: entry \(3, 1\) is '4,5', of type str: strings that stand for classes",
    ),
    "one None among objects": (
        lambda b: changed(b.x.astype(object), (3, 1), None),
        r"entry \(3, 1\) is None, of type NoneType: give missing values a number, or leave their rows out",
    ),
    "several": (
        lambda b: [b.x, b.y],
        r"`x` must be one array, .* is arrays of the shapes \[\(150, 6\), \(150,\)\]",
    ),
    "named": (
        lambda b: {"left": b.x, "right": b.y},
        r"`x` must have the key .*, of the model's one input, but is a dict of \['left', 'right'\]",
    ),
    "ragged": (lambda b: ragged(), "`x` must be an array, or lists that are equally long at every level"),
}


@pytest.mark.parametrize("mistake", X_MISTAKES)
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict", "train_on_batch", "__call__"])
def test_x(mistake: str, verb: str, blobs: Blobs) -> None:
    make, message = X_MISTAKES[mistake]
    model = classifier()
    if (mistake, verb) == ("empty", "__call__"):
        assert model(make(blobs)).shape == (0, 3)
        return
    arguments = [make(blobs)] if verb in ("predict", "__call__") else [make(blobs), blobs.y]
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(model, verb)(*arguments)
    assert model.optimizer.iterations == 0


SPARSE, CATEGORICAL, BINARY, SQUARED = (
    "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "mse",
)  # fmt: skip
Y_MISTAKES: list[tuple[str, Callable[[Blobs], object], str]] = [
    (SPARSE, lambda b: None, "`y` is missing"),
    (SPARSE, lambda b: b.y[:5], "`x` has 150 samples but `y` has 5"),
    (
        SPARSE,
        lambda b: changed(b.y, 4, 3),
        r"indices in \[0, 3\), as the model has 3 outputs, but row 4 holds 3",
    ),
    (SPARSE, lambda b: changed(b.y, 9, -1), "but row 9 holds -1"),
    (SPARSE, lambda b: changed(b.y.astype(float), 2, 0.5), "whole numbers, but row 2 holds 0.5"),
    (SPARSE, lambda b: changed(b.y.astype(float), 2, np.nan), "whole numbers, but row 2 holds nan"),
    (SPARSE, lambda b: changed(b.y.astype(float), 2, np.inf), "but row 2 holds inf"),
    (
        SPARSE,
        lambda b: b.y.astype(str),
        r"got dtype <U.*: strings that stand for classes become indices with np.unique\(labels, return_inverse=True\)",
    ),
    (SPARSE, lambda b: b.y.astype(object), "`y` must hold real numbers, got dtype object: all of them are"),
    (
        SPARSE,
        lambda b: changed(b.y.astype(object), 7, "cat"),
        "`y` .* got dtype object: entry 7 is 'cat', of type str: strings that stand for classes become indices",
    ),
    (SPARSE, lambda b: b.y * 1j, r"`y` must hold real numbers, got dtype complex128: take the part"),
    (SPARSE, lambda b: b.x, r"`y` must have shape \(n,\), one class index per sample, got \(150, 6\)"),
    (
        SPARSE,
        lambda b: b.one_hot,
        r"\(150, 3\): one-hot labels, but .* takes class indices. Either use loss='categorical_cross.*argmax",
    ),
    (
        CATEGORICAL,
        lambda b: b.y,
        r"\(150,\): class indices, but .* one-hot labels. Either use loss='sparse_cat.*to_categorical\(y, 3\)",
    ),
    (CATEGORICAL, lambda b: b.y[:, np.newaxis], r"has shape \(150, 1\): class indices"),
    (CATEGORICAL, lambda b: changed(b.one_hot, (8, 0), 2), r"must lie in \[0, 1\] .* but row 8 holds \[2"),
    (BINARY, lambda b: changed(b.one_hot, (8, 0), -1), r"must lie in \[0, 1\] .* but row 8 holds \[-1"),
    (BINARY, lambda b: b.y, r"`y` must have shape \(n, 3\), like the model's output, got \(150,\)"),
    (SQUARED, lambda b: changed(b.one_hot, (5, 2), np.nan), "`y` must be finite .* but row 5 holds nan"),
    (SQUARED, lambda b: changed(b.one_hot, (5, 2), 1e300), "but row 5 holds 1e\\+300"),
    (
        SQUARED,
        lambda b: b.one_hot[:, :2],
        r"`y` must have shape \(n, 3\), like the model's output, got \(150, 2\)",
    ),
]


@pytest.mark.parametrize(("loss", "make", "message"), Y_MISTAKES)
@pytest.mark.parametrize("verb", ["fit", "test_on_batch"])
def test_y(loss: str, make: Callable[[Blobs], object], message: str, verb: str, blobs: Blobs) -> None:
    model = classifier(loss=loss, metrics=None)
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(model, verb)(blobs.x, make(blobs))


@pytest.mark.parametrize("loss", [SPARSE, CATEGORICAL])
def test_one_output_is_no_choice_of_classes(loss: str, blobs: Blobs) -> None:
    model = keras.Sequential([layers.Dense(1, "softmax")])
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=r"one output per class, but .* has 1.*'binary_crossentropy'"):
        model.fit(blobs.x, blobs.y)


def _without_address(value: object) -> str:
    """Returns the text of a value without its address, so that two processes give a test the same name."""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))[:40]


@pytest.mark.parametrize("training", ["yes", 2])
def test_arguments_of_calls(training: Any, blobs: Blobs) -> None:
    with pytest.raises((ValueError, TypeError), match="`training` must be True or False, got"):
        classifier()(blobs.x, training=training)


@pytest.mark.parametrize("verb", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_compile_comes_first(verb: str, blobs: Blobs) -> None:
    model = keras.Sequential([layers.Dense(3)], name="net")
    with pytest.raises(ValueError, match=r"model 'net' is not compiled: call compile\(\) first, such as"):
        getattr(model, verb)(blobs.x, blobs.y)
    assert (model.metrics_names, model.optimizer) == ([], None)


COMPILE_MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"optimizer": "adan"}, "unknown `optimizer` 'adan'; did you mean 'adam'. Known: adadelta, adafactor"),
    ({"optimizer": 3}, r"`optimizer` must be a name, an object of engine.optimizers or a config dict, got 3"),
    ({"optimizer": {"class_name": "Adm"}}, "unknown `optimizer` 'Adm'; did you mean 'adam'"),
    ({"loss": "categorical_crossentropi"}, "unknown `loss` .*; did you mean 'categorical_crossentropy'"),
    ({"loss": 3}, "`loss` must be a name, an object of engine.losses or a config dict, got 3"),
    ({"loss": ["mse", "mae"]}, "`loss` must be one for each output of the model, got 2 for one output"),
    ({"loss_weights": "heavy"}, "`loss_weights` must be a number, got 'heavy'"),
    ({"loss": losses.CosineSimilarity(axis=0)}, "`axis=0` of the loss 'cosine_similarity' is not that of"),
    ({"steps_per_execution": 0}, "`steps_per_execution` must be at least 1, got 0"),
    ({"run_eagerly": "yes"}, "`run_eagerly` must be True or False, got 'yes'"),
    ({"metrics": ["acuracy"]}, "unknown `metric` 'acuracy'; did you mean 'accuracy'"),
    (
        {"metrics": "accuracy"},
        r"`metrics` must be a list such as \['accuracy'\], a tuple or a dict, got 'accuracy'",
    ),
    ({"weighted_metrics": "acc"}, "`weighted_metrics` must be a list"),
    (
        {"metrics": ["categorical_accuracy"]},
        "'categorical_accuracy' takes one number per output .* use 'accuracy'",
    ),
    (
        {"metrics": ["mse"]},
        "'mse' takes one number per output as targets but the loss .* takes class indices",
    ),
]


@pytest.mark.parametrize(("options", "message"), COMPILE_MISTAKES, ids=_without_address)
def test_compile_arguments(options: dict[str, Any], message: str, blobs: Blobs) -> None:
    model = classifier()
    before = (model.optimizer, model.metrics_names)
    with pytest.raises((ValueError, TypeError), match=message):
        model.compile(**({"optimizer": "sgd", "loss": SPARSE} | options))
    assert (model.optimizer, model.metrics_names) == before
    model.fit(blobs.x, blobs.y, verbose=0)


MAKING_MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: layers.Dense(0), "`units` must be at least 1, got 0"),
    (lambda: layers.Dense(2.5), "`units` must be an integer, got 2.5"),
    (
        lambda: layers.Dense(2, activaton="relu"),
        "Dense has no argument `activaton`; did you mean 'activation'",
    ),
    (lambda: layers.Dense(2, input_shpe=(3,)), "no argument `input_shpe`; did you mean 'input_shape'"),
    (
        lambda: layers.Dense(2, kernel_initializer="zeroes"),
        "unknown `initializer` 'zeroes'; did you mean 'zeros'",
    ),
    (lambda: layers.Dense(2, use_bias="no"), "`use_bias` must be True or False, got 'no'"),
    (lambda: layers.Dense(2, trainable=2), "`trainable` must be True or False, got 2"),
    (lambda: layers.Dense(2, input_shape=784), r"`input_shape` must be a tuple such as \(784,\), got 784"),
    (lambda: layers.Dense(2, input_shape=(0,)), r"`input_shape\[0\]` must be at least 1, got 0"),
    (lambda: layers.Dense(2, input_dim=0), "`input_dim` must be at least 1, got 0"),
    (lambda: keras.Input((None, 0)), "`input_shape.1.` must be at least 1, got 0"),
    (lambda: keras.Input("784"), "`input_shape` must be a tuple of integers"),
    (layers.InputLayer, r"`shape` is missing: give the shape of one sample, such as Input\(shape=\(784,\)\)"),
    (lambda: layers.Dropout(1.5), "`rate` must be between 0 and 1, got 1.5"),
    (lambda: layers.Dropout(0.5, seed=-1), "`seed` must be at least 0, got -1"),
    (lambda: layers.Rescaling("1/255"), "`scale` must be a number, got '1/255'"),
    (lambda: keras.regularizers.L2(-1), "`l2` must be a finite number of at least 0, got -1"),
    (lambda: keras.initializers.Constant(float("nan")), "`value` must be finite, got nan"),
    (
        lambda: optimizers.Adam(clip_norm=1.0),
        "Adam has no argument `clip_norm`; did you mean 'clipnorm'. It takes: learning_rate, beta_1",
    ),
    (lambda: optimizers.Adam(learningrate=1.0), "no argument `learningrate`; did you mean 'learning_rate'"),
    (lambda: optimizers.Adam(beta_1=1.0), "`beta_1` must be less than 1, got 1.0"),
    (lambda: optimizers.SGD(momentum=-1), "`momentum` must be between 0 and 1, got -1"),
    (lambda: optimizers.SGD("fast"), "`learning_rate` must be a number, got 'fast'"),
    (
        lambda: losses.BinaryCrossentropy(label_smoothing=2),
        "`label_smoothing` must be between 0 and 1, got 2",
    ),
    (lambda: losses.BinaryCrossentropy(from_logits=0.5), "`from_logits` must be True or False"),
    (lambda: metrics.BinaryAccuracy(treshold=0.3), "no argument `treshold`; did you mean 'threshold'"),
    (lambda: metrics.AUC(thresholds=5), "`thresholds` must be a list of numbers, got 5"),
    (lambda: optimizers.schedules.PiecewiseConstantDecay(5, [0.1]), "`boundaries` must be a list of numbers"),
    (lambda: keras.Input(batch_shape=5), r"`batch_shape` must be a tuple such as \(None, 784\), got 5"),
    (lambda: classifier().get_layer(index="0"), "`index` must be an integer, got '0'"),
    (lambda: keras.config.set_threads(0), "`n` must be at least 1, got 0"),
    (lambda: keras.config.set_threads(60000), r"1 ... 1024.*60000"),
    (lambda: layers.get({"class_name": "Danse"}), "unknown `layer` 'Danse'; did you mean 'dense'"),
]


@pytest.mark.parametrize(("make", "message"), MAKING_MISTAKES)
def test_arguments_of_objects(make: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError, AttributeError), match=message):
        make()


def test_numbers_that_are_too_large() -> None:
    with pytest.raises(ValueError, match=r"`units` must be at most 2147483647, got 4611686018427387904"):
        keras.layers.Dense(2**62)
    model = keras.Sequential([keras.Input((2**20, 2**10)), keras.layers.Flatten()])
    with pytest.raises(ValueError, match=r"would need a kernel of shape \(1073741824, 65536\): over 2\*\*40"):
        model.add(keras.layers.Dense(2**16))


NO_DTYPES: list[Any] = [
    [("a", "f4")], [("a", "f4"), ("a", "f4")], [], {}, {"a": 1}, {"config": 3}, "", "text", "f4,f4", "(2,)f4", "(2,", 3,
    object, "object", "U3", "S4", "datetime64[s]", "mixed_float8", np.dtype([("a", "f4")]), np.dtype("(2,)f4"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", NO_DTYPES, ids=repr)
def test_what_is_no_dtype_of_numbers(dtype: Any) -> None:
    random, ops = keras.random, keras.ops
    uses: list[tuple[Callable[[], object], str]] = [
        (
            lambda: keras.Input((2,), dtype=dtype),
            "`dtype` must be that of real numbers, such as 'float32', got",
        ),
        (lambda: layers.InputLayer((2,), dtype=dtype), "`dtype` must be that of real numbers"),
        (lambda: layers.Dense(2, dtype=dtype), "`dtype` must be 'float32'"),
        (lambda: layers.Layer().add_weight((2,), dtype=dtype), "`dtype` must be 'float32'"),
        (lambda: keras.losses.MeanSquaredError(dtype=dtype), "`dtype` must be 'float32'"),
        (lambda: keras.metrics.Mean(dtype=dtype), "`dtype` must be 'float32'"),
        (
            lambda: keras.metrics.Mean().add_variable((2,), dtype=dtype),
            "`dtype` must be that of real numbers",
        ),
        (lambda: keras.initializers.Zeros()((2,), dtype=dtype), "`dtype` must be 'float32'"),
        (lambda: random.normal((2,), dtype=dtype), "`dtype` must be that of floats"),
        (lambda: random.uniform((2,), dtype=dtype), "`dtype` must be that of floats"),
        (
            lambda: random.randint((2,), 0, 3, dtype=dtype),
            "`dtype` must be that of integers, such as 'int32'",
        ),
        (lambda: random.categorical([[0.0, 1.0]], 1, dtype=dtype), "`dtype` must be that of integers"),
        (lambda: ops.cast([1.0], dtype), "`dtype` must be that of numbers"),
        (lambda: ops.convert_to_tensor([1.0], dtype), "`dtype` must be that of numbers"),
        (lambda: ops.one_hot([1], 2, dtype=dtype), "`dtype` must be that of numbers"),
    ]
    for use, message in uses:
        with pytest.raises(ValueError, match=message):
            use()


def test_dtypes_of_inputs(tmp_path: Path) -> None:
    """An accepted dtype is saved and loaded under its name in Keras."""
    for dtype, name in (
        (None, "float32"), (float, "float32"), (int, "int32"), (bool, "bool"), (np.uint8, "uint8"), ("f8", "float64"),
        (">f4", "float32"), (np.dtype("int64"), "int64"), ("float16", "float16"),
    ):  # fmt: skip
        inputs = keras.Input((2,), dtype=dtype)
        assert inputs.dtype == name
        for model in (
            keras.Sequential([inputs, keras.layers.Dense(2)]),
            keras.Model(inputs, keras.layers.Dense(2)(inputs)),
        ):
            model.save(tmp_path / "m.npz")
            again = keras.models.load_model(tmp_path / "m.npz")
            assert again.get_config()["layers"][0]["config"]["dtype"] == name
