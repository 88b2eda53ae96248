"""Every argument of `fit`, `evaluate` and `predict` does the same for every kind of model: run by the core, or by steps of its class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import engine as keras

COUNT, FEATURES, CLASSES = 96, 4, 3
_random = np.random.default_rng(0)
X = _random.normal(size=(COUNT, FEATURES)).astype(np.float32)
Y = _random.integers(0, CLASSES, COUNT).astype(np.int32)
WEIGHTS = _random.uniform(0.5, 2, COUNT).astype(np.float32)
HELD_OUT = (X[:40], Y[:40])
OTHERS = np.roll(X, 1, axis=1)
FRAME = pd.DataFrame(OTHERS, columns=list("abcd"))


def layers() -> list[Any]:
    return [
        keras.layers.Dense(8, activation="relu", name="hidden"),
        keras.layers.Dense(CLASSES, activation="softmax", name="output"),
    ]


def graph() -> Any:
    found = first = keras.Input((FEATURES,))
    for layer in layers():
        found = layer(found)
    return keras.Model(first, found)


class WithCall(keras.Model):  # type: ignore[misc] # the public class is typed as Any
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = layers()

    def call(self, x: Any) -> Any:
        return self.out(self.hidden(x))


class WithLoss(keras.Sequential):  # type: ignore[misc]
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return super().compute_loss(x, y, y_pred, sample_weight)


class WithMetrics(keras.Sequential):  # type: ignore[misc]
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred, sample_weight)


class WithTrainStep(keras.Sequential):  # type: ignore[misc]
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


class WithLoop(keras.Sequential):  # type: ignore[misc]
    def train_step(self, data: Any) -> Any:
        x, y, *weights = data
        weight = weights[0] if weights else None
        with keras.GradientTape() as tape:
            outputs = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weight)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply(gradients, self.trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=len(x))
            else:
                metric.update_state(y, outputs)
        return {metric.name: metric.result() for metric in self.metrics}


class WithTestStep(keras.Sequential):  # type: ignore[misc]
    def test_step(self, data: Any) -> Any:
        return super().test_step(data)


class WithPredictStep(keras.Sequential):  # type: ignore[misc]
    def predict_step(self, data: Any) -> Any:
        return super().predict_step(data)


def chain_of(kind: type) -> Callable[[], Any]:
    return lambda: kind([keras.Input((FEATURES,)), *layers()])


chain = chain_of(keras.Sequential)
MODELS: dict[str, Callable[[], Any]] = {
    "graph": graph,
    "call": WithCall,
    "compute_loss": chain_of(WithLoss),
    "compute_metrics": chain_of(WithMetrics),
    "train_step": chain_of(WithTrainStep),
    "loop": chain_of(WithLoop),
    "test_step": chain_of(WithTestStep),
    "predict_step": chain_of(WithPredictStep),
}
KINDS = [(name, eager) for name in MODELS for eager in (False, True)]
STEPS = [kind for kind in KINDS if kind[0] in ("compute_loss", "compute_metrics", "train_step", "loop")]


def batches(size: int = 16, repeated: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while True:
        for begin in range(0, COUNT, size):
            yield X[begin : begin + size], Y[begin : begin + size]
        if not repeated:
            return


class Dataset(keras.utils.PyDataset):  # type: ignore[misc]
    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(16 * number, 16 * number + 16)
        return X[rows], Y[rows]


ARGUMENTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "nothing": lambda _: {},
    "batch_size": lambda _: {"batch_size": 20},
    "epochs": lambda _: {"epochs": 4, "initial_epoch": 1},
    "no epoch": lambda _: {"epochs": 0},
    "verbose": lambda _: {"verbose": 2},
    "validation_split": lambda _: {"validation_split": 0.25},
    "validation_data": lambda _: {"validation_data": HELD_OUT},
    "validation weights": lambda _: {"validation_data": (*HELD_OUT, WEIGHTS[:40])},
    "validation stream": lambda _: {"validation_data": batches(), "validation_steps": 3},
    "validation_steps": lambda _: {
        "validation_data": HELD_OUT,
        "validation_steps": 2,
        "validation_batch_size": 10,
    },
    "validation_freq": lambda _: {"validation_data": HELD_OUT, "validation_freq": 2, "epochs": 3},
    "validation_freq list": lambda _: {"validation_data": HELD_OUT, "validation_freq": [1, 3], "epochs": 3},
    "no shuffle": lambda _: {"shuffle": False},
    "shuffle batch": lambda _: {"shuffle": "batch"},
    "class_weight": lambda _: {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
    "class_weight balanced": lambda _: {"class_weight": "balanced", "validation_split": 0.2},
    "sample_weight": lambda _: {"sample_weight": WEIGHTS},
    "sample_weight column": lambda _: {"sample_weight": WEIGHTS[:, np.newaxis]},
    "both weights": lambda _: {"sample_weight": WEIGHTS, "class_weight": {1: 2.0}},
    "steps_per_epoch": lambda _: {"steps_per_epoch": 2, "batch_size": 16, "epochs": 4},
    "target": lambda _: {"target": {"loss": 10.0}, "epochs": 5},
    "target of validation": lambda _: {
        "target": {"val_accuracy": 0.0},
        "validation_data": HELD_OUT,
        "epochs": 5,
    },
    "time_budget": lambda _: {"time_budget": 1e6},
    "stratify": lambda _: {"stratify": True, "validation_split": 0.25},
    "lists": lambda _: {"x": X.tolist(), "y": Y.tolist()},
    "float64": lambda _: {"x": X.astype(np.float64), "y": Y.astype(np.int64)},
    "column of y": lambda _: {"y": Y[:, np.newaxis]},
    "float y": lambda _: {"y": Y.astype(np.float32)},
    "frame": lambda _: {"x": FRAME, "validation_data": (FRAME[list("dcba")], Y)},
    "series": lambda _: {"x": FRAME, "y": pd.Series(Y)},
    "sparse": lambda _: {"x": sparse.csr_matrix(X), "validation_split": 0.25},
    "file": lambda folder: {"x": mapped(folder)},
    "generator": lambda _: {"x": batches(), "y": None, "steps_per_epoch": 4},
    "iterable": lambda _: {"x": list(batches(32, repeated=False))[:3].__iter__(), "y": None, "epochs": 1},
    "data set": lambda _: {"x": Dataset(), "y": None, "class_weight": {1: 2.0}},
    "ModelCheckpoint": lambda folder: {
        "callbacks": [keras.callbacks.ModelCheckpoint(folder / "a.weights.h5", save_weights_only=True)]
    },
    "EarlyStopping": lambda _: {
        "callbacks": [keras.callbacks.EarlyStopping("val_accuracy", restore_best_weights=True)],
        "validation_data": HELD_OUT,
        "epochs": 4,
    },
    "LearningRateScheduler": lambda _: {
        "callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))]
    },
    "ReduceLROnPlateau": lambda _: {
        "callbacks": [keras.callbacks.ReduceLROnPlateau("loss", min_delta=10.0, patience=0)],
        "epochs": 3,
    },
    "hooks for batches": lambda _: {
        "callbacks": [keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]
    },
    # These raise.
    "target that is no name": lambda _: {"target": {"nothing": 1.0}},
    "target that is no dict": lambda _: {"target": 3},
    "time_budget that is no number": lambda _: {"time_budget": "x"},
    "stratify without a split": lambda _: {"stratify": True},
    "epochs below 0": lambda _: {"epochs": -1},
    "batch_size 0": lambda _: {"batch_size": 0},
    "verbose that is a word": lambda _: {"verbose": "loud"},
    "callbacks that are none": lambda _: {"callbacks": [3]},
    "class_weight that is a list": lambda _: {"class_weight": [1]},
    "class_weight by letters": lambda _: {"class_weight": {"a": 1.0}},
    "class_weight balanced of a stream": lambda _: {
        "x": batches(),
        "y": None,
        "class_weight": "balanced",
        "steps_per_epoch": 2,
    },
    "validation_split above 1": lambda _: {"validation_split": 1.5},
    "validation_split of a stream": lambda _: {"x": Dataset(), "y": None, "validation_split": 0.5},
    "sample_weight of a stream": lambda _: {"x": Dataset(), "y": None, "sample_weight": WEIGHTS},
    "NaN": lambda _: {"x": np.full_like(X, np.nan)},
    "shuffle that is a word": lambda _: {"shuffle": "nothing"},
    "validation_freq 0": lambda _: {"validation_data": HELD_OUT, "validation_freq": 0},
    "steps_per_epoch 0": lambda _: {"steps_per_epoch": 0},
}


def mapped(folder: Path) -> np.ndarray:
    found = np.memmap(folder / "x", np.float64, "w+", shape=X.shape)
    found[:] = X
    return found


def compiled(make: Callable[[], Any], eager: bool = False) -> Any:
    keras.utils.set_random_seed(1)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
    return model


def result(run: Callable[[], Any]) -> Any:
    """Returns what `run` returns, or the type and the first words of the error that it raises."""
    try:
        return run()
    except (ValueError, TypeError) as error:
        return type(error), str(error)[:40]


def fitted(make: Callable[[], Any], eager: bool, arguments: dict[str, Any]) -> Any:
    """Returns the history, and the weights after it; or the error."""
    model = compiled(make, eager)
    options = {"x": X, "y": Y, "epochs": 2, "verbose": 0} | arguments
    found = result(lambda: model.fit(**options).history)
    return found if isinstance(found, tuple) else (dict(found), model.get_weights())


def assert_same(found: Any, wanted: Any) -> None:
    """Compares histories, arrays, numbers and errors. Steps add up gradients in another order than the core's epochs."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        found, wanted = [found[key] for key in wanted], [*wanted.values()]
    if isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for each, other in zip(found, wanted, strict=True):
            assert_same(each, other)
    elif isinstance(wanted, (float, np.ndarray)):
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=2e-7)
    else:
        assert found == wanted


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_fit(
    arguments: Callable[[Path], dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = fitted(chain, False, arguments(tmp_path))
    printed = lines_in(capsys.readouterr().out)
    for name, eager in KINDS:
        assert_same(fitted(MODELS[name], eager, arguments(tmp_path)), wanted)
        assert lines_in(capsys.readouterr().out) == printed


def lines_in(text: str) -> list[str]:
    """Returns the words of printed lines, without times."""
    return [" ".join(word for word in line.split() if not word[0].isdigit()) for line in text.splitlines()]


EVALUATIONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "nothing": lambda _: {},
    "batch_size": lambda _: {"batch_size": 20},
    "steps": lambda _: {"batch_size": 20, "steps": 2},
    "steps alone": lambda _: {"steps": 4},
    "sample_weight": lambda _: {"sample_weight": WEIGHTS},
    "list": lambda _: {"return_dict": False},
    "frame": lambda _: {"x": FRAME},
    "sparse": lambda _: {"x": sparse.csr_matrix(X)},
    "file": lambda folder: {"x": mapped(folder)},
    "generator": lambda _: {"x": batches(), "y": None, "steps": 4},
    "data set": lambda _: {"x": Dataset(), "y": None},
    "steps 0": lambda _: {"steps": 0},
    "batch_size that is no number": lambda _: {"batch_size": "a"},
    "verbose that is a word": lambda _: {"verbose": "loud"},
    "callbacks that are none": lambda _: {"callbacks": [3]},
    "NaN": lambda _: {"x": np.full_like(X, np.nan)},
}


@pytest.mark.parametrize("arguments", EVALUATIONS.values(), ids=EVALUATIONS)
def test_evaluate(arguments: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    def evaluated(make: Callable[[], Any], eager: bool) -> Any:
        model = compiled(make, eager)
        model.build((None, FEATURES))
        options = {"x": X, "y": Y, "verbose": 0, "return_dict": True} | arguments(tmp_path)
        return result(lambda: model.evaluate(**options))

    wanted = evaluated(chain, False)
    for name, eager in KINDS:
        assert_same(evaluated(MODELS[name], eager), wanted)


PREDICTIONS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "nothing": lambda _: {},
    "batch_size": lambda _: {"batch_size": 20},
    "steps": lambda _: {"batch_size": 20, "steps": 2},
    "steps alone": lambda _: {"steps": 4},
    "out": lambda _: {"out": np.empty((COUNT, CLASSES), np.float32)},
    "frame": lambda _: {"x": FRAME},
    "sparse": lambda _: {"x": sparse.csr_matrix(X)},
    "file": lambda folder: {"x": mapped(folder)},
    "generator": lambda _: {"x": batches(), "steps": 4},
    "data set": lambda _: {"x": Dataset()},
    "stop": lambda _: {
        "callbacks": [keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: None)]
    },
    "steps 0": lambda _: {"steps": 0},
    "batch_size that is no number": lambda _: {"batch_size": "a"},
    "verbose that is a word": lambda _: {"verbose": "loud"},
    "callbacks that are none": lambda _: {"callbacks": [3]},
    "NaN": lambda _: {"x": np.full_like(X, np.nan)},
    "out of another shape": lambda _: {"out": np.empty((3, CLASSES), np.float32)},
    "out of another dtype": lambda _: {"out": np.empty((COUNT, CLASSES))},
    "out of a stream": lambda _: {"x": batches(), "out": np.empty((COUNT, CLASSES), np.float32), "steps": 2},
}


@pytest.mark.parametrize("arguments", PREDICTIONS.values(), ids=PREDICTIONS)
def test_predict(arguments: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    def predicted(make: Callable[[], Any], eager: bool) -> Any:
        model = compiled(make, eager)
        model.build((None, FEATURES))
        return result(lambda: model.predict(**({"x": X, "verbose": 0} | arguments(tmp_path))))

    wanted = predicted(chain, False)
    for name, eager in KINDS:
        found = predicted(MODELS[name], eager)
        assert_same(found, wanted)
        assert not isinstance(wanted, np.ndarray) or np.array_equal(found, wanted)


class Names(keras.callbacks.Callback):  # type: ignore[misc]
    """Lists the hooks that are called, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []


def _hook(name: str) -> Callable[..., None]:
    def hook(self: Names, *arguments: Any, **logs: Any) -> None:
        *numbers, found = [*arguments, *logs.values()]
        self.calls.append((name, *numbers, sorted(found or {})))

    return hook


for _name in [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]:
    setattr(Names, _name, _hook(_name))


@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"x": Dataset(), "y": None}, {"x": sparse.csr_matrix(X)}],
    ids=["array", "set", "sparse"],
)
def test_hooks_in_order(arguments: dict[str, Any], steps_per_execution: int) -> None:
    def called(make: Callable[[], Any], eager: bool) -> Any:
        model, names = compiled(make, eager), Names()
        model.steps_per_execution = steps_per_execution
        options = {"x": X, "y": Y, "verbose": 0, "callbacks": [names]} | arguments
        model.fit(**options, validation_data=HELD_OUT, epochs=2)
        model.evaluate(**options)
        model.predict(X, verbose=0, callbacks=[names])
        return names.calls

    wanted = called(chain, False)
    assert wanted[0] == ("on_train_begin", [])
    for name, eager in KINDS:
        assert called(MODELS[name], eager) == wanted


def test_a_step_that_tests_changes_no_training(tmp_path: Path) -> None:
    wanted = compiled(chain_of(WithTestStep))
    wanted.fit(X, Y, epochs=2, verbose=0)
    for arguments in ({"validation_data": HELD_OUT}, {"validation_data": Dataset()}):
        model = compiled(chain_of(WithTestStep))
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[backup], **arguments)
        assert all(map(np.array_equal, model.get_weights(), wanted.get_weights()))


@pytest.mark.parametrize(("name", "eager"), [step for step in STEPS if step[0] != "loop"])
def test_targets_that_are_missing_are_named(name: str, eager: bool) -> None:
    with pytest.raises(ValueError, match="`y` is missing"):
        compiled(MODELS[name], eager).fit(X, verbose=0)


class OwnMetric(keras.Sequential):  # type: ignore[misc]
    """Its steps add to a metric in an attribute."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.hits = keras.metrics.SparseCategoricalAccuracy(name="hits")

    def test_step(self, data: Any) -> Any:
        x, y = data
        self.hits.update_state(y, self(x, training=False))
        return {"hits": self.hits.result()}


def test_monitors_know_the_metrics_of_attributes() -> None:
    model = compiled(chain_of(OwnMetric))
    stop = keras.callbacks.EarlyStopping("val_hits", patience=0)
    model.fit(X, Y, validation_data=HELD_OUT, epochs=3, verbose=0, callbacks=[stop])
    assert stop._wants_more()


@pytest.mark.parametrize(("name", "eager"), [("graph", False), *STEPS])
def test_losses_that_are_lost_are_told_once_and_so_are_predictions_by_lost_weights(
    name: str, eager: bool
) -> None:
    model = MODELS[name]()
    model.compile(keras.optimizers.SGD(1e30), "sparse_categorical_crossentropy", run_eagerly=eager)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(100 * X, Y, epochs=3, verbose=0)
        model.predict(X, verbose=0)
        model.predict(X, verbose=0)
    texts = [str(each.message) for each in caught]
    assert [text.split(" of model")[0] for text in texts] == ["the loss", "predict()"]
    assert "inputs that are not scaled" in texts[0]
    assert "a learning rate that is too large" in texts[0]


@pytest.mark.parametrize(
    ("name", "eager"), [("graph", False), *(each for each in STEPS if each[0] != "loop")]
)
def test_losses_that_are_no_number_are_refused(name: str, eager: bool) -> None:
    model = MODELS[name]()
    loss = keras.losses.SparseCategoricalCrossentropy(reduction=None)
    model.compile("sgd", loss, run_eagerly=eager)
    with pytest.raises(ValueError, match="`reduction=None`, one number per sample"):
        model.fit(X, Y, verbose=0)


class TwoLosses(keras.Model):  # type: ignore[misc]
    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        return super().compute_loss(*arguments, **options)


@pytest.mark.parametrize(
    "class_weight", [{"p": {0: 5.0}, "q": {0: 0.1}}, [{0: 5.0}, {0: 0.1}], {"q": "balanced"}]
)
def test_weights_of_classes_for_several_outputs(class_weight: Any) -> None:
    """The dict of targets may be in another order than the outputs, of which one has class indices and one doesn't."""
    rows = np.random.default_rng(1)
    indices, numbers = rows.integers(0, CLASSES, (COUNT, 1)), rows.integers(0, 2, (COUNT, 1))

    def history(kind: type, y: Any) -> dict[str, Any]:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((FEATURES,))
        outputs = {
            "p": keras.layers.Dense(CLASSES, "softmax")(inputs),
            "q": keras.layers.Dense(1, "sigmoid")(inputs),
        }
        model = kind(inputs, outputs)
        model.compile("sgd", {"p": "sparse_categorical_crossentropy", "q": "binary_crossentropy"})
        return dict(model.fit(X, y, class_weight=class_weight, verbose=0).history)

    wanted = history(keras.Model, {"p": indices, "q": numbers})
    for y in ({"p": indices, "q": numbers}, {"q": numbers, "p": indices}, [indices, numbers]):
        for kind in (keras.Model, TwoLosses):
            assert_same(history(kind, y), wanted)
