"""One model in many threads: predictions go on side by side, whatever fills metrics or changes the model takes turns."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier
from numpy.typing import NDArray

import engine as keras
from engine import layers
from engine._demo.reader import Reader

SECONDS = 0.5


@pytest.fixture(autouse=True)
def one_thread_each() -> Iterator[None]:
    keras.config.set_threads(1)
    yield
    keras.config.set_threads(None)


def at_once(*works: Callable[[], object]) -> None:
    """Do each of `works` again and again in a thread of its own; raise the first error of any."""
    stop, errors = threading.Event(), list[BaseException]()

    def loop(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:  # raised below, where pytest sees it
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=loop, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(SECONDS)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


class Seen(keras.metrics.Metric):
    """Counts samples, in Python."""

    def __init__(self, name: str = "seen") -> None:
        super().__init__(name=name)
        self.count = self.add_variable((), "zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.count.assign_add(len(y_true))

    def result(self) -> Any:
        return self.count


def test_predictions_go_on_while_others_read_the_model(blobs: Blobs, tmp_path: Path) -> None:
    model = classifier()
    want = model.predict(blobs.x)

    def predict() -> None:
        assert np.array_equal(model.predict(blobs.x), want)

    def save() -> None:
        model.save(tmp_path / "model.npz")
        assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(blobs.x), want)

    at_once(*[predict] * 8, save, model.get_weights, lambda: model.summary(print_fn=len))


def test_evaluations_and_compile_take_turns(blobs: Blobs) -> None:
    model = classifier()
    metrics = [keras.metrics.SparseTopKCategoricalAccuracy(2), "accuracy"]
    counts = iter(range(10**9))

    def compile_anew() -> None:
        model.compile("adam", "sparse_categorical_crossentropy", metrics=metrics[: next(counts) % 3])

    at_once(
        compile_anew,
        lambda: model.evaluate(blobs.x, blobs.y, return_dict=True),
        lambda: model.test_on_batch(blobs.x, blobs.y),
        lambda: model.predict(blobs.x),
    )


def test_passes_fill_metrics_in_turns(blobs: Blobs) -> None:
    model = classifier(metrics=[Seen()])
    want = float(len(blobs.x))

    def fit() -> None:
        assert model.fit(blobs.x, blobs.y, batch_size=8, verbose=0).history["seen"] == [want]

    def evaluate() -> None:
        assert model.evaluate(blobs.x, blobs.y, batch_size=8)[1] == want

    at_once(fit, evaluate, evaluate)


def test_a_callback_evaluates_while_others_wait(blobs: Blobs) -> None:
    model = classifier()
    inside = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.evaluate(blobs.x, blobs.y))
    at_once(
        lambda: model.fit(blobs.x, blobs.y, callbacks=[inside], verbose=0),
        lambda: model.evaluate(blobs.x, blobs.y),
    )


def test_drawings_are_read_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    model = keras.Sequential([keras.layers.Flatten(input_shape=(28, 28)), keras.layers.Dense(10, "softmax")])
    reader = Reader(model)
    drawings = [np.zeros((140, 140), np.uint8) for _ in range(2)]
    drawings[0][20:120, 60:80] = 255
    drawings[1][40:60, 20:120] = 255
    want = [reader(drawing).attribution for drawing in drawings]
    train = reader._twin.train_on_batch

    def train_slowly(*batch: Any) -> None:
        train(*batch)
        time.sleep(1e-3)  # before anybody looks at what came of it

    monkeypatch.setattr(reader._twin, "train_on_batch", train_slowly)

    def read(drawing: NDArray[np.uint8], attribution: NDArray[np.float32]) -> None:
        assert np.array_equal(reader(drawing).attribution, attribution)

    works = [lambda pair=pair: read(*pair) for pair in zip(drawings, want, strict=True)]
    at_once(*works, *works)


def test_layers_are_built_once(blobs: Blobs) -> None:
    """Calls of a layer without weights, in many threads at once, get the outputs of the same weights."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        layer, outputs = keras.layers.Dense(4), list[NDArray[np.float32]]()
        start = threading.Barrier(4)

        def call(layer: Any = layer, outputs: Any = outputs, start: Any = start) -> None:
            start.wait()
            outputs.append(layer(blobs.x))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(np.array_equal(output, layer(blobs.x)) for output in outputs)


def test_assigning_one_weight_leaves_the_others_to_training(blobs: Blobs) -> None:
    """The bias is written alone: a kernel read before would bring back steps that training has taken since."""
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    layer = model.layers[0]
    kernels = [np.full((6, 8), value, np.float32) for value in (1.0, 2.0)]
    layer.kernel.assign(kernels[0])
    bias, rest = layer.bias, model.get_weights()[1:]
    read = layers.Dense.weights.fget

    def late(layer: Any) -> Any:
        found = read(layer)
        model.program.write_variables([kernels[1], *rest])  # as another thread does in between
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers.Dense, "weights", property(late))
        bias.assign_add(1.0)
    assert (layer.kernel == kernels[1]).all()
    assert (layer.bias == 1.0).all()


def test_names_are_given_once() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(lambda _: layers.Identity().name, range(4000)))
    finally:
        sys.setswitchinterval(before)
    assert len(set(names)) == len(names)
