"""Tensors of other libraries in memory of a GPU: used where they are, checked there, and kept as long as necessary."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from card_tensors import CardInterface, CardTensor, bits_of_bfloat16, emulated, memory_in_use
from common import assert_all_equal, compiled

import engine as keras
from engine import layers

N, FEATURES, CLASSES = 48, 8, 3
Producer = Callable[..., Any]
BOTH = pytest.mark.parametrize("tensor", [CardTensor, CardInterface])


@pytest.fixture(autouse=True)
def late() -> Iterator[None]:
    """Tensors are complete only for those who wait, on an emulated card."""
    try:
        run_late = emulated("run_late")
    except pytest.skip.Exception:
        yield
        return
    run_late(1)
    yield
    run_late(int(os.environ.get("EMULATED_CUDA_LATE", "0") == "1"))


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, FEATURES)).astype(np.float32)


@pytest.fixture
def y(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, CLASSES, N)


def build(
    device: str = "cuda", loss: Any = "sparse_categorical_crossentropy", units: int = CLASSES
) -> keras.Model:
    """Returns a model with the same weights each time."""
    with keras.device(device):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((FEATURES,)),
                layers.Dense(8, activation="relu"),
                layers.Dense(units, activation="softmax" if units > 1 else "sigmoid"),
            ]
        )
        model.compile("adam", loss, metrics=["accuracy"] if units > 1 else [])
        _ = model.get_weights()
    return model


def trained(model: keras.Model, *data: Any, **options: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Returns the history and the weights of a training, which begins with the same random numbers each time."""
    keras.utils.set_random_seed(5)
    history = model.fit(*data, **{"epochs": 2, "batch_size": 16, "verbose": 0, **options}).history
    return history, model.get_weights()


def assert_same(
    one: tuple[dict[str, Any], list[np.ndarray]], other: tuple[dict[str, Any], list[np.ndarray]]
) -> None:
    """The bits must be those of a training with arrays of NumPy."""
    assert one[0] == other[0]
    assert_all_equal(one[1], other[1])


# ---- In: the same results as with NumPy


@BOTH
def test_training_evaluation_and_prediction(tensor: Producer, x: np.ndarray, y: np.ndarray) -> None:
    weights = np.linspace(0.5, 2, N, dtype=np.float32)
    model, expected = build(), build()
    assert_same(
        trained(model, tensor(x), tensor(y), sample_weight=tensor(weights)),
        trained(expected, x, y, sample_weight=weights),
    )
    ours = model.evaluate(tensor(x), tensor(y), sample_weight=tensor(weights), verbose=0)
    assert ours == expected.evaluate(x, y, sample_weight=weights, verbose=0)
    predictions = model.predict(tensor(x), verbose=0)
    assert type(predictions) is np.ndarray
    np.testing.assert_array_equal(predictions, expected.predict(x, verbose=0))
    np.testing.assert_array_equal(model.predict(tensor(x), batch_size=7, verbose=0), predictions)
    np.testing.assert_array_equal(model.predict_on_batch(tensor(x)), predictions)
    out = np.empty((N, CLASSES), np.float32)
    assert model.predict(tensor(x), out=out, verbose=0) is out
    np.testing.assert_array_equal(out, predictions)


def test_single_batches(x: np.ndarray, y: np.ndarray) -> None:
    model, expected = build(), build()
    assert model.train_on_batch(CardTensor(x), CardTensor(y)) == expected.train_on_batch(x, y)
    assert model.test_on_batch(CardTensor(x), CardTensor(y)) == expected.test_on_batch(x, y)


def test_arguments_of_fit(x: np.ndarray, y: np.ndarray) -> None:
    class_weight = {0: 2.0, 2: 0.5}
    for options in (
        {
            "validation_split": 0.25,
            "class_weight": class_weight,
            "callbacks": [keras.callbacks.EarlyStopping()],
        },
        {"validation_split": 0.25, "stratify": True},
        {"shuffle": False, "class_weight": "balanced"},
        {"shuffle": "batch", "batch_size": 7},
    ):
        assert_same(
            trained(build(), CardTensor(x), CardTensor(y), **options), trained(build(), x, y, **options)
        )
    ours = trained(
        build(), CardTensor(x), y, validation_data=(CardTensor(x[:9].copy()), CardTensor(y[:9].copy()))
    )
    assert_same(ours, trained(build(), x, y, validation_data=(x[:9], y[:9])))


def test_class_weights_beside_sample_weights(x: np.ndarray, y: np.ndarray) -> None:
    weights = np.linspace(0.5, 2, N, dtype=np.float32)
    options = {"class_weight": {1: 3.0}}
    ours = trained(build(), CardTensor(x), CardTensor(y), sample_weight=CardTensor(weights), **options)
    assert_same(ours, trained(build(), x, y, sample_weight=weights, **options))


def test_batches_that_are_tensors(x: np.ndarray, y: np.ndarray) -> None:
    def batches(tensor: Producer, form: type) -> Iterator[Any]:
        for _ in range(2):
            for begin in range(0, N, 16):
                part = slice(begin, begin + 16)
                yield form((tensor(x[part].copy()), tensor(y[part].copy())))

    for form in (tuple, list):
        ours = trained(build(), batches(CardTensor, form), steps_per_epoch=3)
        assert_same(ours, trained(build(), batches(lambda array: array, form), steps_per_epoch=3))
    model = build()
    predictions = model.predict(batches(CardTensor, list), verbose=0)
    np.testing.assert_array_equal(predictions[:N], model.predict(x, verbose=0))


class Loader:
    """What loaders of PyTorch are: an indexed source of batches that begins anew each time."""

    def __init__(self, tensor: Producer, x: np.ndarray, y: np.ndarray) -> None:
        self.batches = [
            (tensor(x[at : at + 16].copy()), tensor(y[at : at + 16].copy())) for at in range(0, N, 16)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def test_loaders(x: np.ndarray, y: np.ndarray) -> None:
    assert_same(trained(build(), Loader(CardTensor, x, y)), trained(build(), Loader(np.array, x, y)))


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64", "float16", "float64"],
)
@BOTH
def test_dtypes_of_samples(tensor: Producer, dtype: str, rng: np.random.Generator) -> None:
    small = rng.integers(0, 2 if dtype == "bool" else 100, (N, FEATURES)).astype(dtype)
    model = build()
    np.testing.assert_array_equal(model.predict(tensor(small), verbose=0), model.predict(small, verbose=0))
    if dtype.startswith("int"):
        np.testing.assert_array_equal(
            model.predict(tensor(-small), verbose=0), model.predict(-small, verbose=0)
        )


def test_all_numbers_of_half_precision() -> None:
    """Denormal ones as well; NaN and infinities are refused, as those of NumPy."""
    numbers = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = numbers[np.isfinite(numbers)].reshape(-1, 8)
    identity = compiled(keras.Sequential([keras.Input((8,)), layers.Activation("linear")]), device="cuda")
    np.testing.assert_array_equal(identity.predict(CardTensor(finite), verbose=0), finite.astype(np.float32))


def test_bfloat16(rng: np.random.Generator) -> None:
    exact = rng.integers(-128, 128, (N, FEATURES)).astype(np.float32) / 64
    model = build()
    ours = model.predict(CardTensor(bits_of_bfloat16(exact), bfloat16=True), verbose=0)
    np.testing.assert_array_equal(ours, model.predict(exact, verbose=0))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32", "float64", "float16"])
def test_dtypes_of_labels(dtype: str, x: np.ndarray, y: np.ndarray) -> None:
    for labels in (y.astype(dtype), y.astype(dtype)[:, np.newaxis].copy()):
        assert_same(trained(build(), CardTensor(x), CardTensor(labels)), trained(build(), x, labels))


@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "float32", "float64"])
def test_dtypes_of_dense_targets(dtype: str, x: np.ndarray, y: np.ndarray) -> None:
    one_hot = np.eye(CLASSES)[y].astype(dtype)
    loss = "categorical_crossentropy"
    assert_same(
        trained(build(loss=loss), CardTensor(x), CardTensor(one_hot)), trained(build(loss=loss), x, one_hot)
    )


@pytest.mark.parametrize("targets", [(0, 1), (-1, 1)])
def test_losses_that_read_signs(targets: tuple[int, int], x: np.ndarray, y: np.ndarray) -> None:
    signs = np.where(y == 0, *targets).astype(np.float32)
    ours = trained(build(loss="hinge", units=1), CardTensor(x), CardTensor(signs))
    assert_same(ours, trained(build(loss="hinge", units=1), x, signs))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.float64])
@BOTH
def test_layouts(tensor: Producer, dtype: Any, rng: np.random.Generator, y: np.ndarray) -> None:
    """Transposed, with steps, reversed, offset by a number, and broadcast."""
    large = rng.integers(0, 9, (2 * N, 2 * FEATURES)).astype(dtype)
    flat = np.concatenate([np.zeros(1, dtype), large[:N, :FEATURES].reshape(-1)])
    views = [
        large[:N, :FEATURES],
        large[::2, ::2],
        np.ascontiguousarray(large[:N, :FEATURES].T).T,
        flat[1:].reshape(N, FEATURES),
        np.broadcast_to(large[0, :FEATURES], (N, FEATURES)),
    ]
    if tensor is CardInterface:
        views.append(large[N - 1 :: -1, FEATURES - 1 :: -1])
    model = build()
    for view in views:
        np.testing.assert_array_equal(model.predict(tensor(view), verbose=0), model.predict(view, verbose=0))
    offset = np.concatenate([[7], y])[1:]
    ours = trained(build(), tensor(views[3]), tensor(offset))
    assert_same(ours, trained(build(), views[3], offset))


def test_images_and_several_outputs(rng: np.random.Generator) -> None:
    def model() -> keras.Model:
        with keras.device("cuda"):
            keras.utils.set_random_seed(2)
            image, number = keras.Input((4, 4), name="image"), keras.Input((1,), name="number")
            both = layers.Concatenate()([layers.Flatten()(image), number])
            outputs = [
                layers.Dense(3, name="a")(both),
                layers.Reshape((2, 2), name="b")(layers.Dense(4)(both)),
            ]
            return compiled(keras.Model([image, number], outputs), "sgd", "mse")

    image, number = rng.integers(0, 9, (N, 4, 4)).astype(np.uint8), rng.standard_normal(N)
    a, b = rng.standard_normal((N, 3)), rng.standard_normal((N, 2, 2)).astype(np.float32)
    ours, expected = model(), model()
    on_gpu = [CardTensor(image), CardTensor(number)]
    assert_same(
        trained(ours, on_gpu, [CardTensor(a), CardTensor(b)]), trained(expected, [image, number], [a, b])
    )
    for one, other in zip(ours(on_gpu), expected([image, number]), strict=True):
        assert isinstance(one, keras.DeviceArray)
        np.testing.assert_array_equal(one.numpy(), other)
    for one, other in zip(
        ours.predict([CardTensor(image), number], verbose=0), expected([image, number]), strict=True
    ):
        np.testing.assert_array_equal(one, other)  # one of the two comes from the host


def test_weights_of_samples_whose_outputs_have_rows(rng: np.random.Generator) -> None:
    def model() -> keras.Model:
        with keras.device("cuda"):
            keras.utils.set_random_seed(2)
            return compiled(keras.Sequential([keras.Input((5, 4)), layers.Dense(3)]), "sgd", "mse")

    x, y = (
        rng.standard_normal((N, 5, 4)).astype(np.float32),
        rng.standard_normal((N, 5, 3)).astype(np.float32),
    )
    for weights in (rng.random(N).astype(np.float32), rng.random((N, 5)).astype(np.float32)):
        ours = trained(model(), CardTensor(x), CardTensor(y), sample_weight=CardTensor(weights))
        assert_same(ours, trained(model(), x, y, sample_weight=weights))


def test_indices_of_an_embedding(rng: np.random.Generator) -> None:
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(7, 3)])
    indices = rng.integers(0, 7, (N, 4))
    np.testing.assert_array_equal(
        model.predict(CardTensor(indices), verbose=0), model.predict(indices, verbose=0)
    )
    indices[3, 2] = 7
    with pytest.raises(ValueError, match="row 3 holds 7"):
        model.predict(CardTensor(indices), verbose=0)


def test_losses_of_the_user(x: np.ndarray, y: np.ndarray) -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    dense = np.eye(CLASSES, dtype=np.float32)[y]
    assert_same(
        trained(build(loss=loss), CardTensor(x), CardTensor(dense)), trained(build(loss=loss), x, dense)
    )


class OwnStep(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with keras.GradientTape() as tape:
            loss = keras.ops.mean((self(x) - y) ** 2)
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
        )
        return {"loss": loss}


def test_steps_of_the_user_get_arrays_of_numpy(x: np.ndarray) -> None:
    y = x[:, :1].copy()

    def own() -> keras.Model:
        keras.utils.set_random_seed(1)
        return compiled(OwnStep(), "sgd")

    assert_same(trained(own(), CardTensor(x), CardTensor(y)), trained(own(), x, y))


# ---- In: no copies, waits, lifetimes


class MemoryInUse(keras.callbacks.Callback):
    """Notes how much memory of the GPU is in use in the middle of a training or an evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.most = max(self.most, memory_in_use())

    on_test_batch_end = on_train_batch_end


@BOTH
def test_nothing_is_copied(tensor: Producer) -> None:
    """What is in use beside the memory of the samples is less than a copy of them would take."""
    x, y = np.ones((64, 1024), np.uint8), np.zeros(64, np.int32)

    def model() -> keras.Model:
        with keras.device("cuda"):
            made = keras.Sequential([keras.Input((1024,)), layers.Dense(2, activation="softmax")])
        return compiled(made, "sgd", "sparse_categorical_crossentropy")

    def grown(run: Callable[..., Any], *data: Any) -> int:
        gc.collect()
        before, noted = memory_in_use(), MemoryInUse()
        run(*data, batch_size=16, verbose=0, callbacks=[noted])
        return max(noted.most, memory_in_use()) - before

    fitted, on_gpu, labels = model(), tensor(x), tensor(y)
    for run in (fitted.fit, fitted.evaluate):
        run(x, y, batch_size=16, verbose=0)  # so that the memory for batches is there
        assert grown(run, x, y) >= x.nbytes
        assert grown(run, on_gpu, labels) < x.nbytes / 4
    assert grown(model().predict, x) - grown(model().predict, on_gpu) >= x.nbytes


def test_capsules_are_used_once(x: np.ndarray, y: np.ndarray) -> None:
    model = build()
    for versioned in (True, False):
        for read_only in (False, True) if versioned else (False,):
            samples, labels = (CardTensor(each, versioned=versioned, read_only=read_only) for each in (x, y))
            model.fit(samples, labels, verbose=0)
            model(samples)
            with pytest.raises(ValueError, match="must have shape"):
                model.fit(samples, samples, verbose=0)
            gc.collect()
            for each in (samples, labels):
                assert each.exports == each.deletions > 0
                assert all(stream not in (None, 0, -1) for stream in each.streams)


class FreedOnExport(CardTensor):
    """A tensor that keeps its memory only in the capsule."""

    def __dlpack__(self, **options: Any) -> Any:
        capsule = super().__dlpack__(**options)
        self.memory = None
        return capsule


def test_tensors_that_are_freed_early(x: np.ndarray, y: np.ndarray) -> None:
    """The engine keeps what it reads, and what its results share."""
    assert_same(trained(build(), FreedOnExport(x), FreedOnExport(y)), trained(build(), x, y))
    model = build()
    result = model(CardInterface(x))
    gc.collect()
    np.testing.assert_array_equal(result.numpy(), model(x))


@pytest.mark.parametrize("stream", [1, 2, None])
def test_streams_of_the_interface(stream: int | None, x: np.ndarray) -> None:
    model = build()
    tensor = CardInterface(x, stream=stream)
    if stream in {1, 2}:
        emulated("run_late")(0)  # the default stream is not that which fills the memory
    np.testing.assert_array_equal(model.predict(tensor, verbose=0), model.predict(x, verbose=0))
    tensor.interface["stream"] = 0
    with pytest.raises(TypeError, match="the stream 0 is ambiguous"):
        model.predict(tensor, verbose=0)


# ---- In: errors


def test_checks_have_the_messages_of_numpy(x: np.ndarray, y: np.ndarray) -> None:
    nan, infinite, wide = x.copy(), x.copy(), x.astype(np.float64)
    nan[5, 3], infinite[7, 0], wide[9, 1] = np.nan, -np.inf, 1e39
    above, below, between = y.copy(), y.copy(), y.astype(np.float32)
    above[4], below[6], between[2] = CLASSES, -1, 0.5
    weights = np.ones(N, np.float32)
    weights[3] = np.nan
    for samples, targets, weight in (
        (nan, y, None),
        (infinite, y, None),
        (wide, y, None),
        (nan.astype(np.float16), y, None),
        (x[:, 1:], y, None),
        (x[:0], y[:0], None),
        (x[0], y, None),
        (x[0, 0], y, None),
        (x * 1j, y, None),
        (x, y * 1j, None),
        (x, above, None),
        (x, below, None),
        (x, between, None),
        (x, y[1:], None),
        (x, np.eye(CLASSES)[y], None),
        (x, y, weights),
        (x, y, weights[1:]),
        (x, y, weights * 1j),
    ):
        model = build()
        before = model.get_weights()
        with pytest.raises((ValueError, TypeError)) as expected:
            model.fit(samples, targets, sample_weight=weight, verbose=0)
        on_gpu = None if weight is None else CardTensor(weight)
        with pytest.raises(expected.type) as found:
            model.fit(CardTensor(np.array(samples)), CardTensor(targets), sample_weight=on_gpu, verbose=0)
        assert str(found.value) == str(expected.value)
        assert_all_equal(model.get_weights(), before)


def test_checks_of_predictions(x: np.ndarray) -> None:
    nan, wide = x.copy(), x.astype(np.float64)
    nan[5, 3], wide[9, 1] = np.nan, 1e39
    model = build()
    for samples in (nan, wide, nan.astype(np.float16), x[:, 1:], x[0], x[0, 0], x * 1j):
        for call in (model.predict, model.predict_on_batch, model):
            with pytest.raises((ValueError, TypeError)) as expected:
                call(samples)
            with pytest.raises(expected.type) as found:
                call(CardTensor(np.array(samples)))
            assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "hinge"])
def test_targets_that_a_loss_can_not_read(loss: str, x: np.ndarray) -> None:
    for values in ([0.0, 1.5], [0.0, -1.0, 1.0], [0.5, np.inf]):
        targets = np.resize(np.array(values, np.float32), N)
        with pytest.raises(ValueError, match="row") as expected:
            build(loss=loss, units=1).fit(x, targets, verbose=0)
        with pytest.raises(ValueError, match="row") as found:
            build(loss=loss, units=1).fit(CardTensor(x), CardTensor(targets), verbose=0)
        assert str(found.value) == str(expected.value)


def test_ignored_classes(x: np.ndarray, y: np.ndarray) -> None:
    y[::3] = -1
    loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    assert_same(trained(build(loss=loss), CardTensor(x), CardTensor(y)), trained(build(loss=loss), x, y))


class Raising:
    shape, ndim = (N, FEATURES), 2

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __len__(self) -> int:
        return N

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **_: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [BufferError, TypeError, RuntimeError, ValueError])
def test_exceptions_of_the_other_library(error: type[Exception], y: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"`x` of type Raising can't be read as a tensor.*because of it"):
        build().fit(Raising(error("because of it")), y, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        build().fit(Raising(KeyboardInterrupt()), y, verbose=0)


WRONG: list[dict[str, Any]] = [
    {"ndim": -1},
    {"ndim": 65},
    {"ndim": 2**31 - 1},
    {"shape": None},
    {"data": None},
    {"data": 8},
    {"data": 2**64 - 8},
    {"byte_offset": 2},
    {"byte_offset": 2**40},
    {"byte_offset": 2**64 - 4},
    {"shape": (N, -1)},
    {"shape": (-1, FEATURES)},
    {"shape": (2**40, 2**40)},
    {"shape": (2**62, 2)},
    {"shape": (2**40, FEATURES)},
    {"shape": (2**63 - 1, 2**63 - 1)},
    {"strides": (2**62, 2**62)},
    {"strides": (-(2**63), 1)},
    {"strides": (2**40, 1)},
    {"strides": (-(2**40), 1)},
    {"lanes": 0},
    {"lanes": 4},
    {"bits": 0},
    {"bits": 4},
    {"bits": 24},
    {"bits": 128},
    {"code": 3},
    {"code": 7},
    {"code": 255},
    {"device_type": 1},
    {"device_type": 10},
    {"device_id": -1},
    {"device_id": 7},
    {"major": 2},
    {"major": 0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_wrong_fields_of_dlpack(wrong: dict[str, Any], x: np.ndarray) -> None:
    model = build()
    for versioned in (True,) if "major" in wrong else (True, False):
        tensor = CardTensor(x, versioned=versioned, **wrong)
        with pytest.raises(TypeError, match="`x` of type CardTensor can't be read as a tensor on a GPU"):
            model.predict(tensor, verbose=0)
        assert tensor.exports == tensor.deletions == 1
    assert model.predict(x, verbose=0).shape == (N, CLASSES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": (8, False)},
        {"data": (0, False)},
        {"data": None},
        {"data": ("1", False)},
        {"shape": (-1, FEATURES)},
        {"shape": (2**62, FEATURES)},
        {"shape": None},
        {"shape": (1,) * 65},
        {"strides": (4,)},
        {"strides": (3, 1)},
        {"strides": (2**62, 4)},
        {"typestr": ">f4"},
        {"typestr": "<f3"},
        {"typestr": "|V4"},
        {"typestr": 4},
        {"typestr": None},
        {"stream": "1"},
        {"stream": True},
        {"mask": 1},
    ],
    ids=str,
)
def test_wrong_entries_of_the_interface(wrong: dict[str, Any], x: np.ndarray) -> None:
    with pytest.raises(TypeError, match="`x` of type CardInterface can't be read as a tensor on a GPU"):
        build().predict(CardInterface(x, **wrong), verbose=0)


def test_other_objects_than_capsules(y: np.ndarray) -> None:
    class Returning(Raising):
        def __dlpack__(self, **_: Any) -> Any:
            return self.error

    used = CardTensor(np.zeros((N, FEATURES), np.float32))
    capsules = list[Any]()

    class Again(Raising):
        def __dlpack__(self, **options: Any) -> Any:
            if not capsules:
                capsules.append(used.__dlpack__(**options))
            return capsules[0]

    model = build()
    with pytest.raises(TypeError, match="must return a capsule"):
        model.fit(Returning(ValueError()), y, verbose=0)
    model.predict(Again(ValueError()), verbose=0)
    with pytest.raises(TypeError, match="which nobody has used"):
        model.predict(Again(ValueError()), verbose=0)
    assert used.deletions == 1


# ---- Models elsewhere


@BOTH
def test_models_on_the_cpu_get_a_copy(tensor: Producer, x: np.ndarray, y: np.ndarray) -> None:
    ours = build("cpu")
    assert_same(trained(ours, tensor(x), tensor(y)), trained(build("cpu"), x, y))
    assert type(ours(tensor(x))) is type(ours(x))
    np.testing.assert_array_equal(ours.predict(tensor(x[::2]), verbose=0), ours.predict(x[::2], verbose=0))
    normalization = layers.Normalization()
    normalization.adapt(tensor(x))
    np.testing.assert_allclose(normalization.mean.ravel(), x.mean(0), atol=1e-6)


SECOND_GPU = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import engine as keras
from card_tensors import CardInterface, CardTensor

x, y = np.random.default_rng(0).standard_normal((32, 8)).astype("float32"), np.arange(32) % 3
for device in ("cuda:1", "cuda:0"):
    with keras.device(device):
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
    expected = model.predict(x, verbose=0)
    for tensor in (CardTensor, CardInterface):
        for place in (0, 1):
            result = model(tensor(x, place))
            assert result.device == device and result.__dlpack_device__() == (2, int(device[-1])), result
            np.testing.assert_array_equal(result.numpy(), expected)
            np.testing.assert_array_equal(model.predict(tensor(x[::2], place), verbose=0), expected[::2])
            assert np.isfinite(model.evaluate(tensor(x, place), tensor(y, 1 - place), verbose=0))
    model.fit(CardTensor(x, 1), CardTensor(y, 0), verbose=0)
print("done")
"""


def test_a_second_gpu() -> None:
    """Tensors of one GPU are copied to that of the model."""
    emulated("memory_in_use")
    folder = str(Path(__file__).parent)
    environment = {**os.environ, "EMULATED_CUDA_DEVICES": "2", "EMULATED_CUDA_LATE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", SECOND_GPU.format(folder=folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "done\n", run.stderr


# ---- Out


def test_results_stay_on_the_gpu(x: np.ndarray) -> None:
    model = build()
    expected = model(x)
    result = model(CardTensor(x))
    assert isinstance(result, keras.DeviceArray)
    assert (result.shape, result.dtype, result.ndim, result.size) == (
        (N, CLASSES),
        np.float32,
        2,
        N * CLASSES,
    )
    assert (result.device, len(result)) == ("cuda:0", N)
    assert repr(result) == f"DeviceArray(shape=({N}, {CLASSES}), dtype=float32, device='cuda:0')"
    np.testing.assert_array_equal(result.numpy(), expected)
    np.testing.assert_array_equal(np.asarray(result), expected)
    assert np.asarray(result, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="without a copy"):
        np.array(result, copy=False)
    np.testing.assert_array_equal(result[3:7].numpy(), expected[3:7])
    np.testing.assert_array_equal(result[np.array([5, 0, 5])].numpy(), expected[[5, 0, 5]])
    np.testing.assert_array_equal(result.reshape(-1, 1).numpy(), np.reshape(expected, (-1, 1)))
    np.testing.assert_array_equal(result.reshape((CLASSES, N)).numpy(), np.reshape(expected, (CLASSES, N)))
    np.testing.assert_array_equal(result[np.array([-1, 3], np.int8)].numpy(), expected[[-1, 3]])
    np.testing.assert_array_equal(result[-2].numpy(), expected[-2])
    assert [float(np.asarray(each)[0]) for each in result] == expected[:, 0].tolist()
    for index in (N, -N - 1, np.array([N]), np.array([2**40])):
        with pytest.raises(IndexError, match="does not lie in"):
            result[index]
    for wrong in (slice(0, 9, 2), [0], np.array([[1]]), np.array([0.5]), "a", None, (0, 0)):
        with pytest.raises(TypeError, match="rows must be"):
            result[wrong]
    with pytest.raises(TypeError, match="without axes"):
        result[0][0][0]
    for shape in ((2**61 + N * CLASSES // 8, 8), (2**62, 2**62, 0)):
        with pytest.raises(ValueError, match="more numbers than any memory"):
            result.reshape(*shape)
    for shape in ((5,), (-1, 5), (-2, 3), (-1, -1)):
        with pytest.raises(ValueError, match=r"shape|negative"):
            result.reshape(*shape)
    with pytest.raises(TypeError):
        keras.DeviceArray()


def test_results_go_back_in(x: np.ndarray) -> None:
    first, second = build(), build(units=1, loss="mse")
    with keras.device("cuda"):
        narrow = keras.Sequential([keras.Input((CLASSES,)), layers.Dense(2)])
    del second
    result = narrow(first(CardTensor(x)))
    np.testing.assert_array_equal(result.numpy(), narrow(np.asarray(first(x))))
    narrow.compile("sgd", "mse")
    narrow.fit(first(CardTensor(x)), narrow(first(CardTensor(x))), verbose=0)


class Wrapped:
    """Has the DLPack protocol of another object alone, and notes the options of its calls."""

    def __init__(self, array: Any, **options: Any) -> None:
        self.array, self.options, self.shape = array, options, array.shape

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**{**options, **self.options})


def test_dlpack_of_results(x: np.ndarray) -> None:
    model = build()
    result = model(CardTensor(x))
    with keras.device("cuda"):
        identity = keras.Sequential([keras.Input((CLASSES,)), layers.Activation("linear")])
    for options in (
        {},
        {"max_version": None},
        {"max_version": (0, 8)},
        {"max_version": (7, 3)},
        {"copy": True},
    ):
        for _ in range(2):  # an array may be exported again and again
            np.testing.assert_array_equal(identity(Wrapped(result, **options)).numpy(), result.numpy())
    for options in (
        {"dl_device": (2, 0)},
        {"dl_device": (2, 0), "copy": False},
        {"stream": None},
        {"stream": -1},
    ):
        assert "dltensor" in repr(result.__dlpack__(**options))  # and nobody takes it out
    assert "dltensor" in repr(result.__dlpack__(dl_device=(1, 0)))
    for options in ({"dl_device": (2, 3)}, {"dl_device": (1, 0), "copy": False}):
        with pytest.raises(BufferError, match="can be copied to the CPU alone"):
            result.__dlpack__(**options)
    with pytest.raises(TypeError):
        result.__dlpack__(stream="1")


def test_the_memory_lives_as_long_as_somebody_has_it(x: np.ndarray) -> None:
    model = build()
    model(CardTensor(x))
    gc.collect()
    before = memory_in_use()
    result = model(CardTensor(x))
    capsules = [result.__dlpack__(), result.__dlpack__(max_version=(1, 0)), result[2:]]
    del result
    gc.collect()
    assert memory_in_use() > before
    capsules.clear()
    gc.collect()
    assert memory_in_use() == before


def test_interface_of_results(x: np.ndarray) -> None:
    result = build()(CardTensor(x))
    interface = result.__cuda_array_interface__
    assert interface["shape"] == (N, CLASSES)
    assert interface["typestr"] == "<f4"
    assert (interface["version"], interface["stream"], interface["strides"]) == (3, None, None)
    assert interface["data"][0] > 0
    assert interface["data"][1] is False
    assert result[1:].__cuda_array_interface__["data"][0] == interface["data"][0] + 4 * CLASSES


def test_training_mode_and_no_samples(x: np.ndarray) -> None:
    with keras.device("cuda"):
        model = keras.Sequential([keras.Input((FEATURES,)), layers.Dropout(0.5, seed=1), layers.Dense(2)])
    assert isinstance(model(CardTensor(x), training=True), keras.DeviceArray)
    assert model(CardTensor(x[:0].copy())).shape == (0, 2)
