"""All arguments of a method are checked before its first step, so that a wrong one changes nothing."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES, FEATURES, classifier

import engine as keras
from engine._base import random_state

SAMPLES = 40
X = np.linspace(-1, 1, SAMPLES * FEATURES, dtype=np.float32).reshape(SAMPLES, FEATURES)
Y = np.arange(SAMPLES) % CLASSES

# Values that no argument of a kind accepts.
COUNTS: list[Any] = [0, -1, 1.5, "2", True, [1], np.ones(2), 1j, object()]
ARRAYS: list[Any] = [
    "text", 3.0, 1j, {}, object(), np.ones((0, FEATURES)), X[:, :2], X[:3, :2], X * 1j, np.full_like(X, np.nan),
    [["a"] * FEATURES] * SAMPLES, np.full((SAMPLES, FEATURES), None),
]  # fmt: skip
TARGETS: list[Any] = [
    "text",
    3.0,
    {},
    object(),
    Y[:3],
    Y + CLASSES,
    Y - 1,
    Y + 0.5,
    Y * 1j,
    Y.astype(str),
    X,
    Y * np.nan,
]
WEIGHTS: list[Any] = [
    "text",
    3.0,
    {},
    object(),
    np.ones(3),
    np.ones((SAMPLES, 2)),
    np.full(SAMPLES, np.inf),
    Y.astype(str),
]
FLAGS: list[Any] = ["yes", 2, [], np.ones(2), object(), 1j]
VERBOSE: list[Any] = [None, 3, -1, "loud", 1.0, [1], object()]
CALLBACKS: list[Any] = ["text", 3, [3], keras.callbacks.Callback, [None], object()]
PAIRS: list[Any] = [3, (), (X,), (X, Y, Y, Y), (X[:, :2], Y), (X, Y[:3]), (X, Y + CLASSES), "text"]

FIT: dict[str, list[Any]] = {
    "x": [None, *ARRAYS],
    "y": [None, *TARGETS],
    "batch_size": COUNTS,
    "epochs": [None, *COUNTS[1:]],
    "verbose": VERBOSE,
    "callbacks": CALLBACKS,
    "validation_split": [None, -0.1, 1.0, "half", [0.5], 1e-17, 1j, True],
    "validation_data": PAIRS,
    "shuffle": [None, "rows", 2, [], object()],
    "class_weight": ["heavy", 3.0, [1.0], {"cat": 1.0}, {0: "2"}, {0: np.nan}, object()],
    "sample_weight": WEIGHTS,
    "initial_epoch": [None, *COUNTS[1:]],
    "steps_per_epoch": COUNTS,
    "validation_steps": COUNTS,
    "validation_batch_size": COUNTS,
    "validation_freq": [None, 0, -1, 1.5, "2", [0], [1.5], object()],
    "target": ["loss", 3, {"los": 1.0}, {"loss": "low"}, {"loss": np.nan}, {"val_loss": 1.0}],
    "time_budget": [-1, "long", np.nan, [1], 1j],
    "stratify": ["yes", 2, None, True],
}
EVALUATE = {
    "x": FIT["x"],
    "y": FIT["y"],
    "batch_size": COUNTS,
    "verbose": VERBOSE,
    "sample_weight": WEIGHTS,
    "steps": COUNTS,
    "callbacks": CALLBACKS,
    "return_dict": FLAGS,
}
# One number is the weight of all samples of a batch.
WEIGHTS_OF_BATCH = [each for each in WEIGHTS if not isinstance(each, (int, float))]
# An empty batch is accepted by `predict_on_batch`, and its outputs are empty.
ASKED = [each for each in FIT["x"] if getattr(each, "shape", None) != (0, *X.shape[1:])]
OUTPUTS: list[Any] = [3, "text", np.ones((3, CLASSES), np.float32), np.ones((SAMPLES, CLASSES)), []]
WRONG: dict[str, dict[str, list[Any]]] = {
    "fit": FIT,
    "evaluate": EVALUATE,
    "predict": {
        "x": FIT["x"],
        "batch_size": COUNTS,
        "verbose": VERBOSE,
        "steps": COUNTS,
        "callbacks": CALLBACKS,
        "out": OUTPUTS,
    },
    "train_on_batch": {
        "x": FIT["x"],
        "y": FIT["y"],
        "sample_weight": WEIGHTS_OF_BATCH,
        "class_weight": FIT["class_weight"],
        "return_dict": FLAGS,
    },
    "test_on_batch": {"x": FIT["x"], "y": FIT["y"], "sample_weight": WEIGHTS_OF_BATCH, "return_dict": FLAGS},
    "predict_on_batch": {"x": ASKED},
    "__call__": {"x": ASKED, "training": FLAGS},
}
CASES = [
    pytest.param(verb, name, value, id=f"{verb}-{name}-{number}")
    for verb, arguments in WRONG.items()
    for name, values in arguments.items()
    for number, value in enumerate(values)
]


class Batches:
    """The samples in two batches, which are read by number."""

    def __init__(self, x: Any, y: Any = None) -> None:
        half = SAMPLES // 2
        parts = (slice(half), slice(half, None))
        self._batches = [x[part] if y is None else (x[part], y[part]) for part in parts]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> Any:
        return self._batches[number]


def given(verb: str) -> dict[str, Any]:
    """Returns right arguments of a method."""
    options: dict[str, Any] = {"x": X}
    if verb in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        options["y"] = Y
    return options | ({"verbose": 0} if verb in ("fit", "evaluate", "predict") else {})


def state_of(model: keras.Sequential) -> Any:
    """Returns everything that a step would change, as texts and bytes."""
    optimizer = model.optimizer
    return (
        [array.tobytes() for array in model.get_weights()],
        # A state of 0 may be absent before the call: the metric "crossentropy" has no state until the loss is known.
        [np.asarray(variable).tobytes() for variable in optimizer.variables if np.any(variable)],
        optimizer.iterations,
        model.get_metrics_result(),
        random_state.position(),
        np.random.get_state()[1].tobytes(),  # noqa: NPY002 # scripts draw from this generator
        model.history,
        model.loss,
        model._feature_names,
        model._facts,
    )


def test_all_arguments_are_here() -> None:
    for verb, arguments in WRONG.items():
        parameters = set(inspect.signature(getattr(keras.Sequential, verb)).parameters) - {"self"}
        if verb == "__call__":  # which passes on those of `call`
            parameters = parameters - {"args", "options"} | {"training"}
        assert parameters == set(arguments)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "crossentropy"])
@pytest.mark.parametrize(("verb", "name", "value"), CASES)
def test_a_wrong_argument_leaves_no_trace(verb: str, name: str, value: Any, loss: str) -> None:
    model = classifier(keras.layers.Dropout(0.5), loss=loss)
    if loss != "crossentropy":
        model.fit(X, Y, verbose=0)
    before = state_of(model)
    with pytest.raises((TypeError, ValueError)):
        getattr(model, verb)(**(given(verb) | {name: value}))
    assert repr(state_of(model)) == repr(before)


STREAMED = [
    pytest.param(verb, name, value, id=f"{verb}-{name}-{number}")
    for verb in ("fit", "evaluate", "predict")
    for name, values in WRONG[verb].items()
    if name != "x"
    for number, value in enumerate(values)
    if value is not None
]


@pytest.mark.parametrize(("verb", "name", "value"), STREAMED)
def test_the_same_beside_batches(verb: str, name: str, value: Any) -> None:
    model = classifier(keras.layers.Dropout(0.5))
    model.fit(X, Y, verbose=0)
    before = state_of(model)
    x = Batches(X) if verb == "predict" else Batches(X, Y)
    with pytest.raises((TypeError, ValueError)):
        getattr(model, verb)(**{"x": x, "verbose": 0, name: value})
    assert repr(state_of(model)) == repr(before)


@pytest.mark.parametrize("verb", ["evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize(
    ("value", "kind"), [(None, list), (False, list), (np.False_, list), (np.True_, dict), (1, dict)]
)
def test_return_dict(verb: str, value: object, kind: type) -> None:
    """`return_dict=None` means False, as in Keras."""
    assert isinstance(getattr(classifier(), verb)(X, Y, return_dict=value), kind)


def test_targets_of_a_refused_call_settle_nothing() -> None:
    """The first targets of a training or evaluation determine which loss "crossentropy" is. Refused ones must not."""
    one_hot = keras.utils.to_categorical(Y, CLASSES)
    wrong = [
        {"epochs": -1},
        {"sample_weight": np.ones(3)},
        {"class_weight": {"cat": 1}},
        {"validation_data": (X, Y[:3])},
        {"target": {"los": 1.0}},
        {"callbacks": 3},
        {"verbose": 9},
    ]
    for options in wrong:
        model = classifier(loss="crossentropy")
        with pytest.raises((TypeError, ValueError)):
            model.fit(X, one_hot, **options)
        model.fit(X, Y, verbose=0)
        assert model._facts["class_indices"]
