"""Tests of samples of unknown length: each length gets a program, and all share weights and optimizer state."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common import assert_all_close, assert_all_equal, compiled

import engine as keras
from engine import layers, ops
from engine.models import programs_by_shape

numbers = np.random.default_rng(1)
X, Y = numbers.integers(1, 20, (24, 12)), numbers.integers(0, 2, 24)


def made(optimizer: Any = "adam", **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(20, 4, mask_zero=True),
            layers.Dropout(0.3, seed=5),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    return compiled(model, optimizer, "binary_crossentropy", metrics=["accuracy", "auc"], **options)


def batches(*sizes: int) -> Iterator[tuple[Any, Any]]:
    for number, size in enumerate(sizes):
        rows = slice(8 * (number % 3), 8 * (number % 3) + 8)
        yield X[rows, :size], Y[rows]


def padded(*sizes: int) -> Iterator[tuple[Any, Any]]:
    """Yields the same batches padded to one length; the mask excludes the padding."""
    for x, y in batches(*sizes):
        yield np.pad(x, ((0, 0), (0, 12 - x.shape[1]))), y


SIZES = (12, 7, 12, 3, 7, 9)
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.3, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.02, amsgrad=True),
    "averages": lambda: keras.optimizers.Adam(0.02, use_ema=True, ema_overwrite_frequency=4),
    "accumulated": lambda: keras.optimizers.RMSprop(0.02, gradient_accumulation_steps=4),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 2, 0.5)),
}


def no_dropout(optimizer: Any) -> Any:
    model = made(optimizer)
    model.layers[1].rate = 0.0
    model = keras.models.clone_model(model)
    model.set_weights(made().get_weights())
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_moves_with_the_length(name: str) -> None:
    changing, fixed = no_dropout(OPTIMIZERS[name]()), no_dropout(OPTIMIZERS[name]())
    ours = changing.fit(batches(*SIZES), verbose=0).history
    theirs = fixed.fit(padded(*SIZES), verbose=0).history
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        np.testing.assert_allclose(ours[key], values, rtol=1e-5)
    for one, other in zip(changing.get_weights(), fixed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert_all_close(changing.optimizer.variables, fixed.optimizer.variables, rtol=1e-4, atol=1e-6)


def test_fit_is_a_step_after_the_other() -> None:
    """The bits are equal, also with dropout."""
    whole, single = made(), made()
    whole.fit(batches(*SIZES), verbose=0)
    for x, y in batches(*SIZES):
        single.train_on_batch(x, y)
    assert_all_equal(whole.get_weights(), single.get_weights())


def test_callbacks_see_one_optimizer() -> None:
    model, seen = made(), []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(int(self.model.optimizer.iterations))
            self.model.evaluate(X[:, :5], Y, verbose=0)
            self.model.predict(X[:, :4], verbose=0)

    plain = made()
    model.fit(batches(*SIZES), verbose=0, callbacks=[Look()], validation_data=(X[:, :2], Y))
    plain.fit(batches(*SIZES), verbose=0)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert_all_equal(model.get_weights(), plain.get_weights())


def test_metrics_add_up_over_lengths() -> None:
    model = made()
    together = model.evaluate(batches(12, 7, 3), verbose=0, return_dict=True)
    outputs = np.concatenate([model.predict(x, verbose=0) for x, _ in batches(12, 7, 3)])[:, 0]
    assert together["accuracy"] == pytest.approx(np.mean((outputs > 0.5) == Y))
    expected = -np.mean(np.log(np.where(Y == 1, outputs, 1 - outputs)))
    assert together["loss"] == pytest.approx(expected, rel=1e-5)
    metric = keras.metrics.AUC()
    metric.update_state(Y, outputs)
    assert together["auc"] == pytest.approx(float(metric.result()), rel=1e-6)


def test_an_error_half_way_leaves_the_last_step() -> None:
    model, other = made(), made()

    def broken() -> Iterator[tuple[Any, Any]]:
        yield from batches(12, 7)
        yield np.full((8, 5), 99), Y[:8]

    with pytest.raises(ValueError, match="row 0 holds 99"):
        model.fit(broken(), verbose=0)
    other.fit(batches(12, 7), verbose=0)
    assert_all_equal(model.get_weights(), other.get_weights())
    assert int(model.optimizer.iterations) == 2
    for trained in (model, other):
        trained.fit(batches(3, 12), verbose=0)
    assert_all_equal(model.get_weights(), other.get_weights())


def test_more_lengths_than_programs_are_kept() -> None:
    model, other = made(), made()
    sizes = [*range(1, 12), *range(11, 0, -1)]
    assert len(set(sizes)) > programs_by_shape._MOST_PROGRAMS
    model.fit(batches(*sizes), verbose=0)
    for x, y in batches(*sizes):
        other.train_on_batch(x, y)
        other.predict(X[:, :12], verbose=0)
    assert_all_equal(model.get_weights(), other.get_weights())


def test_compile_and_new_layers_start_anew() -> None:
    model = made()
    model.fit(X[:, :5], Y, verbose=0)
    model.layers[0].trainable = False
    model.compile("sgd", "binary_crossentropy")
    table = model.layers[0].get_weights()[0]
    model.fit(X[:, :5], Y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], table)
    assert int(model.optimizer.iterations) == 1
    model.pop()
    model.add(layers.Dense(3))
    assert model.predict(X[:, :5], verbose=0).shape == (24, 3)


def test_validation_and_numpy_losses_of_other_lengths() -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return np.mean((y_true - y_pred) ** 2, axis=-1)

    loss.gradient = lambda y_true, y_pred: 2 * (y_pred - y_true) / y_pred.shape[-1]  # type: ignore[attr-defined]
    model = keras.Sequential([keras.Input((None, None, 2)), layers.Dense(3)])
    model.compile("sgd", loss, metrics=[lambda y_true, y_pred: np.abs(y_true - y_pred)])

    def data() -> Iterator[tuple[Any, Any]]:
        for shape in ((4, 3), (2, 5), (4, 3)):
            yield numbers.normal(size=(6, *shape, 2)), numbers.normal(size=(6, *shape, 3))

    held_out = (numbers.normal(size=(5, 7, 1, 2)), numbers.normal(size=(5, 7, 1, 3)))
    history = model.fit(data(), verbose=0, validation_data=held_out).history
    outputs = model.predict(held_out[0], verbose=0)
    assert outputs.shape == (5, 7, 1, 3)
    assert history["val_loss"][0] == pytest.approx(np.mean((outputs - held_out[1]) ** 2), rel=1e-5)


def mean_square(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def of_classes(y_true: Any, y_pred: Any) -> Any:
    return ops.sparse_categorical_crossentropy(y_true, y_pred)


class OfClass(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return mean_square(y_true, y_pred)


@pytest.mark.parametrize(
    ("last", "builtin", "own", "targets"),
    [
        (layers.Dense(2), "mse", mean_square, lambda *shape: numbers.normal(size=(*shape, 2))),
        (layers.Dense(2), "mse", OfClass(), lambda *shape: numbers.normal(size=(*shape, 2))),
        (layers.Dense(1), "mse", mean_square, lambda *shape: numbers.normal(size=shape)),
        (
            layers.Dense(4, activation="softmax"),
            "sparse_categorical_crossentropy",
            of_classes,
            lambda *shape: numbers.integers(0, 4, shape),
        ),
    ],
    ids=["function", "class", "column", "indices"],
)
@pytest.mark.parametrize("first", [keras.Input((None, 3)), None], ids=["declared", "found"])
def test_recorded_losses_of_other_lengths(
    last: Any, builtin: str, own: Any, targets: Any, first: Any
) -> None:
    """A loss of the user's trains and evaluates each length as the built-in one does, that of the first program, 64, too."""
    data = [(numbers.normal(size=(6, size, 3)), targets(6, size)) for size in (5, 7, 64, 1, 5)]
    found = []
    for loss in (builtin, own):
        keras.utils.set_random_seed(4)
        model = keras.Sequential([*([] if first is None else [first]), layers.Dense(4, activation="tanh")])
        model.add(type(last).from_config(last.get_config()))
        model.compile(keras.optimizers.Adam(0.02), loss)
        losses = [model.train_on_batch(*batch) for batch in data[: 1 if first is None else None]]
        losses += [model.evaluate(*data[0], verbose=0)]
        history = model.fit(iter(data[:1]), verbose=0, validation_data=data[0]).history
        found.append([*losses, *history["loss"], *history["val_loss"], *map(np.sum, model.get_weights())])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


def test_recorded_losses_with_several_outputs_and_a_mask() -> None:
    inputs = keras.Input((None,))
    hidden = layers.Embedding(20, 4, mask_zero=True)(inputs)
    pooled = layers.Dense(1)(layers.GlobalAveragePooling1D()(hidden))
    model = keras.Model(inputs, [layers.Dense(2)(hidden), pooled])
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    model.compile("sgd", ["mse", "mse"])
    copy.compile("sgd", [mean_square, mean_square])
    for size in (12, 7):
        x = np.array(X[:, :size])
        x[::2, size // 2 :] = 0
        y = [numbers.normal(size=(24, size, 2)), numbers.normal(size=24)]
        for one in ("train_on_batch", "test_on_batch"):
            expected = getattr(model, one)(x, y)
            np.testing.assert_allclose(getattr(copy, one)(x, y), expected, rtol=1e-5)
    assert_all_close(model.get_weights(), copy.get_weights(), rtol=1e-5, atol=1e-7)


def test_copies_keep_the_unknown_length(tmp_path: Path) -> None:
    model = made()
    model.fit(batches(*SIZES), verbose=0)
    model.save(tmp_path / "model.keras")
    copies = [pickle.loads(pickle.dumps(model)), keras.models.load_model(tmp_path / "model.keras")]
    for copy in copies:
        assert copy.input_shape == (None, None)
        np.testing.assert_array_equal(copy.predict(X[:, :5], verbose=0), model.predict(X[:, :5], verbose=0))
        assert int(copy.optimizer.iterations) == len(SIZES)
    assert keras.models.clone_model(model).input_shape == (None, None)
    assert keras.Input((None, 6)).shape == (None, None, 6)


def test_models_share_layers() -> None:
    model = made()
    short = keras.Sequential([keras.Input((5,)), *model.layers])
    model.fit(batches(*SIZES), verbose=0)
    np.testing.assert_array_equal(short.predict(X[:, :5], verbose=0), model.predict(X[:, :5], verbose=0))
    outer = keras.Sequential([keras.Input((None,)), model, layers.Dense(2)])
    assert outer.predict(X[:, :4], verbose=0).shape == (24, 2)


def test_messages() -> None:
    model = made()
    with pytest.raises(ValueError, match=r"`x` must have shape \(n, None\), got \(3, 2, 2\)"):
        model.predict(np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="export a model of the same layers"):
        model.export("model.onnx")
    with pytest.raises(ValueError, match=r"kernel of shape \(None, 2\).*must be known"):
        keras.Sequential([keras.Input((None,)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"\(n, 3\) to `target_shape=\(4,\)`: a sample has 3 numbers"):
        keras.Sequential([keras.Input((None,)), layers.Reshape((4,))]).predict(np.ones((1, 3)))
    images = keras.Sequential([keras.Input((None, 6)), layers.Dense(2)])
    with pytest.raises(ValueError, match="no batch axis, so leave out its first None"):
        images.predict(np.ones((3, 6)))


def test_embedding_first_takes_any_length() -> None:
    model = keras.Sequential([layers.Embedding(20, 4), layers.GlobalMaxPooling1D(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert model.predict(X[:2, :5], verbose=0).shape == (2, 1)
    flat = keras.Sequential([layers.Embedding(20, 4), layers.Flatten(), layers.Dense(1)])
    flat.predict(X, verbose=0)
    assert flat.input_shape == (None, 12)


def test_a_backup_is_taken_up_between_lengths(tmp_path: Path) -> None:
    class Data(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(SIZES)

        def __getitem__(self, index: int) -> Any:
            return list(batches(*SIZES))[index]

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if self.model.optimizer.iterations == 9:
                raise KeyboardInterrupt

    whole, stopped, resumed = made(), made(), made()
    keras.utils.set_random_seed(1)
    history = whole.fit(Data(), epochs=3, verbose=0).history
    keras.utils.set_random_seed(1)
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(Data(), epochs=3, verbose=0, callbacks=[backup, Stop()])
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
    rest = resumed.fit(Data(), epochs=3, verbose=0, callbacks=[backup]).history
    assert {name: values[1:] for name, values in history.items()} == rest
    assert_all_equal(resumed.get_weights(), whole.get_weights())


def test_symbols_have_none_for_unknown_lengths() -> None:
    inputs = keras.Input((None,))
    embedded = layers.Embedding(9, 4)(inputs)
    assert (inputs.shape, embedded.shape) == ((None, None), (None, None, 4))
    assert layers.Embedding(9, 4)(keras.Input((None,), batch_size=3)).shape == (3, None, 4)
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(9, 4), layers.GlobalAveragePooling1D()])
    assert [layer.output.shape for layer in model.layers] == [(None, None, 4), (None, 4)]


def test_masks_of_models_with_several_inputs_of_unknown_lengths() -> None:
    inputs = [keras.Input((None,)), keras.Input((None,))]
    embedded = [layers.Embedding(9, 4, mask_zero=True)(each) for each in inputs]
    model = keras.Model(inputs, [*embedded, layers.GlobalAveragePooling1D()(embedded[1])])
    x = [np.array([[1, 0], [2, 3]]), np.array([[4, 0, 5], [0, 0, 6], [7, 8, 8]][:2])]
    found = model(x)
    np.testing.assert_array_equal(found[0]._keras_mask, x[0] != 0)
    np.testing.assert_array_equal(found[1]._keras_mask, x[1] != 0)
    assert_all_equal(found, model.predict(x, verbose=0))


def test_a_reshape_to_known_lengths_checks_the_samples() -> None:
    model = keras.Sequential([keras.Input((None,)), keras.layers.Reshape((3, 5)), keras.layers.Dense(2)])
    assert model.output_shape == (None, 3, 2)
    assert model.predict(np.ones((2, 15)), verbose=0).shape == (2, 3, 2)
    with pytest.raises(ValueError, match=r"can't reshape \(n, 14\) to `target_shape=\(3, 5\)`"):
        model.predict(np.ones((2, 14)), verbose=0)


def twin(declared: bool) -> Any:
    """Returns a compiled network for steps of 3 numbers; `declared` says whether it has an Input, with an open length."""
    keras.utils.set_random_seed(3)
    parts = [
        layers.Dense(7, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(2),
    ]
    model = keras.Sequential([keras.Input((None, 3)), *parts] if declared else parts)
    return compiled(model, keras.optimizers.Adam(0.05), "mse", metrics=["mae"])


class Around(keras.Model):
    """A model with a `call` of its own around a Sequential."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def call(self, x: Any, training: Any = None) -> Any:
        return self.inner(x, training=training)


def fit_each(model: Any, data: Any) -> None:
    for x, y in data:
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)


def fit_stream(model: Any, data: Any) -> None:
    model.fit(iter(data), verbose=0)


def fit_batches(model: Any, data: Any) -> None:
    for x, y in data:
        model.train_on_batch(x, y)


def fit_by_tape(model: Any, data: Any) -> None:
    for x, y in data:
        with keras.GradientTape() as tape:
            loss = ops.mean(ops.square(y - model(x, training=True)))
        weights = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


@pytest.mark.parametrize("train", [fit_each, fit_stream, fit_batches, fit_by_tape])
@pytest.mark.parametrize("around", [False, True], ids=["sequential", "own call"])
def test_models_built_by_data_take_other_lengths(train: Any, around: bool) -> None:
    data = [(numbers.normal(size=(8, n, 3)), numbers.normal(size=(8, n, 2))) for n in (5, 6, 9, 5)]
    ours, declared = twin(declared=False), twin(declared=True)
    ours(data[0][0])
    if around:
        ours = compiled(Around(ours), keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
        ours(data[0][0])
    declared.set_weights(ours.get_weights())
    train(declared, data)
    train(ours, data)
    assert_all_equal(ours.get_weights(), declared.get_weights())
    x, y = numbers.normal(size=(8, 4, 3)), numbers.normal(size=(8, 4, 2))
    np.testing.assert_array_equal(ours.predict(x, verbose=0), declared.predict(x, verbose=0))
    assert ours.evaluate(x, y, verbose=0) == declared.evaluate(x, y, verbose=0)
    assert ours.optimizer.iterations == declared.optimizer.iterations == 4


def test_several_inputs_of_other_lengths_and_models_within() -> None:
    class Both(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = layers.Dense(2), keras.Sequential([layers.Dense(2)])

        def call(self, x: Any) -> Any:
            return self.one(x["a"]) + self.two(x["b"])

    model = Both()
    for length in (5, 7):
        x = {"a": np.ones((2, length, 3)), "b": np.ones((2, length, 1))}
        wanted = x["a"] @ model.one.kernel + x["b"] @ model.two.layers[0].kernel if model.built else None
        found = model(x)
        assert found.shape == (2, length, 2)
        if wanted is not None:
            np.testing.assert_allclose(found, wanted, rtol=1e-6)
    within = keras.Sequential([layers.Dense(2)])
    within(np.ones((2, 5, 3)))
    open_length = keras.Input((None, 3))
    assert keras.Model(open_length, within(open_length)).predict(np.ones((2, 7, 3)), verbose=0).shape == (
        2,
        7,
        2,
    )


def test_layers_that_divide_a_length_take_other_ones() -> None:
    model = keras.Sequential([layers.Reshape((-1, 8))])
    x = np.arange(24.0).reshape(1, 12, 2)
    np.testing.assert_array_equal(model(x), x.reshape(1, 3, 8))
    np.testing.assert_array_equal(model.predict(np.ones((1, 20, 2)), verbose=0), np.ones((1, 5, 8)))
    flat = keras.Sequential([layers.Flatten()])
    stream = iter([(np.ones((3, 5, 7)),), (np.ones((2, 7, 5)),)])
    np.testing.assert_array_equal(flat.predict(stream, verbose=0), np.ones((5, 35)))


def test_a_length_that_a_layer_needs_stays_as_it_is() -> None:
    model = keras.Sequential([layers.Flatten(), layers.Dense(2)])
    first = model(np.ones((2, 5, 3)))
    for wrong in (np.ones((2, 7, 3)), np.ones((2, 5))):
        with pytest.raises(ValueError, match=r"must have shape \(n, 5, 3\)"):
            model(wrong)
    assert model.input_shape == (None, 5, 3)
    np.testing.assert_array_equal(model(np.ones((2, 5, 3))), first)
    declared = keras.Sequential([keras.Input((5, 3)), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"must have shape \(n, 5, 3\)"):
        declared(np.ones((2, 7, 3)))


@pytest.mark.parametrize("suffix", [".keras", ".npz", ".h5", None])
@pytest.mark.parametrize("declared", [False, True])
def test_lengths_after_loading(declared: bool, suffix: str | None, tmp_path: Path) -> None:
    """A model that its first data built takes other lengths before and after; one with an `Input` takes its own alone."""
    first = [keras.Input((5, 4))] if declared else []
    model = keras.Sequential([*first, layers.Dense(3), layers.GlobalAveragePooling1D()])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 5, 4)), np.zeros((8, 3)), verbose=0)
    if suffix is None:
        loaded = pickle.loads(pickle.dumps(model))
    else:
        path = tmp_path / f"model{suffix}"
        model.save(path)
        loaded = keras.models.load_model(path)
    if declared:
        with pytest.raises(ValueError, match=r"must have shape \(n, 5, 4\)"):
            loaded.predict(np.ones((8, 7, 4)), verbose=0)
    else:
        longer = np.random.default_rng(0).random((8, 7, 4), np.float32)
        assert np.array_equal(loaded.predict(longer, verbose=0), model.predict(longer, verbose=0))


def test_what_was_built_before_is_freed() -> None:
    """Building again drops the program before, those for other lengths, and layers that have left the model."""
    model, gone = made(), list[Any]()
    for trainable in (False, True, False):
        model.layers[0].trainable = trainable
        gone += [weakref.ref(model._built_graph.program), weakref.ref(model._built_graph.by_shape)]
        model.compile("adam", "binary_crossentropy")
        model.fit(X[:, :7], Y, verbose=0)
        model.add(layers.Dense(2))
        gone.append(weakref.ref(model.pop()))
        model.predict(X[:, :5], verbose=0)
    gc.collect()
    assert [each() for each in gone] == [None] * len(gone)


def test_lengths_are_open_as_soon_as_the_first_data_have_built(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    def noted(model: Any) -> None:
        """Looks at what another thread could see as soon as the model has its layers."""
        keras.Model._note_change(model)
        if model.built:
            assert model.compute_output_shape((2, 7, 4)) == (2, 7, 2)

    monkeypatch.setattr(Watched, "_note_change", noted)
    assert Watched().predict(np.ones((2, 5, 4)), verbose=0).shape == (2, 5, 2)


class Announced:
    """Samples that say when somebody asks for their shape."""

    def __init__(self, array: Any, asked: threading.Event) -> None:
        self._array, self._asked = array, asked

    @property
    def shape(self) -> tuple[int, ...]:
        self._asked.set()
        return self._array.shape

    def __array__(self, *args: Any, **options: Any) -> Any:
        return np.asarray(self._array, *args, **options)


@pytest.mark.parametrize("several", [False, True])
def test_two_threads_build_a_model_with_samples_of_two_lengths(several: bool) -> None:
    """The second thread begins while the first one records `call`, and then finds the model built."""
    records, asked = threading.Event(), threading.Event()

    class Slow(keras.Model):
        def call(self, x: Any) -> Any:
            if not records.is_set():
                records.set()
                assert asked.wait(60)
            return x[0] + x[1] if several else x * 2.0

    model = Slow()

    def predicted(x: Any) -> Any:
        return model.predict([x, x] if several else x, verbose=0)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(predicted, np.ones((2, 5, 4)))
        assert records.wait(60)
        second = pool.submit(predicted, Announced(np.ones((2, 7, 4)), asked))
        assert (first.result().shape, second.result().shape) == ((2, 5, 4), (2, 7, 4))
