"""Tests of one model in many threads: predictions run concurrently, and methods that change the model take turns."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Blobs, classifier
from numpy.typing import NDArray
from python_threads import again_and_again, at_once, side_by_side

import engine as keras
from engine import layers
from engine._command.demo.reader import DigitReader
from engine._core_interface.cpp import read_weights
from engine.layers import variable as variable_module


@pytest.fixture(autouse=True)
def one_thread_each() -> Iterator[None]:
    """Gives the engine one thread per call, and makes Python switch threads as often as possible."""
    before = sys.getswitchinterval()
    keras.config.set_threads(1)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
    keras.config.set_threads(None)


class Seen(keras.metrics.Metric):
    """A metric in Python that counts samples."""

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
    reader = DigitReader(model)
    drawings = [np.zeros((140, 140), np.uint8) for _ in range(2)]
    drawings[0][20:120, 60:80] = 255
    drawings[1][40:60, 20:120] = 255
    want = [reader(drawing).attribution for drawing in drawings]
    train = reader._probed.train_on_batch

    def train_slowly(*batch: Any) -> None:
        train(*batch)
        time.sleep(1e-3)  # before the result is read

    monkeypatch.setattr(reader._probed, "train_on_batch", train_slowly)

    def read(drawing: NDArray[np.uint8], attribution: NDArray[np.float32]) -> None:
        assert np.array_equal(reader(drawing).attribution, attribution)

    works = [lambda pair=pair: read(*pair) for pair in zip(drawings, want, strict=True)]
    at_once(*works, *works)


class Scaled(layers.Layer):
    """A custom layer with a weight."""

    def build(self, input_shape: Any) -> None:
        self.factors = self.add_weight((input_shape[-1],), "random_normal")

    def call(self, inputs: Any) -> Any:
        return inputs * self.factors


@pytest.mark.parametrize("make", [lambda: layers.Dense(4), Scaled], ids=["Dense", "own"])
def test_layers_are_built_once(make: Callable[[], layers.Layer], blobs: Blobs) -> None:
    """If many threads call a layer that is not built, all get outputs of the same weights."""
    for _ in again_and_again():
        layer = make()
        outputs = side_by_side(lambda layer=layer: layer(blobs.x))
        assert len(layer.get_weights()) == len(layer._weight_names)
        assert all(np.array_equal(output, layer(blobs.x)) for output in outputs)


def test_models_share_a_layer_that_all_of_them_begin_with() -> None:
    """The first model makes the weights of the shared layer, and the others use them."""
    for _ in again_and_again():
        layer = layers.Dense(4)
        models = side_by_side(lambda layer=layer: keras.Sequential([keras.Input((3,)), layer]))
        models[0].set_weights([np.full((3, 4), 2.0), np.zeros(4)])
        assert all((model.get_weights()[0] == 2.0).all() for model in models)
        del models[0]  # the layer must still know the other models
        models.append(keras.Sequential([keras.Input((3,)), layer]))
        models[-1].set_weights([np.full((3, 4), 3.0), np.zeros(4)])
        assert all((model.get_weights()[0] == 3.0).all() for model in models)


def test_the_first_predictions_have_the_shape_of_all(blobs: Blobs) -> None:
    for _ in again_and_again():
        model = keras.Sequential([layers.Dense(6), layers.Reshape((2, 3))])
        outputs = side_by_side(lambda model=model: model.predict(blobs.x))
        assert {output.shape for output in outputs} == {(len(blobs.x), 2, 3)}


def test_weights_are_those_of_one_moment() -> None:
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64), layers.Dense(64)])
    shapes = [weight.shape for weight in model.weights]
    numbers = iter(range(10**9))

    def write() -> None:
        number = next(numbers)
        model.set_weights([np.full(shape, number, np.float32) for shape in shapes])

    def read(owner: Any) -> None:
        assert len({float(number) for array in owner.get_weights() for number in array.flat}) == 1

    write()
    at_once(write, lambda: read(model), lambda: read(model.layers[1]))


def test_a_layer_keeps_its_weights_on_the_way_into_models_and_out() -> None:
    model, layer = keras.Sequential([keras.Input((3,))]), layers.Dense(4)
    layer(np.zeros((1, 3), np.float32))
    want = layer.get_weights()

    def join_and_leave() -> None:
        model.add(layer)
        model.pop()

    def read() -> None:
        for array, wanted in zip(layer.get_weights(), want, strict=True):
            assert np.array_equal(array, wanted)

    at_once(join_and_leave, read, read)


class Costly(layers.Layer):
    """Adds 2 to the loss of a training, and calls `meanwhile` before the core gets it."""

    meanwhile: Callable[[], object] = int

    def call(self, inputs: Any, training: bool = False) -> Any:
        self.add_loss(2.0 if training else 100.0)
        if training:
            self.meanwhile()
        return inputs

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream


def test_what_a_call_adds_to_the_loss_is_not_added_to_another() -> None:
    layer = Costly()
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile("sgd", "mean_squared_error")
    rows = np.zeros((4, 3), np.float32)
    with ThreadPoolExecutor(1) as pool:
        layer.meanwhile = lambda: pool.submit(model.predict, rows).result(60)
        assert model.train_on_batch(rows, rows) == 2.0
    assert layer.losses == [2.0]


def test_classes_are_registered_while_others_are_looked_for() -> None:
    numbers = iter(range(10**9))
    at_once(
        lambda: keras.saving.register_keras_serializable("many", str(next(numbers)))(Costly),
        lambda: keras.saving.get_registered_name(Scaled),
        lambda: keras.saving.get_registered_object("nobody"),
    )
    registered = keras.saving.get_custom_objects()
    for name in [name for name in registered if name.startswith("many>")]:
        del registered[name]


def test_assigning_one_weight_leaves_the_others_to_training(blobs: Blobs) -> None:
    """Only the bias is written. Writing a kernel that was read before would undo later steps of the training."""
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    layer = model.layers[0]
    kernels = [np.full((6, 8), value, np.float32) for value in (1.0, 2.0)]
    layer.kernel.assign(kernels[0])
    bias, rest = layer.bias, model.get_weights()[1:]

    def late(arrays: Any) -> Any:
        found = read_weights(arrays)
        model._built_graph.program.write_variables(
            [kernels[1], *rest]
        )  # as another thread could do meanwhile
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variable_module, "read_weights", late)
        bias.assign_add(1.0)
    assert (layer.kernel == kernels[1]).all()
    assert (layer.bias == 1.0).all()


def test_names_are_given_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: layers.Identity().name, range(4000)))
    assert len(set(names)) == len(names)


# Tests that do in several threads at once everything that a program may do in threads.


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    yield
    keras.config.set_threads(None)


class Factors(layers.Layer):
    """A layer in Python with a weight and a loss of its own."""

    def build(self, input_shape: Any) -> None:
        self.factors = self.add_weight((input_shape[-1],), "ones")

    def call(self, inputs: Any) -> Any:
        self.add_loss(0.0)
        return inputs * self.factors

    def gradient(self, inputs: Any, upstream: Any) -> Any:
        return upstream * self.factors, (upstream * inputs).sum(axis=0)


class Batches(keras.utils.PyDataset):
    """Batches that two threads read."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__(workers=2)
        self.blobs = blobs

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        rows = slice(20 * index, 20 * index + 20)
        return self.blobs.x[rows], self.blobs.y[rows]


@pytest.mark.parametrize("between", [layers.BatchNormalization, Factors], ids=["core", "own"])
def test_one_model(between: Any, blobs: Blobs, tmp_path: Path) -> None:
    model = classifier(between(), layers.Dropout(0.2))
    model.fit(blobs.x, blobs.y, verbose=0)
    start, optimizers = model.get_weights(), cycle(["sgd", "adam", "adafactor", "muon"])

    def compile_anew() -> None:
        model.compile(next(optimizers), "sparse_categorical_crossentropy", metrics=["accuracy"])

    def look() -> None:
        assert all(np.isfinite(model.losses))
        model.summary(print_fn=len)
        assert all(np.isfinite(weight).all() for weight in model.get_weights())

    at_once(
        lambda: model.predict(blobs.x),
        lambda: model.predict(blobs.x[:1]),
        lambda: model(blobs.x, training=True),
        lambda: model.evaluate(blobs.x, blobs.y, sample_weight=np.ones(len(blobs.x))),
        lambda: model.fit(blobs.x, blobs.y, validation_split=0.2, verbose=0),
        lambda: model.fit(Batches(blobs), verbose=0),
        lambda: model.train_on_batch(blobs.x, blobs.y),
        lambda: model.set_weights(start),
        lambda: model.save_weights(tmp_path / "model.npz"),
        compile_anew,
        look,
    )


def test_the_process(blobs: Blobs) -> None:
    """Threads use many models that share a layer, and functions with state of the whole process."""
    base = keras.Sequential([keras.Input(blobs.x.shape[1:]), layers.Dense(4)])
    numbers = cycle([1, 2, None])

    def transfer() -> None:
        model = keras.Sequential([base, layers.Dense(3, "softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(blobs.x, blobs.y, verbose=0)
        assert np.isfinite(model.predict(blobs.x)).all()

    def seed() -> None:
        keras.utils.set_random_seed(1)
        keras.initializers.GlorotUniform()((3, 4))
        keras.utils.clear_session()

    at_once(
        transfer,
        transfer,
        seed,
        lambda: keras.config.set_threads(next(numbers)),
        lambda: keras.ops.matmul(blobs.x, blobs.x.T, activation="relu"),
        lambda: keras.models.clone_model(base).predict(blobs.x),
        keras.datasets.mnist.load_data,
        lambda: keras.layers.get({"class_name": "Dense", "config": {"units": 3}}),
    )
