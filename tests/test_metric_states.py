"""Tests of metrics with state in the core: all instruction sets, all forms of targets, called directly and in training."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits_worker import thread_count
from common import Largest
from conftest import Blobs, classifier
from core_for_tests import accumulate
from faults import build_faults, needs_faults
from numerics import RUNNABLE, run_script
from numpy.typing import NDArray

import engine as keras
from engine import _core, config, layers, metrics, ops
from engine.metrics.metric import CoreMetric

Array = NDArray[Any]

ROWS, WIDTH = 33, 17
CORE = [
    metrics.AUC(), metrics.AUC(multi_label=True), metrics.AUC(exact=True), metrics.AUC(exact=True, curve="PR"),
    metrics.AUC(exact=True, multi_label=True), metrics.AUC(thresholds=[0.3, 0.31]), metrics.AUC(from_logits=True),
    metrics.Precision(), metrics.Recall([0.1, 0.5]), metrics.Precision(top_k=3), metrics.Recall(class_id=16),
    metrics.F1Score(), metrics.FBetaScore("weighted", 2.0, 0.4), metrics.ConfusionMatrix(), metrics.R2Score(None),
    metrics.TopKCategoricalAccuracy(), metrics.Accuracy(), metrics.MeanSquaredError(), metrics.CategoricalHinge(),
    metrics.CategoricalCrossentropy(from_logits=True),
]  # fmt: skip


def batch() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    y_pred = rng.uniform(0, 1, (ROWS, WIDTH)).astype(np.float32)
    y_pred[0], y_pred[1] = 0.0, 1.0
    return y_pred, rng.integers(0, WIDTH, ROWS).astype(np.int32), rng.uniform(0, 2, ROWS).astype(np.float32)


@pytest.mark.parametrize("metric", CORE, ids=repr)
def test_every_instruction_set_gives_the_same_state(metric: CoreMetric) -> None:
    y_pred, labels, weights = batch()
    dense = np.eye(WIDTH, dtype=np.float32)[labels]
    spec = metric._resolve(False, WIDTH)._lower()
    found = {
        accumulate(spec, y_pred, y, weights, None, False, isa).tobytes()
        for isa in RUNNABLE
        for y in ((labels, dense) if metric._targets_are_indices or metric._accepts_indices else (dense,))
    }
    assert len(found) == 1, "an index is read as its one-hot row"


def test_counts_against_the_definition() -> None:
    y_pred, labels, weights = batch()
    dense = np.eye(WIDTH)[labels] > 0
    for threshold in (0.25, 0.5):
        above, w = y_pred > threshold, weights[:, None].astype(float)
        for name, chosen in [
            ("TruePositives", above & dense), ("FalsePositives", above & ~dense),
            ("TrueNegatives", ~above & ~dense), ("FalseNegatives", ~above & dense),
        ]:  # fmt: skip
            metric = getattr(metrics, name)(threshold)
            assert metric(labels, y_pred, weights) == pytest.approx((chosen * w).sum())


def test_an_exact_area_is_the_chance_of_the_right_order() -> None:
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 2, 200), rng.integers(0, 50, 200) / 50
    pairs = p[y == 1][:, None] - p[y == 0]
    assert metrics.AUC(exact=True)(y, p) == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2)


EXACT_AREAS = """
    import numpy as np
    from faults import Faults
    import engine as keras

    batches = 2000
    x, y = np.zeros((32, 4), np.float32), np.tile(np.float32([[0], [1]]), (16, 1))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    faults = Faults()

    def allocations(metrics):
        model.compile(loss="binary_crossentropy", metrics=metrics)
        faults.arm(-1)
        model.evaluate(((x, y) for _ in range(batches)), steps=batches, verbose=0)
        return faults.disarm()

    allocations([])
    print(allocations([]), allocations([keras.metrics.AUC(exact=True)]), batches)
"""


@needs_faults
def test_exact_areas_of_many_batches_take_no_longer_by_the_batch(tmp_path: Path) -> None:
    """The metric keeps all scores. Its array grows by a factor, so that not every batch copies the earlier scores."""
    found = run_script(EXACT_AREAS, LD_PRELOAD=build_faults(tmp_path)).split()
    plain, exact, batches = map(int, found)
    assert exact - plain < batches / 10


def test_confusion_in_training(blobs: Blobs) -> None:
    for y, loss in (
        (blobs.y, "sparse_categorical_crossentropy"),
        (blobs.one_hot, "categorical_crossentropy"),
    ):
        model = classifier(loss=loss, metrics=[metrics.ConfusionMatrix()])
        model.fit(blobs.x, y, verbose=0)
        matrix = model.evaluate(blobs.x, y)[1]
        guess = model.predict(blobs.x).argmax(axis=1)
        want = np.zeros((3, 3))
        np.add.at(want, (blobs.y, guess), 1)
        assert np.array_equal(matrix, want)
        assert np.array_equal(model.get_metrics_result()["confusion_matrix"], want)
        model.reset_metrics()
        assert model.get_metrics_result()["loss"] == 0.0


def test_a_metric_of_ones_own(blobs: Blobs) -> None:
    def broken(y_true: Array, y_pred: Array) -> Array:
        msg = "out of order"
        raise ArithmeticError(msg)

    model = classifier(metrics=[Largest(), "accuracy"])
    history = model.fit(blobs.x, blobs.y, epochs=2, verbose=0).history
    assert list(history) == ["accuracy", "largest", "loss"]
    assert model.evaluate(blobs.x, blobs.y)[1] == pytest.approx(model.predict(blobs.x).max())
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[broken])
    with pytest.raises(ArithmeticError, match="out of order"):
        model.fit(blobs.x, blobs.y, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("metric", CORE, ids=repr)
def test_any_number_of_threads_gives_the_same_bits(metric: CoreMetric) -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(0, 1, (150, 300)).astype(np.float32)
    y = np.eye(WIDTH, dtype=np.float32)[rng.integers(0, WIDTH, len(x))]
    weights = rng.uniform(0, 2, len(x)).astype(np.float32)
    found = set()
    try:
        for threads in range(1, 9):
            config.set_threads(threads)
            keras.utils.set_random_seed(0)
            model = keras.Sequential(
                [keras.layers.Dense(300, "relu", input_shape=(300,)), keras.layers.Dense(WIDTH, "softmax")]
            )
            copies = [type(metric).from_config({**metric.get_config(), "name": name}) for name in ("a", "b")]
            model.compile("sgd", "categorical_crossentropy", metrics=copies[:1], weighted_metrics=copies[1:])
            model.fit(x, y, batch_size=64, epochs=2, sample_weight=weights, verbose=0)
            found.add(b"".join(one._state.tobytes() for one in copies if one._state is not None))
        if _core.build_info()["openmp"]:
            assert thread_count() >= threads, "the schedule used fewer threads: this case proves nothing"
    finally:
        config.set_threads(None)
    assert len(found) == 1
    assert found != {b""}


# Tests of the variables of metrics, which scripts read and assign, and of metrics within metrics.


Y, P = np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.9, 0.2, 0.3, 0.6])


@pytest.mark.parametrize(
    "metric",
    [
        metrics.MeanSquaredError(),
        metrics.BinaryAccuracy(),
        metrics.MeanMetricWrapper(lambda y, p: abs(y - p)),
    ],
)
def test_means_have_a_total_and_a_count(metric: Any) -> None:
    assert [(variable.name, float(variable)) for variable in metric.variables] == [("total", 0), ("count", 0)]
    metric.update_state(Y, P)
    value = float(metric.result())
    assert float(metric.total) / float(metric.count) == pytest.approx(value)
    for other in (
        copy.deepcopy(metric),
        *([] if metric.name == "<lambda>" else [pickle.loads(pickle.dumps(metric))]),
    ):
        other.reset_state()
        assert [float(variable) for variable in other.variables] == [0, 0]
    # As in Keras, a vector is one sample for the mean of a loss.
    count = 1 if isinstance(metric, metrics.MeanSquaredError) else 4
    assert float(metric.count) == count
    metric.total.assign(3.0)
    metric.count.assign_add(2)
    assert metric.result() == pytest.approx(3.0 / (count + 2))
    for variable in metric.variables:
        variable.assign(np.zeros(variable.shape))
    assert metric.result() == 0
    metric.update_state(Y, P)
    assert metric.result() == pytest.approx(value)


def test_sums_have_a_total() -> None:
    metric = metrics.Sum()
    metric.update_state([1.0, 2.0])
    assert [(variable.name, float(variable)) for variable in metric.variables] == [("total", 3)]


def test_variables_of_a_model_follow_its_passes() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    loss, mae = model.evaluate(P[:, np.newaxis], Y)
    assert [metric.name for metric in model.metrics] == ["loss", "mae"]
    for metric, value in zip(model.metrics, (loss, mae), strict=True):
        total, count = metric.variables
        assert (float(total) / float(count), float(count)) == (pytest.approx(value), 4)


def test_functions_are_named_as_in_keras() -> None:
    class Furthest:
        def __call__(self, y_true: Any, y_pred: Any) -> Any:
            return np.abs(y_true - y_pred).max(axis=-1)

    def MeanError(y_true: Any, y_pred: Any) -> Any:  # noqa: N802 # the case matters
        return np.abs(y_true - y_pred)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=[MeanError, Furthest(), lambda y, p: np.abs(y - p)])
    assert model.metrics_names == ["loss", "mean_error", "furthest", "lambda"]


def test_a_metric_resets_those_within() -> None:
    class F1(metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="f1")
            self.precision, self.others = metrics.Precision(), [metrics.Recall(), {"mean": metrics.Mean()}]

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.precision.update_state(y_true, y_pred)
            self.others[0].update_state(y_true, y_pred)
            self.others[1]["mean"].update_state(1.0)

        def result(self) -> float:
            p, r = float(self.precision.result()), float(self.others[0].result())
            return 2 * p * r / (p + r)

    f1 = F1()
    assert f1(Y, P) == pytest.approx(0.8)
    f1.reset_state()
    assert float(f1.precision.result()) == float(f1.others[0].result()) == 0
    assert float(f1.others[1]["mean"].result()) == 0
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=[f1])
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    values = [model.evaluate(P[:, np.newaxis], Y)[1] for _ in range(2)]
    assert values[0] == values[1]


class Counted(metrics.Metric):
    """Counts batches, in a variable of its own and in those that are attributes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.batches = self.add_variable((), "zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.batches.assign_add(1)

    def result(self) -> Any:
        return self.batches


def test_variables_of_attributes_and_of_metrics_within() -> None:
    metric = Counted("outer")
    metric.more = {"a": [keras.Variable(0.0), keras.Variable(1.0)]}
    metric.again = metric.more["a"][0]
    metric.inner = [Counted("one"), metrics.Mean("two")]
    found = metric.variables
    assert [id(each) for each in found[:3]] == [id(metric.batches), *map(id, metric.more["a"])]
    assert [each.name for each in found[3:]] == ["variable", "total", "count"]
    metric.update_state(0, 0)
    metric.inner[0].update_state(0, 0)
    metric.reset_state()
    assert [float(each) for each in metric.variables] == [0.0] * 6


def test_a_variable_that_begins_with_an_array() -> None:
    metric = Counted("counted")
    start = np.array([[2**30, 1], [2, 3]])
    variable = metric.add_variable((2, 2), start, dtype="int64")
    np.testing.assert_array_equal(variable, start)
    with pytest.raises(ValueError, match=r"must have the shape \(3,\) of the variable, got \(2, 2\)"):
        metric.add_variable((3,), start)


# Metrics that are functions of the user's: the core computes them where they can be recorded.


X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
TARGETS = X.sum(1, keepdims=True)
CALLS: list[Any] = []


def by_sample(y_true: Any, y_pred: Any) -> Any:
    CALLS.append(type(y_pred).__name__)
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


def of_batch(y_true: Any, y_pred: Any) -> Any:
    CALLS.append(type(y_pred).__name__)
    return ops.max(y_pred) - ops.min(y_true)


def of_arrays(y_true: Any, y_pred: Any) -> Any:
    CALLS.append(type(y_pred).__name__)
    return np.sort(np.asarray(y_pred), axis=0)[0]


def model_with(*metrics: Any, loss: Any = "mse", weighted: Any = None, units: int = 1) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(units)])
    model.compile("sgd", loss, metrics=list(metrics), weighted_metrics=weighted)
    CALLS.clear()
    return model


def test_functions_run_with_symbols_alone() -> None:
    model = model_with(by_sample, of_batch)
    model.fit(X, TARGETS, batch_size=8, epochs=3, verbose=0, validation_data=(X, TARGETS))
    assert CALLS == ["TracedArray"] * len(CALLS) != []
    assert model.summary is not None


def test_numbers() -> None:
    model = model_with(by_sample, of_batch, of_arrays)
    y_pred = model.predict(X, verbose=0)
    _, mean, extreme, smallest = model.evaluate(X, TARGETS, batch_size=20, verbose=0)
    np.testing.assert_allclose(mean, np.abs(TARGETS - y_pred).mean(), rtol=1e-5)
    # A number of a batch counts once, whatever the size of the batch is.
    parts = [slice(0, 20), slice(20, 40), slice(40, 50)]
    np.testing.assert_allclose(
        extreme, np.mean([y_pred[p].max() - TARGETS[p].min() for p in parts]), rtol=1e-5
    )
    np.testing.assert_allclose(smallest, np.mean([y_pred[p].min() for p in parts]), rtol=1e-5)
    assert "ndarray" in CALLS[-1] or "Tensor" in CALLS[-1]


def test_sample_weights() -> None:
    model = model_with(by_sample, weighted=[by_sample])
    weights = np.linspace(0.1, 2, 50).astype("float32")
    y_pred = model.predict(X, verbose=0)
    _, plain, weighted = model.evaluate(X, TARGETS, sample_weight=weights, verbose=0)
    errors = np.abs(TARGETS - y_pred)[:, 0]
    np.testing.assert_allclose(plain, errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(weighted, (errors * weights).sum() / weights.sum(), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("shape", [(50,), (50, 1)])
def test_targets_come_as_they_were_given(shape: Any, dtype: str) -> None:
    labels = np.random.default_rng(1).integers(0, 3, shape).astype(dtype)

    def exact(y_true: Any, y_pred: Any) -> Any:
        CALLS.append((len(y_true.shape), str(y_true.dtype)))
        return ops.equal(ops.reshape(y_true, (-1,)), ops.cast(ops.argmax(y_pred, axis=-1), y_true.dtype))

    model = model_with(exact, loss="sparse_categorical_crossentropy", units=3)
    found = model.evaluate(X, labels, verbose=0)[1]
    expected = model.predict(X, verbose=0).argmax(1) == labels.ravel()
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-6)
    assert CALLS == [(len(shape), dtype)] * len(CALLS) != []


def test_targets_of_another_form_are_left_to_python() -> None:
    def rank(y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_pred) * 0 + len(y_true.shape)

    model = model_with(rank)
    assert model.evaluate(X, TARGETS, verbose=0)[1] == 2
    assert model.evaluate(X, TARGETS[:, 0], verbose=0)[1] == 1
    assert model.evaluate(X, TARGETS, verbose=0)[1] == 2


def test_the_state_of_the_optimizer_goes_on() -> None:
    def fits(*metrics: Any) -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), "mse", metrics=list(metrics))
        model.fit(X, TARGETS, epochs=2, verbose=0, shuffle=False)
        model.fit(X, TARGETS[:, 0], epochs=2, verbose=0, shuffle=False)  # in another form
        return model.get_weights()

    for one, other in zip(fits(), fits(of_batch), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_follows_from_other_things_than_the_batch_is_asked_again() -> None:
    rate = [1.0]
    model = model_with(lambda y_true, y_pred: rate[0])
    assert model.evaluate(X, TARGETS, verbose=0)[1] == 1
    rate[0] = 2.0
    assert model.evaluate(X, TARGETS, verbose=0)[1] == 2


def test_pairs_by_mistake_are_refused_as_before() -> None:
    model = model_with(lambda y_true, y_pred: ops.abs(y_true - y_pred))
    with pytest.raises(ValueError, match="of which NumPy would make every pair"):
        model.evaluate(X, TARGETS[:, 0], verbose=0)


def test_results_and_states_of_recorded_metrics() -> None:
    model = model_with(by_sample)
    logs = model.evaluate(X, TARGETS, verbose=0, return_dict=True)
    (metric,) = [each for each in model.metrics if each.name == "by_sample"]
    np.testing.assert_allclose(float(metric.result()), logs["by_sample"], rtol=1e-6)
    assert float(metric.count) == 50
    assert list(logs) == ["by_sample", "loss"]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda metric: pickle.loads(pickle.dumps(metric))])
def test_the_variables_of_a_metric_are_the_same_at_each_access(copied: Any) -> None:
    for metric in (
        metrics.AUC(),
        metrics.Precision(),
        metrics.Mean(),
        metrics.R2Score(),
        metrics.BinaryAccuracy(),
    ):
        values = ([1.0, 2.0],) if isinstance(metric, metrics.Mean) else ([[1.0], [0.0]], [[0.8], [0.3]])
        metric.update_state(*values)
        once, again = metric.variables, metric.variables
        assert once
        assert all(one is other for one, other in zip(once, again, strict=True))
        other = copied(metric)
        before = [np.array(each) for each in metric.variables]
        other.update_state(*values)
        other.variables[0].assign(np.zeros_like(before[0]))
        assert all(np.array_equal(*pair) for pair in zip(before, metric.variables, strict=True))
    assert metrics.Mean().total is not metrics.Mean().total
