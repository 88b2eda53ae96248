"""For any argument, a call works or raises an error that names the argument and leaves the model unchanged."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, classifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine as keras

SAMPLES = 8
X = np.linspace(-1, 1, SAMPLES * FEATURES, dtype=np.float32).reshape(SAMPLES, FEATURES)
Y = np.arange(SAMPLES) % CLASSES
FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)

arrays = st.builds(
    lambda kind, shape: np.ones(shape).astype(kind),
    st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.complex64, "U3", object]),
    st.sampled_from(
        [(), (0,), (SAMPLES,), (SAMPLES, 1), (SAMPLES, FEATURES), (2, FEATURES), (SAMPLES, 2, 3), (3, 3)]
    ),
)
anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.floats(width=32),
    st.text(max_size=4),
    st.sampled_from(["auto", "batch", "adam", "sgd", "mse", "accuracy", "balanced", "val_loss", "loss"]),
    st.lists(st.integers(-2, 3), max_size=3),
    st.tuples(arrays, arrays),
    st.dictionaries(st.one_of(st.integers(-1, 3), st.text(max_size=2)), st.floats(width=32), max_size=2),
    arrays,
    st.builds(object),
    st.sampled_from([int, len, iter(()), np.float32(0.5), 1j, b"bytes", ...]),
)

# The names that a message may use for an argument.
FIT = {
    name: (f"`{name}",)
    for name in (
        "batch_size", "epochs", "verbose", "callbacks", "validation_split", "shuffle", "class_weight", "sample_weight",
        "initial_epoch", "steps_per_epoch", "validation_freq", "target", "time_budget", "stratify",
    )
} | {"validation_data": ("`validation",)}  # fmt: skip


def attempt(model: keras.Sequential, verb: str, names: tuple[str, ...], *given: Any, **options: Any) -> None:
    """Calls a method of a model. An error must name the argument, and the weights must be unchanged."""
    before = model.get_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            getattr(model, verb)(
                *given, **({"verbose": 0} if verb in ("fit", "evaluate", "predict") else {}) | options
            )
        except (TypeError, ValueError) as error:
            assert any(name in str(error) for name in names), str(error)  # noqa: PT017 # refusing is as good as working
            pairs = zip(before, model.get_weights(), strict=True)
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    model.set_weights(before)
    model.predict(X)


@pytest.mark.parametrize("name", FIT)
@FEW
@given(value=anything)
def test_fit(name: str, value: Any) -> None:
    attempt(classifier(), "fit", FIT[name], X, Y, **{name: value})


@pytest.mark.parametrize("verb", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@FEW
@given(x=anything, y=anything)
def test_data(verb: str, x: Any, y: Any) -> None:
    attempt(classifier(), verb, ("`x", "`y", "x`", "y`"), x, y)


@pytest.mark.parametrize("verb", ["predict", "predict_on_batch", "__call__"])
@FEW
@given(x=anything)
def test_samples(verb: str, x: Any) -> None:
    attempt(classifier(), verb, ("`x", "x`"), x)


@pytest.mark.parametrize("name", ["batch_size", "steps", "callbacks", "sample_weight", "verbose"])
@FEW
@given(value=anything)
def test_evaluate(name: str, value: Any) -> None:
    attempt(classifier(), "evaluate", (f"`{name}",), X, Y, **{name: value})


@pytest.mark.parametrize("name", ["batch_size", "steps", "callbacks", "verbose", "out"])
@FEW
@given(value=anything)
def test_predict(name: str, value: Any) -> None:
    attempt(classifier(), "predict", (f"`{name}",), X, **{name: value})


COMPILE = {
    "optimizer": ("`optimizer", "unknown `optimizer`"),
    "loss": ("`loss", "unknown `loss`", "the loss"),
    "loss_weights": ("`loss_weights",),
    "metrics": ("`metric", "unknown `metric`", "the metric"),
    "weighted_metrics": ("`weighted_metrics", "`metric", "unknown `metric`", "the metric"),
    "run_eagerly": ("`run_eagerly",),
    "steps_per_execution": ("`steps_per_execution",),
    "jit_compile": ("`jit_compile",),
}


@pytest.mark.parametrize("name", COMPILE)
@FEW
@given(value=anything)
def test_compile(name: str, value: Any) -> None:
    model = classifier()
    options = {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"} | {name: value}
    attempt(model, "compile", COMPILE[name], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)


CALLBACKS: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: (
        "monitor", "min_delta", "patience", "verbose", "mode", "baseline", "restore_best_weights", "start_from_epoch",
    ),
    keras.callbacks.ReduceLROnPlateau: (
        "monitor", "factor", "patience", "verbose", "mode", "min_delta", "cooldown", "min_lr",
    ),
    keras.callbacks.LearningRateScheduler: ("schedule", "verbose"),
    keras.callbacks.TerminateOnNaN: ("raise_error",),
    keras.callbacks.SwapEMAWeights: ("swap_on_epoch",),
    keras.callbacks.LambdaCallback: ("on_epoch_end", "on_train_batch_begin"),
    keras.callbacks.CSVLogger: ("separator", "append"),
}  # fmt: skip
REQUIRED = {
    keras.callbacks.LearningRateScheduler: {"schedule": len},
    keras.callbacks.CSVLogger: {"filename": "x"},
}


@pytest.mark.parametrize("kind", CALLBACKS)
@FEW
@given(data=st.data())
def test_callbacks(kind: type[keras.callbacks.Callback], data: st.DataObject) -> None:
    name, value = data.draw(st.sampled_from(CALLBACKS[kind])), data.draw(anything)
    try:
        kind(**(REQUIRED.get(kind, {}) | {name: value}))
    except (TypeError, ValueError, UserWarning) as error:
        assert f"`{name}" in str(error)  # noqa: PT017 # refusing or warning is as good as working
