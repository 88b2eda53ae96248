"""Tests of metrics with state in the core: all instruction sets, all forms of targets, called directly and in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bits_worker import thread_count
from conftest import Blobs, classifier
from core_for_tests import accumulate
from faults import build_faults, needs_faults
from numerics import RUNNABLE, run_script
from numpy.typing import NDArray

import engine as keras
from engine import _core, config, metrics
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
        for y in ((labels, dense) if metric._reads_indices or metric._wants_indices else (dense,))
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
    class Largest(metrics.Metric):
        def __init__(self, name: str = "largest") -> None:
            super().__init__(name=name)
            self.seen = self.add_variable((), "zeros")

        def update_state(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
            self.seen.assign(np.maximum(self.seen, np.max(y_pred)))

        def result(self) -> Any:
            return self.seen

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
