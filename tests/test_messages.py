"""Tests of the suggestions for unknown names: the name that was probably meant, or none."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier

import engine as keras
from engine import initializers, layers, losses, metrics
from engine._base import checks

# By module, for its function `get`: the written name, and the suggestion; None if no name is similar.
BY_NAME: dict[str, dict[str, str | None]] = {
    "losses": {
        "sparse_crossentropy": "sparse_categorical_crossentropy",
        "sparse_cross_entropy": "sparse_categorical_crossentropy",
        "sparse_categorical": "sparse_categorical_crossentropy",
        "sparse_categorial_crossentropy": "sparse_categorical_crossentropy",
        "categorical_crossentropi": "categorical_crossentropy",
        "catagorical_crossentropy": "categorical_crossentropy",
        "categorical_entropy": "categorical_generalized_cross_entropy",
        "binary_cross_entropy": "binary_crossentropy",
        "binary_focal": "binary_focal_crossentropy",
        "cross_entropy": "crossentropy",
        "mean_square_error": "mean_squared_error",
        "mean_squared": "mean_squared_error",
        "squared_error": "mean_squared_error",
        "mean_absolute": "mean_absolute_error",
        "mean_squared_log_error": "mean_squared_logarithmic_error",
        "kl_div": "kl_divergence",
        "cosine": "cosine_similarity",
        "hubber": "huber",
        "hinge_loss": "hinge",
        "mse_loss": "mse",
        "quadratic": None,
        "nll": None,
        "logloss": None,
        "": None,
        "!": None,
    },
    "metrics": {
        "accurcy": "accuracy",
        "acuracy": "accuracy",
        "roc_auc": "auc",
        "f1": "f1_score",
        "recal": "recall",
        "precison": "precision",
        "sparse_accuracy": "sparse_categorical_accuracy",
        "binary_acc": "binary_accuracy",
        "top_k": "top_k_categorical_accuracy",
        "sparse_top_k": "sparse_top_k_categorical_accuracy",
        "true_positive": "true_positives",
        "confusion": "confusion_matrix",
        "kappa": None,
        "mcc": None,
    },
    "optimizers": {
        "adm": "adam",
        "Adma": "adam",
        "adan": "adam",
        "nadm": "nadam",
        "adammax": "adamax",
        "rms_prop": "rmsprop",
        "rms": "rmsprop",
        "ada_grad": "adagrad",
        "sgdm": "sgd",
        "momentum": None,
        "stochastic_gradient_descent": None,
    },
    "activations": {
        "rellu": "relu",
        "sigmiod": "sigmoid",
        "soft_max": "softmax",
        "leaky": "leaky_relu",
        "hard_swich": "hard_swish",
        "linaer": "linear",
        "expo": "exponential",
        "gelu_new": "gelu",
        "none": None,
    },
    "initializers": {
        "he_norm": "he_normal",
        "glorot": "glorot_uniform",
        "truncated": "truncated_normal",
        "orthog": "orthogonal",
        "kaiming": None,
    },
    "regularizers": {"orthogonal_": "orthogonal_regularizer", "ridge": None},
    "constraints": {"min_max": "min_max_norm", "positive": None},
}

# By module: the requested attribute, and the suggestion.
BY_MODULE: dict[str, dict[str, str | None]] = {
    "engine": {
        "Sequental": "Sequential",
        "model": "Model",
        "optimisers": "optimizers",
        "losss": "losses",
        "Inputs": "Input",
    },
    "engine.array_api": {"argsrt": "argsort"},
    "engine.distributed": {"predcit": "predict"},
    "engine.preprocessing": {"sequences": "sequence", "images": None},
    "engine.preprocessing.text": {"Tokeniser": "Tokenizer"},
    "engine.preprocessing.sequence": {"pad_sequence": "pad_sequences"},
    "engine.tree": {"flaten": "flatten"},
    "engine.tuning": {"HyperParameter": "HyperParameters"},
    "engine.wrappers": {"KerasClasifier": "KerasClassifier"},
    "engine.dtype_policies": {"DTypePolcy": "DTypePolicy"},
    "engine.mixed_precision": {"set_global_polcy": "set_global_policy"},
    "engine.layers": {
        "Dens": "Dense",
        "dense": "Dense",
        "Dropuot": "Dropout",
        "BatchNorm": "BatchNormalization",
        "LayerNorm": "LayerNormalization",
        "BatchNormalisation": "BatchNormalization",
        "LeakyRelu": "LeakyReLU",
        "Relu": "ReLU",
        "Flaten": "Flatten",
        "Embeding": "Embedding",
        "Rescale": "Rescaling",
        "Normalize": "Normalization",
        "CategoricalEncoding": "CategoryEncoding",
        "inputlayer": "InputLayer",
        "GlobalAveragePool2D": "GlobalAveragePooling2D",
        "__wrapped__": None,
    },
    "engine.losses": {
        "MeanSquareError": "MeanSquaredError",
        "SparseCrossentropy": "SparseCategoricalCrossentropy",
    },
    "engine.metrics": {"F1": "F1Score", "Auc": "AUC", "TopKAccuracy": "TopKCategoricalAccuracy"},
    "engine.optimizers": {"Adm": "Adam", "RMSProp": "RMSprop", "sgd": "SGD"},
    "engine.optimizers.schedules": {"CosineDecayRestart": "CosineDecayRestarts"},
    "engine.activations": {"rellu": "relu"},
    "engine.initializers": {"HeUniformm": "HeUniform"},
    "engine.regularizers": {"L1_L2": "L1L2"},
    "engine.constraints": {"Maxnorm": "MaxNorm"},
    "engine.distillation": {"Distilller": "Distiller"},
    "engine.callbacks": {
        "EarlyStop": "EarlyStopping",
        "ModelCheckPoint": "ModelCheckpoint",
        "Checkpoint": "ModelCheckpoint",
        "ReduceLR": "ReduceLROnPlateau",
        "LRScheduler": "LearningRateScheduler",
        "CSVLog": "CSVLogger",
        "TensorBord": "TensorBoard",
    },
    "engine.models": {"Sequental": "Sequential", "load": "load_model"},
    "engine.saving": {"save": "save_model"},
    "engine.utils": {
        "to_categoric": "to_categorical",
        "set_seed": "set_random_seed",
        "plot_models": "plot_model",
    },
    "engine.datasets": {"minst": "mnist", "cifar11": None},
    "engine.datasets.mnist": {"load": "load_data"},
    "engine.datasets.fashion_mnist": {"load": "load_data"},
    "engine.datasets.boston_housing": {"load": "load_data"},
    "engine.datasets.california_housing": {"load": "load_data"},
    "engine.datasets.imdb": {"load": "load_data", "word_index": "get_word_index"},
    "engine.datasets.reuters": {"label_names": "get_label_names"},
    "engine.random": {"normall": "normal"},
    "engine.ops": {"meen": "mean", "soft_max": "softmax"},
    "engine.backend": {"clear_sesion": "clear_session"},
    "engine.config": {"set_float": "set_floatx"},
    "engine.plots": {"learning_curve": "learning_curves"},
    "engine.sklearn": {"MLPClasifier": "MLPClassifier"},
}


def suggested(error: pytest.ExceptionInfo[Any]) -> str | None:
    found = re.search(r"did you mean '([^']*)'\?", str(error.value))
    return found and found[1]


@pytest.mark.parametrize(("kind", "written"), [(kind, name) for kind in BY_NAME for name in BY_NAME[kind]])
def test_names(kind: str, written: str) -> None:
    with pytest.raises(ValueError, match="unknown `") as error:
        getattr(keras, kind).get(written)
    assert suggested(error) == BY_NAME[kind][written]


@pytest.mark.parametrize(
    ("home", "written"), [(home, name) for home in BY_MODULE for name in BY_MODULE[home]]
)
def test_attributes_of_modules(home: str, written: str) -> None:
    for needed in {"engine.plots": "matplotlib", "engine.sklearn": "sklearn"}.items():
        if needed[0] == home:
            pytest.importorskip(needed[1])
    with pytest.raises(AttributeError, match=f"module '{home}' has no attribute '{written}'") as error:
        getattr(importlib.import_module(home), written)
    assert suggested(error) == BY_MODULE[home][written]
    assert error.value.name == written


def test_every_module_suggests() -> None:
    import pkgutil

    def family(module: Any) -> Any:
        yield module.__name__
        for name in module.__all__:
            value = getattr(module, name)
            if getattr(value, "__name__", "").startswith("engine.") and hasattr(value, "__path__"):
                yield from family(value)

    tops = [info.name for info in pkgutil.iter_modules(keras.__path__) if not info.name.startswith("_")]
    tested = {name.split(".")[1] for name in BY_MODULE if "." in name}
    # Not for import, compiled, or with the names of TensorFlow, which `test_tensorflow` tests.
    assert set(tops) - tested == {"cli", "cython_api", "export", "tensorflow"}
    assert set(family(keras.optimizers)) | set(family(keras.datasets)) <= set(BY_MODULE)


def test_what_is_left_out_may_be_imported() -> None:
    from engine.layers import LSTM, Conv2D, Dense

    why = r"module 'engine.layers' has no attribute 'Conv2D'. Keras has it, but convolutions"
    for use in (
        lambda: Conv2D(32, 3),
        lambda: Conv2D.from_config({}),
        lambda: keras.layers.Conv2D(filters=3),
    ):
        with pytest.raises(AttributeError, match=why) as error:
            use()
        assert (error.value.name, error.value.obj) == ("Conv2D", keras.layers)
    with pytest.raises(AttributeError, match=r"'LSTM'\. Keras has it, but recurrent layers"):

        class Own(LSTM):  # the error is what it is about
            pass

    assert not isinstance(Dense(1), (Conv2D, LSTM))
    assert isinstance(Dense(1), (Conv2D, Dense))
    assert repr(Conv2D) == "<engine.layers.Conv2D, which is left out>"
    with pytest.raises(TypeError, match=r"got <engine\.layers\.Conv2D, which is left out>"):
        keras.Sequential([Conv2D])
    with pytest.raises(AttributeError, match=r"'applications'\. Keras has it, but trained networks"):
        keras.applications.VGG16(weights=None)


def test_how_messages_read() -> None:
    with pytest.raises(AttributeError, match=r"'Nothing': it has the layers of dense networks"):
        keras.layers.Nothing  # noqa: B018 # the access must fail
    with pytest.raises(AttributeError, match=r"'Dens'; did you mean 'Dense'\?"):
        keras.layers.Dens  # noqa: B018
    assert checks.nearest("adan", ["adam"]) == "; did you mean 'adam'?"
    assert checks.nearest("x", ["adam"]) == "."
    assert checks.nearest("adam", []) == "."


# Composed messages are right in every case: empty ranges and lists, single values, and missing bounds.


def constrained(weight: str) -> None:
    options: dict[str, Any] = {f"{weight}_constraint": keras.constraints.MaxNorm(axis=2)}
    keras.Sequential([keras.Input((3,)), layers.Dense(2, **options)]).compile("sgd", "mse")


CASES: list[tuple[Callable[[], Any], str]] = [
    # Whole numbers.
    (lambda: checks.integer(0, "n", 1), "`n` must be at least 1, got 0"),
    (lambda: checks.integer(9, "n", 1, 5), "`n` must be at most 5, got 9"),
    (lambda: checks.integer(2, "n", 1, 1), "`n` must be 1, got 2"),
    (lambda: checks.integer(2**40, "n", 0), "`n` must be at most 2147483647, got 1099511627776"),
    (lambda: checks.integer(None, "n", 0), "`n` must be an integer, got None"),
    (lambda: checks.integers((1, 0), "n", 1), "`n[1]` must be at least 1, got 0"),
    (lambda: checks.integers(3, "n", 1), "`n` must be a tuple of integers such as (2, 1), got 3"),
    # Real numbers.
    (lambda: checks.real(math.nan, "x"), "`x` must be finite, got nan"),
    (lambda: checks.real(math.inf, "x", 0.0), "`x` must be a finite number of at least 0, got inf"),
    (lambda: checks.real(-math.inf, "x", high=2.5), "`x` must be a finite number of at most 2.5, got -inf"),
    (lambda: checks.real(3.0, "x", high=2.5), "`x` must be a finite number of at most 2.5, got 3.0"),
    (lambda: checks.real(2.0, "x", 0.0, 1.0), "`x` must be between 0 and 1, got 2.0"),
    (lambda: checks.real(2.0, "x", 1.0, 1.0), "`x` must be 1, got 2.0"),
    (lambda: checks.real(None, "x"), "`x` must be a number, got None"),
    (lambda: checks.reals([1, "a"], "x"), "`x[1]` must be a number, got 'a'"),
    (lambda: checks.reals([1, math.nan], "x"), "`x[1]` must be finite, got nan"),
    (lambda: checks.reals("12", "x"), "`x` must be a list of numbers, got '12'"),
    (lambda: checks.below_one(1.0, "x"), "`x` must be less than 1, got 1.0"),
    (lambda: checks.above_zero(0, "x"), "`x` must be greater than 0, got 0.0"),
    (lambda: checks.above_zero(math.nan, "x"), "`x` must be finite, got nan"),
    # One of some.
    (lambda: checks.choice("c", "x", ("a", "b")), "`x` must be one of 'a', 'b', got 'c'"),
    (lambda: checks.choice(True, "x", (False,)), "`x` must be False, got True"),
    (lambda: checks.choice(None, "x", ("a",)), "`x` must be 'a', got None"),
    (lambda: checks.flag(None, "x"), "`x` must be True or False, got None"),
    (
        lambda: checks.only_default(3, "x", None, "this"),
        "`x` must be None, got 3: this is left out on purpose",
    ),
    # Shapes and names.
    (lambda: checks.shape((2, 0), "s"), "`s[1]` must be at least 1, got 0"),
    (lambda: checks.shape((None, -1), "s"), "`s[1]` must be at least 1, got -1"),
    (lambda: checks.path_of(None, "p"), "`p` must be a path, got None"),
    # Messages elsewhere that name a range or a list.
    (
        lambda: keras.Sequential(name="m").get_layer(index=0),
        "`index` must be that of one of the layers, but there are none; got 0",
    ),
    (lambda: keras.Sequential(name="m").get_layer("a"), "no layer is named 'a'. The layers are: none"),
    (
        lambda: keras.Sequential([layers.Dense(1)]).get_layer(index=1),
        "`index` must be that of one of the layers, which are 0 or -1; got 1",
    ),
    (
        lambda: keras.Sequential([layers.Dense(1), layers.ReLU()]).get_layer(index=2),
        "`index` must be that of one of the layers, which are from 0 to 1 or from -2 to -1; got 2",
    ),
    (lambda: keras.initializers.Zeros(x=1), "Zeros has no argument `x`. It takes: none"),
    (lambda: layers.Permute((2,)), "`dims` must hold the numbers of the axes, (1,), got (2,)"),
    (
        lambda: layers.Permute((1, 3)),
        "`dims` must hold the numbers of the axes, (1, 2) in any order, got (1, 3)",
    ),
    (
        lambda: constrained("kernel"),
        "`axis` of a norm must name axes of the weights, which are from 0 to 1 or from -2 to -1; got 2",
    ),
    (
        lambda: constrained("bias"),
        "`axis` of a norm must name axes of the weights, which are 0 or -1; got 2",
    ),
    (
        lambda: keras.random.randint((2,), 0, 5, dtype="float32"),
        "`dtype` must be that of integers, such as 'int32', got 'float32'",
    ),
    (
        lambda: keras.random.normal((2,), dtype="int32"),
        "`dtype` must be that of floats, such as 'float32', got 'int32'",
    ),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=[case[1][:40] for case in CASES])
def test_messages(make: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert str(error.value) == message


def test_parts_of_messages() -> None:
    assert checks.text_of_shape(()) == "(n,)"
    assert checks.text_of_shape((3,)) == "(n, 3)"
    assert [checks.text_of_axes(count, 1) for count in (1, 2)] == ["1 or -1", "from 1 to 2 or from -2 to -1"]
    assert [checks.listing(names) for names in ([], ["a"], ["a", "b"])] == ["none", "a", "a, b"]
    assert [checks.with_noun(count, "bin") for count in (0, 1, 2)] == ["0 bins", "1 bin", "2 bins"]


@pytest.mark.parametrize(
    ("parts", "given"), [((), "()"), ((1,), "1 part"), ((1, 2, 3, 4), "4 parts"), (3, "3")]
)
def test_tuples_of_data(parts: Any, given: str) -> None:
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(
        ValueError,
        match=rf"`validation_data` must be \(x, y\) or .* got {given.replace('(', '.').replace(')', '.')}$",
    ):
        model.fit(np.ones((2, 1)), np.ones(2), validation_data=parts, verbose=0)


# A refused call changes nothing, so that the next call does the same as without it.


def test_a_metric_that_does_not_suit_the_first_targets(blobs: Blobs) -> None:
    model = classifier(loss="crossentropy", metrics=["categorical_accuracy"])
    for _ in range(2):
        with pytest.raises(ValueError, match="takes one number per output as targets but the loss"):
            model.fit(blobs.x, blobs.y, verbose=0)
    model.fit(blobs.x, blobs.one_hot, verbose=0)


def test_a_metric_for_another_number_of_outputs(blobs: Blobs) -> None:
    model = classifier(loss="crossentropy", metrics=[keras.metrics.AUC(multi_label=True, num_labels=5)])
    for y in (blobs.y, blobs.y, blobs.one_hot):
        with pytest.raises(ValueError, match="`num_labels` of 'auc' is for 5 outputs, but there are 3"):
            model.fit(blobs.x, y, verbose=0)


@pytest.mark.parametrize("exact", [False, True])
def test_layers_that_a_metric_refuses(blobs: Blobs, exact: bool) -> None:
    metrics = [
        keras.metrics.AUC(multi_label=True, exact=exact, name="first"),
        keras.metrics.AUC(label_weights=[1, 2, 3], name="second"),
    ]
    model = classifier(loss="categorical_crossentropy", metrics=metrics)
    before = model.evaluate(blobs.x, blobs.one_hot)
    with pytest.raises(ValueError, match="`label_weights` of 'second' is for 3 outputs, but there are 5"):
        model.add(layers.Dense(5))
    assert model.get_metrics_result() == dict(zip(model.metrics_names, before, strict=True))
    assert model.evaluate(blobs.x, blobs.one_hot) == before


def test_a_metric_tells_of_the_pass_that_it_saw(blobs: Blobs) -> None:
    """Neither further layers nor direct calls change the results of the last pass."""
    model = classifier(loss="categorical_crossentropy", metrics=[keras.metrics.AUC(multi_label=True)])
    _, area = model.evaluate(blobs.x, blobs.one_hot)
    model.add(layers.Dense(5, "softmax"))
    assert model.get_metrics_result()["auc"] == area


@pytest.mark.parametrize("make", [lambda: layers.Dense(4), layers.LayerNormalization])
def test_layers_called_on_another_shape(make: Any) -> None:
    layer = make()
    layer(np.ones((2, 6)))
    before = [weight.shape for weight in layer._trainable_specs]
    with pytest.raises(ValueError, match=r"make a new layer instead of moving this one"):
        layer(np.ones((2, 5)))
    assert [weight.shape for weight in layer._trainable_specs] == before


def test_a_normalization_called_on_another_shape() -> None:
    layer = layers.Normalization()
    layer.adapt(np.arange(12.0).reshape(2, 6))
    layer(np.ones((2, 6)))
    before = layer.mean
    with pytest.raises(ValueError, match="make a new layer instead of moving this one"):
        layer(np.ones((2, 5)))
    assert np.array_equal(layer.mean, before)


def test_a_start_that_fails() -> None:
    """If the weights of a layer cannot be made, the layer has none, and no names of weights."""

    def short(shape: tuple[int, ...], dtype: object = None) -> Any:
        return np.zeros(1, np.float32)

    layer = layers.Dense(4, kernel_initializer=short, name="dense")
    with pytest.raises(ValueError, match="the start of dense's kernel must have shape"):
        layer(np.ones((2, 6)))
    assert (layer.built, layer._weight_names) == (False, [])


def test_a_callback_that_refuses_the_model(blobs: Blobs) -> None:
    """Then there is no training that could be backed up."""

    class Refusing(keras.callbacks.Callback):
        def set_model(self, model: Any) -> None:
            msg = "not this one"
            raise RuntimeError(msg)

    model = classifier()
    with pytest.raises(RuntimeError, match="not this one"):
        model.fit(blobs.x, blobs.y, callbacks=[Refusing()], verbose=0)
    backup = keras.callbacks.BackupAndRestore("never_made")
    backup.set_model(model)
    with pytest.raises(RuntimeError, match=r"use BackupAndRestore in `callbacks` of fit\(\)"):
        backup.on_epoch_end(0)
    assert not Path("never_made").exists()


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_trainable_is_a_flag(value: object) -> None:
    layer = layers.Dense(4)
    with pytest.raises(TypeError, match=f"`trainable` must be True or False, got {value!r}"):
        layer.trainable = value
    assert layer.trainable is True
    layer.trainable = 0
    assert layer.trainable is False


TYPED = {
    "weight": lambda dtype: layers.Layer().add_weight((1,), dtype=dtype),
    "loss": lambda dtype: losses.Huber(dtype=dtype),
    "metric": lambda dtype: metrics.AUC(dtype=dtype),
    "initializer": lambda dtype: initializers.Zeros()((1,), dtype),
}


@pytest.mark.parametrize("make", TYPED.values(), ids=TYPED)
def test_there_is_one_dtype(make: Any) -> None:
    for known in (None, "float32", np.float32, np.dtype("f4"), {"config": {"name": "float32"}}):
        make(known)
    for wrong in ("float64", np.float16, "nonsense", 32, {"config": {"name": "mixed_float16"}}):
        with pytest.raises(ValueError, match=r"`dtype` must be 'float32', .* or None; got"):
            make(wrong)


@pytest.mark.parametrize("kind", [losses.Huber, metrics.AUC, metrics.Mean])
def test_names_are_texts(kind: Any) -> None:
    """Names are the headings of columns in logs, which are sorted."""
    with pytest.raises(TypeError, match="`name` must be a string, got 5"):
        kind(name=5)
    assert kind(name="mine").name == "mine"


@pytest.mark.parametrize(
    ("call", "written", "meant"),
    [
        (lambda model: model.fit(np.ones((4, 4)), np.ones(4), epoch=3), "epoch", "epochs"),
        (lambda model: model.fit(np.ones((4, 4)), np.ones(4), batchsize=3), "batchsize", "batch_size"),
        (lambda model: model.predict(np.ones((4, 4)), verbos=0), "verbos", "verbose"),
        (lambda model: model.compile("sgd", loss_weight=2), "loss_weight", "loss_weights"),
    ],
)
def test_an_unknown_argument_of_a_method(call: Callable[[Any], Any], written: str, meant: str) -> None:
    with pytest.raises(
        TypeError, match=rf"unexpected keyword argument '{written}'.*did you mean '{meant}'\?$"
    ) as caught:
        call(classifier())
    assert str(caught.value).lower().count("did you mean") == 1
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'q'$"):
        classifier().fit(q=1)


def test_layers_that_are_in_no_list() -> None:
    for count in (1, 2, 3, 5):
        with pytest.raises(
            TypeError, match=r"takes its layers in a list: write Sequential\(\[first, second, ...\]\)"
        ):
            keras.Sequential(*(layers.Dense(3) for _ in range(count)))


def test_rows_of_outputs_where_one_answer_was_meant() -> None:
    model = keras.Sequential([keras.Input((28, 28)), layers.Dense(10, activation="softmax")])
    x = np.ones((6, 28, 28), np.float32)
    for loss, y in (
        ("sparse_categorical_crossentropy", np.zeros(6, int)),
        ("categorical_crossentropy", np.eye(10)[:6]),
    ):
        model.compile("sgd", loss)
        with pytest.raises(
            ValueError, match=r"output is \(n, 28, 10\); for one answer per sample put a Flatten\(\) layer"
        ):
            model.fit(x, y, verbose=0)


def test_class_indices_for_a_loss_of_several_labels() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    with pytest.raises(
        ValueError, match=r"if it holds class indices, use loss='sparse_categorical_crossentropy'"
    ):
        model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)


def test_where_a_number_is_missing() -> None:
    x = np.ones((6, 6), np.float32)
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="row 3 holds nan in column 2"):
        classifier().fit(x, np.zeros(6, int), verbose=0)
    images = np.ones((6, 2, 2), np.float32)
    images[1, 1, 0] = np.inf
    model = keras.Sequential([keras.Input((2, 2)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"row 1 holds inf at \[1, 0\]"):
        model.predict(images)


def test_a_suggestion_comes_once() -> None:
    code = "import engine; engine.layers.Dens"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.lower().count("did you mean") == 1
