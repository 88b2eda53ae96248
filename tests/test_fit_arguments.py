"""Every argument of fit, evaluate, predict and their variants for one batch, with every kind of model.

All kinds compute the same network. So each argument must give the same history and weights, or the same error, whether the
core runs whole epochs or steps of the user's class run each batch, compiled or as they are written.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from common import InTurn, OwnStep, OwnStepOfChain, assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers, ops
from engine._training.step_batches import samples_of_steps

RNG = np.random.default_rng(7)
FEATURES, CLASSES, SAMPLES = 4, 3, 43
X = RNG.standard_normal((SAMPLES, FEATURES)).astype(np.float32)
X[RNG.random(X.shape) < 0.5] = 0
Y = RNG.integers(0, CLASSES, SAMPLES)
Y[: SAMPLES // 2] = 0
WEIGHTS = RNG.uniform(0.5, 2.0, SAMPLES).astype(np.float32)
NOT_FINITE = X.copy()
NOT_FINITE[5, 2] = np.inf
COLUMNS = ["b", "d", "a", "c"]
KERNELS = [
    RNG.standard_normal(shape).astype(np.float32) for shape in ((FEATURES, 8), (8,), (8, CLASSES), (CLASSES,))
]

# Two ways of adding the same few hundred products, in float32.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


class OwnCall(InTurn):
    def __init__(self) -> None:
        super().__init__(layers.Dense(8, activation="tanh"), layers.Dense(CLASSES, activation="softmax"))


class ComputeLoss(keras.Model):
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        return super().compute_loss(x, y, y_pred, sample_weight)


class ComputeMetrics(keras.Model):
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y, y_pred, sample_weight)


class TrainStep(keras.Model):
    """The steps of Keras' guide, written out."""

    def train_step(self, data: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with keras.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight)
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return self._counted(loss, y, y_pred)

    def test_step(self, data: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y_pred = self(x, training=False)
        return self._counted(self.compute_loss(y=y, y_pred=y_pred, sample_weight=sample_weight), y, y_pred)

    def predict_step(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self(x, training=False)

    def _counted(self, loss: Any, y: Any, y_pred: Any) -> Any:
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=ops.shape(y_pred)[0])
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class OwnTestStep(keras.Model):
    """Trained by the core, but not evaluated by it."""

    test_step, _counted = TrainStep.test_step, TrainStep._counted


class SuperStep(keras.Model):
    """Overrides each step, and leaves the work to the step of `Model`."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)

    def test_step(self, data: Any) -> Any:
        return super().test_step(data)

    def predict_step(self, data: Any) -> Any:
        return super().predict_step(data)


def sequential(_: Any = None) -> Any:
    return keras.Sequential([
        keras.Input((FEATURES,)), layers.Dense(8, activation="tanh"), layers.Dense(CLASSES, activation="softmax"),
    ])  # fmt: skip


def graph(kind: Any = keras.Model, activation: str = "tanh") -> Any:
    inputs = keras.Input((FEATURES,))
    return kind(inputs, layers.Dense(CLASSES, "softmax")(layers.Dense(8, activation)(inputs)))


MAKERS: dict[str, Callable[..., Any]] = {
    "chain": sequential,
    "graph": graph,
    "call": OwnCall,
    **{
        kind.__name__: partial(graph, kind)
        for kind in (ComputeLoss, ComputeMetrics, TrainStep, SuperStep, OwnTestStep)
    },
}
KINDS = [*((name, False) for name in MAKERS), *((name, True) for name in [*MAKERS][3:])]
STEPS = [kind for kind in KINDS if kind[0] in {"ComputeLoss", "ComputeMetrics", "TrainStep", "SuperStep"}]


def each_of(kinds: list[tuple[str, bool]]) -> Any:
    ids = [f"{name}-eager" if eagerly else name for name, eagerly in kinds]
    return pytest.mark.parametrize(("kind", "eagerly"), kinds, ids=ids)


kinds = each_of(KINDS)


def model_of(kind: str, eagerly: bool = False) -> Any:
    keras.utils.set_random_seed(3)
    model = MAKERS[kind]()
    model.build((None, FEATURES))
    model.set_weights(KERNELS)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=eagerly,
    )
    keras.utils.set_random_seed(5)
    return model


def batches(size: int = 8, *more: Any) -> Iterator[Any]:
    for first in range(0, SAMPLES, size):
        yield tuple(each[first : first + size] for each in (X, Y, *more))


class Indexed(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]


class Endless:
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from batches()


class StopAt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.stop_training = batch == 2


def frame(columns: list[str], x: Any = X) -> Any:
    return pd.DataFrame({name: x[:, COLUMNS.index(name)] for name in columns})


ARRAYS = {"x": X, "y": Y}
FIT: dict[str, Callable[[], dict[str, Any]]] = {
    "defaults": lambda: ARRAYS,
    "batch_size": lambda: {**ARRAYS, "batch_size": 7},
    "epochs": lambda: {**ARRAYS, "epochs": 3},
    "initial_epoch": lambda: {**ARRAYS, "epochs": 3, "initial_epoch": 1},
    "no_epochs": lambda: {**ARRAYS, "epochs": 0},
    "verbose": lambda: {**ARRAYS, "verbose": 2},
    "callbacks": lambda: {**ARRAYS, "batch_size": 4, "epochs": 3, "callbacks": [StopAt()]},
    "early_stopping": lambda: {
        **ARRAYS, "epochs": 9, "validation_split": 0.2, "callbacks": [keras.callbacks.EarlyStopping(min_delta=9)],
    },
    "learning_rate": lambda: {
        **ARRAYS, "epochs": 3, "callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))],
    },
    "restored_weights": lambda: {
        **ARRAYS, "epochs": 4, "validation_split": 0.2,
        "callbacks": [keras.callbacks.EarlyStopping("val_accuracy", restore_best_weights=True)],
    },
    "plateaus": lambda: {
        **ARRAYS, "epochs": 3, "callbacks": [keras.callbacks.ReduceLROnPlateau("loss", min_delta=10.0, patience=0)],
    },
    "validation_split": lambda: {**ARRAYS, "validation_split": 0.25},
    "validation_data": lambda: {**ARRAYS, "validation_data": (X[:9], Y[:9])},
    "validation_weights": lambda: {**ARRAYS, "validation_data": (X, Y, WEIGHTS)},
    "validation_stream": lambda: {**ARRAYS, "validation_data": Indexed(), "epochs": 2},
    "validation_generator": lambda: {**ARRAYS, "validation_data": batches(), "validation_steps": 2, "epochs": 2},
    "in_order": lambda: {**ARRAYS, "batch_size": 7, "shuffle": False},
    "within_batches": lambda: {**ARRAYS, "batch_size": 7, "shuffle": "batch", "epochs": 2},
    "class_weight": lambda: {**ARRAYS, "class_weight": {0: 0.5, 2: 3.0}},
    "class_weight_of_texts": lambda: {**ARRAYS, "class_weight": {"0": 0.5}},
    "balanced": lambda: {**ARRAYS, "class_weight": "balanced", "validation_split": 0.2},
    "class_weight_of_a_column": lambda: {"x": X, "y": Y[:, None], "class_weight": "balanced"},
    "sample_weight": lambda: {**ARRAYS, "sample_weight": WEIGHTS},
    "sample_weight_split": lambda: {**ARRAYS, "sample_weight": WEIGHTS, "validation_split": 0.25},
    "both_weights": lambda: {**ARRAYS, "sample_weight": WEIGHTS, "class_weight": {0: 0.5}},
    "weights_as_a_column": lambda: {**ARRAYS, "sample_weight": WEIGHTS[:, None], "class_weight": {0: 0.5}},
    "class_weight_of_streams": lambda: {"x": batches(8, WEIGHTS), "class_weight": {0: 0.5}},
    "steps_per_epoch": lambda: {**ARRAYS, "steps_per_epoch": 3, "epochs": 2},
    "steps_across_passes": lambda: {**ARRAYS, "steps_per_epoch": 4, "batch_size": 8, "epochs": 4},
    "steps_of_an_endless_source": lambda: {"x": Endless(), "steps_per_epoch": 4, "epochs": 3},
    "steps_of_a_generator": lambda: {"x": batches(), "steps_per_epoch": 2, "epochs": 2},
    "validation_steps": lambda: {**ARRAYS, "validation_data": (X, Y), "validation_steps": 2},
    "validation_batch_size": lambda: {
        **ARRAYS, "validation_split": 0.4, "validation_steps": 2, "validation_batch_size": 5,
    },
    "validation_freq": lambda: {**ARRAYS, "validation_split": 0.25, "validation_freq": 2, "epochs": 4},
    "validation_epochs": lambda: {**ARRAYS, "validation_split": 0.25, "validation_freq": [1, 3], "epochs": 3},
    "target": lambda: {**ARRAYS, "epochs": 5, "target": {"loss": 99.0, "accuracy": 0.0}},
    "target_of_validation": lambda: {
        **ARRAYS, "epochs": 5, "validation_split": 0.2, "validation_freq": 2, "target": {"val_loss": 99.0},
    },
    "target_out_of_reach": lambda: {**ARRAYS, "epochs": 2, "target": {"accuracy": 2.0}},
    "time_budget": lambda: {**ARRAYS, "time_budget": 1e6},
    "no_time": lambda: {**ARRAYS, "batch_size": SAMPLES, "epochs": 3, "time_budget": 0},
    "stratify": lambda: {**ARRAYS, "validation_split": 0.25, "stratify": True},
    "stratified_weights": lambda: {
        **ARRAYS, "validation_split": 0.25, "stratify": True, "sample_weight": WEIGHTS, "class_weight": "balanced",
    },
    "lists": lambda: {"x": X.tolist(), "y": Y.tolist()},
    "float64": lambda: {"x": X.astype(np.float64), "y": Y.astype(np.uint8)},
    "targets_as_a_column": lambda: {"x": X, "y": Y[:, None]},
    "targets_in_float": lambda: {"x": X, "y": Y.astype(np.float32)},
    "not_contiguous": lambda: {"x": np.asfortranarray(X), "y": Y},
    "sparse": lambda: {"x": scipy.sparse.csr_matrix(X), "y": Y, "epochs": 2},
    "sparse_columns": lambda: {"x": scipy.sparse.csc_matrix(X), "y": Y, "validation_split": 0.25},
    "sparse_stratified": lambda: {
        "x": scipy.sparse.csr_matrix(X), "y": Y, "validation_split": 0.25, "stratify": True,
    },
    "sparse_batches": lambda: {"x": ((scipy.sparse.csr_matrix(x), y) for x, y in batches())},
    "sparse_validation": lambda: {**ARRAYS, "validation_data": (scipy.sparse.coo_matrix(X), Y)},
    "frame": lambda: {"x": frame(COLUMNS), "y": pd.Series(Y)},
    "frame_split": lambda: {"x": frame(COLUMNS), "y": Y, "validation_split": 0.25},
    "frame_in_another_order": lambda: {
        "x": frame(COLUMNS), "y": Y, "validation_data": (frame(COLUMNS[::-1]), Y),
    },
    "frames_in_another_order": lambda: {
        "x": ((frame(sorted(COLUMNS, reverse=bool(n)), x=x), y) for n, (x, y) in enumerate(batches())),
    },
    "generator": lambda: {"x": batches()},
    "weighted_generator": lambda: {"x": batches(8, WEIGHTS)},
    "indexed": lambda: {"x": Indexed(), "epochs": 2},
    "class_weight_indexed": lambda: {"x": Indexed(), "class_weight": {1: 2.0}},
    "indexed_in_order": lambda: {"x": Indexed(), "epochs": 2, "shuffle": False},
}  # fmt: skip


def outcome(call: Callable[[], Any], model: Any) -> tuple[Any, list[Any]]:
    found = call()
    return found, [np.array(each) for each in model.get_weights()]


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What a chain, which the core trains, does with each case."""
    return {}


def assert_trains_like_a_chain(
    case: str, options: Callable[[], Any], kind: str, eagerly: bool, known: Any
) -> None:
    if case not in known:
        chain = model_of("chain")
        history = chain.fit(**{"verbose": 0, **options()})
        known[case] = history, chain.get_weights(), chain.optimizer.iterations
    history, weights, steps = known[case]
    model = model_of(kind, eagerly)
    found = model.fit(**{"verbose": 0, **options()})
    assert found.epoch == history.epoch
    assert found.history.keys() == history.history.keys()
    for name, values in history.history.items():
        np.testing.assert_allclose(found.history[name], values, **CLOSE, err_msg=name)
    assert_all_close(model.get_weights(), weights, **CLOSE)
    assert model.optimizer.iterations == steps
    if (kind, eagerly) in STEPS:
        assert not model._eager_steps
        assert bool(model._compiled_steps) == (steps > 0 and not eagerly)


@kinds
@pytest.mark.parametrize("case", FIT)
@pytest.mark.filterwarnings("ignore:`steps_per_epoch=:UserWarning")
def test_fit(case: str, kind: str, eagerly: bool, expected: Any) -> None:
    assert_trains_like_a_chain(case, FIT[case], kind, eagerly, expected)


@kinds
def test_printed_lines(kind: str, eagerly: bool, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for made in (("chain",), (kind, eagerly)):
        model_of(*made).fit(X, Y, epochs=2, validation_split=0.2, verbose=2)
        lines = capsys.readouterr().out.splitlines()
        printed.append([" ".join(word for word in line.split() if not word[0].isdigit()) for line in lines])
    assert printed[1] == printed[0]
    assert len(printed[0]) == 4


@kinds
def test_rows_in_a_file(kind: str, eagerly: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float64))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    saving = keras.callbacks.ModelCheckpoint(tmp_path / "a.weights.h5", save_weights_only=True)
    options = {"x": x, "y": Y, "validation_split": 0.25, "callbacks": [saving]}
    assert_trains_like_a_chain("file", lambda: options, kind, eagerly, {})
    model = model_of(kind, eagerly)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(X, verbose=0))
    assert_close(model.evaluate(x, Y, verbose=0), model.evaluate(X, Y, verbose=0))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"sample_weight": np.full(SAMPLES, np.nan)}, "`sample_weight` must be finite .* row 0 holds nan"),
    ({"batch_size": 0}, "`batch_size` must be at least 1, got 0"),
    ({"batch_size": 2.5}, "`batch_size` must be an integer, got 2.5"),
    ({"epochs": -1}, "`epochs` must be at least 0, got -1"),
    ({"epochs": True}, "`epochs` must be an integer, got True"),
    ({"initial_epoch": -1}, "`initial_epoch` must be"),
    ({"initial_epoch": "1"}, "`initial_epoch` must be an integer, got '1'"),
    ({"verbose": 7}, "`verbose` must be one of 'auto', 0, 1, 2, got 7"),
    ({"verbose": "loud"}, "`verbose` must be one of .* got 'loud'"),
    ({"callbacks": [3]}, "`callbacks` must hold"),
    ({"shuffle": "rows"}, "`shuffle` must be one of True, False, 'batch', got 'rows'"),
    ({"shuffle": None}, "`shuffle` must be one of"),
    ({"validation_split": 1.5}, "`validation_split` must be less than 1, got 1.5|between 0 and 1, got 1.5"),
    ({"validation_split": 1.0}, "`validation_split` must be less than 1, got 1.0"),
    ({"validation_split": -0.1}, "`validation_split` must be between 0 and 1, got -0.1"),
    ({"validation_split": "half"}, "`validation_split` must be a number, got 'half'"),
    ({"validation_split": 0.99}, "`validation_split=0.99` of 43 samples leaves none for training"),
    ({"validation_split": 1e-17}, "of 43 samples leaves none for validation"),
    ({"validation_data": 3}, r"`validation_data` must be \(x, y\) or .* got 3|`validation x`.* single number"),
    ({"validation_data": (1,)}, "`validation_data` must be .* got 1 part|`validation x`.* single number"),
    ({"validation_data": (X, Y, None, 3)}, "`validation_data`|Data is expected"),
    ({"validation_data": (X, Y[:5])}, "`validation x` has 43 samples but `validation y` has 5|5, 43"),
    ({"validation_data": (NOT_FINITE, Y)}, "`validation x` must be finite"),
    ({"validation_steps": 0}, "`validation_steps` must be at least 1"),
    ({"validation_batch_size": -1}, "`validation_batch_size` must be at least 1"),
    ({"validation_freq": 0}, "`validation_freq` must be at least 1, got 0"),
    ({"validation_freq": [0]}, "`validation_freq` must be"),
    ({"validation_freq": [1, 0.5]}, "`validation_freq` must be an integer, got 0.5"),
    ({"class_weight": 3}, "`class_weight` must be a dict of class index -> weight"),
    ({"class_weight": [1.0, 2.0]}, "`class_weight` must be a dict of class index -> weight"),
    ({"class_weight": "heavy"}, "`class_weight` must be a dict"),
    ({"class_weight": {"cat": 2.0}}, "`class_weight` must map class indices to weights, got the key 'cat'"),
    ({"class_weight": {0: "2"}}, r"`class_weight\[0\]` must be a number, got '2'"),
    ({"class_weight": {0: np.inf}}, r"`class_weight\[0\]` must be finite, got inf"),
    ({"sample_weight": WEIGHTS[:5]}, r"`sample_weight` must have shape \(43,\), .* got \(5,\)|cardinality"),
    ({"steps_per_epoch": 0}, "`steps_per_epoch` must be at least 1, got 0"),
    ({"target": 3}, "`target` must be a dict"),
    ({"target": {"nothing": 1.0}}, "`target` has the name 'nothing'"),
    ({"target": {"val_loss": 1.0}}, "names with `val_` need validation data"),
    ({"target": {"loss": "x"}}, r"`target\['loss'\]` must be"),
    ({"time_budget": "x"}, "`time_budget` must be"),
    ({"time_budget": -1}, "`time_budget` must be"),
    ({"stratify": True}, "`stratify=True` says how"),
    ({"stratify": "yes", "validation_split": 0.5}, "`stratify` must be"),
    ({"x": Indexed()}, "`y` must not be given beside an `x` that yields batches"),
    ({"x": Indexed(), "y": None, "sample_weight": WEIGHTS}, "`sample_weight` must not be given beside"),
    ({"x": Indexed(), "y": None, "validation_split": 0.2}, "`validation_split` needs samples"),
    ({"x": Indexed(), "y": None, "class_weight": "balanced"}, "'balanced'` needs all labels"),
    ({"x": X[:7]}, "7.*43"),
    ({"x": NOT_FINITE}, "`x` must be finite"),
    ({"x": scipy.sparse.csr_matrix(NOT_FINITE)}, "`x` must be finite"),
    ({"validation_data": (np.ones((4, 5)), np.ones(4))}, r"`validation x` must have shape \(n, 4\), got \(4, 5\)"),
    ({"validation_data": (X[:1], np.array([8]))}, "`validation y` must hold class indices"),
    ({"validation_data": (X[:2], np.zeros((2, 2)))}, "`validation y` must have shape"),
]  # fmt: skip
# What a step of the user's class makes of weights shows when it gets them.
WRONG_IN_THE_CORE: list[tuple[dict[str, Any], str]] = [
    ({"sample_weight": np.ones((SAMPLES, 2))}, r"`sample_weight` must have shape \(43,\), .* got \(43, 2\)"),
]


def without_address(value: object) -> str:
    """Returns the text of a value without its address, so that two processes give a test the same name."""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))[:40]


UNBUILT = ("unbuilt", False)
WRONG_OF_KINDS = [
    *((kind, *row) for row in WRONG for kind in [*KINDS, UNBUILT]),
    *((kind, *row) for row in WRONG_IN_THE_CORE for kind in [*KINDS[:3], UNBUILT]),
]


@pytest.mark.parametrize(("kind", "options", "message"), WRONG_OF_KINDS, ids=without_address)
def test_wrong_arguments_of_fit(kind: tuple[str, bool], options: dict[str, Any], message: str) -> None:
    if kind == UNBUILT:
        model: Any = keras.Sequential([layers.Dense(CLASSES, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    else:
        model = model_of(*kind)
    before = model.built, model.history, [weight.tobytes() for weight in model.get_weights()]
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(**{"x": X, "y": Y, "verbose": 0, **options})
    assert (model.built, model.history, [weight.tobytes() for weight in model.get_weights()]) == before
    assert model.optimizer.iterations == 0


@kinds
def test_other_columns_are_refused(kind: str, eagerly: bool) -> None:
    model = model_of(kind, eagerly)
    model.fit(frame(COLUMNS), Y, verbose=0)
    other = frame(COLUMNS[:3]).assign(other=0.0)
    for call in (model.predict, model.predict_on_batch):
        with pytest.raises(ValueError, match="feature names should match"):
            call(other)
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        if call != model.fit:  # which learns the columns anew with data for training
            with pytest.raises(ValueError, match="feature names should match"):
                call(other, Y)
    np.testing.assert_array_equal(
        model.predict(frame(sorted(COLUMNS)), verbose=0), model.predict(X, verbose=0)
    )
    np.testing.assert_array_equal(model.predict_on_batch(frame(sorted(COLUMNS))), model.predict_on_batch(X))


EVALUATE: dict[str, Callable[[], dict[str, Any]]] = {
    "defaults": lambda: ARRAYS,
    "batch_size": lambda: {**ARRAYS, "batch_size": 5},
    "verbose": lambda: {**ARRAYS, "verbose": 2},
    "sample_weight": lambda: {**ARRAYS, "sample_weight": WEIGHTS},
    "steps": lambda: {**ARRAYS, "steps": 2, "batch_size": 8},
    "steps_alone": lambda: {**ARRAYS, "steps": 3},
    "callbacks": lambda: {**ARRAYS, "callbacks": [keras.callbacks.Callback()]},
    "return_dict": lambda: {**ARRAYS, "return_dict": True},
    "sparse": lambda: {"x": scipy.sparse.csr_matrix(X), "y": Y},
    "frame": lambda: {"x": frame(sorted(COLUMNS)), "y": Y},
    "generator": lambda: {"x": batches()},
    "indexed": lambda: {"x": Indexed()},
    "steps_of_a_generator": lambda: {"x": batches(), "steps": 2},
}


def assert_close(one: Any, two: Any) -> None:
    if isinstance(two, dict):
        assert list(one) == list(two)
        one, two = list(one.values()), list(two.values())
    np.testing.assert_allclose(one, two, **CLOSE)


@kinds
@pytest.mark.parametrize("case", EVALUATE)
def test_evaluate(case: str, kind: str, eagerly: bool) -> None:
    found = []
    for made in (("chain",), (kind, eagerly)):
        model = model_of(*made)
        model.fit(frame(COLUMNS), Y, verbose=0, epochs=2)
        found.append(model.evaluate(**{"verbose": 0, **EVALUATE[case]()}))
    assert_close(found[1], found[0])


ON_BATCH: dict[str, dict[str, Any]] = {
    "defaults": {},
    "sample_weight": {"sample_weight": WEIGHTS},
    "sample_weight_of_one_row": {"sample_weight": WEIGHTS[None]},
    "sample_weight_of_all": {"sample_weight": 0.5},
    "return_dict": {"return_dict": True},
    "sparse": {"x": scipy.sparse.csr_matrix(X)},
    "frame": {"x": frame(sorted(COLUMNS))},
}
CLASS_WEIGHTS: dict[str, dict[str, Any]] = {
    "class_weight": {"class_weight": {0: 0.5, 1: 2.0}},
    "both_weights": {"class_weight": "balanced", "sample_weight": WEIGHTS},
}


@kinds
@pytest.mark.parametrize("case", [*ON_BATCH, *CLASS_WEIGHTS])
def test_single_batches(case: str, kind: str, eagerly: bool) -> None:
    """Each call returns the numbers of its own batch, not of those before."""
    found, weights = [], []
    options = {**ARRAYS, **(ON_BATCH | CLASS_WEIGHTS)[case]}
    for made in (("chain",), (kind, eagerly)):
        model = model_of(*made)
        model.fit(frame(COLUMNS), Y, verbose=0)
        results = [model.train_on_batch(**options) for _ in range(3)]
        if case in ON_BATCH:
            results += [model.test_on_batch(**options) for _ in range(2)]
        found.append(results)
        weights.append(model.get_weights())
    for one, two in zip(*reversed(found), strict=True):
        assert_close(one, two)
    assert_all_close(*weights, **CLOSE)


PREDICT: dict[str, Callable[[], dict[str, Any]]] = {
    "defaults": lambda: {"x": X},
    "batch_size": lambda: {"x": X, "batch_size": 5},
    "verbose": lambda: {"x": X, "verbose": 2},
    "steps": lambda: {"x": X, "steps": 2, "batch_size": 8},
    "steps_alone": lambda: {"x": X, "steps": 3},
    "callbacks": lambda: {"x": X, "callbacks": [keras.callbacks.Callback()]},
    "out": lambda: {"x": X, "out": np.empty((SAMPLES, CLASSES), np.float32)},
    "out_with_gaps": lambda: {"x": X, "out": np.empty((SAMPLES, 2 * CLASSES), np.float32)[:, ::2]},
    "out_of_some": lambda: {"x": X, "steps": 2, "batch_size": 4, "out": np.empty((8, CLASSES), np.float32)},
    "sparse": lambda: {"x": scipy.sparse.csr_matrix(X)},
    "frame": lambda: {"x": frame(sorted(COLUMNS))},
    "generator": lambda: {"x": batches()},
    "indexed": lambda: {"x": Indexed()},
    "steps_of_a_generator": lambda: {"x": batches(), "steps": 2},
}


@kinds
@pytest.mark.parametrize("case", PREDICT)
def test_predict(case: str, kind: str, eagerly: bool) -> None:
    found = []
    for made in (("chain",), (kind, eagerly)):
        model = model_of(*made)
        model._feature_names = COLUMNS
        options = PREDICT[case]()
        found.append(model.predict(**{"verbose": 0, **options}))
        if "out" in options:
            assert found[-1] is options["out"]
    np.testing.assert_array_equal(found[1], found[0])


WRONG_ELSEWHERE: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    *(
        (verb, options, error, message)
        for verb in ("evaluate", "predict")
        for options, error, message in (
            ({"batch_size": 0}, ValueError, "`batch_size` must be at least 1"),
            ({"batch_size": 0.5}, TypeError, "`batch_size` must be an integer"),
            ({"verbose": "loud"}, ValueError, "`verbose` must be one of"),
            ({"verbose": None}, ValueError, "`verbose` must be one of"),
            ({"steps": 0}, ValueError, "`steps` must be at least 1"),
            ({"callbacks": 3}, TypeError, "`callbacks` must hold"),
        )
    ),
    *(
        (verb, options, error, message)
        for verb in ("evaluate", "train_on_batch", "test_on_batch")
        for options, error, message in (
            ({"return_dict": "x"}, TypeError, "`return_dict` must be"),
            ({"sample_weight": WEIGHTS[:3]}, ValueError, "sample_weight|cardinality"),
            ({"x": X[:7]}, ValueError, "7.*43"),
        )
    ),
    *(
        (verb, {"x": NOT_FINITE}, ValueError, "`x` must be finite")
        for verb in ("evaluate", "predict", "train_on_batch", "test_on_batch")
    ),
    ("evaluate", {"x": Indexed()}, ValueError, "`y` must not be given beside"),
    ("predict", {"out": [1.0]}, TypeError, "`out` must be a float32 array"),
    ("predict", {"out": np.empty((SAMPLES, CLASSES))}, TypeError, "`out` must be a float32 array"),
    ("predict", {"out": np.empty((SAMPLES, 9), np.float32)}, ValueError, "`out` must have the shape of the result"),
    ("predict", {"out": np.empty(3, np.float32), "x": Indexed()}, ValueError, "`out` needs samples whose number"),
]  # fmt: skip


@kinds
@pytest.mark.parametrize(("verb", "options", "error", "message"), WRONG_ELSEWHERE)
def test_wrong_arguments_of_other_methods(  # noqa: PLR0917 # a table
    verb: str, options: dict[str, Any], error: type[Exception], message: str, kind: str, eagerly: bool
) -> None:
    model = model_of(kind, eagerly)
    given = {"x": X} if verb == "predict" else ARRAYS
    quiet = {"verbose": 0} if verb in ("evaluate", "predict") else {}
    before = model.get_weights()
    with pytest.raises(error, match=message):
        getattr(model, verb)(**{**given, **quiet, **options})
    assert_all_equal(before, model.get_weights())


@kinds
def test_predict_on_batch(kind: str, eagerly: bool) -> None:
    model = model_of(kind, eagerly)
    expected = model_of("chain").predict_on_batch(X)
    for x in (X, X.tolist(), scipy.sparse.csr_matrix(X), frame(COLUMNS)):
        np.testing.assert_allclose(model.predict_on_batch(x), expected, **CLOSE)


@kinds
def test_backups(kind: str, eagerly: bool, tmp_path: Path) -> None:
    whole, model = model_of(kind, eagerly), model_of(kind, eagerly)
    whole.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    model.fit(X, Y, epochs=2, shuffle=False, verbose=0, callbacks=[backup])
    model = model_of(kind, eagerly)
    assert model.fit(X, Y, epochs=3, shuffle=False, verbose=0, callbacks=[backup]).epoch == [2]
    assert all(map(np.array_equal, model.get_weights(), whole.get_weights()))


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize(
    "x", [(X, Y), (X.tolist(), Y.tolist()), (Indexed(),)], ids=["arrays", "lists", "batches"]
)
def test_weights_begin_the_same_whoever_trains(x: tuple[Any, ...], eagerly: bool) -> None:
    """The weights of a model that the data build are drawn before the order of the samples, as in Keras."""

    def weights(make: Any) -> list[np.ndarray]:
        keras.utils.set_random_seed(5)
        stack = keras.layers.Dense(8, "relu"), keras.layers.Dense(CLASSES, "softmax")
        model = compiled(make(*stack), "sgd", "sparse_categorical_crossentropy", run_eagerly=eagerly)
        model.fit(*x, verbose=0)
        return model.get_weights()

    class InTurnByStep(InTurn, OwnStep):
        pass

    wanted = weights(InTurn)
    for make in (InTurnByStep, lambda *each: keras.Sequential(each), lambda *each: OwnStepOfChain(each)):
        assert_all_close(weights(make), wanted, **CLOSE)


class Names(keras.callbacks.Callback):
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


@kinds
@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize(
    "form", [np.asarray, lambda _: Indexed(), scipy.sparse.csr_matrix], ids=["array", "indexed", "sparse"]
)
def test_hooks_in_order(form: Any, steps_per_execution: int, kind: str, eagerly: bool) -> None:
    def called(*made: Any) -> Any:
        model, names, x = model_of(*made), Names(), form(X)
        model.steps_per_execution = steps_per_execution
        y = None if isinstance(x, Indexed) else Y
        model.fit(x, y, verbose=0, callbacks=[names], validation_data=(X, Y), epochs=2)
        model.evaluate(x, y, verbose=0, callbacks=[names])
        model.predict(X, verbose=0, callbacks=[names])
        return names.calls

    wanted = called("chain")
    assert wanted[0] == ("on_train_begin", [])
    assert called(kind, eagerly) == wanted


def test_a_step_that_tests_changes_no_training(tmp_path: Path) -> None:
    wanted = model_of("OwnTestStep")
    wanted.fit(X, Y, epochs=2, verbose=0)
    for validation in ((X, Y), Indexed()):
        model = model_of("OwnTestStep")
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        model.fit(X, Y, epochs=2, verbose=0, callbacks=[backup], validation_data=validation)
        assert all(map(np.array_equal, model.get_weights(), wanted.get_weights()))


@each_of([step for step in STEPS if step[0] != "TrainStep"])
def test_targets_that_are_missing_are_named(kind: str, eagerly: bool) -> None:
    with pytest.raises(ValueError, match="`y` is missing"):
        model_of(kind, eagerly).fit(X, verbose=0)


class OwnMetric(keras.Model):
    """Its steps add to a metric in an attribute."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.hits = keras.metrics.SparseCategoricalAccuracy(name="hits")

    def test_step(self, data: Any) -> Any:
        x, y = data
        self.hits.update_state(y, self(x, training=False))
        return {"hits": self.hits.result()}


def test_monitors_know_the_metrics_of_attributes() -> None:
    model = compiled(graph(OwnMetric), "adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping("val_hits", patience=0)
    model.fit(X, Y, validation_data=(X, Y), epochs=3, verbose=0, callbacks=[stop])
    assert stop._is_maximized()


@each_of([("graph", False), *STEPS])
def test_losses_that_are_lost_are_told_once_and_so_are_predictions_by_lost_weights(
    kind: str, eagerly: bool
) -> None:
    model = MAKERS[kind](activation="relu")
    model.compile(keras.optimizers.SGD(1e30), "sparse_categorical_crossentropy", run_eagerly=eagerly)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(100 * X, Y, epochs=3, verbose=0)
        model.predict(X, verbose=0)
        model.predict(X, verbose=0)
    texts = [str(each.message) for each in caught]
    assert [text.split(" of model")[0] for text in texts] == ["the loss", "predict()"]
    assert "inputs that are not scaled" in texts[0]
    assert "a learning rate that is too large" in texts[0]


@each_of([("graph", False), *(each for each in STEPS if each[0] != "TrainStep")])
def test_losses_that_are_no_number_are_refused(kind: str, eagerly: bool) -> None:
    model = MAKERS[kind]()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(reduction=None), run_eagerly=eagerly)
    with pytest.raises(ValueError, match="`reduction=None`, one number per sample"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    "class_weight", [{"p": {0: 5.0}, "q": {0: 0.1}}, [{0: 5.0}, {0: 0.1}], {"q": "balanced"}]
)
def test_class_weights_of_outputs_with_other_labels(class_weight: Any) -> None:
    """The dict of targets may be in another order than the outputs, of which one has class indices and one doesn't."""
    rows = np.random.default_rng(1)
    indices, numbers = rows.integers(0, CLASSES, (SAMPLES, 1)), rows.integers(0, 2, (SAMPLES, 1))

    def history(kind: type, y: Any) -> dict[str, Any]:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((FEATURES,))
        outputs = {
            "p": layers.Dense(CLASSES, "softmax")(inputs),
            "q": layers.Dense(1, "sigmoid")(inputs),
        }
        model = kind(inputs, outputs)
        model.compile("sgd", {"p": "sparse_categorical_crossentropy", "q": "binary_crossentropy"})
        return dict(model.fit(X, y, class_weight=class_weight, verbose=0).history)

    wanted = history(keras.Model, {"p": indices, "q": numbers})
    for y in ({"p": indices, "q": numbers}, {"q": numbers, "p": indices}, [indices, numbers]):
        for kind in (keras.Model, ComputeLoss):
            assert_close(history(kind, y), wanted)


@pytest.mark.parametrize("eagerly", [False, True])
def test_targets_that_the_logs_lack_are_told(eagerly: bool) -> None:
    class Silent(TrainStep):
        def _counted(self, loss: Any, y: Any, y_pred: Any) -> Any:
            return {"loss": loss}

    model = graph(Silent)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eagerly)
    with pytest.warns(UserWarning, match="`target` has the name 'accuracy', but the logs have: loss"):
        history = model.fit(X, Y, epochs=2, verbose=0, target={"accuracy": 0.0})
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("eagerly", [False, True])
def test_targets_of_metrics_in_attributes(eagerly: bool) -> None:
    class Counted(TrainStep):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.hits = keras.metrics.SparseCategoricalAccuracy(name="hits")

    model = compiled(graph(Counted), "sgd", "sparse_categorical_crossentropy", run_eagerly=eagerly)
    assert model.fit(X, Y, epochs=4, verbose=0, target={"hits": 0.0}).epoch == [0]


@pytest.mark.parametrize("kind", [keras.Model, SuperStep])
@pytest.mark.parametrize("form", [list, dict])
def test_class_weights_of_several_outputs(kind: Any, form: Any) -> None:
    def made() -> Any:
        keras.utils.set_random_seed(1)
        inputs = keras.Input((FEATURES,))
        outputs = [layers.Dense(CLASSES, activation="softmax", name=name)(inputs) for name in ("one", "two")]
        model = kind(inputs, dict(zip(("one", "two"), outputs, strict=True)) if form is dict else outputs)
        return compiled(model, "sgd", "sparse_categorical_crossentropy")

    y = {"one": Y, "two": Y[::-1]} if form is dict else [Y, Y[::-1]]
    model, weights = made(), {"one": {0: 3.0}, "two": {1: 0.25}}
    found = model.fit(X, y, verbose=0, shuffle=False, class_weight=weights, sample_weight=WEIGHTS).history[
        "loss"
    ]
    factors = np.where(Y == 0, 3.0, 1.0), np.where(Y[::-1] == 1, 0.25, 1.0)
    by_hand = [WEIGHTS * each for each in factors]
    other = made()
    given = dict(zip(("one", "two"), by_hand, strict=True)) if form is dict else by_hand
    expected = other.fit(X, y, verbose=0, shuffle=False, sample_weight=given).history["loss"]
    np.testing.assert_allclose(found, expected, **CLOSE)
    assert_all_close(model.get_weights(), other.get_weights(), **CLOSE)
    with pytest.raises(ValueError, match="`class_weight`"):
        model.fit(X, y, verbose=0, class_weight={0: 3.0, 1: 1.0})


class OwnForm(OwnCall):
    """Takes rows of any width, of which it reads the first numbers, and labels of which -1 is none."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(self._read(data))

    def test_step(self, data: Any) -> Any:
        return super().test_step(self._read(data))

    def _read(self, data: Any) -> Any:
        x, y = data
        return x[:, :FEATURES], ops.maximum(y, 0)


def test_validation_data_of_a_form_of_their_own_are_taken() -> None:
    model, wide = OwnForm(), np.hstack([X, X])
    model.build((None, FEATURES))
    model.compile("sgd", "sparse_categorical_crossentropy")
    for labels in (Y, np.where(Y == 0, -1, Y)):
        model.fit(wide, labels, validation_data=(wide[:5, :7], labels[:5]), verbose=0)
    assert len(model.history.history["val_loss"]) == 1


class ReadsLabels(keras.Model):
    """Validates on labels, and trains on one-hot vectors."""

    def test_step(self, data: Any) -> Any:
        x, y = data
        return super().test_step((x, ops.one_hot(y, CLASSES)))


class ReadsFirstColumns(keras.Model):
    """Validates on the first columns of what it gets."""

    def test_step(self, data: Any) -> Any:
        x, y = data
        return super().test_step((x[:, :FEATURES], y[:, :CLASSES]))


class OwnSteps(ReadsFirstColumns):
    train_step, _counted = TrainStep.train_step, TrainStep._counted


class LosesOnFirstColumns(keras.Model):
    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **options: Any) -> Any:
        return super().compute_loss(x, y[:, :CLASSES], y_pred, **options)


class ReadsValues(ReadsFirstColumns):
    def test_step(self, data: Any) -> Any:
        assert float(ops.sum(data[0])) != 0
        return super().test_step(data)


ONE_HOT = np.eye(CLASSES, dtype=np.float32)[Y]


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize(
    ("kind", "held_out"),
    [
        (ReadsLabels, (X, Y)),
        (ReadsFirstColumns, (np.hstack([X, X]), ONE_HOT)),
        (ReadsFirstColumns, (X, np.hstack([ONE_HOT, ONE_HOT]))),
        (OwnSteps, (np.hstack([X, X]), np.hstack([ONE_HOT, ONE_HOT]))),
        (LosesOnFirstColumns, (X, np.hstack([ONE_HOT, ONE_HOT]))),
        (ReadsValues, (np.hstack([X, X]), ONE_HOT)),
    ],
)
def test_validation_data_are_those_that_the_own_step_or_loss_takes(
    kind: Any, held_out: Any, eagerly: bool
) -> None:
    results = []
    for data in ((X, Y if kind is ReadsLabels else ONE_HOT), held_out):
        keras.utils.set_random_seed(3)
        model = graph(kind)
        model.compile("sgd", "categorical_crossentropy", run_eagerly=eagerly or kind is ReadsValues)
        model.fit(X, ONE_HOT, validation_data=data, verbose=0)
        results.append(model.history.history)
    assert results[0] == results[1]


@pytest.mark.parametrize("form", ["arrays", "batches"])
def test_validation_data_are_refused_before_a_new_model_trains(form: str) -> None:
    class OwnStep(OwnCall):
        train_step = TrainStep.train_step
        test_step, _counted = TrainStep.test_step, TrainStep._counted

    model = compiled(OwnStep(), "sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    for x, y, message in (
        (X[:4, :3], Y[:4], "validation .*x` must have shape"),
        (X[:4], Y[:4] + CLASSES, "class indices"),
    ):
        given = (x, y) if form == "arrays" else [(x, y)]
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y, validation_data=given if form == "arrays" else iter(given), verbose=0)
        assert model.optimizer.iterations == 0
        assert model.history is None


def test_stratify_looks_at_all_inputs(tmp_path: Path) -> None:
    """Rows in a file would be copied into memory."""
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    samples = samples_of_steps([X, mapped], Y)
    with pytest.raises(ValueError, match="those of `x` are in a file"):
        samples.split(0.25, stratify=True)
    np.save(tmp_path / "y.npy", Y)
    samples = samples_of_steps(X, np.load(tmp_path / "y.npy", mmap_mode="r"))
    assert len(samples.split(0.25, stratify=True)[0]) + len(samples.split(0.25, stratify=True)[1]) == SAMPLES


def test_labels_of_timesteps_are_weighed_as_classes() -> None:
    """The loss given to compile() says that whole rows of integers are labels, not one-hot vectors."""
    x = RNG.standard_normal((20, 5, 3)).astype(np.float32)
    y = RNG.integers(0, CLASSES, (20, 5))
    losses = []
    for kind in (keras.Model, SuperStep):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((5, 3))
        model = kind(inputs, layers.Dense(CLASSES, activation="softmax")(inputs))
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(
            model.fit(x, y, verbose=0, shuffle=False, class_weight={0: 5.0, 2: 0.1}).history["loss"]
        )
    np.testing.assert_allclose(losses[1], losses[0], **CLOSE)


def test_class_weights_of_a_single_named_output() -> None:
    weights = {0: 1.0, 1: 3.0, 2: 0.5}
    plain = samples_of_steps(X, Y).with_class_weight(weights).arrays.flat[-1]
    for y, given in (({"out": Y}, {"out": weights}), ([Y], [weights])):
        found = samples_of_steps(X, y).with_class_weight(given).arrays.flat[-1]
        np.testing.assert_array_equal(found, plain)
